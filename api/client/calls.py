"""Every call that the clients have, as a pure function: what to send and what comes back.

The clients' methods are these functions with the sending in front: see there for how to call them. The examples
are run by the tests against a live shop; `client` is a BTCPayClient, `store` a store's id.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from api.client.protocol import Call, given, path
from api.client.types import (
    ApiKey,
    Delivery,
    EventPage,
    Invoice,
    InvoicePaymentMethod,
    PaymentRequest,
    Rate,
    Revenue,
    ServerInfo,
    Stats,
    Store,
    StorePaymentMethod,
    Webhook,
)
from gldnode.entropy import SystemEntropy

Amount = str | int | Decimal
Json = Mapping[str, Any]
_NOTHING: Final = type(None)


def create_invoice(
    store_id: str,
    amount: Amount | None = None,
    currency: str | None = None,
    *,
    order_id: str | None = None,
    description: str | None = None,
    buyer_email: str | None = None,
    metadata: Json | None = None,
    payment_methods: Sequence[str] | None = None,
    speed_policy: str | None = None,
    expiration_minutes: int | None = None,
    redirect_url: str | None = None,
    notification_url: str | None = None,
    checkout: Json | None = None,
    search_terms: Sequence[str] | None = None,
    idempotency_key: str | None = None,
) -> Call[Invoice]:
    """Make an invoice; without an amount it takes whatever is paid (a top-up).

    It is sent with an idempotency key (a random one where none is given), so that a repetition after a lost
    answer gives the same invoice.

    >>> invoice = client.create_invoice(store, "12.5", "GLD", order_id="1001", expiration_minutes=30)
    >>> invoice.status, invoice.amount, invoice.metadata["orderId"]
    ('New', '12.5', '1001')
    >>> again = client.create_invoice(store, "1", "GLD", idempotency_key="order-1002")
    >>> client.create_invoice(store, "1", "GLD", idempotency_key="order-1002").id == again.id
    True
    """
    own = given(
        speedPolicy=speed_policy,
        paymentMethods=payment_methods,
        expirationMinutes=expiration_minutes,
        redirectURL=redirect_url,
    )
    body = given(
        amount=_text(amount),
        currency=currency,
        orderId=order_id,
        description=description,
        buyerEmail=buyer_email,
        metadata=metadata,
        notificationUrl=notification_url,
        checkout={**(checkout or {}), **own} or None,
        additionalSearchTerms=search_terms,
    )
    key = idempotency_key or SystemEntropy().bytes(16).hex()
    return Call("POST", path("/stores/{}/invoices", store_id), Invoice, body=body, idempotency_key=key)


def get_invoice(store_id: str, invoice_id: str, *, with_payment_methods: bool = False) -> Call[Invoice]:
    """
    >>> invoice = client.create_invoice(store, "2", "GLD")
    >>> client.get_invoice(store, invoice.id).id == invoice.id
    True
    """
    query = {"includePaymentMethods": with_payment_methods or None}
    return Call("GET", path("/stores/{}/invoices/{}", store_id, invoice_id), Invoice, query)


def get_invoices(
    store_id: str,
    *,
    order_ids: Sequence[str] | None = None,
    statuses: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    text: str | None = None,
    include_archived: bool | None = None,
    with_payment_methods: bool | None = None,
    skip: int | None = None,
    take: int | None = 50,
) -> Call[list[Invoice]]:
    """Newest first. Filters of different kinds must all fit; of one kind, one of its values. `take=None`: all.

    >>> made = client.create_invoice(store, "3", "GLD", order_id="1003")
    >>> [invoice.id for invoice in client.get_invoices(store, order_ids=["1003"])] == [made.id]
    True
    """
    query = {
        "orderId": order_ids,
        "status": statuses,
        "startDate": start,
        "endDate": end,
        "textSearch": text,
        "includeArchived": include_archived,
        "includePaymentMethods": with_payment_methods,
        "skip": skip,
        "take": take,
    }
    return Call("GET", path("/stores/{}/invoices", store_id), list[Invoice], query)


def update_invoice(store_id: str, invoice_id: str, metadata: Json) -> Call[Invoice]:
    """Replaces all metadata.

    >>> invoice = client.create_invoice(store, "1", "GLD", order_id="1004")
    >>> client.update_invoice(store, invoice.id, {"orderId": "1005"}).metadata
    {'orderId': '1005'}
    """
    return Call("PUT", path("/stores/{}/invoices/{}", store_id, invoice_id), Invoice, body={"metadata": metadata})


def mark_invoice(store_id: str, invoice_id: str, status: str) -> Call[Invoice]:
    """By hand, as "Settled" or "Invalid".

    >>> invoice = client.create_invoice(store, "1", "GLD")
    >>> client.mark_invoice(store, invoice.id, "Settled").is_paid
    True
    """
    where = path("/stores/{}/invoices/{}/status", store_id, invoice_id)
    return Call("POST", where, Invoice, body={"status": status})


def archive_invoice(store_id: str, invoice_id: str) -> Call[None]:
    """Hides it from lists; payments are followed all the same."""
    return Call("DELETE", path("/stores/{}/invoices/{}", store_id, invoice_id), _NOTHING)


def unarchive_invoice(store_id: str, invoice_id: str) -> Call[Invoice]:
    """
    >>> invoice = client.create_invoice(store, "1", "GLD")
    >>> client.archive_invoice(store, invoice.id)
    >>> client.unarchive_invoice(store, invoice.id).archived
    False
    """
    return Call("POST", path("/stores/{}/invoices/{}/unarchive", store_id, invoice_id), Invoice)


def get_invoice_payment_methods(
    store_id: str, invoice_id: str, *, only_accounted: bool = True
) -> Call[list[InvoicePaymentMethod]]:
    """Addresses, what is due, and the payments.

    >>> invoice = client.create_invoice(store, "4", "GLD")
    >>> method = client.get_invoice_payment_methods(store, invoice.id)[0]
    >>> method.payment_method_id, method.due, method.payments
    ('GLD-CHAIN', '4', ())
    """
    where = path("/stores/{}/invoices/{}/payment-methods", store_id, invoice_id)
    return Call("GET", where, list[InvoicePaymentMethod], {"onlyAccountedPayments": only_accounted})


def get_invoice_events(store_id: str, invoice_id: str) -> Call[EventPage]:
    """
    >>> invoice = client.create_invoice(store, "1", "GLD")
    >>> [event["type"] for event in client.get_invoice_events(store, invoice.id).events]
    ['InvoiceCreated']
    """
    return Call("GET", path("/stores/{}/invoices/{}/events", store_id, invoice_id), EventPage)


def get_events(
    store_id: str, *, after: int = 0, limit: int | None = None, wait_s: int | None = None
) -> Call[EventPage]:
    """The store's events behind a position, for shops that were away; `wait_s` waits for the first (at most 25).

    >>> page = client.get_events(store, limit=1)
    >>> page.next
    1
    """
    return Call(
        "GET", path("/stores/{}/events", store_id), EventPage, {"after": after, "limit": limit, "wait": wait_s}
    )


def get_stores() -> Call[list[Store]]:
    """
    >>> store in [each.id for each in client.get_stores()]
    True
    """
    return Call("GET", path("/stores"), list[Store])


def get_store(store_id: str) -> Call[Store]:
    return Call("GET", path("/stores/{}", store_id), Store)


def create_store(name: str, **settings: Any) -> Call[Store]:
    """`settings` in Python's names: `default_currency`, `speed_policy`, `invoice_expiration` (seconds), …

    >>> made = client.create_store("Second shop", default_currency="GLD", payment_tolerance="1.5")
    >>> client.update_store(made.id, invoice_expiration=1200).invoice_expiration, made.payment_tolerance
    (1200, '1.5')
    >>> client.get_store(made.id).name
    'Second shop'
    >>> client.delete_store(made.id)
    """
    return Call("POST", path("/stores"), Store, body={"name": name, **_camel(settings)})


def update_store(store_id: str, **settings: Any) -> Call[Store]:
    """What is not named keeps its value."""
    return Call("PUT", path("/stores/{}", store_id), Store, body=_camel(settings))


def delete_store(store_id: str) -> Call[None]:
    """Ends one's membership."""
    return Call("DELETE", path("/stores/{}", store_id), _NOTHING)


