"""Figures kept with every payment: how much settled on which day, and how the invoices of a day stand.

One row per store and UTC day. A payment counts on the day it was received, once it is settled; an invoice on the
day it was made. `note_change` books the difference between two records of an invoice in the transaction that
writes them, so a statistic costs a row a day whatever the history; `recount` makes the same rows from scratch.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from gldnode.primitives.amount import format_amount_short
from payments import layout
from payments.invoice import Invoice, PaymentStatus, payment_status, status
from storage.database import Txn
from storage.documents import DocumentReader

__all__ = [
    "CHAIN",
    "DAY_S",
    "PERIODS",
    "Figures",
    "MethodSum",
    "add_figures",
    "average_text",
    "day_rows",
    "note_change",
    "period_rows",
    "settled_amounts",
    "share_text",
]

DAY_S: Final = 86_400
PERIODS: Final = ("day", "week", "month")
CHAIN: Final = "CHAIN"
"""The method of every payment so far; what is shown is the coin's name before it."""


class MethodSum(msgspec.Struct, frozen=True, array_like=True):
    count: int = 0
    total: int = 0
    """In grains."""


class Figures(msgspec.Struct, frozen=True, array_like=True):
    """Of a day, or of several."""

    methods: dict[str, MethodSum] = {}
    invoices: dict[str, int] = {}
    """How many stand at each status."""

    @property
    def count(self) -> int:
        return sum(method.count for method in self.methods.values())

    @property
    def total(self) -> int:
        return sum(method.total for method in self.methods.values())


@dataclass(slots=True)
class _Change:
    count: int = 0
    total: int = 0


def note_change(txn: Txn, before: Invoice | None, after: Invoice) -> None:
    """Book what changed between two records of one invoice; one row per day that it touches."""
    if before is None and not after.payments:
        made_on = max(after.created_at, 0) // DAY_S
        _count_made(txn, layout.figures_key(after.store_id, made_on), status(after).status.value)
        return
    changes: dict[int, tuple[_Change, Counter[str]]] = {}

    def of_day(moment: int) -> tuple[_Change, Counter[str]]:
        return changes.setdefault(max(moment, 0) // DAY_S, (_Change(), Counter()))

    for invoice, sign in ((before, -1), (after, 1)):
        if invoice is None:
            continue
        of_day(invoice.created_at)[1][status(invoice).status.value] += sign
        for received_at, amount in settled_amounts(invoice):
            sums, _ = of_day(received_at)
            sums.count += sign
            sums.total += sign * amount
    for day, (sums, statuses) in changes.items():
        moved = {name: number for name, number in statuses.items() if number}
        if sums.count or sums.total or moved:
            _add_to_row(txn, layout.figures_key(after.store_id, day), sums, moved)


def _count_made(txn: Txn, row: bytes, name: str) -> None:
    """One more invoice that stands at `name`: what a shop does thousands of times a minute."""
    old = txn.get_record(row, Figures)
    if old is None or name not in old.invoices:
        _add_to_row(txn, row, _Change(), {name: 1})
        return
    old.invoices[name] += 1  # read just now, for this
    txn.put_record(row, old)


def _add_to_row(txn: Txn, row: bytes, sums: _Change, moved: Mapping[str, int]) -> None:
    old = txn.get_record(row, Figures) or Figures()
    chain = old.methods.get(CHAIN, MethodSum())
    chain = MethodSum(chain.count + sums.count, chain.total + sums.total)
    invoices = {name: old.invoices.get(name, 0) + moved.get(name, 0) for name in (*old.invoices, *moved)}
    txn.put_record(row, _tidy({**old.methods, CHAIN: chain}, invoices))


def _tidy(methods: Mapping[str, MethodSum], invoices: Mapping[str, int]) -> Figures:
    """Without zeros and in one order, so that equal figures are equal rows."""
    return Figures(
        {name: methods[name] for name in sorted(methods) if methods[name].count},
        {name: invoices[name] for name in sorted(invoices) if invoices[name]},
    )


def settled_amounts(invoice: Invoice) -> Iterator[tuple[int, int]]:
    """(received at, grains) of the invoice's settled payments."""
    for payment in invoice.payments:
        if payment_status(payment) is PaymentStatus.SETTLED:
            yield payment.received_at, payment.amount


def day_rows(reader: DocumentReader, store_id: str, start: int, end: int) -> Iterator[tuple[int, Figures]]:
    """(first second of the day, figures) of the days that `start` to `end` touch, in order."""
    low = layout.figures_key(store_id, max(start, 0) // DAY_S)
    high = layout.figures_key(store_id, max(end, 0) // DAY_S + 1)
    for row, figures in reader.iterate_records(layout.figures_key(store_id), Figures, start=low, stop=high):
        yield int.from_bytes(row[-4:], "big") * DAY_S, figures


def add_figures(parts: Iterable[Figures]) -> Figures:
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    invoices: Counter[str] = Counter()
    for part in parts:
        invoices.update(part.invoices)
        for name, method in part.methods.items():
            counts[name] += method.count
            totals[name] += method.total
    return _tidy({name: MethodSum(counts[name], totals[name]) for name in counts}, invoices)


def period_rows(days: Iterable[tuple[int, Figures]], period: str) -> list[tuple[str, int, Figures]]:
    """(name, first second, figures) of each day, ISO week or month with payments, in order."""
    groups: dict[datetime, list[Figures]] = {}
    for moment, figures in days:
        if figures.count:
            groups.setdefault(_period_start(moment, period), []).append(figures)
    return [
        (_period_name(first, period), int(first.timestamp()), add_figures(groups[first]))
        for first in sorted(groups)
    ]


def _period_start(moment: int, period: str) -> datetime:
    """The first second of the day, week (from Monday) or month that `moment` is in, UTC."""
    day = datetime.fromtimestamp(moment, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _period_name(first: datetime, period: str) -> str:
    match period:
        case "week":
            year, week, _ = first.isocalendar()
            return f"{year}-W{week:02d}"
        case "month":
            return f"{first:%Y-%m}"
        case _:
            return f"{first:%Y-%m-%d}"


def average_text(total: int, count: int) -> str:
    """Rounded to the nearest grain, "0" of nothing."""
    return format_amount_short((total + count // 2) // count if count else 0)


def share_text(part: int, whole: int) -> str:
    """Percent with at most two decimals."""
    hundredths = (part * 10_000 + whole // 2) // whole if whole else 0
    return f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".")
