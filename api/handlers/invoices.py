"""Greenfield's invoices: `/stores/{storeId}/invoices/…`, and the same without the store."""

import asyncio
import re
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw

from api.auth import require
from api.errors import ApiError, ErrorShape, Invalid, Issue
from api.fields import amount_text, duration, enum_of, is_null, json_object
from api.handlers.idempotency import idempotency_of, sent
from api.models.invoices import (
    CheckoutRequest,
    InvoiceAnswer,
    InvoiceRequest,
    MarkRequest,
    MethodAnswer,
    UpdateInvoiceRequest,
)
from api.routing import Call, Param, ParamKind, RouteTable
from api.views import invoice_answer, invoice_json, method_answers
from gldnode.rpc.answer import JsonAnswer
from payments.errors import not_found
from payments.invoice import Invoice, SpeedPolicy, Status
from payments.methods import normalise_method_id
from payments.service import InvoiceDraft, InvoiceFilter, InvoicePage

__all__ = ["table"]

table = RouteTable("/api/v1", "Invoices", ErrorShape.GREENFIELD)

VIEW = "btcpay.store.canviewinvoices"
CREATE = "btcpay.store.cancreateinvoice"
MODIFY = "btcpay.store.canmodifyinvoices"
MODIFY_STORE = "btcpay.store.canmodifystoresettings"
_LEGACY_STATUS = {
    "new": Status.NEW,
    "paid": Status.PROCESSING,
    "processing": Status.PROCESSING,
    "settled": Status.SETTLED,
    "complete": Status.SETTLED,
    "confirmed": Status.SETTLED,
    "expired": Status.EXPIRED,
    "invalid": Status.INVALID,
}
_WITH_METHODS = Param("includePaymentMethods", ParamKind.FLAG, summary="Fill `paymentMethods`.")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{2,8})?")
_MAX_TEXT = 2048
_PAGE = 500


def twins(rest: str = "") -> tuple[str, str]:
    """The store's own path and the store-less one."""
    return f"/stores/{{storeId}}/invoices/{{invoiceId}}{rest}", f"/invoices/{{invoiceId}}{rest}"


def invoice_of(call: Call[Any]) -> Invoice:
    """The invoice in the path, which must be the authorised store's. Raises PaymentError 404."""
    invoice = call.context.service.invoice(call.path["invoiceId"])
    if invoice is None or invoice.store_id != call.store:
        raise not_found("invoice")
    return invoice


@table.add(
    "POST",
    "/stores/{storeId}/invoices",
    access=CREATE,
    body=InvoiceRequest,
    answer=InvoiceAnswer,
    summary="Create an invoice",
)
async def create_invoice(call: Call[InvoiceRequest]) -> JsonAnswer:
    draft = _draft(call)
    render = partial(invoice_json, call.context)
    result = await call.context.service.create_invoice(call.store, draft, idempotency=idempotency_of(call, render))
    return sent(result, render)


@table.add(
    "GET",
    "/stores/{storeId}/invoices",
    access=VIEW,
    answer=list[InvoiceAnswer],
    summary="The store's invoices, newest first",
    query=(
        Param("orderId", many=True, summary="Exact metadata.orderId."),
        Param("status", many=True),
        Param("startDate", ParamKind.TIMESTAMP),
        Param("endDate", ParamKind.TIMESTAMP),
        Param("textSearch", summary="Begin of an id, order id, e-mail address, transaction id or search term."),
        Param("includeArchived", ParamKind.FLAG),
        _WITH_METHODS,
        Param("skip", ParamKind.INTEGER),
        Param("take", ParamKind.INTEGER),
        Param("cursor", summary="Of the X-Next-Cursor header of an earlier answer."),
    ),
)
async def list_invoices(call: Call[None]) -> web.StreamResponse:
    query = call.query
    start, end = query["startDate"], query["endDate"]
    if start is not None and end is not None and start > end:
        raise ApiError(
            422,
            "validation-failed",
            "startDate is after endDate",
            (Issue("startDate", "startDate is after endDate"), Issue("endDate", "endDate is before startDate")),
        )
    wanted = InvoiceFilter(
        order_ids=tuple(query["orderId"]),
        statuses=tuple(
            dict.fromkeys(
                _LEGACY_STATUS[word.lower()] for word in query["status"] if word.lower() in _LEGACY_STATUS
            )
        ),
        start=start,
        end=end,
        text=(query["textSearch"] or "").strip()[:512],
        include_archived=bool(query["includeArchived"]),
        skip=query["skip"] or 0,
        take=_PAGE if query["take"] is None else query["take"],
        cursor=query["cursor"],
    )
    page = call.context.service.list_invoices(call.store, wanted)
    if query["take"] is None and page.cursor is not None:
        return await _send_all(call, wanted, page)
    answer = JsonAnswer(b"[" + _encoded(call, page) + b"]")
    if page.cursor:
        answer.headers["X-Next-Cursor"] = page.cursor
    return answer


