"""The payments' RPC methods for figures: what a shop took, per store and over time.

They join the group of `payments.rpc`."""

from typing import Any

from gldnode.primitives.amount import format_amount_short
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import num, text
from payments.figures import DAY_S, PERIODS, average_text, share_text
from payments.rpc import methods
from payments.service import PaymentService

__all__ = ["methods"]

MAX_DAYS = 3700


@methods.method(
    "getstorestats",
    "Shows the settled payments of a store in the last days, UTC, and how its invoices of these days stand.",
    params=[text("storeid", "The store", required=True), num("days", "How many days, today included", default=30)],
    returns='{\n  "count": n, "total": "str", "average": "str", "methods": [...], "invoices": {...}\n}',
    examples=['"storeid" 7'],
)
async def getstorestats(ctx: RpcContext, storeid: str, days: int) -> dict[str, Any]:
    service = _service(ctx)
    store = service.store(storeid)
    if store is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "There is no such store")
    start, end = _span(ctx, days)
    figures = await ctx.read(lambda: service.figures(storeid, start, end))
    return {
        "storeId": storeid,
        "name": store.name,
        "from": start,
        "to": end,
        "currency": service.unit,
        "count": figures.count,
        "total": format_amount_short(figures.total),
        "average": average_text(figures.total, figures.count),
        "methods": [
            {
                "paymentMethodId": f"{service.unit}-{name}",
                "count": method.count,
                "total": format_amount_short(method.total),
                "average": average_text(method.total, method.count),
                "share": share_text(method.total, figures.total),
            }
            for name, method in figures.methods.items()
        ],
        "invoices": figures.invoices,
    }


@methods.method(
    "getrevenue",
    "Shows the settled payments of all stores, or of one, per day, week or month, UTC.",
    params=[
        text("period", "day, week or month", default="day"),
        num("days", "How many days, today included", default=30),
        text("storeid", "Only this store"),
    ],
    returns='{\n  "period": "str", "currency": "str", "rows": [ {"period", "start", "count", "total"}, ... ], '
    '"total": "str"\n}',
    examples=['"week" 90'],
)
async def getrevenue(ctx: RpcContext, period: str, days: int, storeid: str | None) -> dict[str, Any]:
    service = _service(ctx)
    if period not in PERIODS:
        raise RpcError(RpcCode.INVALID_PARAMETER, "The period is day, week or month")
    if storeid is not None and service.store(storeid) is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "There is no such store")
    start, end = _span(ctx, days)
    stores = [storeid] if storeid is not None else [store.id for store in service.stores()]
    found = await ctx.read(lambda: service.revenue(stores, period, start, end))
    return {
        "period": period,
        "currency": service.unit,
        "rows": [
            {"period": name, "start": first, "count": sums.count, "total": format_amount_short(sums.total)}
            for name, first, sums in found
        ],
        "total": format_amount_short(sum(sums.total for _, _, sums in found)),
    }


def _service(ctx: RpcContext) -> PaymentService:
    return ctx.services.require(PaymentService, RpcCode.MISC_ERROR, "This node does not take payments")


def _span(ctx: RpcContext, days: int) -> tuple[int, int]:
    if not 1 <= days <= MAX_DAYS:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"days must be between 1 and {MAX_DAYS}")
    today = ctx.node.clock.now() // DAY_S
    return max(0, today - days + 1) * DAY_S, today * DAY_S + DAY_S - 1
