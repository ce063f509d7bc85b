"""Greenfield's payment requests. Their `amount` is a JSON number, as BTCPay Server writes it."""

from msgspec import UNSET, Raw, Struct, UnsetType

from api.fields import JsonObject, OptionalAmountText

__all__ = ["PayRequest", "PaymentRequestAnswer", "PaymentRequestBody"]


class PaymentRequestBody(Struct, rename="camel"):
    amount: OptionalAmountText | UnsetType = UNSET
    currency: str | None = None
    title: str | None = None
    description: str | None = None
    email: str | None = None
    reference_id: str | None = None
    expiry_date: int | None = None
    allow_custom_payment_amounts: bool | None = None
    form_id: str | None = None
    form_response: JsonObject | UnsetType = UNSET


class PayRequest(Struct, rename="camel"):
    amount: OptionalAmountText | UnsetType = UNSET
    allow_pending_invoice_reuse: bool | None = None


class PaymentRequestAnswer(Struct, rename="camel"):
    id: str
    store_id: str
    amount: Raw
    currency: str
    title: str
    description: str | None
    email: str | None
    reference_id: str | None
    expiry_date: int | None
    allow_custom_payment_amounts: bool
    status: str
    created_time: int
    archived: bool
    form_id: str | None
    form_response: Raw