async def _send_all(call: Call[None], wanted: InvoiceFilter, page: InvoicePage) -> web.StreamResponse:
    """Greenfield sets no limit to a list, so a long one is sent while it is read, others taking their turns."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-store"})
    response.headers["Access-Control-Allow-Origin"] = "*"
    await response.prepare(call.request)
    await response.write(b"[" + _encoded(call, page))
    while page.cursor is not None:
        await asyncio.sleep(0)
        page = call.context.service.list_invoices(call.store, replace(wanted, skip=0, cursor=page.cursor))
        if page.invoices:
            await response.write(b"," + _encoded(call, page))
    await response.write(b"]")
    await response.write_eof()
    return response


def _encoded(call: Call[None], page: InvoicePage) -> bytes:
    """The page's invoices as JSON, without the brackets."""
    with_methods = bool(call.query["includePaymentMethods"])
    return b",".join(invoice_json(call.context, invoice, with_methods=with_methods) for invoice in page.invoices)


@table.add(
    "GET", *twins(), access=VIEW, answer=InvoiceAnswer, summary="An invoice", query=(_WITH_METHODS,), errors=(404,)
)
async def get_invoice(call: Call[None]) -> InvoiceAnswer:
    return invoice_answer(call.context, invoice_of(call), with_methods=bool(call.query["includePaymentMethods"]))


@table.add(
    "PUT",
    *twins(),
    access=MODIFY,
    body=UpdateInvoiceRequest,
    answer=InvoiceAnswer,
    summary="Replace an invoice's metadata",
    errors=(404,),
)
async def update_invoice(call: Call[UpdateInvoiceRequest]) -> InvoiceAnswer:
    invoice = invoice_of(call)
    metadata = json_object(call.body.metadata, "metadata")
    if metadata is not None:
        invoice = await call.context.service.set_metadata(invoice.id, metadata)
    return invoice_answer(call.context, invoice)


@table.add("DELETE", *twins(), access=MODIFY, summary="Archive an invoice", errors=(404,))
async def archive_invoice(call: Call[None]) -> None:
    await call.context.service.archive(invoice_of(call).id)


@table.add(
    "POST",
    *twins("/unarchive"),
    access=MODIFY,
    answer=InvoiceAnswer,
    summary="Take an invoice out of the archive",
    errors=(404,),
)
async def unarchive_invoice(call: Call[None]) -> InvoiceAnswer:
    return invoice_answer(call.context, await call.context.service.unarchive(invoice_of(call).id))


@table.add(
    "POST",
    *twins("/status"),
    access=MODIFY,
    body=MarkRequest,
    answer=InvoiceAnswer,
    summary="Mark an invoice settled or invalid",
    errors=(404,),
)
async def mark_invoice(call: Call[MarkRequest]) -> InvoiceAnswer:
    invoice = invoice_of(call)
    wanted = enum_of(Status, call.body.status, "Status")
    if wanted not in (Status.SETTLED, Status.INVALID):
        raise Invalid("Status", "Status can only be marked to invalid or settled within certain conditions.")
    return invoice_answer(call.context, await call.context.service.mark_invoice(invoice.id, wanted))


@table.add(
    "GET",
    *twins("/payment-methods"),
    access=VIEW,
    answer=list[MethodAnswer],
    summary="What an invoice's payment methods ask for and have got",
    query=(Param("onlyAccountedPayments", ParamKind.FLAG), Param("includeSensitive", ParamKind.FLAG)),
    errors=(404,),
)
async def get_invoice_payment_methods(call: Call[None]) -> list[MethodAnswer]:
    invoice = invoice_of(call)
    sensitive = bool(call.query["includeSensitive"])
    if sensitive:
        require(call.context, call.principal, MODIFY_STORE, call.store)
    only_accounted = call.query["onlyAccountedPayments"] is not False
    return method_answers(call.context, invoice, only_accounted=only_accounted, sensitive=sensitive)


