"""Greenfield's invoices, as they are asked for and as they are answered."""

from msgspec import UNSET, Raw, Struct, UnsetType, field

from api.fields import AnyJson, DurationJson, JsonObject, OptionalAmountText

__all__ = [
    "CheckoutAnswer",
    "CheckoutRequest",
    "InvoiceAnswer",
    "InvoiceRequest",
    "MarkRequest",
    "MethodAnswer",
    "PaymentAnswer",
    "ReceiptRequest",
    "RiskAnswer",
    "UpdateInvoiceRequest",
]


class CheckoutRequest(Struct, rename="camel"):
    """Null or absent means the store's default."""

    speed_policy: AnyJson | UnsetType = UNSET
    payment_methods: list[str] | None = None
    default_payment_method: str | None = None
    lazy_payment_methods: bool | None = None
    expiration_minutes: DurationJson | UnsetType = UNSET
    monitoring_minutes: DurationJson | UnsetType = UNSET
    payment_tolerance: OptionalAmountText | UnsetType = UNSET
    redirect_url: str | None = field(name="redirectURL", default=None)
    redirect_automatically: bool | None = None
    default_language: str | None = None


class ReceiptRequest(Struct, rename="camel"):
    enabled: bool | None = None
    show_qr: bool | None = field(name="showQR", default=None)
    show_payments: bool | None = None


class InvoiceRequest(Struct, rename="camel"):
    """Without `amount` a top-up invoice. The last five properties are put where Greenfield has them."""

    amount: OptionalAmountText | UnsetType = UNSET
    currency: str | None = None
    metadata: JsonObject | UnsetType = UNSET
    checkout: CheckoutRequest | None = None
    receipt: ReceiptRequest | None = None
    additional_search_terms: list[str] | None = None
    order_id: AnyJson | UnsetType = UNSET
    description: str | None = None
    buyer_email: str | None = None
    redirect_url: str | None = None
    notification_url: str | None = None


class UpdateInvoiceRequest(Struct, rename="camel"):
    """`metadata` replaces all of it."""

    metadata: JsonObject | UnsetType = UNSET


class MarkRequest(Struct):
    status: AnyJson


class CheckoutAnswer(Struct, rename="camel"):
    speed_policy: str
    payment_methods: list[str]
    default_payment_method: str | None
    lazy_payment_methods: bool | None
    expiration_minutes: int
    monitoring_minutes: int
    payment_tolerance: Raw
    redirect_url: str | None = field(name="redirectURL")
    redirect_automatically: bool
    default_language: str | None


class RiskAnswer(Struct, rename="camel"):
    """What the node's mempool says of an unconfirmed payment; feerates in grains per 1,000 vbytes."""

    in_mempool: bool
    signals_replacement: bool
    feerate_per_kvb: int
    estimate_per_kvb: int | None
    unconfirmed_ancestors: int
    seconds_seen: int
    conflict_seen: bool
    within_policy: bool
    seconds_left: int
    findings: list[str]


class PaymentAnswer(Struct, rename="camel"):
    """The last three are ours; `risk` only while the payment is not in a block."""

    id: str
    received_date: int
    value: str
    fee: str
    status: str
    destination: str
    confirmations: int
    block_height: int | None
    risk: RiskAnswer | UnsetType = UNSET


class MethodAnswer(Struct, rename="camel"):
    """What one payment method asks for and has got; amounts in its currency."""

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
    payments: list[PaymentAnswer]
    activated: bool
    additional_data: Raw


class InvoiceAnswer(Struct, rename="camel"):
    id: str
    store_id: str
    type: str
    amount: str
    paid_amount: str
    currency: str
    metadata: Raw
    checkout: CheckoutAnswer
    receipt: ReceiptRequest
    checkout_link: str
    status: str
    additional_status: str
    created_time: int
    expiration_time: int
    monitoring_expiration: int
    available_statuses_for_manual_marking: list[str]
    archived: bool
    payment_methods: list[MethodAnswer]
    addresses: dict[str, str]
    """Address per method; ours."""
