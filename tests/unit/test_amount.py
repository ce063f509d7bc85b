"""Amounts: decimal text at the edge, integers inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.primitives.amount import COIN, AmountError, format_amount, format_amount_short, parse_amount

LIMIT = 100_000_000 * COIN


@pytest.mark.parametrize(
    "text",
    ["", " ", "1e8", "1E-8", "NaN", "Infinity", "-1", "-0", "+1", "1_000", " 12 ", "12\n", "0x10", "1.", ".5"]
    + ["1.123456789", "12345678901", "١٢", "１", "1,5", "1.5.0", "100000000.00000001", "9999999999"],
)
def test_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text, LIMIT)


@pytest.mark.parametrize(
    ("text", "grains"),
    [("0", 0), ("0.00000001", 1), ("12.5", 1_250_000_000), ("100000000", LIMIT), ("0012.50", 1_250_000_000)],
)
def test_decimal_text_is_read_exactly(text: str, grains: int) -> None:
    assert parse_amount(text, LIMIT) == grains


@given(st.integers(0, LIMIT))
def test_formatting_and_parsing_are_a_pair(amount: int) -> None:
    assert parse_amount(format_amount(amount), LIMIT) == amount
    assert parse_amount(format_amount_short(amount), LIMIT) == amount


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_an_amount_error(text: str) -> None:
    try:
        amount = parse_amount(text, LIMIT)
    except AmountError:
        return
    assert 0 <= amount <= LIMIT


def test_negative_amounts_keep_their_sign_in_text() -> None:
    assert format_amount(-1) == "-0.00000001"
    assert format_amount(-150_000_000) == "-1.50000000"
