"""What the payment records take on the disk, by kind."""

from typing import Final

from storage.database import Database
from storage.keys import prefix_end

__all__ = ["storage_used"]

KINDS: Final = {
    "invoices": b"i",
    "payments": b"pcbr",
    "metadata": b"M",
    "addresses": b"Aj",
    "lists": b"TOS",
    "events": b"ev",
    "deliveries": b"DXRYxy",
    "idempotency": b"gG",
    "unassigned": b"lLm",
    "unconfirmed": b"tndz",
}
"""First bytes of the keys; see layout.py."""


def storage_used(database: Database) -> dict[str, int]:
    """Bytes of the tables by kind, with `total`; what LevelDB has only in its log does not count."""
    kv = database.kv
    measure = getattr(kv, "approximate_range_size", None)
    found = {}
    if measure is not None:
        for kind, tags in KINDS.items():
            found[kind] = sum(measure(bytes((tag,)), prefix_end(bytes((tag,))) or b"\xff") for tag in tags)
    found["total"] = kv.approximate_size()
    return found
