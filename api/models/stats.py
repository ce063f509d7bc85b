"""Figures of payments, per store and over time: our own addition to Greenfield."""

from msgspec import Struct

__all__ = ["MethodStats", "RevenueAnswer", "RevenueRow", "StatsAnswer"]


class MethodStats(Struct, rename="camel"):
    """Amounts in the method's currency; `share` is the percentage of the total, with two decimals."""

    payment_method_id: str
    count: int
    total: str
    average: str
    share: str


class StatsAnswer(
    Struct, rename={"from_": "from", "store_id": "storeId", "invoices_by_status": "invoicesByStatus"}
):
    store_id: str
    from_: int
    to: int
    currency: str
    count: int
    total: str
    average: str
    methods: list[MethodStats]
    invoices_by_status: dict[str, int]


class RevenueRow(Struct):
    """`start` is the period's first second, UTC."""

    period: str
    start: int
    count: int
    total: str


class RevenueAnswer(Struct):
    period: str
    currency: str
    rows: list[RevenueRow]
    total: str
