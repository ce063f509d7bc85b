"""BTNG-PAY: invoice, pay, callback. A view of the same invoices that Greenfield shows."""

from collections.abc import Callable

import msgspec
from aiohttp import web
from msgspec import Raw

from api.auth import missing_permission, require
from api.errors import ApiError, ErrorShape
from api.fields import amount_text
from api.handlers.idempotency import idempotency_of, sent
from api.models.btngpay import (
    CallbackRequest,
    ClaimAnswer,
    ClaimRequest,
    CreateRequest,
    InvoiceAnswer,
    PaymentAnswer,
)
from api.permissions import grants
from api.routing import Access, Call, RouteTable
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import to_display_hex
from payments.accounting import method_figures, price_text
from payments.errors import not_found
from payments.invoice import Invoice, Payment, Status, depth, net, payment_status
from payments.service import BtngInvoiceDraft, Claim
from payments.stores import Store
from payments.uri import payment_uri

__all__ = ["table"]

table = RouteTable("/api/btngpay", "BTNG-PAY", ErrorShape.OBJECT)

CREATE = "btcpay.store.cancreateinvoice"
VIEW = "btcpay.store.canviewinvoices"
_VIEW_OF = {
    Status.NEW: "pending",
    Status.PROCESSING: "pending",
    Status.SETTLED: "paid",
    Status.EXPIRED: "expired",
    Status.INVALID: "failed",
}


@table.add(
    "POST",
    "/invoice",
    access=CREATE,
    body=CreateRequest,
    answer=InvoiceAnswer,
    summary="Create an invoice",
    errors=(404, 409),
)
async def create_btng_invoice(call: Call[CreateRequest]) -> web.StreamResponse | InvoiceAnswer:
    body = call.body
    store = _merchant_store(call, body.merchant)
    draft = BtngInvoiceDraft(
        merchant=body.merchant,
        amount=amount_text(body.amount, "amount") or "",
        currency=body.currency or "",
        memo=body.memo or "",
        ttl_s=body.ttl_seconds,
        callback_url=body.callback_url,
    )
    render: Callable[[Invoice], bytes] = lambda invoice: msgspec.json.encode(_merchant_view(call, invoice))  # noqa: E731
    result = await call.context.service.create_btng_invoice(
        store.id, draft, idempotency=idempotency_of(call, render)
    )
    return sent(result, render)


@table.add(
    "GET",
    "/invoice/{invoiceId}",
    access=Access.ANONYMOUS,
    answer=InvoiceAnswer,
    summary="An invoice: all of it with the merchant's key, what a payer may see without",
    errors=(401, 404),
)
async def get_btng_invoice(call: Call[None]) -> InvoiceAnswer:
    invoice = call.context.service.invoice(call.path["invoiceId"])
    if invoice is None:
        raise not_found("invoice")
    if call.who is not None and _may_see(call, invoice):
        return _merchant_view(call, invoice)
    return _public_view(call, invoice)


@table.add(
    "POST",
    "/pay",
    access=Access.ANONYMOUS,
    body=ClaimRequest,
    answer=ClaimAnswer,
    summary="Name the transaction that pays an invoice",
    errors=(400, 404, 409),
)
async def claim_payment(call: Call[ClaimRequest]) -> ClaimAnswer:
    body = call.body
    service = call.context.service
    invoice = await service.claim(Claim(body.invoice_id, body.tx_id.lower(), body.from_, body.proof))
    txid = bytes.fromhex(body.tx_id)[::-1]
    paid = [payment for payment in invoice.payments if payment.txid == txid]
    state = service.state(invoice)
    return ClaimAnswer(
        status=_VIEW_OF[state.status],  # type: ignore[arg-type]  # the table's values are the literals
        invoice_id=invoice.id,
        tx_id=body.tx_id.lower(),
        confirmations=max((depth(payment, service.tip_height) for payment in paid), default=0),
        confirmations_required=invoice.depth,
        detail=_detail(state.status, bool(paid)),
    )


