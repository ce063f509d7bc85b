"""`/i/{invoiceId}`: what the payer sees. No script; while something may happen the page loads itself again."""

import re
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import segno
from aiohttp import web

from api.context import ApiContext
from api.pages.markup import Markup, fill, join, page, tag
from gldnode.primitives.amount import format_amount_short
from payments.accounting import method_figures
from payments.errors import not_found
from payments.invoice import Additional, Invoice, State, Status, effective_price, net
from payments.money import format_price
from payments.uri import payment_uri

__all__ = ["checkout_page", "checkout_status"]

_REFRESH_S = 10
_WORDS = {
    Status.NEW: ("pending", "Waiting for payment"),
    Status.PROCESSING: ("pending", "Payment received, waiting for confirmation"),
    Status.SETTLED: ("paid", "Paid"),
    Status.EXPIRED: ("expired", "Expired"),
    Status.INVALID: ("failed", "Invalid"),
}


def checkout_page(context: ApiContext, invoice_id: str) -> web.Response:
    """The page of an invoice, 404 for an unknown one."""
    invoice = context.service.invoice(invoice_id)
    if invoice is None:
        content = join(
            [tag("h1", "No such invoice"), tag("p", "The address of this page is not complete or not ours.")]
        )
        return page("No such invoice", content, status=404, may_be_framed=True)
    state = context.service.state(invoice)
    view, words = _WORDS[state.status]
    store = context.service.store(invoice.store_id)
    name = store.name if store is not None else "Invoice"
    unit = context.host.params.unit
    content = fill(
        "checkout.html",
        store=name,
        memo=_description(invoice),
        view=view,
        status=words,
        headline=_headline(invoice, state, unit),
        explanation=_explanation(invoice, state, unit),
        payment=_payment(context, invoice) if state.status is Status.NEW else Markup(""),
        back=_way_back(invoice, state, name),
        facts=_facts(invoice, state, unit),
        footer=_footer(context, invoice, state),
    )
    pending = state.status in (Status.NEW, Status.PROCESSING)
    return page(f"{name}: {words}", content, refresh_s=_REFRESH_S if pending else 0, may_be_framed=True)


def checkout_status(context: ApiContext, invoice_id: str) -> web.Response:
    """What a shop's page in a browser may know of its invoice: its status. Any origin may ask."""
    invoice = context.service.invoice(invoice_id)
    if invoice is None:
        raise not_found("invoice")
    state = context.service.state(invoice)
    body = {"invoiceId": invoice.id, "status": state.status.value, "additionalStatus": state.additional.value}
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=headers)


def _headline(invoice: Invoice, state: State, unit: str) -> str:
    if state.status is Status.NEW and invoice.price is not None:
        return f"{format_amount_short(max(0, method_figures(invoice).due))} {unit}"
    if state.status is Status.NEW:
        return f"Any amount of {unit}"
    return f"{format_price(effective_price(invoice) or 0, invoice.price_decimals)} {invoice.currency}"


def _explanation(invoice: Invoice, state: State, unit: str) -> str:
    received = format_amount_short(net(invoice.accounted))
    match state.additional:
        case Additional.PAID_PARTIAL if state.status is Status.NEW:
            missing = format_amount_short(max(0, method_figures(invoice).due))
            return f"{received} {unit} have arrived; {missing} {unit} are still due."
        case Additional.PAID_LATE:
            return "The payment came after the expiry. The shop will tell you what it does about it."
        case Additional.PAID_PARTIAL:
            return f"{received} {unit} have arrived, less than was due. Do not pay any more: ask the shop."
        case Additional.PAID_OVER:
            return f"{received} {unit} have arrived, more than was due."
        case _ if state.status is Status.EXPIRED:
            return "Do not pay any more: ask the shop for a new invoice."
        case _ if state.status is Status.NEW and invoice.price is None:
            return "Send what you like to the address below."
        case _:
            return "Send exactly this amount to the address below." if state.status is Status.NEW else ""


def _payment(context: ApiContext, invoice: Invoice) -> Markup:
    uri = payment_uri(invoice, context.host.params)
    svg = segno.make(uri, error="m").svg_inline(border=0, omitsize=True)
    return join(
        [
            tag("div", Markup(svg), cls="qr"),
            tag("a", "Open in wallet", cls="button", href=uri),
        ]
    )


def _way_back(invoice: Invoice, state: State, name: str) -> Markup:
    """A link to where the shop wants its customer, with what the shop left open in it."""
    target = invoice.checkout.redirect_url or ""
    if urlsplit(target).scheme not in ("http", "https"):
        return Markup("")
    values = {
        "orderid": str(_metadata(invoice).get("orderId") or ""),
        "invoiceid": invoice.id,
        "status": state.status.value,
    }
    target = re.sub(r"(?i)\{(orderid|invoiceid|status)\}", lambda m: quote(values[m[1].lower()], safe=""), target)
    return tag("a", f"Back to {name}", cls="button plain", href=target, rel="noreferrer", target="_top")


def _description(invoice: Invoice) -> str:
    text = _metadata(invoice).get("itemDesc")
    return invoice.memo or (text[:500] if isinstance(text, str) else "")


def _metadata(invoice: Invoice) -> dict[str, Any]:
    value = msgspec.json.decode(invoice.metadata)
    return value if isinstance(value, dict) else {}


def _facts(invoice: Invoice, state: State, unit: str) -> Markup:
    price = effective_price(invoice)
    rows = []
    if state.status is Status.NEW:
        rows.append(("Address", invoice.address))
        if not invoice.own_address:
            rows.append(("Message that must go with the payment", invoice.id))
    elif invoice.accounted:
        rows.append(("Paid to", invoice.address))
    if price is not None:
        rows.append(("Price", f"{format_price(price, invoice.price_decimals)} {invoice.currency}"))
    if invoice.accounted:
        rows.append(("Received", f"{format_amount_short(net(invoice.accounted))} {unit}"))
    if invoice.accounted and invoice.price is not None:
        rows.append(("Still due", f"{format_amount_short(max(0, method_figures(invoice).due))} {unit}"))
    rows.append(("Invoice", invoice.id))
    return join([Markup(tag("dt", term) + tag("dd", value, cls="mono")) for term, value in rows])


def _footer(context: ApiContext, invoice: Invoice, state: State) -> str:
    if state.status is Status.NEW:
        minutes = max(0, invoice.expires_at - context.host.clock.now() + 59) // 60
        return f"This offer ends in {minutes} min. The page looks for news by itself."
    if state.status is Status.PROCESSING:
        blocks = "block" if invoice.depth == 1 else "blocks"
        return f"The shop waits for {invoice.depth} {blocks}. The page looks for news by itself."
    return ""
