"""Exact money of invoices: prices in any currency, rates, and the grains they come to. Integers only.

A price counts 10^-8 of its currency, so `parse_amount` reads it as it reads coins. A rate is the price of one
coin in the invoice's currency and counts 10^-12. Comparisons multiply out instead of dividing, so a payment at
the exact boundary of a tolerance is decided exactly; the only divisions round a due *up* to whole grains.
"""

import re
from typing import Final

from gldnode.primitives.amount import COIN, AmountError, format_amount, parse_amount

__all__ = [
    "PERCENT",
    "RATE_ONE",
    "WHOLE",
    "AmountError",
    "ceil_div",
    "currency_digits",
    "format_price",
    "format_rate",
    "normalise_currency",
    "parse_percent",
    "parse_price",
    "parse_rate",
    "price_limit",
    "round_price",
    "value_at_rate",
]

RATE_ONE: Final = 10**12
"""The rate of a currency against itself."""
PERCENT: Final = COIN
"""One percent, as a tolerance or spread counts it."""
WHOLE: Final = 100 * PERCENT

_RATE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,12}))?")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,9}")
_FIAT_LIMIT: Final = 10**10 * COIN - 1
_POWERS: Final = tuple(int(f"1{'0' * n}") for n in range(9))
_NO_MINOR_UNIT: Final = frozenset(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    )
)
_THREE_DIGITS: Final = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
_COINS: Final = frozenset(("GLD", "BTC", "LTC", "XAU", "XAG"))


def normalise_currency(text: str) -> str:
    """A currency's code: trimmed, upper case, 2 to 10 letters and digits. Raises AmountError."""
    code = text.strip().upper()
    if not _CURRENCY.fullmatch(code):
        raise AmountError(f"not a currency code: {text[:20]!r}")
    return code


def currency_digits(currency: str) -> int:
    """Decimals of the currency's smallest unit; 2 where it is not known."""
    if currency in _COINS:
        return 8
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THREE_DIGITS else 2


def price_limit(currency: str, unit: str, max_money: int) -> int:
    """The largest price: the coin's own limit for its own unit, ten digits for others."""
    return max_money if currency == unit else _FIAT_LIMIT


def parse_price(text: str, limit: int) -> tuple[int, int]:
    """A price in 10^-8 of its currency, and the decimals it was written with ("5.00" has two).

    Raises AmountError.
    """
    price = parse_amount(text, limit)
    return price, len(text.partition(".")[2])


def round_price(price: int, digits: int) -> int:
    """`price` with the currency's decimals, half away from zero.

    Greenfield keeps more decimals while rounding would change the price by one percent or more (0.001 USD).
    """
    for kept in range(digits, 8):
        step = _POWERS[8 - kept]
        rounded = (price + step // 2) // step * step
        if abs(rounded - price) * 100 < price:
            return rounded
    return price


def format_price(price: int, decimals: int) -> str:
    """Decimal text with at least `decimals` decimals and no further zeros: 5.00, 0.001."""
    whole, _, fraction = format_amount(price).partition(".")
    fraction = fraction.rstrip("0").ljust(decimals, "0")
    return f"{whole}.{fraction}" if fraction else whole


def parse_rate(text: str) -> int:
    """A rate in 10^-12, from plain decimal text; digits behind the twelfth are cut. Raises AmountError."""
    match = _RATE.fullmatch(text) or re.fullmatch(r"([0-9]{1,15})\.([0-9]{12})[0-9]{1,20}", text)
    if match is None:
        raise AmountError(f"not a rate: {text[:40]!r}")
    whole, fraction = match.groups()
    return int(whole) * RATE_ONE + int((fraction or "").ljust(12, "0"))


def format_rate(rate: int) -> str:
    whole, fraction = divmod(rate, RATE_ONE)
    return f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")


def parse_percent(text: str) -> int:
    """A percentage from 0 to 100 in 10^-8 percent. Raises AmountError."""
    return parse_amount(text, WHOLE)


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient rounded towards plus infinity."""
    return -(-numerator // denominator)


def value_at_rate(grains: int, rate: int, digits: int) -> int:
    """What `grains` are worth in 10^-8 of the currency, rounded half away from zero to its digits."""
    step = _POWERS[8 - digits]
    sign, product = (-1, -grains * rate) if grains < 0 else (1, grains * rate)
    return sign * ((product + RATE_ONE * step // 2) // (RATE_ONE * step)) * step
