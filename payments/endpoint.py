"""What an endpoint is: where it is, what it wants to hear, and the request that tells it. Reads only.

Two kinds share the dispatcher: a webhook of a store, and the callback URLs of a store's invoices.
"""

from dataclasses import dataclass
from typing import Final

from gldnode.params import ChainParams
from payments import layout
from payments.events import EXTENSION_TYPES, Event, EventType
from payments.invoice import Invoice
from payments.payloads import DeliveryNames, callback_body, webhook_body
from payments.repository import last_sequence, load_invoice, metadata_of
from payments.signing import SIGNATURE_HEADER, sign_body
from payments.stores import Store, Webhook
from storage.documents import DocumentReader

__all__ = ["Endpoint", "Request", "Target"]

CALLBACK_TYPES: Final = frozenset(
    (
        EventType.RECEIVED_PAYMENT,
        EventType.PROCESSING,
        EventType.SETTLED,
        EventType.EXPIRED,
        EventType.INVALID,
        EventType.PAID_AFTER_EXPIRATION,
        EventType.PAYMENT_REPLACED,
        EventType.PAYMENT_REORGED,
        EventType.CALLBACK_REQUESTED,
    )
)

Target = Webhook | Store
"""Who hears: a webhook, or the store whose invoices name their own URLs."""


@dataclass(frozen=True, slots=True)
class Request:
    url: str
    body: bytes
    headers: dict[str, str]


class Endpoint:
    """One reader of a store's events."""

    def __init__(self, reader: str, params: ChainParams) -> None:
        self._reader = reader
        self._params = params
        self._callback_store = reader.removeprefix("callback:") if reader.startswith("callback:") else None
        self.retries = True
        """Whether a failed delivery is tried again; as of the last look at the webhook."""

    def topic(self, store_id: str) -> str:
        """The bell that rings when there may be something for this endpoint."""
        return store_id if self._callback_store is None else self._reader

    @property
    def has_circuit(self) -> bool:
        """Callbacks go to many hosts: one that is dead says nothing of the others."""
        return self._callback_store is None

    def target(self, reader: DocumentReader) -> Target | None:
        """The endpoint as it is configured now; None when it hears nothing."""
        if self._callback_store is not None:
            return reader.get_json(layout.store_key(self._callback_store), Store)
        webhook = reader.get_json(layout.webhook_key(self._reader), Webhook)
        if webhook is None or not webhook.enabled:
            return None
        self.retries = webhook.automatic_redelivery
        return webhook

    def skips_to(self, reader: DocumentReader, store_id: str) -> int:
        """The event up to which nothing can be for this endpoint; 0 where that is not known.

        A shop without callback URLs makes thousands of events that nobody has to read for their sake.
        """
        if self._callback_store is None or reader.get(layout.callbacks_key(store_id)) is not None:
            return 0
        return last_sequence(reader, store_id)

    def wants(self, reader: DocumentReader, target: Target, event: Event) -> bool:
        """Whether this event is sent there."""
        if isinstance(target, Webhook):
            if target.everything:
                return event.type not in EXTENSION_TYPES or event.type.value in target.specific_events
            return event.type.value in target.specific_events
        if event.type not in CALLBACK_TYPES:
            return False
        invoice = reader.get_json(layout.invoice_key(event.invoice_id), Invoice)
        return invoice is not None and invoice.callback_url is not None

    def request(
        self, reader: DocumentReader, target: Target, event: Event, names: DeliveryNames
    ) -> Request | None:
        """The request that tells the event; None where there is no address for it any more."""
        if isinstance(target, Webhook):
            metadata = metadata_of(reader, event.invoice_id, event.metadata_version)
            body = webhook_body(event, metadata, names, self._params)
            return Request(target.url, body, {SIGNATURE_HEADER: sign_body(target.secret, body)})
        invoice = load_invoice(reader, event.invoice_id)
        if invoice is None or invoice.callback_url is None:
            return None
        body = callback_body(event, invoice, names, self._params)
        return Request(invoice.callback_url, body, {SIGNATURE_HEADER: sign_body(target.callback_secret, body)})
