"""Which payment methods a store offers for which amounts (Greenfield's `paymentMethodCriteria`)."""

import msgspec

from gldnode.params import ChainParams
from gldnode.primitives.amount import AmountError
from payments.errors import PaymentError
from payments.methods import chain_method_id, normalise_method_id
from payments.money import RATE_ONE, ceil_div, normalise_currency, parse_price, price_limit
from payments.rates import Rates
from payments.stores import StoreSettings

__all__ = ["check_criteria"]


class Criterion(msgspec.Struct, rename="camel"):
    payment_method_id: str = ""
    currency_code: str = ""
    amount: str = "0"
    above: bool = True


def check_criteria(grains: int, settings: StoreSettings, params: ChainParams, rates: Rates) -> None:
    """Raises PaymentError 400 where no method is left for an invoice of `grains`.

    A criterion whose currency has no rate now says nothing.
    """
    if settings.payment_method_criteria == b"[]":
        return
    for criterion in msgspec.json.decode(settings.payment_method_criteria, type=list[Criterion]):
        if normalise_method_id(criterion.payment_method_id, params) != chain_method_id(params):
            continue
        limit = _limit(criterion, settings, params, rates)
        if limit is None:
            continue
        if (criterion.above and grains < limit) or (not criterion.above and grains > limit):
            side = "at least" if criterion.above else "at most"
            raise PaymentError(
                "generic-error",
                f"No payment method is left: {chain_method_id(params)} takes {side} "
                f"{criterion.amount} {criterion.currency_code}.",
                400,
            )


def _limit(criterion: Criterion, settings: StoreSettings, params: ChainParams, rates: Rates) -> int | None:
    try:
        currency = normalise_currency(criterion.currency_code or params.unit)
        price, _ = parse_price(criterion.amount, price_limit(currency, params.unit, params.max_money))
        rate = rates.get(currency, spread=settings.spread, rules=settings.rate_rules)
    except (AmountError, PaymentError):
        return None
    return ceil_div(price * RATE_ONE, rate)
