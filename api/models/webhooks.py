"""Greenfield's webhooks and their deliveries."""

from msgspec import UNSET, Struct, UnsetType

__all__ = ["AuthorizedEvents", "DeliveryAnswer", "EventsAnswer", "WebhookAnswer", "WebhookRequest"]


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


class DeliveryAnswer(Struct, rename="camel"):
    id: str
    timestamp: int
    delivery_time: int
    http_code: int | None
    error_message: str | None
    status: str
