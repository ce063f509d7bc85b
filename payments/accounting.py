"""Figures of an invoice as Greenfield shows them (sections 8.1 to 8.3 of its behaviour). Pure, in integers."""

from dataclasses import dataclass

from gldnode.primitives.amount import format_amount_short
from payments.invoice import Invoice, covers, due, effective_price
from payments.money import RATE_ONE, ceil_div, currency_digits, format_price, format_rate, value_at_rate

__all__ = ["MethodFigures", "method_figures", "paid_amount", "paid_text", "price_text"]


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One payment method's amounts in grains. `due` is negative when overpaid."""

    rate: str
    amount: int
    """To be paid in all, the fees of the payments made and of the one to come included."""
    total_paid: int
    due: int
    fee: int
    """Network fees charged so far, and the next one while something is missing."""

    @property
    def due_text(self) -> str:
        return format_amount_short(self.due)


def method_figures(invoice: Invoice) -> MethodFigures:
    """What the on-chain method asks for now."""
    payments = invoice.accounted
    price = effective_price(invoice) or 0
    gross = sum(p.amount for p in payments)
    fees = sum(p.fee for p in payments)
    rate = invoice.rate
    if rate == 0:
        return MethodFigures("0", 0, gross, 0, fees)
    is_short = not covers(invoice, payments) and invoice.price is not None
    fees_asked = fees + (invoice.next_fee if is_short else 0)
    amount = ceil_div(price * RATE_ONE, rate) + fees_asked
    missing = due(invoice) + (invoice.next_fee if is_short else 0)
    return MethodFigures(format_rate(rate), amount, gross, missing, fees_asked)


def paid_amount(invoice: Invoice) -> int:
    """Net value received, in 10^-8 of the invoice's currency, rounded to its digits."""
    received = sum(p.net for p in invoice.accounted)
    return value_at_rate(received, invoice.rate, currency_digits(invoice.currency))


def paid_text(invoice: Invoice) -> str:
    return format_price(paid_amount(invoice), 0)


def price_text(invoice: Invoice) -> str:
    """The amount as the merchant wrote it; "0" for a top-up that nothing was paid to."""
    price = effective_price(invoice)
    return "0" if price is None else format_price(price, invoice.price_decimals)
