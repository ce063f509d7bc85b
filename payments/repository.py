"""Reading and writing invoices with everything that hangs on them.

`change_invoice` is the only writer of an invoice: it writes the record and its payments, moves the index rows,
and appends the events that follow from the difference, all in the caller's transaction.
"""

from collections.abc import Iterable, Iterator

import msgspec

from payments import layout
from payments.events import Event, EventDraft, events_between
from payments.figures import note_change
from payments.finding import put_rows, put_term
from payments.invoice import Invoice, Payment, Presence, Status, due, next_deadline, status
from payments.notices import note_event
from payments.quotas import note_opened
from storage.database import ABSENT, Txn
from storage.documents import DocumentReader

__all__ = [
    "append_event",
    "change_invoice",
    "event_log",
    "invoice_events",
    "is_open",
    "last_sequence",
    "load_invoice",
    "metadata_of",
]


def load_invoice(reader: DocumentReader, invoice_id: str) -> Invoice | None:
    """The invoice with its payments."""
    invoice = reader.get_json(layout.invoice_key(invoice_id), Invoice)
    if invoice is None or not invoice.payment_count:
        return invoice
    payments = tuple(_payments(reader, invoice_id, invoice.payment_count))
    return msgspec.structs.replace(invoice, payments=payments)


def _payments(reader: DocumentReader, invoice_id: str, count: int) -> Iterator[Payment]:
    # By number, not by iteration: reads in a large transaction must not walk everything it has written.
    for number in range(1, count + 1):
        payment = reader.get_record(layout.payment_key(invoice_id, number), Payment)
        assert payment is not None, f"payment {number} of {invoice_id} is missing"
        yield payment


def change_invoice(txn: Txn, before: Invoice | None, after: Invoice, now: int) -> tuple[Invoice, list[Event]]:
    """Write `after` in place of `before` (None creates it), with indexes and events.

    Gives back the record as written and its events; nothing is written when nothing has changed.
    """
    if before is not None and after == before:
        return before, []
    if before is not None and before.shrunk_at and after.shrunk_at:
        after = msgspec.structs.replace(after, shrunk_at=0)  # something happens to it after all
        put_rows(txn, after)
    revision = before.revision + 1 if before is not None else 1
    after = msgspec.structs.replace(
        after, revision=revision, payment_count=len(after.payments), timer_at=next_deadline(after)
    )
    _write_record(txn, before, after)
    _write_payments(txn, before, after)
    _move_timer(txn, before, after)
    _note_due(txn, before, after)
    if after.callback_url is not None and (before is None or before.callback_url is None):
        txn.put(layout.callbacks_key(after.store_id), b"")
    opened = is_open(after) - (before is not None and is_open(before))
    if opened:
        note_opened(txn, after.store_id, opened)
    note_change(txn, before, after)
    events = [append_event(txn, after.store_id, draft, now, after) for draft in events_between(before, after)]
    return after, events


def _write_record(txn: Txn, before: Invoice | None, after: Invoice) -> None:
    record = msgspec.structs.replace(after, payments=()) if after.payments else after
    txn.put_json(layout.invoice_key(after.id), record)
    if before is not None and after.metadata_version != before.metadata_version:
        txn.put(layout.metadata_key(after.id, before.metadata_version), before.metadata)


def _write_payments(txn: Txn, before: Invoice | None, after: Invoice) -> None:
    earlier = before.payments if before is not None else ()
    if after.payments is earlier:
        return
    known = {p.outpoint: p for p in earlier}
    for payment in after.payments:
        old = known.get(payment.outpoint)
        if old is payment or old == payment:
            continue
        if old is None:
            txn.require(layout.claim_key(payment.outpoint), ABSENT)
            txn.put_record(layout.claim_key(payment.outpoint), layout.ClaimRow(after.id, payment.number))
            put_term(txn, after, payment.txid[::-1].hex())
        txn.put_record(layout.payment_key(after.id, payment.number), payment)
        if old is not None and old.presence is Presence.BLOCK and old.height != payment.height:
            txn.delete(layout.in_block_key(old.height, payment.outpoint))
        if payment.presence is Presence.BLOCK:
            txn.put(layout.in_block_key(payment.height, payment.outpoint), b"")
    ripe_before = _ripe_heights(earlier)
    ripe_after = _ripe_heights(after.payments)
    for height in ripe_before - ripe_after:
        txn.delete(layout.ripe_key(height, after.id))
    for height in ripe_after - ripe_before:
        txn.put(layout.ripe_key(height, after.id), b"")


