"""How much one store may hold, so that a hoster's shops do not crowd each other out. 0 is no limit."""

from dataclasses import dataclass
from itertools import islice

from gldnode.ports import NodeHost
from payments import layout
from payments.errors import PaymentError
from storage.database import Txn
from storage.documents import DocumentReader

__all__ = ["Quotas", "check_open_invoices", "count_open", "is_full", "note_opened"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """The operator's, the same for every store."""

    open_invoices: int = 1_000_000
    webhooks: int = 50
    payment_requests: int = 10_000

    @classmethod
    def of_host(cls, host: NodeHost) -> "Quotas":
        """`-maxopeninvoices`, `-maxwebhooks`, `-maxpaymentrequests`. Raises ValueError."""
        names = ("maxopeninvoices", "maxwebhooks", "maxpaymentrequests")
        defaults = cls()
        values = []
        for name, usual in zip(
            names, (defaults.open_invoices, defaults.webhooks, defaults.payment_requests), strict=True
        ):
            text = host.option(name)
            if text is None:
                values.append(usual)
            elif text.isascii() and text.isdecimal() and len(text) < 13:
                values.append(int(text))
            else:
                raise ValueError(f"-{name} must be a whole number, not '{text}'")
        return cls(*values)


def count_open(reader: DocumentReader, store_id: str) -> int:
    """Invoices of the store that may still be paid in time or confirmed."""
    return int.from_bytes(reader.get(layout.open_count_key(store_id)) or b"", "big")


def note_opened(txn: Txn, store_id: str, change: int) -> None:
    """One invoice was made or reopened (+1), or came to its end (-1)."""
    count = max(0, count_open(txn, store_id) + change)
    txn.put(layout.open_count_key(store_id), count.to_bytes(8, "big"))


def check_open_invoices(txn: Txn, store_id: str, limit: int) -> None:
    """Raises PaymentError 403."""
    if limit and count_open(txn, store_id) >= limit:
        raise PaymentError("invoice-limit-reached", f"A store has at most {limit} unpaid invoices at a time", 403)


def is_full(reader: DocumentReader, prefix: bytes, limit: int) -> bool:
    """Whether there are `limit` rows behind `prefix` already."""
    return limit > 0 and sum(1 for _ in islice(reader.iterate(prefix=prefix, keys_only=True), limit)) >= limit
