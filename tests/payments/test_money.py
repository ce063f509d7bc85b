"""Money: prices, rates and roundings, in exact integers."""

import pytest

from gldnode.primitives.amount import COIN
from payments.money import (
    RATE_ONE,
    AmountError,
    ceil_div,
    format_price,
    format_rate,
    parse_percent,
    parse_price,
    parse_rate,
    round_price,
    value_at_rate,
)

LIMIT = 10**10 * COIN


@pytest.mark.parametrize(
    ("text", "price", "decimals"),
    [("5", 5 * COIN, 0), ("5.00", 5 * COIN, 2), ("0.00000001", 1, 8), ("12.5", 1_250_000_000, 1)],
)
def test_price_keeps_how_it_was_written(text: str, price: int, decimals: int) -> None:
    assert parse_price(text, LIMIT) == (price, decimals)
    assert format_price(price, decimals) == text


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "NaN", "Infinity", "1_000", " 1", "1.", ".5", "0.000000001", "१"]
)
def test_price_refuses_what_is_no_plain_decimal(text: str) -> None:
    with pytest.raises(AmountError):
        parse_price(text, LIMIT)


@pytest.mark.parametrize(
    ("price", "digits", "rounded"),
    [
        (1_005_000_000, 2, 1_005_000_000),  # 10.05
        (1_005_500_000, 2, 1_006_000_000),  # 10.055 -> 10.06
        (1_004_900_000, 2, 1_005_000_000),  # 10.049 -> 10.05
        (100_000, 2, 100_000),  # 0.001 stays: rounding would change it by 100 %
        (150_000_000, 0, 150_000_000),  # 1.5 yen: a third off, so it stays
        (100_050_000_000, 0, 100_100_000_000),
        (0, 2, 0),
    ],
)
def test_price_is_rounded_to_the_currency_but_never_by_one_percent(price: int, digits: int, rounded: int) -> None:
    assert round_price(price, digits) == rounded


def test_rate_is_exact_to_twelve_decimals() -> None:
    assert parse_rate("12.5") == 12_500_000_000_000
    assert parse_rate("0.0000000000019999") == 1
    assert format_rate(parse_rate("0.000123")) == "0.000123"
    for text in ("", "-1", "1e5", "NaN", "1" * 16):
        with pytest.raises(AmountError):
            parse_rate(text)


def test_percentages_stop_at_one_hundred() -> None:
    assert parse_percent("0.5") == COIN // 2
    with pytest.raises(AmountError):
        parse_percent("100.00000001")


def test_roundings() -> None:
    assert ceil_div(7, 2) == 4
    assert ceil_div(-7, 2) == -3
    assert value_at_rate(COIN, RATE_ONE * 5 // 2, 2) == 250_000_000
    assert value_at_rate(1, RATE_ONE, 2) == 0
    assert value_at_rate(-COIN, RATE_ONE, 8) == -COIN
