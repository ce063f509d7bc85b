"""Greenfield's payment requests: a bill, and invoices that pay it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from api.errors import ApiError, ErrorShape, Invalid
from api.fields import amount_text, is_null, json_object
from api.models.invoices import InvoiceAnswer
from api.models.payment_requests import PaymentRequestAnswer, PaymentRequestBody, PayRequest
from api.routing import Call, Param, ParamKind, RouteTable
from api.views import invoice_answer
from gldnode.primitives.amount import AmountError
from payments.invoice import Invoice, Status
from payments.money import format_price, normalise_currency, parse_price, price_limit
from payments.requests import PaymentRequest, RequestStatus, order_id, request_status, still_due
from payments.service import InvoiceDraft, InvoiceFilter, require_store

__all__ = ["table"]

table = RouteTable("/api/v1", "Payment requests", ErrorShape.GREENFIELD)

VIEW = "btcpay.store.canviewpaymentrequests"
MODIFY = "btcpay.store.canmodifypaymentrequests"
_MAX_TEXT = 2000
_MAX_INVOICES = 1000


def twins(rest: str = "") -> tuple[str, str]:
    one = "payment-requests/{paymentRequestId}"
    return f"/stores/{{storeId}}/{one}{rest}", f"/{one}{rest}"


def request_of(call: Call[Any]) -> PaymentRequest:
    """The request in the path, which must be the authorised store's. Raises PaymentError 404."""
    request = call.context.service.requests.get(call.path["paymentRequestId"])
    if request is None or request.store_id != call.store:
        raise ApiError(404, "payment-request-not-found", "The payment request was not found")
    return request


@table.add(
    "GET",
    "/stores/{storeId}/payment-requests",
    access=VIEW,
    answer=list[PaymentRequestAnswer],
    summary="The store's payment requests",
    query=(Param("includeArchived", ParamKind.FLAG),),
)
async def list_payment_requests(call: Call[None]) -> list[PaymentRequestAnswer]:
    with_archived = bool(call.query["includeArchived"])
    found = call.context.service.requests.of_store(call.store)
    return [_answer(call, request) for request in found if with_archived or not request.archived]


@table.add(
    "POST",
    "/stores/{storeId}/payment-requests",
    access=MODIFY,
    body=PaymentRequestBody,
    answer=PaymentRequestAnswer,
    summary="Ask for a payment",
)
async def create_payment_request(call: Call[PaymentRequestBody]) -> PaymentRequestAnswer:
    if is_null(call.body.amount):
        raise Invalid("Amount", "Please provide an amount greater than 0")
    host = call.context.host
    text = host.entropy.bytes(16).hex()
    request = PaymentRequest(
        id=f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        store_id=call.store,
        created_at=host.clock.now(),
        amount=0,
        currency=require_store(call.context.service, call.store).settings.default_currency,
        title="",
    )
    return _answer(call, await call.context.service.requests.put(_changed(call, request), host.clock.now()))


@table.add("GET", *twins(), access=VIEW, answer=PaymentRequestAnswer, summary="A payment request", errors=(404,))
async def get_payment_request(call: Call[None]) -> PaymentRequestAnswer:
    return _answer(call, request_of(call))


@table.add(
    "PUT",
    *twins(),
    access=MODIFY,
    body=PaymentRequestBody,
    answer=PaymentRequestAnswer,
    summary="Change a payment request",
    errors=(404,),
)
async def update_payment_request(call: Call[PaymentRequestBody]) -> PaymentRequestAnswer:
    request = request_of(call)
    changed = _changed(call, request)
    is_other_bill = (changed.amount, changed.currency) != (request.amount, request.currency)
    if is_other_bill and _invoices(call, request):
        raise Invalid("Amount", "Amount and currency are not editable once payment request has invoices")
    return _answer(call, await call.context.service.requests.put(changed, call.context.host.clock.now()))


@table.add("DELETE", *twins(), access=MODIFY, summary="Archive a payment request", errors=(404,))
async def archive_payment_request(call: Call[None]) -> None:
    await call.context.service.requests.archive(request_of(call).id, call.context.host.clock.now())


