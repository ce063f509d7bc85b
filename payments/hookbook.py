"""The service's part for webhooks, their deliveries, and the event feed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from msgspec.structs import replace

from payments import layout
from payments.errors import FieldProblem, PaymentError, ValidationError, not_found
from payments.events import Event
from payments.ids import new_short_id
from payments.invoicebook import InvoiceBook
from payments.layout import DeliveryRow, Lane, Parked, ReaderState, Redelivery
from payments.outgoing import check_url
from payments.payloads import DeliveryNames, event_fields, webhook_body
from payments.quotas import is_full
from payments.repository import event_log, invoice_events, last_sequence, load_invoice, metadata_of
from payments.stores import Store, Webhook
from storage.database import Txn
from storage.documents import DocumentReader

__all__ = ["Delivery", "GivenUp", "Held", "HookBook", "Undelivered"]

MAX_SECRET = 256


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to hand an event to an endpoint."""

    id: str
    original_id: str
    webhook_id: str
    seq: int
    at: int
    http_code: int | None
    error: str | None
    is_success: bool


@dataclass(frozen=True, slots=True)
class Held:
    """An invoice's events that wait behind one that the endpoint has refused."""

    invoice_id: str
    sequence: int
    """Of the event that is tried."""
    attempts: int
    next_attempt_at: int
    first_failed_at: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An event that is not tried any more, until somebody asks for it."""

    sequence: int
    at: int
    error: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """How an endpoint stands. Everything up to `position` is delivered, waiting, or parked."""

    position: int
    last_sequence: int
    failures_in_row: int
    closed_until: int
    """The circuit: nothing is sent before this time."""
    waiting: Sequence[Held]
    parked: Sequence[GivenUp]


class HookBook(InvoiceBook):
    """Webhooks and events over the vault."""

    async def create_webhook(
        self,
        store_id: str,
        url: str,
        *,
        secret: str | None = None,
        enabled: bool = True,
        automatic_redelivery: bool = True,
        everything: bool = True,
        specific_events: Sequence[str] = (),
    ) -> Webhook:
        """An endpoint for the store's events from now on. 404, 422 path Url."""
        check_url(url, self._host.params, "Url", allow_http=True)
        _check_secret(secret)
        entropy = self._host.entropy
        webhook = Webhook(
            new_short_id(entropy),
            store_id,
            url,
            secret or new_short_id(entropy),
            self._host.clock.now(),
            enabled,
            automatic_redelivery,
            everything,
            tuple(specific_events)[:100],
        )

        def put(txn: Txn) -> None:
            if txn.get_json(layout.store_key(store_id), Store) is None:
                raise not_found("store")
            limit = self.quotas.webhooks
            if is_full(txn, layout.webhook_by_store_key(store_id), limit):
                raise PaymentError("webhook-limit-reached", f"A store has at most {limit} webhooks", 403)
            txn.put_json(layout.webhook_key(webhook.id), webhook)
            txn.put(layout.webhook_by_store_key(store_id, webhook.id), b"")
            state = ReaderState(store_id, last_sequence(txn, store_id))
            txn.put_record(layout.reader_key(webhook.id), state)

        await self._vault.transact(put)
        self._vault.reader_added(webhook.id)
        return webhook

    async def update_webhook(self, webhook: Webhook) -> Webhook:
        """Replaces the record of the same id; its circuit closes. 404, 422 path Url."""
        check_url(webhook.url, self._host.params, "Url", allow_http=True)
        _check_secret(webhook.secret)

        def put(txn: Txn) -> None:
            before = txn.get_json(layout.webhook_key(webhook.id), Webhook)
            state = txn.get_record(layout.reader_key(webhook.id), ReaderState)
            if before is None or state is None or before.store_id != webhook.store_id:
                raise not_found("webhook")
            txn.put_json(layout.webhook_key(webhook.id), webhook)
            txn.put_record(layout.reader_key(webhook.id), replace(state, failures=0, closed_until=0))

        await self._vault.transact(put)
        self._vault.bell.ring((webhook.store_id,))
        return webhook

    async def delete_webhook(self, store_id: str, webhook_id: str) -> None:
        """Its deliveries are forgotten with it. 404."""

        def delete(txn: Txn) -> None:
            webhook = txn.get_json(layout.webhook_key(webhook_id), Webhook)
            if webhook is None or webhook.store_id != store_id:
                raise not_found("webhook")
            txn.delete(layout.webhook_key(webhook_id))
            txn.delete(layout.webhook_by_store_key(store_id, webhook_id))
            txn.delete(layout.reader_key(webhook_id))
            prefixes = (
                layout.lane_key(webhook_id),
                layout.parked_key(webhook_id),
                layout.redelivery_key(webhook_id),
                layout.delivery_key(webhook_id),
            )
            for prefix in prefixes:
                for row, _ in list(txn.iterate(prefix=prefix, keys_only=True)):
                    txn.delete(row)

        await self._vault.transact(delete)
        self._vault.bell.ring((store_id,))

    def webhook(self, webhook_id: str) -> Webhook | None:
        with self._vault.reading() as reader:
            return reader.get_json(layout.webhook_key(webhook_id), Webhook) if reader is not None else None

    def webhooks(self, store_id: str) -> Sequence[Webhook]:
        """Oldest first."""
        found = []
        prefix = layout.webhook_by_store_key(store_id)
        with self._vault.reading() as reader:
            if reader is None:
                return []
            for row, _ in reader.iterate(prefix=prefix, keys_only=True):
                webhook = reader.get_json(layout.webhook_key(row[len(prefix) :].decode()), Webhook)
                if webhook is not None:
                    found.append(webhook)
        return sorted(found, key=lambda hook: (hook.created_at, hook.id))

    # Deliveries

    def deliveries(self, webhook_id: str, count: int | None = None) -> Sequence[Delivery]:
        """Newest first."""
        found: list[Delivery] = []
        with self._vault.reading() as reader:
            if reader is None:
                return found
            for _, row in reader.iterate_records(layout.delivery_key(webhook_id), DeliveryRow):
                if count is not None and len(found) >= count:
                    break
                found.append(_delivery(webhook_id, row))
        return found

    def delivery_body(self, webhook_id: str, delivery_id: str) -> bytes:
        """The JSON that was sent. 404 webhookdelivery-not-found, 409 webhookdelivery-pruned."""
        with self._vault.reading() as reader:
            webhook = reader.get_json(layout.webhook_key(webhook_id), Webhook) if reader is not None else None
            row = _find_delivery(reader, webhook_id, delivery_id) if reader is not None else None
            if webhook is None or row is None or reader is None:
                raise not_found("webhookdelivery")
            events = event_log(reader, webhook.store_id, row.seq - 1, 1)
            if not events or events[0].seq != row.seq:
                raise PaymentError("webhookdelivery-pruned", "The body of this delivery was pruned", 409)
            event = events[0]
            metadata = metadata_of(reader, event.invoice_id, event.metadata_version)
        names = DeliveryNames(row.id, webhook_id, row.original_id)
        return webhook_body(event, metadata, names, self._host.params)

    async def redeliver(self, webhook_id: str, delivery_id: str) -> str:
        """Id of the new delivery, which is sent asynchronously."""
        new_id = new_short_id(self._host.entropy)

        def put(txn: Txn) -> str:
            webhook = txn.get_json(layout.webhook_key(webhook_id), Webhook)
            row = _find_delivery(txn, webhook_id, delivery_id)
            if webhook is None or row is None:
                raise not_found("webhookdelivery")
            txn.put_record(layout.redelivery_key(webhook_id, new_id), Redelivery(row.seq, row.original_id))
            return webhook.store_id

        store_id = await self._vault.transact(put)
        self._vault.bell.ring((store_id,))
        return new_id

    async def redeliver_failed(self, webhook_id: str, since: int) -> int:
        """Sends everything again that was given up since then, and tries what waits at once; how many."""
        now = self._host.clock.now()

        def put(txn: Txn) -> tuple[str, int]:
            webhook = txn.get_json(layout.webhook_key(webhook_id), Webhook)
            state = txn.get_record(layout.reader_key(webhook_id), ReaderState)
            if webhook is None or state is None:
                raise not_found("webhook")
            count = 0
            for row, parked in list(txn.iterate_records(layout.parked_key(webhook_id), Parked)):
                if parked.at < since:
                    continue
                txn.delete(row)
                seq = int.from_bytes(row[-8:], "big")
                again = Redelivery(seq, parked.original_id)
                txn.put_record(layout.redelivery_key(webhook_id, new_short_id(self._host.entropy)), again)
                count += 1
            for row, lane in list(txn.iterate_records(layout.lane_key(webhook_id), Lane)):
                txn.put_record(row, replace(lane, next_at=now))
                count += 1
            txn.put_record(layout.reader_key(webhook_id), replace(state, failures=0, closed_until=0))
            return webhook.store_id, count

        store_id, count = await self._vault.transact(put)
        self._vault.bell.ring((store_id,))
        return count

    def undelivered(self, webhook_id: str, limit: int = 1000) -> Undelivered:
        """What the endpoint has not got, and when it is tried again. 404."""
        with self._vault.reading() as reader:
            row = layout.reader_key(webhook_id)
            state = reader.get_record(row, ReaderState) if reader is not None else None
            if reader is None or state is None:
                raise not_found("webhook")
            prefix = layout.lane_key(webhook_id)
            waiting = [
                Held(key[len(prefix) :].decode(), lane.next_seq, lane.attempts, lane.next_at, lane.first_failed_at)
                for key, lane in islice(reader.iterate_records(prefix, Lane), limit)
            ]
            parked = [
                GivenUp(int.from_bytes(key[-8:], "big"), row.at, row.error)
                for key, row in islice(reader.iterate_records(layout.parked_key(webhook_id), Parked), limit)
            ]
            last = last_sequence(reader, state.store_id)
        return Undelivered(state.position, last, state.failures, state.closed_until, waiting, parked)

    # Events

    def events(self, store_id: str, after: int, limit: int = 100) -> Sequence[Event]:
        """What happened in the store behind event number `after`, in order."""
        with self._vault.reading() as reader:
            return event_log(reader, store_id, after, limit) if reader is not None else []

    async def wait_events(self, store_id: str, after: int, timeout_s: float, limit: int = 100) -> Sequence[Event]:
        """As events, waiting for the first one."""
        end = asyncio.get_running_loop().time() + timeout_s
        while True:
            ring = self._vault.bell.next_ring(store_id)
            found = self.events(store_id, after, limit)
            left = end - asyncio.get_running_loop().time()
            if found or left <= 0:
                return found
            await self._vault.bell.wait(ring, left)

    def event_body(self, event: Event) -> dict[str, object]:
        """The event as the pull feed writes it: Greenfield's fields with `eventId` and `sequence`."""
        with self._vault.reading() as reader:
            metadata = b"{}"
            if reader is not None and event.invoice_id:
                metadata = metadata_of(reader, event.invoice_id, event.metadata_version)
        return event_fields(event, metadata, self._host.params)

    def invoice_events(self, invoice_id: str) -> Sequence[Event]:
        """One invoice's events, in order."""
        with self._vault.reading() as reader:
            invoice = load_invoice(reader, invoice_id) if reader is not None else None
            return invoice_events(reader, invoice) if reader is not None and invoice is not None else []


def _find_delivery(reader: DocumentReader, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
    where = reader.get(layout.delivery_id_key(delivery_id))
    if where is None or not where.startswith(layout.delivery_key(webhook_id)):
        return None
    return reader.get_record(where, DeliveryRow)


def _delivery(webhook_id: str, row: DeliveryRow) -> Delivery:
    is_success = 200 <= row.http_code < 300
    return Delivery(
        row.id,
        row.original_id,
        webhook_id,
        row.seq,
        row.at_ms // 1000,
        row.http_code or None,
        row.error or None,
        is_success,
    )


def _check_secret(secret: str | None) -> None:
    if secret is not None and not 1 <= len(secret) <= MAX_SECRET:
        raise ValidationError(FieldProblem("Secret", f"A secret has 1 to {MAX_SECRET} characters"))