def get_payment_methods(store_id: str, *, with_config: bool = False) -> Call[list[StorePaymentMethod]]:
    """
    >>> [method.payment_method_id for method in client.get_payment_methods(store)]
    ['GLD-CHAIN']
    """
    return Call(
        "GET",
        path("/stores/{}/payment-methods", store_id),
        list[StorePaymentMethod],
        {"includeConfig": with_config or None},
    )


def set_payment_method(
    store_id: str, payment_method_id: str, config: str | Json | None = None, *, enabled: bool | None = None
) -> Call[StorePaymentMethod]:
    """`config`: an address, extended public key, descriptor, or an object with `derivationScheme`.

    >>> client.set_payment_method(store, "GLD-CHAIN", enabled=True).enabled
    True
    """
    where = path("/stores/{}/payment-methods/{}", store_id, payment_method_id)
    return Call("PUT", where, StorePaymentMethod, body=given(config=config, enabled=enabled))


def delete_payment_method(store_id: str, payment_method_id: str) -> Call[None]:
    return Call("DELETE", path("/stores/{}/payment-methods/{}", store_id, payment_method_id), _NOTHING)


def get_rates(store_id: str, pairs: Sequence[str]) -> Call[list[Rate]]:
    """
    >>> [(rate.currency_pair, rate.rate) for rate in client.get_rates(store, ["GLD_USD"])]
    [('GLD_USD', '2')]
    """
    return Call("GET", path("/stores/{}/rates", store_id), list[Rate], {"currencyPair": pairs})


