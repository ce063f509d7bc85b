"""The payments database and its engine, opened when the first store is made: a mere node has none."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from gldnode.ports import NodeHost
from payments.engine import Engine
from payments.errors import PaymentError
from payments.layout import SCHEMA_VERSION
from payments.recount import migrate_counts, migrate_figures
from payments.signals import Bell
from storage.database import Database, ReadSnapshot, Txn
from storage.errors import Unavailable
from storage.schema import ensure_schema

__all__ = ["Vault"]

log = logging.getLogger(__name__)
FOLDER: Final = "db"
WRITE_BUFFER: Final = 16 << 20
"""Larger than usual: a shop that makes thousands of invoices a second merges a third less of tables with it."""
T = TypeVar("T")


class Vault:
    """Opens the database of `host.payments_dir` at the latest possible moment."""

    def __init__(self, host: NodeHost) -> None:
        self.host = host
        self.bell = Bell()
        self._database: Database | None = None
        self._engine: Engine | None = None
        self._on_open: list[Callable[[], None]] = []
        self.reader_added: Callable[[str], None] = lambda reader: None
        """Told of each new reader of the event log; the dispatcher's."""

    @property
    def is_open(self) -> bool:
        return self._database is not None

    @property
    def exists(self) -> bool:
        """Whether there is a database to open."""
        return (self.host.payments_dir / FOLDER).exists()

    def when_open(self, start: Callable[[], None]) -> None:
        """Call `start` once the database is open; at once where it is already."""
        if self.is_open:
            start()
        else:
            self._on_open.append(start)

    def open(self) -> Database:
        """The database, made where there is none."""
        if self._database is not None:
            return self._database
        path = self.host.payments_dir / FOLDER
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = self.host.open_database(path, write_buffer_bytes=WRITE_BUFFER)
        ensure_schema(database.kv, SCHEMA_VERSION, {1: migrate_figures, 2: migrate_counts})
        self._engine = Engine(self.host, database, self.bell)
        self._database = database
        log.info("Payments database opened at %s, block %d", path, self._engine.cursor.height)
        for start in self._on_open:
            start()
        self._on_open.clear()
        return database

    @property
    def database(self) -> Database:
        """For writes to what must exist already. Raises PaymentError 404 before the first store."""
        if self._database is None:
            raise PaymentError("store-not-found", "The store was not found", 404)
        return self._database

    async def transact(self, work: Callable[[Txn], T], *, in_crowds: bool = False) -> T:
        """A transaction for a caller, of a kind that comes `in_crowds` or one by one.

        Raises PaymentError 503 when it cannot be written (disk full).
        """
        database = self.database
        try:
            return await (database.transact_together(work) if in_crowds else database.transact(work))
        except Unavailable as error:
            log.error("payment records were not written: %s", error)
            raise PaymentError("not-available", "The payment records cannot be written now", 503) from error

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise PaymentError("store-not-found", "The store was not found", 404)
        return self._engine

    @contextmanager
    def reading(self) -> Iterator[ReadSnapshot | None]:
        """What is durable now; None before the first store."""
        if self._database is None:
            yield None
            return
        with self._database.reader() as reader:
            yield reader