def _ripe_heights(payments: Iterable[Payment]) -> set[int]:
    """Heights at which a payment has the confirmations it still waits for."""
    return {p.height + max(1, p.needed) - 1 for p in payments if p.presence is Presence.BLOCK and not p.settled_at}


def _move_timer(txn: Txn, before: Invoice | None, after: Invoice) -> None:
    old = before.timer_at if before is not None else 0
    if old == after.timer_at:
        return
    if old:
        txn.delete(layout.timer_key(old, after.id))
    if after.timer_at:
        txn.put(layout.timer_key(after.timer_at, after.id), b"")


def _note_due(txn: Txn, before: Invoice | None, after: Invoice) -> None:
    """Remember what was ever due at a fixed address: a claim by amount must not be a neighbour's payment."""
    if after.own_address or not after.script:
        return
    missing = due(after)
    if missing > 0 and (before is None or due(before) != missing):
        txn.put(layout.by_due_key(after.script, missing, after.monitoring_ends_at, after.id), b"")


def last_sequence(reader: DocumentReader, store_id: str) -> int:
    """Sequence number of the store's last event."""
    return int.from_bytes(reader.get(layout.sequence_key(store_id)) or b"", "big")


def append_event(txn: Txn, store_id: str, draft: EventDraft, now: int, invoice: Invoice | None = None) -> Event:
    """Put an event at the end of the store's log."""
    seq = last_sequence(txn, store_id) + 1
    txn.put(layout.sequence_key(store_id), seq.to_bytes(8, "big"))
    event = Event(
        store_id,
        seq,
        draft.type,
        now,
        "" if invoice is None else invoice.id,
        0 if invoice is None else invoice.metadata_version,
        draft.payment,
        draft.flags,
        "" if invoice is None else status(invoice).status.value,
        draft.payment_request_id,
        draft.request_status,
    )
    if invoice is not None:
        txn.put(layout.invoice_event_key(invoice.id, seq), b"")
    txn.put_record(layout.event_key(store_id, seq), event)
    note_event(txn, event)
    return event


def event_log(reader: DocumentReader, store_id: str, after: int, limit: int) -> list[Event]:
    """The store's events behind number `after`, in order."""
    rows = reader.iterate_records(layout.event_key(store_id), Event, start=layout.event_key(store_id, after + 1))
    return [event for (_, event), _ in zip(rows, range(limit), strict=False)]


def invoice_events(reader: DocumentReader, invoice: Invoice) -> list[Event]:
    """All events of one invoice."""
    found = []
    for row, _ in reader.iterate(prefix=layout.invoice_event_key(invoice.id), keys_only=True):
        event = reader.get_record(layout.event_key(invoice.store_id, int.from_bytes(row[-8:], "big")), Event)
        if event is not None:
            found.append(event)
    return found


def metadata_of(reader: DocumentReader, invoice_id: str, version: int) -> bytes:
    """The invoice's metadata as of that version."""
    replaced = reader.get(layout.metadata_key(invoice_id, version))
    if replaced is not None:
        return replaced
    invoice = reader.get_json(layout.invoice_key(invoice_id), Invoice)
    return invoice.metadata if invoice is not None and invoice.metadata_version == version else b"{}"


def is_open(invoice: Invoice) -> bool:
    """Whether the automatic engine may still change its status."""
    return status(invoice).status in (Status.NEW, Status.PROCESSING)
