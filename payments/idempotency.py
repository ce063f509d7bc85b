"""Repeated creations: the same key with the same request gets the first call's answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from payments import layout
from payments.errors import PaymentError
from payments.invoice import Invoice
from payments.layout import IdempotencyRow
from storage.database import Txn
from storage.keys import KeyReader

__all__ = ["Idempotency", "Sent", "find_answer", "keep_answer", "prune_answers"]

KEPT_S: Final = 86_400
MAX_ANSWER: Final = 256_000
MAX_NAME: Final = 255
MAX_ROWS: Final = 200_000
"""Of one principal: at the most common size of an answer some 200 MB."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An `Idempotency-Key` of a creating call. Rows live 24 hours.

    `render` makes the stored answer from the created object, inside the transaction: pure, it may run again.
    The same key with another `body_hash` or route is refused (409 idempotency-key-reused).
    """

    principal: str
    """Id of the API key or user."""
    route: str
    key: str
    body_hash: bytes
    render: Callable[[Invoice], bytes]


class Sent(msgspec.Struct, frozen=True):
    """The answer of a creating call: the object, or for a repeated key the stored answer."""

    invoice: Invoice
    stored: bytes | None = None
    """The first call's body, to be sent again byte for byte."""


def find_answer(txn: Txn, asked: Idempotency, now: int) -> IdempotencyRow | None:
    """The row of the first call, None where this is it. Raises PaymentError 409 for another request."""
    row = txn.get_record(layout.idempotency_key(asked.principal, asked.key[:MAX_NAME]), IdempotencyRow)
    if row is None or now - row.at > KEPT_S:
        return None
    if row.route != asked.route or row.body_hash != asked.body_hash:
        raise PaymentError(
            "idempotency-key-reused", "This Idempotency-Key was used for another request within 24 hours", 409
        )
    return row


def keep_answer(txn: Txn, asked: Idempotency, invoice: Invoice, now: int) -> bytes:
    """Store the answer of a first call."""
    answer = asked.render(invoice)
    if len(answer) > MAX_ANSWER:
        raise PaymentError("answer-too-large", "The answer is too large to be kept for an Idempotency-Key", 413)
    name = asked.key[:MAX_NAME]
    if txn.get(layout.idempotency_key(asked.principal, name)) is None:
        _count(txn, asked.principal, 1)
    row = IdempotencyRow(asked.route, asked.body_hash, invoice.id, answer, now)
    txn.put_record(layout.idempotency_key(asked.principal, name), row)
    txn.put(layout.idempotency_age_key(now, asked.principal, name), b"")
    return answer


def prune_answers(txn: Txn, now: int, limit: int = 500) -> int:
    """Forget rows older than a day; how many."""
    old = txn.iterate(prefix=b"G", stop=layout.idempotency_age_key(max(0, now - KEPT_S)), keys_only=True)
    rows = [row for (row, _), _ in zip(old, range(limit), strict=False)]
    for row in rows:
        txn.delete(row)
        kept = txn.get_record(b"g" + row[9:], IdempotencyRow)
        if kept is not None and now - kept.at > KEPT_S:
            txn.delete(b"g" + row[9:])
            _count(txn, KeyReader(row, 9).text(), -1)
    return len(rows)


def _count(txn: Txn, principal: str, change: int) -> None:
    """Keep the number of a principal's rows. Raises PaymentError 429 where there would be too many."""
    row = layout.answer_count_key(principal)
    count = max(0, int.from_bytes(txn.get(row) or b"", "big") + change)
    if change > 0 and count > MAX_ROWS:
        raise PaymentError(
            "idempotency-limit-reached", f"More than {MAX_ROWS} Idempotency-Keys were used within 24 hours", 429
        )
    txn.put(row, count.to_bytes(8, "big"))