@table.add(
    "POST",
    *twins("/payment-methods/{paymentMethodId}/activate"),
    access=VIEW,
    summary="Make a payment method's address",
    errors=(404,),
)
async def activate_payment_method(call: Call[None]) -> None:
    invoice_of(call)
    service = call.context.service
    if (
        normalise_method_id(call.path["paymentMethodId"], call.context.host.params, call.context.coin_aliases)
        != service.method_id
    ):
        raise ApiError(404, "paymentmethod-not-found", "The payment method is not found")


def _draft(call: Call[InvoiceRequest]) -> InvoiceDraft:
    body = call.body
    checkout = body.checkout
    if checkout is not None:
        _check_url("Checkout.RedirectURL", checkout.redirect_url)
    _check_url("redirectUrl", body.redirect_url)
    terms = tuple(body.additional_search_terms or ())
    if terms and (len(terms) > 100 or max(map(len, terms)) > 512):
        raise Invalid("AdditionalSearchTerms", "At most 100 terms of 512 characters.")
    draft = InvoiceDraft(
        amount=amount_text(body.amount, "Amount"),
        currency=(body.currency or "").strip() or None,
        metadata=_metadata(body),
        redirect_url=body.redirect_url,
        receipt=msgspec.json.encode(body.receipt) if body.receipt is not None else b"{}",
        search_terms=terms,
        callback_url=body.notification_url,
    )
    return draft if checkout is None else _with_wishes(call, draft, checkout)


def _with_wishes(call: Call[InvoiceRequest], draft: InvoiceDraft, checkout: CheckoutRequest) -> InvoiceDraft:
    return msgspec.structs.replace(
        draft,
        speed_policy=enum_of(SpeedPolicy, checkout.speed_policy, "checkout.speedPolicy"),
        expiration_s=duration(checkout.expiration_minutes, "checkout.expirationMinutes", 60),
        monitoring_s=duration(checkout.monitoring_minutes, "checkout.monitoringMinutes", 60),
        payment_tolerance=amount_text(checkout.payment_tolerance, "Checkout.PaymentTolerance"),
        payment_methods=_methods(call, checkout.payment_methods),
        default_payment_method=_method(call, checkout.default_payment_method),
        redirect_url=checkout.redirect_url or draft.redirect_url,
        redirect_automatically=checkout.redirect_automatically,
        default_language=_language(checkout.default_language),
    )


def _check_url(path: str, text: str | None) -> None:
    if text is not None and len(text) > _MAX_TEXT:
        raise Invalid(path, "The URL is too long.")


def _methods(call: Call[InvoiceRequest], wanted: list[str] | None) -> tuple[str, ...] | None:
    """Canonical ids, each once; an id that this server does not have is refused by its place."""
    if wanted is None:
        return None
    found: dict[str, None] = {}
    for place, text in enumerate(wanted):
        method = _method(call, text) or ""
        if method not in call.context.known_methods:
            raise Invalid(f"Checkout.PaymentMethods[{place}]", "Invalid PaymentMethodId")
        found[method] = None
    return tuple(found)


def _method(call: Call[InvoiceRequest], text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    return normalise_method_id(text, call.context.host.params, call.context.coin_aliases)


def _language(text: str | None) -> str | None:
    """`it-it ` becomes `it-IT`."""
    if text is None or not text.strip():
        return None
    if not _LANGUAGE.fullmatch(text.strip()):
        raise Invalid("Checkout.DefaultLanguage", "The requested defaultLang does not exist")
    language, dash, region = text.strip().partition("-")
    return language.lower() + (dash + region.upper() if dash else "")


def _metadata(body: InvoiceRequest) -> bytes:
    """The metadata as sent, with the top-level properties of older clients where it lacks them."""
    metadata = json_object(body.metadata, "metadata") or b"{}"
    older: dict[str, Raw] = {}
    if not is_null(body.order_id):
        assert isinstance(body.order_id, Raw)
        older["orderId"] = body.order_id
    if body.description is not None:
        older["itemDesc"] = Raw(msgspec.json.encode(body.description))
    if body.buyer_email is not None:
        older["buyerEmail"] = Raw(msgspec.json.encode(body.buyer_email))
    if not older:
        return metadata
    return msgspec.json.encode(older | msgspec.json.decode(metadata, type=dict[str, Raw]))