@table.add(
    "POST",
    *twins("/pay"),
    access=VIEW,
    body=PayRequest,
    body_optional=True,
    answer=InvoiceAnswer,
    summary="An invoice for what is still due",
    errors=(404,),
)
async def pay_payment_request(call: Call[PayRequest]) -> InvoiceAnswer:
    service, request = call.context.service, request_of(call)
    invoices = _invoices(call, request)
    _check_payable(call, request, invoices)
    missing = still_due(request, invoices)
    asked = _asked(call, request, missing)
    if call.body.allow_pending_invoice_reuse:
        for invoice in invoices:
            if service.state(invoice).status is Status.NEW and invoice.price == asked and not invoice.payments:
                return invoice_answer(call.context, invoice)
    metadata = {"orderId": order_id(request.id), "paymentRequestId": request.id}
    if request.email:
        metadata["buyerEmail"] = request.email
    draft = InvoiceDraft(
        amount=format_price(asked, 0),
        currency=request.currency,
        metadata=msgspec.json.encode(metadata),
        receipt=b'{"enabled":false}',
    )
    return invoice_answer(call.context, (await service.create_invoice(call.store, draft)).invoice)


def _check_payable(call: Call[Any], request: PaymentRequest, invoices: Sequence[Invoice]) -> None:
    if request.archived:
        raise ApiError(400, "archived", "You cannot pay an archived payment request")
    match request_status(request, invoices, call.context.host.clock.now()):
        case RequestStatus.EXPIRED:
            raise ApiError(400, "expired", "This payment request is expired")
        case RequestStatus.COMPLETED | RequestStatus.PROCESSING:
            raise ApiError(400, "already-paid", "This payment request is already paid")
        case RequestStatus.PENDING:
            return


def _asked(call: Call[PayRequest], request: PaymentRequest, missing: int) -> int:
    text = amount_text(call.body.amount, "Amount")
    if text is None:
        return missing
    asked = _price(call, text, request.currency)
    if not request.allow_custom_amounts and asked != missing:
        raise Invalid("Amount", "This payment request doesn't allow custom amount")
    return min(asked, missing)


def _changed(call: Call[PaymentRequestBody], request: PaymentRequest) -> PaymentRequest:
    body = call.body
    title = body.title if body.title is not None else request.title
    if not title.strip() or len(title) > 500:
        raise Invalid("Title", "Title is required, with at most 500 characters")
    for path, text in (
        ("Description", body.description),
        ("Email", body.email),
        ("ReferenceId", body.reference_id),
    ):
        if text is not None and len(text) > _MAX_TEXT:
            raise Invalid(path, "The text is too long.")
    if body.email and ("@" not in body.email or any(ord(char) <= 32 for char in body.email)):
        raise Invalid("Email", "Invalid email")
    currency = _currency(body.currency) or request.currency
    text = amount_text(body.amount, "Amount")
    expires_at = body.expiry_date
    if expires_at is not None and not 0 <= expires_at < 2**53:
        raise Invalid("expiryDate", "Invalid unix timestamp")
    return msgspec.structs.replace(
        request,
        amount=_price(call, text, currency) if text is not None else request.amount,
        currency=currency,
        title=title,
        description=body.description,
        email=body.email or None,
        reference_id=body.reference_id,
        expires_at=expires_at,
        allow_custom_amounts=bool(body.allow_custom_payment_amounts),
        form_id=body.form_id[:100] if body.form_id else None,
        form_response=json_object(body.form_response, "formResponse") or b"null",
    )


def _currency(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    try:
        return normalise_currency(text)
    except AmountError as error:
        raise Invalid("Currency", "Invalid currency") from error


def _price(call: Call[Any], text: str, currency: str) -> int:
    params = call.context.host.params
    try:
        price, _ = parse_price(text, price_limit(currency, params.unit, params.max_money))
    except AmountError as error:
        raise Invalid("Amount", str(error)) from error
    if price <= 0:
        raise Invalid("Amount", "Please provide an amount greater than 0")
    return price


def _invoices(call: Call[Any], request: PaymentRequest) -> Sequence[Invoice]:
    wanted = InvoiceFilter(order_ids=(order_id(request.id),), include_archived=True, take=_MAX_INVOICES)
    return call.context.service.list_invoices(call.store, wanted).invoices


def _answer(call: Call[Any], request: PaymentRequest) -> PaymentRequestAnswer:
    state = request_status(request, _invoices(call, request), call.context.host.clock.now())
    return PaymentRequestAnswer(
        id=request.id,
        store_id=request.store_id,
        amount=Raw(format_price(request.amount, 0).encode()),
        currency=request.currency,
        title=request.title,
        description=request.description,
        email=request.email,
        reference_id=request.reference_id,
        expiry_date=request.expires_at,
        allow_custom_payment_amounts=request.allow_custom_amounts,
        status=state.value,
        created_time=request.created_at,
        archived=request.archived,
        form_id=request.form_id,
        form_response=Raw(request.form_response),
    )
