"""Payment statistics of a store, and revenue per day, week or month. Settled payments count, by when they came."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from api.context import ApiContext
from api.errors import ErrorShape, Invalid
from api.handlers.reports import csv_line
from api.models.stats import MethodStats, RevenueAnswer, RevenueRow, StatsAnswer
from api.permissions import store_scopes
from api.routing import Call, Param, ParamKind, RouteTable
from gldnode.primitives.amount import format_amount_short
from payments.invoice import Invoice, PaymentStatus, payment_status
from payments.service import InvoiceFilter

__all__ = ["table"]

table = RouteTable("/api/v1", "Statistics", ErrorShape.GREENFIELD)

PERMISSION = "btcpay.store.canviewreports"
_PAGE = 200
_MONTH_S = 30 * 86_400
_LATE_S = 366 * 86_400
_SPAN = (Param("from", ParamKind.TIMESTAMP, maximum=2**33), Param("to", ParamKind.TIMESTAMP, maximum=2**33))


@table.add(
    "GET",
    "/stores/{storeId}/stats",
    access=PERMISSION,
    answer=StatsAnswer,
    summary="Payments of a store",
    query=_SPAN,
)
async def get_store_stats(call: Call[None]) -> StatsAnswer:
    context = call.context
    start, end = _span(call)
    amounts: list[int] = []
    statuses: Counter[str] = Counter()
    async for invoice in _invoices(context, call.store, start, end):
        if start <= invoice.created_at <= end:
            statuses[context.service.state(invoice).status.value] += 1
        amounts += _settled(invoice, start, end).values()
    total, average = format_amount_short(sum(amounts)), _average(sum(amounts), len(amounts))
    methods = [MethodStats(context.service.method_id, len(amounts), total, average, "100")] if amounts else []
    return StatsAnswer(
        call.store,
        start,
        end,
        context.service.unit,
        len(amounts),
        total,
        average,
        methods,
        dict(sorted(statuses.items())),
    )


@table.add(
    "GET",
    "/reports/revenue",
    access=PERMISSION,
    answer=RevenueAnswer,
    summary="Revenue of all stores that the key may see",
    query=(
        Param("period", summary="day, week or month."),
        *_SPAN,
        Param("format", summary="json or csv."),
    ),
)
async def get_revenue(call: Call[None]) -> RevenueAnswer | web.Response:
    period = (call.query["period"] or "day").lower()
    if period not in ("day", "week", "month"):
        raise Invalid("period", "The period is day, week or month.")
    start, end = _span(call)
    totals: Counter[datetime] = Counter()
    counts: Counter[datetime] = Counter()
    for store_id in _visible_stores(call):
        async for invoice in _invoices(call.context, store_id, start, end):
            for received_at, amount in _settled(invoice, start, end).items():
                first = period_start(received_at[0], period)
                totals[first] += amount
                counts[first] += 1
    rows = [
        RevenueRow(_name(first, period), int(first.timestamp()), counts[first], format_amount_short(totals[first]))
        for first in sorted(totals)
    ]
    match (call.query["format"] or "json").lower():
        case "json":
            return RevenueAnswer(period, call.context.service.unit, rows, format_amount_short(totals.total()))
        case "csv":
            lines = [csv_line(["period", "start", "count", "total"])]
            lines += [csv_line([row.period, row.start, row.count, row.total]) for row in rows]
            return web.Response(body=b"".join(lines), content_type="text/csv", charset="utf-8")
        case _:
            raise Invalid("format", "The format is json or csv.")


def period_start(at: int, period: str) -> datetime:
    """The first second of the day, week (Monday) or month that `at` is in, UTC."""
    day = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def _name(first: datetime, period: str) -> str:
    match period:
        case "week":
            year, week, _ = first.isocalendar()
            return f"{year}-W{week:02d}"
        case "month":
            return f"{first:%Y-%m}"
        case _:
            return f"{first:%Y-%m-%d}"


def _span(call: Call[Any]) -> tuple[int, int]:
    """The asked time, by default the last thirty days."""
    end = call.query["to"] if call.query["to"] is not None else call.context.host.clock.now()
    start = call.query["from"] if call.query["from"] is not None else max(0, end - _MONTH_S)
    if start > end:
        raise Invalid("from", "from is after to")
    return start, end


def _settled(invoice: Invoice, start: int, end: int) -> dict[tuple[int, bytes], int]:
    """Amounts of the settled payments that came in the span, by their time and outpoint."""
    return {
        (payment.received_at, payment.outpoint): payment.amount
        for payment in invoice.payments
        if start <= payment.received_at <= end and payment_status(payment) is PaymentStatus.SETTLED
    }


async def _invoices(context: ApiContext, store_id: str, start: int, end: int) -> AsyncIterator[Invoice]:
    """Those that may have a payment in the span; other requests get their turn between pages."""
    cursor: str | None = None
    while True:
        wanted = InvoiceFilter(
            start=max(0, start - _LATE_S), end=end, include_archived=True, take=_PAGE, cursor=cursor
        )
        page = context.service.list_invoices(store_id, wanted)
        for invoice in page.invoices:
            yield invoice
        cursor = page.cursor
        if cursor is None:
            return
        await asyncio.sleep(0)


def _visible_stores(call: Call[None]) -> list[str]:
    context, who = call.context, call.principal
    scopes = store_scopes(who.permissions, PERMISSION)
    return [
        store.id
        for store in context.service.stores()
        if (scopes is None or store.id in scopes) and context.member_may(who, PERMISSION, store)
    ]


def _average(total: int, count: int) -> str:
    return format_amount_short((total + count // 2) // count if count else 0)
