"""Payment statistics of a store, and revenue per day, week or month. Settled payments count, by when they came.

Figures are kept per UTC day with the payments themselves: an answer reads a row a day, whatever the history.
"""

from typing import Any

from aiohttp import web

from api.errors import ErrorShape, Invalid
from api.handlers.reports import csv_line
from api.models.stats import MethodStats, RevenueAnswer, RevenueRow, StatsAnswer
from api.permissions import store_scopes
from api.routing import Call, Param, ParamKind, RouteTable
from gldnode.primitives.amount import format_amount_short
from payments.figures import DAY_S, PERIODS, average_text, share_text

__all__ = ["table"]

table = RouteTable("/api/v1", "Statistics", ErrorShape.GREENFIELD)

PERMISSION = "btcpay.store.canviewreports"
_MONTH_S = 30 * DAY_S
_MAX_DAYS = 3700
_QUERY = (
    Param("from", ParamKind.TIMESTAMP, maximum=2**33, summary="Counts from the beginning of its day, UTC."),
    Param("to", ParamKind.TIMESTAMP, maximum=2**33, summary="Counts to the end of its day, UTC."),
    Param("format", summary="json or csv."),
)


@table.add(
    "GET",
    "/stores/{storeId}/stats",
    access=PERMISSION,
    answer=StatsAnswer,
    summary="Payments of a store",
    query=_QUERY,
)
async def get_store_stats(call: Call[None]) -> StatsAnswer | web.Response:
    service = call.context.service
    start, end = _span(call)
    figures = service.figures(call.store, start, end)
    methods = [
        MethodStats(
            f"{service.unit}-{name}",
            method.count,
            format_amount_short(method.total),
            average_text(method.total, method.count),
            share_text(method.total, figures.total),
        )
        for name, method in figures.methods.items()
    ]
    if _is_csv(call):
        header = ["paymentMethodId", "count", "total", "average", "share"]
        return _csv(header, [[m.payment_method_id, m.count, m.total, m.average, m.share] for m in methods])
    return StatsAnswer(
        call.store,
        start,
        end,
        service.unit,
        figures.count,
        format_amount_short(figures.total),
        average_text(figures.total, figures.count),
        methods,
        figures.invoices,
    )


@table.add(
    "GET",
    "/reports/revenue",
    access=PERMISSION,
    answer=RevenueAnswer,
    summary="Revenue of all stores that the key may see",
    query=(Param("period", summary="day, week or month."), *_QUERY),
)
async def get_revenue(call: Call[None]) -> RevenueAnswer | web.Response:
    period = (call.query["period"] or "day").lower()
    if period not in PERIODS:
        raise Invalid("period", "The period is day, week or month.")
    start, end = _span(call)
    found = call.context.service.revenue(_visible_stores(call), period, start, end)
    rows = [RevenueRow(name, first, sums.count, format_amount_short(sums.total)) for name, first, sums in found]
    if _is_csv(call):
        return _csv(["period", "start", "count", "total"], [[r.period, r.start, r.count, r.total] for r in rows])
    total = sum(sums.total for _, _, sums in found)
    return RevenueAnswer(period, call.context.service.unit, rows, format_amount_short(total))


def _span(call: Call[Any]) -> tuple[int, int]:
    """The asked time in whole days, by default the last thirty."""
    end = call.query["to"] if call.query["to"] is not None else call.context.host.clock.now()
    start = call.query["from"] if call.query["from"] is not None else max(0, end - _MONTH_S)
    if start > end:
        raise Invalid("from", "from is after to")
    if end - start > _MAX_DAYS * DAY_S:
        raise Invalid("from", f"At most {_MAX_DAYS} days.")
    return start // DAY_S * DAY_S, end // DAY_S * DAY_S + DAY_S - 1


def _is_csv(call: Call[Any]) -> bool:
    match (call.query["format"] or "json").lower():
        case "json":
            return False
        case "csv":
            return True
        case _:
            raise Invalid("format", "The format is json or csv.")


def _csv(header: list[str], rows: list[list[Any]]) -> web.Response:
    return web.Response(
        body=b"".join(csv_line(row) for row in [header, *rows]), content_type="text/csv", charset="utf-8"
    )


def _visible_stores(call: Call[None]) -> list[str]:
    context, who = call.context, call.principal
    scopes = store_scopes(who.permissions, PERMISSION)
    return [
        store.id
        for store in context.service.stores()
        if (scopes is None or store.id in scopes) and context.member_may(who, PERMISSION, store.id)
    ]
