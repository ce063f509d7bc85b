"""BTNG-PAY's bodies. Amounts are JSON numbers with exact decimal digits, and text beside them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from api.fields import AmountText

__all__ = [
    "CallbackRequest",
    "ClaimAnswer",
    "ClaimRequest",
    "CreateRequest",
    "InvoiceAnswer",
    "PaymentAnswer",
]

ExactNumber = Annotated[
    Raw, Meta(description="A JSON number with exact decimal digits.", extra_json_schema={"type": "number"})
]
ViewStatus = Literal["pending", "paid", "expired", "failed"]
Text = Annotated[str, Meta(max_length=1024)]


class CreateRequest(Struct, rename="camel"):
    """A new invoice."""

    merchant: Annotated[str, Meta(min_length=1, max_length=128, description="Address or id of the store.")]
    amount: AmountText
    currency: Annotated[str, Meta(max_length=16)] | None = None
    memo: (
        Annotated[str, Meta(max_length=1024, description="Words for the payer, without control characters.")]
        | None
    ) = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=2_073_600)] | None = None
    callback_url: Annotated[str, Meta(max_length=2048)] | None = None


class ClaimRequest(Struct, rename="camel"):
    """A wallet says which transaction pays an invoice."""

    invoice_id: Annotated[str, Meta(min_length=1, max_length=64)]
    tx_id: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]
    from_: Annotated[str, Meta(max_length=128)] | None = field(name="from", default=None)
    """The payer's address."""
    proof: Annotated[str, Meta(max_length=20_000, description="Base64 signature of the text to sign.")] | None = (
        None
    )


class CallbackRequest(Struct, rename="camel"):
    """Where an invoice's changes are posted; without `url` the present status is sent again."""

    invoice_id: Annotated[str, Meta(min_length=1, max_length=64)]
    url: Annotated[str, Meta(max_length=2048)] | None = None


class PaymentAnswer(Struct, rename="camel"):
    """One payment of an invoice."""

    tx_id: str
    vout: int
    amount: ExactNumber
    amount_text: str
    status: Literal["Processing", "Settled", "Invalid"]
    confirmations: int
    received_at: int


class InvoiceAnswer(Struct, rename="camel"):
    """An invoice. The last five properties are for the merchant's key only."""

    invoice_id: str
    merchant: str
    amount: ExactNumber
    amount_text: str
    currency: str
    memo: str
    status: ViewStatus
    address: str
    uri: str
    due: ExactNumber
    due_text: str
    received: ExactNumber
    received_text: str
    unit: str
    confirmations_required: int
    created_at: int
    expires_at: int
    checkout_link: str
    store_id: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    additional_status: str | UnsetType = UNSET
    callback_url: str | UnsetType | None = UNSET
    payments: list[PaymentAnswer] | UnsetType = UNSET


class ClaimAnswer(Struct, rename="camel"):
    """The invoice's status after the claim was looked at."""

    status: ViewStatus
    invoice_id: str
    tx_id: str
    confirmations: int
    confirmations_required: int
    detail: str | UnsetType = UNSET
