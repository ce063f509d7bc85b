"""Money: `int` base units (grains; 10^8 to a GLD). Decimal text exists at the edges only, floats nowhere."""

import re
from typing import NewType

from gldnode.errors import NodeError

__all__ = ["COIN", "Amount", "AmountError", "format_amount", "format_amount_short", "parse_amount"]

Amount = NewType("Amount", int)
COIN = 100_000_000
_DECIMAL = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,8})?")  # [0-9]: \d takes other scripts' digits


class AmountError(NodeError):
    """Text that is not an amount, or an amount out of range."""


def parse_amount(text: str, limit: int) -> Amount:
    """Grains of a decimal text such as "12.5"; `limit` is the network's `max_money` or less.

    Raises AmountError for a sign, an exponent, more than 8 decimals, or more than `limit`.
    """
    if not _DECIMAL.fullmatch(text):
        raise AmountError(f"not an amount: {text[:40]!r}")
    whole, _, fraction = text.partition(".")
    amount = int(whole) * COIN + int(fraction.ljust(8, "0"))
    if amount > limit:
        raise AmountError(f"more than {format_amount_short(limit)}: {text}")
    return Amount(amount)


def format_amount(amount: int) -> str:
    """Decimal text with all 8 decimals, as Core's RPC writes amounts: 1.50000000."""
    sign = "-" if amount < 0 else ""
    whole, fraction = divmod(abs(amount), COIN)
    return f"{sign}{whole}.{fraction:08d}"


def format_amount_short(amount: int) -> str:
    """Decimal text without trailing zeros: 1.5."""
    text = format_amount(amount)
    return text.rstrip("0").rstrip(".")