@table.add(
    "POST",
    "/callback",
    access=CREATE,
    body=CallbackRequest,
    answer=InvoiceAnswer,
    summary="Set an invoice's callback URL, or send its present status again",
    errors=(404,),
)
async def set_invoice_callback(call: Call[CallbackRequest]) -> InvoiceAnswer:
    service = call.context.service
    invoice = service.invoice(call.body.invoice_id)
    if invoice is None:
        raise not_found("invoice")
    try:
        require(call.context, call.principal, CREATE, invoice.store_id)
    except ApiError as error:  # another store's invoice looks like none
        raise not_found("invoice") from error
    return _merchant_view(call, await service.set_callback(invoice.id, call.body.url))


def _merchant_store(call: Call[CreateRequest], merchant: str) -> Store:
    """The store that `merchant` names: its id or its fixed address. One that the key may not use is unknown."""
    service = call.context.service
    store = service.store(merchant) or service.merchant_store(merchant)
    if store is None or not grants(call.principal.permissions, CREATE, store.id):
        raise ApiError(404, "merchant-not-found", "No store of this key has this merchant address or id.")
    if not call.context.member_may(call.principal, CREATE, store.id):
        raise missing_permission(CREATE)
    return store


def _may_see(call: Call[None], invoice: Invoice) -> bool:
    try:
        require(call.context, call.principal, VIEW, invoice.store_id)
    except ApiError:
        return False
    return True


def _detail(status: Status, seen: bool) -> str:
    if seen:
        return "The node has the transaction."
    return "The node does not know this transaction yet." if status is Status.NEW else "Nothing changed."


def _figures(
    call: Call[None] | Call[CreateRequest] | Call[CallbackRequest], invoice: Invoice
) -> dict[str, object]:
    service, params = call.context.service, call.context.host.params
    amount = price_text(invoice)
    missing = format_amount_short(max(0, method_figures(invoice).due))
    received = format_amount_short(net(invoice.accounted))
    return {
        "invoice_id": invoice.id,
        "merchant": _merchant_of(service.store(invoice.store_id), invoice),
        "amount": Raw(amount.encode()),
        "amount_text": amount,
        "currency": invoice.currency,
        "memo": invoice.memo,
        "status": _VIEW_OF[service.state(invoice).status],
        "address": invoice.address,
        "uri": payment_uri(invoice, params),
        "due": Raw(missing.encode()),
        "due_text": missing,
        "received": Raw(received.encode()),
        "received_text": received,
        "unit": params.unit,
        "confirmations_required": invoice.depth,
        "created_at": invoice.created_at,
        "expires_at": invoice.expires_at,
        "checkout_link": f"{call.context.base_url}/i/{invoice.id}",
    }


def _merchant_of(store: Store | None, invoice: Invoice) -> str:
    if store is not None and store.chain is not None and store.chain.kind == "address":
        return store.chain.text
    return invoice.store_id if invoice.own_address else invoice.address


def _public_view(call: Call[None], invoice: Invoice) -> InvoiceAnswer:
    return InvoiceAnswer(**_figures(call, invoice))  # type: ignore[arg-type]  # names and types are the table's


def _merchant_view(
    call: Call[None] | Call[CreateRequest] | Call[CallbackRequest], invoice: Invoice
) -> InvoiceAnswer:
    service = call.context.service
    state = service.state(invoice)
    return InvoiceAnswer(
        **_figures(call, invoice),  # type: ignore[arg-type]
        store_id=invoice.store_id,
        detail=state.status.value,
        additional_status=state.additional.value,
        callback_url=invoice.callback_url,
        payments=[_payment_view(payment, service.tip_height) for payment in invoice.payments],
    )


def _payment_view(payment: Payment, tip_height: int) -> PaymentAnswer:
    text = format_amount_short(payment.amount)
    return PaymentAnswer(
        tx_id=to_display_hex(payment.txid),
        vout=int.from_bytes(payment.outpoint[32:], "little"),
        amount=Raw(text.encode()),
        amount_text=text,
        status=payment_status(payment).value,
        confirmations=depth(payment, tip_height),
        received_at=payment.received_at,
    )
