"""What the server answers, typed. Amounts are decimal text, times Unix seconds; unknown properties are ignored."""

from typing import Any

from msgspec import Raw, Struct, field

__all__ = [
    "ApiKey",
    "AuthorizedEvents",
    "Checkout",
    "Delivery",
    "Event",
    "EventPage",
    "Invoice",
    "InvoicePaymentMethod",
    "Payment",
    "PaymentRequest",
    "Rate",
    "Revenue",
    "RevenueRow",
    "ServerInfo",
    "Stats",
    "StatsMethod",
    "Store",
    "StorePaymentMethod",
    "Webhook",
]


class Answer(Struct, frozen=True, rename="camel"):
    """Anything that comes back."""


def _digits(token: Raw) -> str:
    return bytes(token).decode().strip('"')


class Payment(Answer, frozen=True):
    id: str
    received_date: int
    value: str
    fee: str
    status: str
    destination: str


class InvoicePaymentMethod(Answer, frozen=True):
    """What one method asks for and has got. `due` is negative when overpaid."""

    payment_method_id: str
    currency: str
    destination: str | None
    payment_link: str | None
    rate: str
    payment_method_paid: str
    total_paid: str
    due: str
    amount: str
    payment_method_fee: str
    payments: tuple[Payment, ...] = ()
    activated: bool = True


class Checkout(Answer, frozen=True):
    speed_policy: str
    payment_methods: tuple[str, ...]
    default_payment_method: str | None
    expiration_minutes: int
    monitoring_minutes: int
    tolerance_token: Raw = field(name="paymentTolerance")
    redirect_url: str | None = field(name="redirectURL")
    redirect_automatically: bool
    default_language: str | None

    @property
    def payment_tolerance(self) -> str:
        """Percent, as written."""
        return _digits(self.tolerance_token)


class Invoice(Answer, frozen=True):
    id: str
    store_id: str
    type: str
    amount: str
    paid_amount: str
    currency: str
    status: str
    additional_status: str
    checkout_link: str
    created_time: int
    expiration_time: int
    monitoring_expiration: int
    archived: bool
    metadata: dict[str, Any]
    checkout: Checkout
    available_statuses_for_manual_marking: tuple[str, ...] = ()
    payment_methods: tuple[InvoicePaymentMethod, ...] = ()
    addresses: dict[str, str] = {}
    """Address by payment method."""

    @property
    def is_paid(self) -> bool:
        """Settled: what a shop delivers for."""
        return self.status == "Settled"


class Store(Answer, frozen=True):
    """The settings that shops use; the server has more."""

    id: str
    name: str
    default_currency: str
    speed_policy: str
    invoice_expiration: int
    monitoring_expiration: int
    tolerance_token: Raw = field(name="paymentTolerance")
    website: str | None = None
    support_url: str | None = None
    default_payment_method: str | None = None
    archived: bool = False

    @property
    def payment_tolerance(self) -> str:
        """Percent, as written."""
        return _digits(self.tolerance_token)


class StorePaymentMethod(Answer, frozen=True):
    enabled: bool
    payment_method_id: str
    config: Any = None


class Rate(Answer, frozen=True):
    currency_pair: str
    rate: str | None
    errors: tuple[str, ...] = ()


class AuthorizedEvents(Answer, frozen=True):
    everything: bool
    specific_events: tuple[str, ...] = ()


class Webhook(Answer, frozen=True):
    id: str
    url: str
    enabled: bool
    automatic_redelivery: bool
    authorized_events: AuthorizedEvents
    secret: str | None = None
    """Only in the answer that creates it."""


class Delivery(Answer, frozen=True):
    id: str
    timestamp: int
    http_code: int | None
    error_message: str | None
    status: str


class PaymentRequest(Answer, frozen=True):
    id: str
    store_id: str
    amount_token: Raw = field(name="amount")
    currency: str
    title: str
    status: str
    created_time: int
    archived: bool
    description: str | None = None
    email: str | None = None
    reference_id: str | None = None
    expiry_date: int | None = None
    allow_custom_payment_amounts: bool = False

    @property
    def amount(self) -> str:
        """A JSON number on the wire, exact here."""
        return _digits(self.amount_token)


class ApiKey(Answer, frozen=True):
    permissions: tuple[str, ...]
    label: str | None = None
    api_key: str | None = None


class ServerInfo(Answer, frozen=True):
    version: str
    supported_payment_methods: tuple[str, ...]
    fully_synched: bool


class EventPage(Answer, frozen=True):
    """`next` is where the following page begins."""

    events: tuple[dict[str, Any], ...]
    next: int


class StatsMethod(Answer, frozen=True):
    payment_method_id: str
    count: int
    total: str
    average: str
    share: str


class Stats(Answer, frozen=True):
    count: int
    total: str
    average: str
    currency: str
    methods: tuple[StatsMethod, ...]
    invoices_by_status: dict[str, int]


class RevenueRow(Answer, frozen=True):
    period: str
    start: int
    count: int
    total: str


class Revenue(Answer, frozen=True):
    period: str
    currency: str
    rows: tuple[RevenueRow, ...]
    total: str


class Event(Answer, frozen=True):
    """The body of a webhook; what its type does not have keeps its default."""

    delivery_id: str
    webhook_id: str
    original_delivery_id: str
    is_redelivery: bool
    type: str
    timestamp: int
    store_id: str
    invoice_id: str | None = None
    payment_request_id: str | None = None
    metadata: dict[str, Any] | None = None
    after_expiration: bool = False
    manually_marked: bool = False
    partially_paid: bool = False
    over_paid: bool = False
    payment: Payment | None = None
