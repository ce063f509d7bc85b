"""Payment requests: a bill that may be paid by several invoices.

| key                                        | value                          |
|--------------------------------------------|--------------------------------|
| `arequest/item/` request                   | JSON PaymentRequest            |
| `arequest/store/` store `/` request        | empty: the store's requests    |
| `arequest/due/` u64 expiry, request        | empty: those that may expire   |

Its invoices are those with the order id `PAY_REQUEST_<id>`. Its status is computed from them; what was told of it
is recorded, and events follow from the difference in the transaction that makes it.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

import msgspec

from payments import layout
from payments.accounting import paid_amount
from payments.errors import PaymentError
from payments.events import Event, EventDraft, EventType
from payments.finding import order_id_of
from payments.invoice import Additional, Invoice, Status, effective_price, status
from payments.quotas import is_full
from payments.repository import append_event, load_invoice
from payments.signals import Bell
from storage.database import Database, ReadSnapshot, Txn
from storage.keys import u64

__all__ = ["PaymentRequest", "PaymentRequests", "RequestStatus", "order_id", "request_status", "still_due"]

_ITEM = b"arequest/item/"
_STORE = b"arequest/store/"
_DUE = b"arequest/due/"
_ORDER_ID = "PAY_REQUEST_"
AT_ONCE = 200


class RequestStatus(StrEnum):
    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    EXPIRED = "Expired"


class PaymentRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked for, in 10^-8 of `currency`."""

    id: str
    store_id: str
    created_at: int
    amount: int
    currency: str
    title: str
    description: str | None = None
    email: str | None = None
    reference_id: str | None = None
    expires_at: int | None = None
    allow_custom_amounts: bool = False
    archived: bool = False
    form_id: str | None = None
    form_response: bytes = b"null"
    told: RequestStatus = RequestStatus.PENDING
    """The status of the last event."""


class Home(Protocol):
    """Where the records are."""

    def open(self) -> Database: ...

    def reading(self) -> AbstractContextManager[ReadSnapshot | None]: ...

    @property
    def bell(self) -> Bell: ...


def order_id(request_id: str) -> str:
    """By which the request's invoices are found."""
    return _ORDER_ID + request_id


def received(invoice: Invoice) -> tuple[int, int]:
    """(settled, paid) that the invoice brings to its request, in 10^-8 of the currency."""
    state = status(invoice)
    if state.status is Status.INVALID:
        return 0, 0
    paid = paid_amount(invoice)
    if state.status is Status.SETTLED:
        worth = max(paid, effective_price(invoice) or 0) if state.additional is Additional.MARKED else paid
        return worth, worth
    return 0, paid


def request_status(request: PaymentRequest, invoices: Iterable[Invoice], now: int) -> RequestStatus:
    settled = paid = 0
    for invoice in invoices:
        of_settled, of_paid = received(invoice)
        settled += of_settled
        paid += of_paid
    if settled >= request.amount:
        return RequestStatus.COMPLETED
    if request.expires_at is not None and now >= request.expires_at:
        return RequestStatus.EXPIRED
    return RequestStatus.PROCESSING if paid >= request.amount else RequestStatus.PENDING


def still_due(request: PaymentRequest, invoices: Iterable[Invoice]) -> int:
    """What no invoice has brought yet, in 10^-8 of the currency."""
    return max(0, request.amount - sum(received(invoice)[1] for invoice in invoices))


