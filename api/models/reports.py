"""Reports: fields, and rows in their order."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["FieldAnswer", "Period", "ReportAnswer", "ReportRequest"]

Moment = Annotated[int, Meta(ge=0, le=2**53)]


class Period(Struct, rename={"from_": "from", "to": "to"}):
    """Unix seconds, both included."""

    from_: Moment | None = None
    to: Moment | None = None


class ReportRequest(Struct, rename="camel"):
    view_name: str = "Payments"
    time_period: Period | UnsetType | None = UNSET


class FieldAnswer(Struct):
    name: str
    type: str


class ReportAnswer(Struct, rename={"from_": "from"}):
    fields: list[FieldAnswer]
    data: list[list[Any]]
    from_: int
    to: int
    charts: list[Any] = []
