"""Forgetting what has had its time: answers of repeated creations after a day, delivery logs after sixty, events
and their bodies after ninety (`-eventsmaxage`), as far as every endpoint is done with them, what was given up
with its body; and abandoned invoices shrink after half a year (`-abandonedmaxage`)."""

import asyncio
import logging
from itertools import islice
from typing import Final

from gldnode.clock import Clock
from payments import layout
from payments.abandoned import ABANDONED_KEPT_S, shrink_abandoned
from payments.events import Event
from payments.idempotency import prune_answers
from payments.invoice import Invoice
from payments.layout import DeliveryRow, Lane, Parked, ReaderState
from payments.repository import last_sequence
from storage.database import Database, Txn
from storage.documents import DocumentReader
from storage.errors import Unavailable

__all__ = ["done_with", "keep_tidy", "prune_deliveries", "prune_events", "prune_given_up", "tidy"]

log = logging.getLogger(__name__)

EVERY_S: Final = 600
AT_ONCE: Final = 500
DELIVERIES_KEPT_S: Final = 60 * 86_400
EVENTS_KEPT_S: Final = 90 * 86_400


async def keep_tidy(
    database: Database,
    clock: Clock,
    events_kept_s: int = EVENTS_KEPT_S,
    abandoned_kept_s: int = ABANDONED_KEPT_S,
) -> None:
    """Forget for ever, a little at a time. 0 seconds keep all of a kind."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await tidy(database, clock.now(), events_kept_s, abandoned_kept_s)
        except Unavailable as error:
            log.error("old records were not removed: %s", error)


async def tidy(
    database: Database,
    now: int,
    events_kept_s: int = EVENTS_KEPT_S,
    abandoned_kept_s: int = ABANDONED_KEPT_S,
) -> None:
    """One round."""
    while await database.transact(lambda txn: prune_answers(txn, now, AT_ONCE)) == AT_ONCE:
        pass
    with database.reader() as reader:
        readers = [row[1:].decode() for row, _ in reader.iterate(prefix=b"y", keys_only=True)]
        stores = [row[1:].decode() for row, _ in reader.iterate(prefix=b"s", keys_only=True)]
    for name in readers:
        await _prune_reader(database, name, now)
        if events_kept_s:
            await _prune_given_up(database, name, now - events_kept_s)
    for store_id in stores:
        if events_kept_s:
            await _prune_store(database, store_id, now - events_kept_s)
        if abandoned_kept_s:
            await shrink_abandoned(database, store_id, now - abandoned_kept_s, now)


async def _prune_store(database: Database, store_id: str, before: int) -> None:
    with database.reader() as reader:
        last = done_with(reader, store_id)
    while await database.transact(lambda txn: prune_events(txn, store_id, before, last)) == AT_ONCE:
        pass


def done_with(reader: DocumentReader, store_id: str) -> int:
    """Up to this event of the store every endpoint has delivered or given up everything."""
    last = last_sequence(reader, store_id)
    for row, state in reader.iterate_records(b"y", ReaderState):
        if state.store_id != store_id:
            continue
        last = min(last, state.position)
        for _, lane in reader.iterate_records(layout.lane_key(row[1:].decode()), Lane):
            last = min(last, lane.next_seq - 1)
    return last


def prune_events(txn: Txn, store_id: str, before: int, last: int) -> int:
    """Forget the store's events of before that time, with the metadata that only they showed; how many."""
    rows = txn.iterate_records(layout.event_key(store_id), Event, stop=layout.event_key(store_id, last + 1))
    old = [(row, event) for (row, event), _ in zip(rows, range(AT_ONCE), strict=False) if event.at < before]
    for row, event in old:
        txn.delete(row)
        if not event.invoice_id:
            continue
        txn.delete(layout.invoice_event_key(event.invoice_id, event.seq))
        invoice = txn.get_json(layout.invoice_key(event.invoice_id), Invoice)
        if invoice is not None and event.metadata_version < invoice.metadata_version:
            txn.delete(layout.metadata_key(event.invoice_id, event.metadata_version))
    return len(old)


async def _prune_given_up(database: Database, reader: str, before: int) -> None:
    while await database.transact(lambda txn: prune_given_up(txn, reader, before)) == AT_ONCE:
        pass


def prune_given_up(txn: Txn, reader: str, before: int) -> int:
    """Forget what an endpoint was not told before that time: its body is gone too; how many."""
    rows = txn.iterate_records(layout.parked_key(reader), Parked)
    old = [row for row, parked in islice(rows, AT_ONCE) if parked.at < before]
    for row in old:
        txn.delete(row)
    return len(old)


async def _prune_reader(database: Database, reader: str, now: int) -> None:
    while await database.transact(lambda txn: prune_deliveries(txn, reader, now)) == AT_ONCE:
        pass


def prune_deliveries(txn: Txn, reader: str, now: int) -> int:
    """Forget an endpoint's attempts of more than sixty days ago; how many."""
    prefix = layout.delivery_key(reader)
    start = layout.delivery_key(reader, max(0, now - DELIVERIES_KEPT_S) * 1000)
    rows = txn.iterate_records(prefix, DeliveryRow, start=start)
    old = [(key, row.id) for (key, row), _ in zip(rows, range(AT_ONCE), strict=False)]
    for key, delivery_id in old:
        txn.delete(key)
        txn.delete(layout.delivery_id_key(delivery_id))
    return len(old)