def get_webhooks(store_id: str) -> Call[list[Webhook]]:
    return Call("GET", path("/stores/{}/webhooks", store_id), list[Webhook])


def get_webhook(store_id: str, webhook_id: str) -> Call[Webhook]:
    return Call("GET", path("/stores/{}/webhooks/{}", store_id, webhook_id), Webhook)


def create_webhook(
    store_id: str,
    url: str,
    *,
    events: Sequence[str] | None = None,
    secret: str | None = None,
    enabled: bool = True,
    automatic_redelivery: bool = True,
) -> Call[Webhook]:
    """All events, or those that are named. The secret, generated where none is given, is answered only here.

    >>> hook = client.create_webhook(store, "http://127.0.0.1:9/hook", events=["InvoiceSettled"])
    >>> bool(hook.secret), client.get_webhook(store, hook.id).secret
    (True, None)
    >>> client.update_webhook(store, hook.id, "http://127.0.0.1:9/other", enabled=False).enabled
    False
    >>> client.get_webhook_deliveries(store, hook.id), len(client.get_webhooks(store))
    ([], 1)
    >>> client.delete_webhook(store, hook.id)
    """
    body = _hook(url, events, secret, enabled, automatic_redelivery)
    return Call("POST", path("/stores/{}/webhooks", store_id), Webhook, body=body)


def update_webhook(
    store_id: str,
    webhook_id: str,
    url: str,
    *,
    events: Sequence[str] | None = None,
    secret: str | None = None,
    enabled: bool = True,
    automatic_redelivery: bool = True,
) -> Call[Webhook]:
    """Replaces everything but the secret, which stays where none is given."""
    body = _hook(url, events, secret, enabled, automatic_redelivery)
    return Call("PUT", path("/stores/{}/webhooks/{}", store_id, webhook_id), Webhook, body=body)


def delete_webhook(store_id: str, webhook_id: str) -> Call[None]:
    return Call("DELETE", path("/stores/{}/webhooks/{}", store_id, webhook_id), _NOTHING)


def get_webhook_deliveries(store_id: str, webhook_id: str, count: int | None = None) -> Call[list[Delivery]]:
    """Newest first."""
    where = path("/stores/{}/webhooks/{}/deliveries", store_id, webhook_id)
    return Call("GET", where, list[Delivery], {"count": count})


def redeliver(store_id: str, webhook_id: str, delivery_id: str) -> Call[str]:
    """Send it again; gives the new delivery's id."""
    where = path("/stores/{}/webhooks/{}/deliveries/{}/redeliver", store_id, webhook_id, delivery_id)
    return Call("POST", where, str)