class PaymentRequests:
    """Reads are synchronous; writes are durable when they return."""

    def __init__(self, home: Home, per_store: int = 0) -> None:
        self._home = home
        self._per_store = per_store

    def get(self, request_id: str) -> PaymentRequest | None:
        with self._home.reading() as reader:
            return reader.get_json(_ITEM + _bytes(request_id), PaymentRequest) if reader is not None else None

    def of_store(self, store_id: str) -> Sequence[PaymentRequest]:
        """Newest first, archived ones too."""
        prefix = _STORE + _bytes(store_id) + b"/"
        with self._home.reading() as reader:
            if reader is None:
                return []
            ids = [key[len(prefix) :] for key, _ in reader.iterate(prefix=prefix)]
            found = [reader.get_json(_ITEM + request_id, PaymentRequest) for request_id in ids]
        return sorted((item for item in found if item is not None), key=lambda item: (-item.created_at, item.id))

    async def put(self, request: PaymentRequest, now: int) -> PaymentRequest:
        """Keep a new or changed request. 403 payment-request-limit-reached."""
        rows = _STORE + request.store_id.encode() + b"/"

        def write(txn: Txn) -> None:
            before = txn.get_json(_ITEM + request.id.encode(), PaymentRequest)
            is_new = before is None
            if is_new and is_full(txn, rows, self._per_store):
                limit = f"A store has at most {self._per_store} payment requests"
                raise PaymentError("payment-request-limit-reached", limit, 403)
            txn.put(rows + request.id.encode(), b"")
            _write(txn, before, request)
            tell(txn, request, EventType.REQUEST_CREATED if is_new else EventType.REQUEST_UPDATED, now)
            _note_status(txn, request, _invoices(txn, request), now)

        await self._home.open().transact(write)
        self._home.bell.ring((request.store_id,))
        return request

    async def archive(self, request_id: str, now: int) -> PaymentRequest:
        """404 for an unknown or archived one."""

        def write(txn: Txn) -> PaymentRequest:
            request = txn.get_json(_ITEM + _bytes(request_id), PaymentRequest)
            if request is None or request.archived:
                raise PaymentError("payment-request-not-found", "The payment request was not found", 404)
            archived = msgspec.structs.replace(request, archived=True)
            _write(txn, request, archived)
            tell(txn, archived, EventType.REQUEST_ARCHIVED, now)
            return archived

        archived = await self._home.open().transact(write)
        self._home.bell.ring((archived.store_id,))
        return archived

    async def expire(self, now: int) -> None:
        """Tell of those whose time is over."""
        with self._home.reading() as reader:
            if reader is None or next(reader.iterate(prefix=_DUE, stop=_DUE + u64(now + 1)), None) is None:
                return
        stores = await self._home.open().transact(lambda txn: expire_requests(txn, now))
        self._home.bell.ring(stores)


def tell(txn: Txn, request: PaymentRequest, kind: EventType, now: int) -> Event:
    """Put an event of the request at the end of its store's log."""
    draft = EventDraft(kind, payment_request_id=request.id, request_status=request.told.value)
    return append_event(txn, request.store_id, draft, now)


def note_invoice(txn: Txn, invoice: Invoice, now: int) -> list[Event]:
    """Events of the request that a changed invoice pays, where its status has changed with it."""
    if _ORDER_ID.encode() not in invoice.metadata:
        return []
    order = order_id_of(invoice.metadata) or ""
    request = txn.get_json(_ITEM + _bytes(order.removeprefix(_ORDER_ID)), PaymentRequest)
    if not order.startswith(_ORDER_ID) or request is None or request.store_id != invoice.store_id:
        return []
    return _note_status(txn, request, _invoices(txn, request), now)


def expire_requests(txn: Txn, now: int) -> set[str]:
    """The stores of requests that have expired by now."""
    stores = set()
    due = [
        row
        for (row, _), _ in zip(txn.iterate(prefix=_DUE, stop=_DUE + u64(now + 1)), range(AT_ONCE), strict=False)
    ]
    for row in due:
        txn.delete(row)
        request = txn.get_json(_ITEM + row[len(_DUE) + 8 :], PaymentRequest)
        if request is not None and _note_status(txn, request, _invoices(txn, request), now):
            stores.add(request.store_id)
    return stores


def _note_status(txn: Txn, request: PaymentRequest, invoices: Iterable[Invoice], now: int) -> list[Event]:
    state = request_status(request, invoices, now)
    if state is request.told:
        return []
    told = msgspec.structs.replace(request, told=state)
    txn.put_json(_ITEM + request.id.encode(), told)
    events = [tell(txn, told, EventType.REQUEST_STATUS_CHANGED, now)]
    if state is RequestStatus.COMPLETED:
        events.append(tell(txn, told, EventType.REQUEST_COMPLETED, now))
    return events


def _invoices(txn: Txn, request: PaymentRequest) -> list[Invoice]:
    prefix = layout.by_order_key(request.store_id, order_id(request.id))
    ids = [row[len(prefix) + 8 :].decode() for row, _ in txn.iterate(prefix=prefix, keys_only=True)]
    return [invoice for invoice in (load_invoice(txn, one) for one in ids) if invoice is not None]


def _write(txn: Txn, before: PaymentRequest | None, after: PaymentRequest) -> None:
    if before is not None and before.expires_at is not None:
        txn.delete(_DUE + u64(before.expires_at) + after.id.encode())
    if after.expires_at is not None and not after.archived:
        txn.put(_DUE + u64(after.expires_at) + after.id.encode(), b"")
    txn.put_json(_ITEM + after.id.encode(), after)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
