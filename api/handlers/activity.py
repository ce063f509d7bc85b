"""What happened in a store, why an invoice is not settled, and payments that no invoice has."""

import asyncio

import msgspec
from aiohttp import web

from api.errors import ErrorShape
from api.handlers.invoices import MODIFY, VIEW, invoice_of, twins
from api.models.activity import AssignRequest, EventsAnswer, ExplainAnswer, UnassignedAnswer
from api.models.invoices import InvoiceAnswer
from api.routing import Call, Param, ParamKind, RouteTable
from api.views import invoice_answer, payment_answer
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import to_display_hex
from payments.receipts import Receipt
from payments.service import UnassignedPayment

__all__ = ["table"]

table = RouteTable("/api/v1", "Activity", ErrorShape.GREENFIELD)

_MAX_WAIT_S = 25
_BEAT_S = 15
STREAM_S = 3600
"""How long a stream lasts; then the client connects again, with a key that may be revoked by then."""
MAX_EXPLAINED = 100


@table.add(
    "GET",
    "/stores/{storeId}/events",
    access=VIEW,
    answer=EventsAnswer,
    summary="The store's events behind a position; as a stream with Accept: text/event-stream",
    query=(
        Param("after", ParamKind.INTEGER, summary="Sequence number of the last event handled; 0 for all."),
        Param("limit", ParamKind.INTEGER, maximum=1000),
        Param("wait", ParamKind.INTEGER, maximum=_MAX_WAIT_S, summary="Seconds to wait for news."),
    ),
)
async def list_events(call: Call[None]) -> EventsAnswer | web.StreamResponse:
    service, query = call.context.service, call.query
    if "text/event-stream" in call.request.headers.get("Accept", ""):
        return await _stream_events(call)
    after, limit = query["after"] or 0, min(query["limit"] or 100, 1000)
    if query["wait"]:
        events = await service.wait_events(call.store, after, query["wait"], limit)
    else:
        events = service.events(call.store, after, limit)
    return EventsAnswer([dict(service.event_body(event)) for event in events], events[-1].seq if events else after)


async def _stream_events(call: Call[None]) -> web.StreamResponse:
    """Server-sent events: `id` is the sequence number, so a client that reconnects goes on where it was."""
    last = call.request.headers.get("Last-Event-ID", "")
    after = int(last) if last.isascii() and last.isdecimal() and len(last) < 16 else call.query["after"] or 0
    service = call.context.service
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    response.headers["Access-Control-Allow-Origin"] = "*"
    await response.prepare(call.request)
    end = call.context.host.clock.monotonic() + STREAM_S
    quiet_s = 0
    while call.context.host.clock.monotonic() < end and call.request.transport is not None:
        events = await service.wait_events(call.store, after, 1)
        for event in events:
            body = msgspec.json.encode(service.event_body(event))
            await response.write(b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), body))
            after = event.seq
        quiet_s = 0 if events else quiet_s + 1
        if quiet_s == _BEAT_S:
            quiet_s = 0
            await response.write(b": still here\n\n")
    return response


@table.add(
    "GET",
    *twins("/events"),
    access=VIEW,
    answer=EventsAnswer,
    summary="What happened to an invoice",
    errors=(404,),
)
async def list_invoice_events(call: Call[None]) -> EventsAnswer:
    service = call.context.service
    events = service.invoice_events(invoice_of(call).id)
    return EventsAnswer([dict(service.event_body(event)) for event in events], events[-1].seq if events else 0)


@table.add(
    "GET",
    *twins("/explain"),
    access=VIEW,
    answer=ExplainAnswer,
    summary="Why an invoice is not settled",
    errors=(404,),
)
async def explain_invoice(call: Call[None]) -> ExplainAnswer:
    service, invoice = call.context.service, invoice_of(call)
    state = service.state(invoice)
    return ExplainAnswer(
        invoice.id,
        state.status.value,
        state.additional.value,
        list(service.explain(invoice.id)),
        [payment_answer(call.context, invoice, payment) for payment in invoice.payments[-MAX_EXPLAINED:]],
    )


@table.add(
    "GET",
    *twins("/receipt"),
    access=VIEW,
    answer=Receipt,
    summary="A receipt that anyone can verify offline (gld-cli verifyreceipt)",
    errors=(404, 409),
)
async def get_receipt(call: Call[None]) -> Receipt:
    return await asyncio.to_thread(call.context.service.receipt, invoice_of(call).id)


@table.add(
    "GET",
    "/stores/{storeId}/unassigned-payments",
    access=VIEW,
    answer=list[UnassignedAnswer],
    summary="Payments to the store's fixed address that name no invoice",
    query=(Param("limit", ParamKind.INTEGER, maximum=1000),),
)
async def list_unassigned(call: Call[None]) -> list[UnassignedAnswer]:
    limit = call.query["limit"]
    return [
        _unassigned(item) for item in call.context.service.unassigned(call.store, 1000 if limit is None else limit)
    ]


@table.add(
    "POST",
    *twins("/assign"),
    access=MODIFY,
    body=AssignRequest,
    answer=InvoiceAnswer,
    summary="Give an unassigned payment to an invoice",
    errors=(404, 409),
)
async def assign_payment(call: Call[AssignRequest]) -> InvoiceAnswer:
    invoice = invoice_of(call)
    txid, _, vout = call.body.outpoint.replace(":", "-").partition("-")
    outpoint = bytes.fromhex(txid)[::-1] + int(vout).to_bytes(4, "little")
    return invoice_answer(call.context, await call.context.service.assign(call.store, invoice.id, outpoint))


def _unassigned(item: UnassignedPayment) -> UnassignedAnswer:
    vout = int.from_bytes(item.outpoint[32:], "little")
    return UnassignedAnswer(
        f"{to_display_hex(item.outpoint[:32])}-{vout}",
        format_amount_short(item.amount),
        item.address,
        item.seen_at,
        item.height if item.height >= 0 else None,
        item.invoice_id or None,
    )
