"""Reports for bookkeepers, as JSON or CSV. Rows are made page by page; CSV is sent while it is made."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
from aiohttp import web

from api.context import ApiContext
from api.errors import ErrorShape, Invalid
from api.models.reports import FieldAnswer, Period, ReportAnswer, ReportRequest
from api.routing import Call, Param, ParamKind, RouteTable
from api.views import payment_answer
from payments.accounting import paid_text, price_text
from payments.invoice import Invoice
from payments.money import currency_digits, format_price, format_rate, value_at_rate
from payments.service import InvoiceFilter

__all__ = ["csv_line", "table"]

table = RouteTable("/api/v1", "Reports", ErrorShape.GREENFIELD)

PERMISSION = "btcpay.store.canviewreports"
_PATH = "/stores/{storeId}/reports"
_PAGE = 200
_MAX_JSON_ROWS = 50_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = list[Any]
PAYMENT_FIELDS = (
    ("Date", "datetime"),
    ("InvoiceId", "invoice_id"),
    ("OrderId", "string"),
    ("Category", "string"),
    ("PaymentMethodId", "string"),
    ("Confirmed", "boolean"),
    ("Address", "string"),
    ("PaymentCurrency", "string"),
    ("PaymentAmount", "amount"),
    ("PaymentMethodFee", "amount"),
    ("LightningAddress", "string"),
    ("InvoiceCurrency", "string"),
    ("InvoiceCurrencyAmount", "amount"),
    ("Rate", "amount"),
)
INVOICE_FIELDS = (
    ("InvoiceCreatedDate", "datetime"),
    ("InvoiceId", "invoice_id"),
    ("OrderId", "string"),
    ("InvoiceCurrency", "string"),
    ("InvoiceAmount", "amount"),
    ("InvoicePaidAmount", "amount"),
    ("InvoiceStatus", "string"),
    ("InvoiceAdditionalStatus", "string"),
)


def payment_rows(context: ApiContext, invoice: Invoice) -> Iterator[Row]:
    service, digits = context.service, currency_digits(invoice.currency)
    for payment in invoice.accounted:
        shown = payment_answer(context, invoice, payment)
        worth = format_price(value_at_rate(payment.amount, invoice.rate, digits), 0)
        yield [
            *(shown.received_date, invoice.id, _order_id(invoice), "On-Chain", service.method_id),
            *(shown.status == "Settled", shown.destination, service.unit, shown.value, shown.fee, None),
            *(invoice.currency, worth, format_rate(invoice.rate)),
        ]


def invoice_rows(context: ApiContext, invoice: Invoice) -> Iterator[Row]:
    state = context.service.state(invoice)
    yield [
        *(invoice.created_at, invoice.id, _order_id(invoice), invoice.currency, price_text(invoice)),
        *(paid_text(invoice), state.status.value, state.additional.value),
    ]


Rows = Callable[[ApiContext, Invoice], Iterator[Row]]
VIEWS: dict[str, tuple[Sequence[tuple[str, str]], Rows]] = {
    "payments": (PAYMENT_FIELDS, payment_rows),
    "invoices": (INVOICE_FIELDS, invoice_rows),
}


@table.add(
    "POST",
    _PATH,
    access=PERMISSION,
    body=ReportRequest,
    answer=ReportAnswer,
    summary="A report: Payments or Invoices",
)
async def make_report(call: Call[ReportRequest]) -> ReportAnswer:
    period = call.body.time_period if isinstance(call.body.time_period, Period) else Period()
    return await _report(call, call.body.view_name, period.from_, period.to)


@table.add(
    "GET",
    _PATH,
    access=PERMISSION,
    answer=ReportAnswer,
    summary="The same; with format=csv as a table for spreadsheets",
    query=(
        Param("viewName"),
        Param("from", ParamKind.TIMESTAMP),
        Param("to", ParamKind.TIMESTAMP),
        Param("format", summary="json or csv."),
    ),
)
async def get_report(call: Call[None]) -> ReportAnswer | web.StreamResponse:
    query = call.query
    view = query["viewName"] or "Payments"
    match (query["format"] or "json").lower():
        case "json":
            return await _report(call, view, query["from"], query["to"])
        case "csv":
            return await _csv(call, view, query["from"], query["to"])
        case _:
            raise Invalid("format", "The format is json or csv.")


async def _report(call: Call[Any], view: str, start: int | None, end: int | None) -> ReportAnswer:
    fields, _ = _view(view)
    data: list[Row] = []
    async for row in _rows(call, view, start, end):
        data.append(row)
        if len(data) > _MAX_JSON_ROWS:
            raise Invalid("timePeriod", f"More than {_MAX_JSON_ROWS} rows: ask for a shorter period, or for CSV.")
    return ReportAnswer(
        fields=[FieldAnswer(name, kind) for name, kind in fields],
        data=data,
        from_=start or 0,
        to=end if end is not None else call.context.host.clock.now(),
    )


async def _csv(call: Call[Any], view: str, start: int | None, end: int | None) -> web.StreamResponse:
    fields, _ = _view(view)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{view.lower()}.csv"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(call.request)
    await response.write(csv_line([name for name, _ in fields]))
    async for row in _rows(call, view, start, end):
        await response.write(csv_line(row))
    await response.write_eof()
    return response


def _view(name: str) -> tuple[Sequence[tuple[str, str]], Rows]:
    found = VIEWS.get(name.lower())
    if found is None:
        raise Invalid("viewName", "The views are Payments and Invoices.")
    return found


async def _rows(call: Call[Any], view: str, start: int | None, end: int | None) -> AsyncIterator[Row]:
    """Newest invoice first; other requests get their turn between pages."""
    _, rows = _view(view)
    cursor: str | None = None
    while True:
        wanted = InvoiceFilter(start=start, end=end, include_archived=True, take=_PAGE, cursor=cursor)
        page = call.context.service.list_invoices(call.store, wanted)
        for invoice in page.invoices:
            for row in rows(call.context, invoice):
                yield row
        cursor = page.cursor
        if cursor is None:
            return
        await asyncio.sleep(0)


def csv_line(row: Sequence[Any]) -> bytes:
    """One row of a table for spreadsheets."""
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """Text that a spreadsheet does not take for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text


def _order_id(invoice: Invoice) -> str | None:
    metadata = msgspec.json.decode(invoice.metadata)
    order_id = metadata.get("orderId") if isinstance(metadata, dict) else None
    return None if order_id is None else str(order_id)
