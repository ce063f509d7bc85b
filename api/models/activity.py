"""What happened, and payments that no invoice has: our own additions to Greenfield."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.models.invoices import PaymentAnswer

__all__ = ["AssignRequest", "EventsAnswer", "ExplainAnswer", "UnassignedAnswer"]


class EventsAnswer(Struct, rename="camel"):
    """`events` as webhooks get them; go on with `after=<next>`."""

    events: list[dict[str, Any]]
    next: int


class ExplainAnswer(Struct, rename="camel"):
    invoice_id: str
    status: str
    additional_status: str
    reasons: list[str]
    payments: list[PaymentAnswer]
    """With what the mempool says of each that is unconfirmed; the last hundred."""


class UnassignedAnswer(Struct, rename="camel"):
    outpoint: str
    amount: str
    address: str
    seen_at: int
    height: int | None
    invoice_id: str | None = None
    """Whose own address was paid, by a crumb that was kept apart: the only invoice that it can be given to."""


class AssignRequest(Struct):
    """The payment's id: transaction id, dash, output number."""

    outpoint: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}[-:][0-9]{1,5}$")]
