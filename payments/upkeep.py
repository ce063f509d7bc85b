"""Forgetting what has had its time: answers of repeated creations after a day, delivery logs after sixty."""

import asyncio
import logging
from typing import Final

from gldnode.clock import Clock
from payments import layout
from payments.idempotency import prune_answers
from payments.layout import DeliveryRow
from storage.database import Database, Txn
from storage.errors import CommitFailed

__all__ = ["keep_tidy", "prune_deliveries"]

log = logging.getLogger(__name__)

EVERY_S: Final = 600
AT_ONCE: Final = 500
DELIVERIES_KEPT_S: Final = 60 * 86_400


async def keep_tidy(database: Database, clock: Clock) -> None:
    """Forget for ever, a little at a time."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await tidy(database, clock.now())
        except CommitFailed as error:
            log.error("old records were not removed: %s", error)


async def tidy(database: Database, now: int) -> None:
    """One round."""
    while await database.transact(lambda txn: prune_answers(txn, now, AT_ONCE)) == AT_ONCE:
        pass
    with database.reader() as reader:
        readers = [row[1:].decode() for row, _ in reader.iterate(prefix=b"y", keys_only=True)]
    for name in readers:
        await _prune_reader(database, name, now)


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