def create_payment_request(
    store_id: str,
    amount: Amount,
    title: str,
    *,
    currency: str | None = None,
    description: str | None = None,
    email: str | None = None,
    reference_id: str | None = None,
    expiry_date: int | None = None,
    allow_custom_payment_amounts: bool = False,
) -> Call[PaymentRequest]:
    """A bill that invoices pay.

    >>> bill = client.create_payment_request(store, "7.5", "Rent", currency="GLD")
    >>> bill.amount, bill.status
    ('7.5', 'Pending')
    >>> client.pay_payment_request(store, bill.id).amount
    '7.5'
    >>> client.get_payment_request(store, bill.id) in client.get_payment_requests(store)
    True
    >>> client.archive_payment_request(store, bill.id)
    """
    body = given(
        amount=_text(amount),
        title=title,
        currency=currency,
        description=description,
        email=email,
        referenceId=reference_id,
        expiryDate=expiry_date,
        allowCustomPaymentAmounts=allow_custom_payment_amounts,
    )
    return Call("POST", path("/stores/{}/payment-requests", store_id), PaymentRequest, body=body)


def get_payment_request(store_id: str, request_id: str) -> Call[PaymentRequest]:
    return Call("GET", path("/stores/{}/payment-requests/{}", store_id, request_id), PaymentRequest)


def get_payment_requests(store_id: str, *, include_archived: bool | None = None) -> Call[list[PaymentRequest]]:
    query = {"includeArchived": include_archived}
    return Call("GET", path("/stores/{}/payment-requests", store_id), list[PaymentRequest], query)


def pay_payment_request(store_id: str, request_id: str, amount: Amount | None = None) -> Call[Invoice]:
    """An invoice for what is still due, or for part of it."""
    where = path("/stores/{}/payment-requests/{}/pay", store_id, request_id)
    return Call("POST", where, Invoice, body=given(amount=_text(amount), allowPendingInvoiceReuse=True))


def archive_payment_request(store_id: str, request_id: str) -> Call[None]:
    return Call("DELETE", path("/stores/{}/payment-requests/{}", store_id, request_id), _NOTHING)


def get_stats(store_id: str, *, start: int | None = None, end: int | None = None) -> Call[Stats]:
    """Settled payments of whole UTC days, by default of the last thirty.

    >>> client.get_stats(store).currency
    'GLD'
    """
    return Call("GET", path("/stores/{}/stats", store_id), Stats, {"from": start, "to": end})


def get_revenue(period: str = "day", *, start: int | None = None, end: int | None = None) -> Call[Revenue]:
    """Per "day", "week" or "month", over all stores that the key may see.

    >>> client.get_revenue("week").period
    'week'
    """
    return Call("GET", path("/reports/revenue"), Revenue, {"period": period, "from": start, "to": end})


def get_current_api_key() -> Call[ApiKey]:
    """
    >>> client.get_current_api_key().permissions
    ('unrestricted',)
    """
    return Call("GET", path("/api-keys/current"), ApiKey)


def get_server_info() -> Call[ServerInfo]:
    """
    >>> client.get_server_info().supported_payment_methods
    ('GLD-CHAIN',)
    """
    return Call("GET", path("/server/info"), ServerInfo)


def get_health() -> Call[dict[str, bool]]:
    """
    >>> client.get_health()
    {'synchronized': True}
    """
    return Call("GET", path("/health"), dict[str, bool])


def _text(amount: Amount | None) -> str | None:
    """Decimal text; Decimal's own text may have an exponent, which the server refuses."""
    return f"{amount:f}" if isinstance(amount, Decimal) else None if amount is None else str(amount)


def _hook(
    url: str, events: Sequence[str] | None, secret: str | None, enabled: bool, automatic_redelivery: bool
) -> dict[str, Any]:
    authorized = {"everything": events is None, "specificEvents": events or []}
    made = {"url": url, "enabled": enabled, "automaticRedelivery": automatic_redelivery}
    return {**made, "authorizedEvents": authorized, **given(secret=secret)}


def _camel(settings: Mapping[str, Any]) -> dict[str, Any]:
    def renamed(name: str) -> str:
        first, *others = name.split("_")
        return first + "".join(word.capitalize() for word in others)

    return {
        renamed(name): _text(value) if isinstance(value, Decimal) else value for name, value in settings.items()
    }
