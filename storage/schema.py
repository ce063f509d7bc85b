"""The schema number of a database, and its migrations.

The number is kept under `SCHEMA_KEY`, as decimal digits. It is checked when the database is opened: an older
one is brought up step by step, each step in one batch with the number it leads to; a newer one is refused.
"""

from collections.abc import Callable, Mapping

from storage.errors import DatabaseCorrupt, SchemaTooNew, StorageError
from storage.kv import KV, WriteBatch

__all__ = ["SCHEMA_KEY", "Migration", "SchemaTooNew", "ensure_schema", "stored_schema"]

SCHEMA_KEY = b"\x00schema"

Migration = Callable[[KV, WriteBatch], None]
"""Reads the old records and puts into the batch what makes them new.

One that is too large for a batch may write to the KV itself before, if it can be run again from its middle.
"""


def stored_schema(kv: KV) -> int | None:
    """The database's schema number, None in an empty one."""
    digits = kv.get(SCHEMA_KEY)
    if digits is None:
        if next(kv.iterate(keys_only=True), None) is not None:
            raise DatabaseCorrupt("the database has records but no schema number: it is not one of ours")
        return None
    if not digits.isdigit():
        raise DatabaseCorrupt(f"the schema number is not a number: {digits!r}")
    return int(digits)


def ensure_schema(kv: KV, version: int, migrations: Mapping[int, Migration] | None = None) -> None:
    """Bring the database to schema `version`; migrations[n] leads from n to n + 1.

    Raises SchemaTooNew for a database that a later version of the software has written.
    """
    present = stored_schema(kv)
    if present is None:
        _write(kv, WriteBatch(), version)
        return
    if present > version:
        raise SchemaTooNew(
            f"the database has schema {present}, this version of the software knows up to {version}: "
            "run the later version that has written it, or restore a backup from before"
        )
    for number in range(present, version):
        migrate = (migrations or {}).get(number)
        if migrate is None:
            raise StorageError(f"no migration leads from schema {number} to {number + 1}")
        batch = WriteBatch()
        migrate(kv, batch)
        _write(kv, batch, number + 1)


def _write(kv: KV, batch: WriteBatch, version: int) -> None:
    batch.put(SCHEMA_KEY, b"%d" % version)
    kv.write(batch, sync=True)
