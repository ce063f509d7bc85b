"""What people are told of in the administration: one inbox per user, and one of the operator for all stores.

| key                                        | value                                                     |
|--------------------------------------------|-----------------------------------------------------------|
| `anotice/` user `/` u64 desc. time, hash(8)| JSON Notice                                               |
| `anoticecount/` user                       | u32: how many there may be                                |
| `anoticesettings/` user                    | JSON list: kinds of notices that the user does not want   |

A notice is written in the transaction of the event that it tells of, for each member of the store.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Final, Protocol

import msgspec

from payments.errors import PaymentError
from payments.events import Event, EventType
from storage.database import Database, ReadSnapshot, Txn
from storage.keys import u64_descending

__all__ = ["KINDS", "OPERATOR", "Notice", "Notices", "note_event"]

OPERATOR: Final = "operator"
KEPT: Final = 500
"""Of each inbox; older ones are forgotten."""
SPARE: Final = 64
"""So many more are stored before the oldest go."""
_NOTICE = b"anotice/"
_SETTINGS = b"anoticesettings/"
_COUNTS = b"anoticecount/"
_MEMBERS = b"acct/member/"

KINDS: Final = {
    "invoicestate_invoice_paidAfterExpiration": "Invoice was paid after expiration",
    "invoicestate_invoice_expiredPaidPartial": "Invoice expired with partial payments",
    "invoicestate_invoice_failedToConfirm": "Invoice has payments that failed to confirm on time",
    "invoicestate_invoice_confirmed": "Invoice is settled",
    "invoicestate_payment_reorged": "A settled payment left the chain",
    "invoicestate_payment_replaced": "A payment was replaced by another transaction",
}
_KIND_OF: Final = {
    EventType.PAID_AFTER_EXPIRATION: "invoicestate_invoice_paidAfterExpiration",
    EventType.EXPIRED_PAID_PARTIAL: "invoicestate_invoice_expiredPaidPartial",
    EventType.INVALID: "invoicestate_invoice_failedToConfirm",
    EventType.SETTLED: "invoicestate_invoice_confirmed",
    EventType.PAYMENT_REORGED: "invoicestate_payment_reorged",
    EventType.PAYMENT_REPLACED: "invoicestate_payment_replaced",
}
UNWANTED_AT_FIRST: Final = ("invoicestate_invoice_confirmed",)
"""What happens with every sale is in the lists already."""


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`id` is the end of its key, as hex."""

    id: str
    kind: str
    store_id: str
    invoice_id: str
    created_at: int
    seen: bool = False


class Home(Protocol):
    """Where the records are."""

    def open(self) -> Database: ...

    def reading(self) -> AbstractContextManager[ReadSnapshot | None]: ...


def note_event(txn: Txn, event: Event) -> None:
    """Tell the store's members, and the operator, where the event is worth it."""
    kind = _KIND_OF.get(event.type)
    if kind is None or event.flags.get("manuallyMarked"):
        return
    readers = _readers(txn, event.store_id, kind)
    if not readers:
        return
    end = u64_descending(max(event.at, 0)) + hashlib.sha256(event.id.encode()).digest()[:8]
    notice = Notice(end.hex(), kind, event.store_id, event.invoice_id, event.at)
    for user_id in readers:
        txn.put_json(_inbox(user_id) + end, notice)
        _trim(txn, user_id)


def _readers(txn: Txn, store_id: str, kind: str) -> Sequence[str]:
    """Who wants to be told of this kind; looked up once in a transaction, which may bring thousands of them."""
    known: Sequence[str] | None = txn.memo.get((_readers, store_id, kind))
    if known is not None:
        return known
    prefix = _MEMBERS + store_id.encode() + b"/"
    members = [row[len(prefix) :].decode() for row, _ in txn.iterate(prefix=prefix, keys_only=True)]
    found = [user_id for user_id in (OPERATOR, *members) if kind not in _unwanted(txn, user_id)]
    txn.memo[_readers, store_id, kind] = found
    return found


def _trim(txn: Txn, user_id: str) -> None:
    """Forget the oldest, a group at a time: to look through the inbox at every event makes a full block slow."""
    row = _COUNTS + _bytes(user_id)
    count = int.from_bytes(txn.get(row) or b"", "big") + 1
    if count >= KEPT + SPARE:
        for old, _ in list(islice(txn.iterate(prefix=_inbox(user_id), keys_only=True), KEPT, None)):
            txn.delete(old)
        count = KEPT
    txn.put(row, count.to_bytes(4, "big"))


class Notices:
    """Inboxes. Reads are synchronous; writes are durable when they return."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def of_user(self, user_id: str) -> Sequence[Notice]:
        """Newest first."""
        with self._home.reading() as reader:
            if reader is None:
                return []
            return [notice for _, notice in islice(reader.iterate_json(_inbox(user_id), Notice), KEPT)]

    def get(self, user_id: str, notice_id: str) -> Notice:
        """404 notification-not-found."""
        with self._home.reading() as reader:
            found = reader.get_json(_place(user_id, notice_id), Notice) if reader is not None else None
        if found is None:
            raise _not_found()
        return found

    async def set_seen(self, user_id: str, notice_id: str, seen: bool | None) -> Notice:
        """None turns it round. 404."""

        def write(txn: Txn) -> Notice:
            notice = txn.get_json(_place(user_id, notice_id), Notice)
            if notice is None:
                raise _not_found()
            changed = msgspec.structs.replace(notice, seen=not notice.seen if seen is None else seen)
            txn.put_json(_place(user_id, notice_id), changed)
            return changed

        return await self._home.open().transact(write)

    async def delete(self, user_id: str, notice_id: str) -> None:
        """404."""

        def write(txn: Txn) -> None:
            if txn.get(_place(user_id, notice_id)) is None:
                raise _not_found()
            txn.delete(_place(user_id, notice_id))

        await self._home.open().transact(write)

    def unwanted(self, user_id: str) -> Sequence[str]:
        """Kinds that the user is not told of."""
        with self._home.reading() as reader:
            return UNWANTED_AT_FIRST if reader is None else _unwanted(reader, user_id)

    async def set_unwanted(self, user_id: str, kinds: Sequence[str]) -> None:
        wanted = sorted({kind for kind in kinds if kind in KINDS})
        await self._home.open().transact(lambda txn: txn.put_json(_SETTINGS + _bytes(user_id), wanted))


def _unwanted(reader: Txn | ReadSnapshot, user_id: str) -> Sequence[str]:
    found = reader.get_json(_SETTINGS + _bytes(user_id), list[str])
    return UNWANTED_AT_FIRST if found is None else found


def _inbox(user_id: str) -> bytes:
    return _NOTICE + _bytes(user_id) + b"/"


def _place(user_id: str, notice_id: str) -> bytes:
    try:
        end = bytes.fromhex(notice_id)
    except ValueError:
        raise _not_found() from None
    if len(end) != 16:
        raise _not_found()
    return _inbox(user_id) + end


def _not_found() -> PaymentError:
    return PaymentError("notification-not-found", "The notification was not found", 404)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
