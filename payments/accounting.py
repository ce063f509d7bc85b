"""What an invoice comes to in coins: Greenfield's figures of a payment method. Pure, integers only.

All figures are grains. A fee that a payment was charged raises what is asked for; while the invoice is
underpaid, so does the fee that the next payment will be charged.
"""

from dataclasses import dataclass

from payments.invoice import Invoice, covers, effective_price, net
from payments.money import RATE_ONE, ceil_div, currency_digits, value_at_rate

__all__ = ["MethodFigures", "method_figures", "paid_in_currency", "to_pay"]


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """Greenfield's names: amount, totalPaid, paymentMethodPaid, due, paymentMethodFee."""

    amount: int
    """The price and all fees, rounded up."""
    paid: int
    """All accounted payments, with the fees in them."""
    due: int
    """What is missing; negative when overpaid."""
    fee: int
    """Charged so far, and once more while underpaid."""


def method_figures(invoice: Invoice) -> MethodFigures:
    """The figures of the invoice's one on-chain method."""
    accounted = invoice.accounted
    paid = sum(payment.amount for payment in accounted)
    charged = sum(payment.fee for payment in accounted)
    price = effective_price(invoice)
    if price is None or invoice.rate == 0:
        return MethodFigures(paid, paid, 0, charged)
    fee = charged if covers(invoice, accounted) else charged + invoice.next_fee
    amount = ceil_div(price * RATE_ONE, invoice.rate) + fee
    return MethodFigures(amount, paid, amount - paid, fee)


def to_pay(invoice: Invoice) -> int:
    """What one more payment must bring; 0 where nothing is missing or any amount is welcome."""
    return max(0, method_figures(invoice).due)


def paid_in_currency(invoice: Invoice) -> int:
    """The accounted payments without fees, in 10^-8 of the invoice's currency, rounded to its digits."""
    return value_at_rate(net(invoice.accounted), invoice.rate, currency_digits(invoice.currency))
