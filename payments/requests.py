"""Payment requests: a bill that may be paid by several invoices.

| key                                        | value                          |
|--------------------------------------------|--------------------------------|
| `arequest/item/` request                   | JSON PaymentRequest            |
| `arequest/store/` store `/` request        | empty: the store's requests    |

Its invoices are those with the order id `PAY_REQUEST_<id>`. Its status is computed from them.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

import msgspec

from payments.accounting import paid_amount
from payments.errors import PaymentError
from payments.invoice import Additional, Invoice, Status, effective_price, status
from storage.database import Database, ReadSnapshot, Txn

__all__ = ["PaymentRequest", "PaymentRequests", "RequestStatus", "order_id", "request_status", "still_due"]

_ITEM = b"arequest/item/"
_STORE = b"arequest/store/"


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


class Home(Protocol):
    """Where the records are."""

    def open(self) -> Database: ...

    def reading(self) -> AbstractContextManager[ReadSnapshot | None]: ...


def order_id(request_id: str) -> str:
    """By which the request's invoices are found."""
    return f"PAY_REQUEST_{request_id}"


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

    def __init__(self, home: Home) -> None:
        self._home = home

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

    async def put(self, request: PaymentRequest) -> PaymentRequest:
        """Keep a new or changed request."""

        def write(txn: Txn) -> None:
            txn.put_json(_ITEM + request.id.encode(), request)
            txn.put(_STORE + request.store_id.encode() + b"/" + request.id.encode(), b"")

        await self._home.open().transact(write)
        return request

    async def archive(self, request_id: str) -> PaymentRequest:
        """404 for an unknown or archived one."""

        def write(txn: Txn) -> PaymentRequest:
            request = txn.get_json(_ITEM + _bytes(request_id), PaymentRequest)
            if request is None or request.archived:
                raise PaymentError("payment-request-not-found", "The payment request was not found", 404)
            archived = msgspec.structs.replace(request, archived=True)
            txn.put_json(_ITEM + request.id.encode(), archived)
            return archived

        return await self._home.open().transact(write)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
