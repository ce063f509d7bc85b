"""Greenfield's webhooks and their deliveries."""

from msgspec import UNSET, Struct, UnsetType

__all__ = [
    "AuthorizedEvents",
    "DeliveryAnswer",
    "EventsAnswer",
    "HeldAnswer",
    "ParkedAnswer",
    "RedeliverAnswer",
    "RedeliverRequest",
    "UndeliveredAnswer",
    "WebhookAnswer",
    "WebhookRequest",
]


class AuthorizedEvents(Struct, rename="camel"):
    """An omitted `everything` means true, even beside `specificEvents`, as in BTCPay Server."""

    everything: bool = True
    specific_events: list[str] | None = None


class EventsAnswer(Struct, rename="camel"):
    everything: bool
    specific_events: list[str]


class WebhookRequest(Struct, rename="camel"):
    """What is left out gets its default, also in an update; only the secret is kept."""

    url: str | None = None
    enabled: bool | None = None
    automatic_redelivery: bool | None = None
    authorized_events: AuthorizedEvents | None = None
    secret: str | None = None


class WebhookAnswer(Struct, rename="camel"):
    id: str
    enabled: bool
    automatic_redelivery: bool
    url: str
    authorized_events: EventsAnswer
    secret: str | UnsetType = UNSET
    """In the answer that creates it, and never again."""


class HeldAnswer(Struct, rename="camel"):
    """An invoice's events that wait behind one that the endpoint has refused."""

    invoice_id: str
    sequence: int
    attempts: int
    next_attempt_at: int
    first_failed_at: int


class ParkedAnswer(Struct, rename="camel"):
    """An event that was given up; redeliver-failed sends it again."""

    sequence: int
    at: int
    error: str


class UndeliveredAnswer(Struct, rename="camel"):
    """Everything up to `position` is delivered, waiting or parked. Before `closedUntil` nothing is sent."""

    position: int
    last_sequence: int
    failures_in_row: int
    closed_until: int
    waiting: list[HeldAnswer]
    parked: list[ParkedAnswer]


class RedeliverRequest(Struct):
    """Unix seconds; without it everything that was ever given up."""

    since: int = 0


class RedeliverAnswer(Struct):
    count: int


class DeliveryAnswer(Struct, rename="camel"):
    id: str
    timestamp: int
    delivery_time: int
    http_code: int | None
    error_message: str | None
    status: str
