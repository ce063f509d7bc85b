"""`/i/{invoiceId}`: what the payer sees. No script; while something may happen the page loads itself again."""

import segno
from aiohttp import web

from api.context import ApiContext
from api.pages.markup import Markup, fill, join, page, tag
from gldnode.primitives.amount import format_amount_short
from payments.accounting import method_figures
from payments.invoice import Additional, Invoice, State, Status, effective_price, net
from payments.money import format_price
from payments.uri import payment_uri

__all__ = ["checkout_page"]

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
        memo=invoice.memo,
        view=view,
        status=words,
        headline=_headline(invoice, state, unit),
        explanation=_explanation(invoice, state, unit),
        payment=_payment(context, invoice) if state.status is Status.NEW else Markup(""),
        facts=_facts(invoice, unit),
        footer=_footer(context, invoice, state),
    )
    pending = state.status in (Status.NEW, Status.PROCESSING)
    return page(f"{name}: {words}", content, refresh_s=_REFRESH_S if pending else 0, may_be_framed=True)


def _headline(invoice: Invoice, state: State, unit: str) -> str:
    if state.status is Status.NEW and invoice.price is not None:
        return f"{format_amount_short(max(0, method_figures(invoice).due))} {unit}"
    if state.status is Status.NEW:
        return f"Any amount of {unit}"
    return f"{format_price(effective_price(invoice) or 0, invoice.price_decimals)} {invoice.currency}"


def _explanation(invoice: Invoice, state: State, unit: str) -> str:
    received = format_amount_short(net(invoice.accounted))
    match state.additional:
        case Additional.PAID_PARTIAL:
            missing = format_amount_short(max(0, method_figures(invoice).due))
            return f"{received} {unit} have arrived; {missing} {unit} are still due."
        case Additional.PAID_LATE:
            return "The payment came after the expiry. The shop will tell you what it does about it."
        case Additional.PAID_OVER:
            return f"{received} {unit} have arrived, more than was due."
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


def _facts(invoice: Invoice, unit: str) -> Markup:
    price = effective_price(invoice)
    rows = [("Address", invoice.address)]
    if not invoice.own_address:
        rows.append(("Message that must go with the payment", invoice.id))
    if price is not None:
        rows.append(("Price", f"{format_price(price, invoice.price_decimals)} {invoice.currency}"))
    if invoice.accounted:
        rows.append(("Received", f"{format_amount_short(net(invoice.accounted))} {unit}"))
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
