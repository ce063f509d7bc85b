"""Rates: sources, rules, ages; nothing in the path of a creation waits."""

from fractions import Fraction

import pytest

from gldnode.clock import MockableClock
from payments.errors import PaymentError
from payments.money import PERCENT, RATE_ONE
from payments.rates import Rates, parse_sources
from payments.rules import RuleError, evaluate


def make(*settings: str, answer: bytes | Exception = b"{}") -> tuple[Rates, MockableClock]:
    clock = MockableClock()
    clock.set_mock_time(1_000_000)

    async def fetch(url: str) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Rates(parse_sources(settings, "GLD"), fetch, clock, "GLD", 900), clock


def test_the_coin_itself_needs_no_rate() -> None:
    assert make()[0].get("GLD", spread=5 * PERCENT) == RATE_ONE


def test_without_a_source_there_is_a_reason() -> None:
    with pytest.raises(PaymentError, match="No rate for GLD_USD: no source is configured"):
        make()[0].get("USD")


def test_fixed_rates_and_spread() -> None:
    rates, _ = make("USD=12.5")
    assert rates.get("USD") == 12_500_000_000_000
    assert rates.get("USD", spread=2 * PERCENT) == 12_250_000_000_000


def test_rules_cross_rates() -> None:
    rates, _ = make("XAU_USD=3110.34768", "USD=rule:kraken(XAU_USD) / 31.1034768 * (1 + 1)")
    assert rates.get("USD") == 200 * RATE_ONE
    assert rates.pair("USD-GLD") == Fraction(1, 200)
    assert rates.pair("GLDGLD") == 1


def test_a_stores_own_rules_win() -> None:
    assert make("USD=1")[0].get("USD", rules="GLD_USD = 2 * 3;\nnonsense") == 6 * RATE_ONE


def test_rules_that_go_round_are_refused() -> None:
    rates, _ = make("USD=rule:GLD_EUR", "EUR=rule:GLD_USD")
    with pytest.raises(PaymentError, match="circle"):
        rates.get("USD")


async def test_http_rates_are_exact_and_age() -> None:
    rates, clock = make("USD=https://x/p#data.0.price", answer=b'{"data":[{"price":12.345678901}]}')
    with pytest.raises(PaymentError, match="has not answered yet"):
        rates.get("USD")
    await rates.refresh()
    assert rates.get("USD") == 12_345_678_901_000
    clock.set_mock_time(clock.now() + 901)
    with pytest.raises(PaymentError, match="901 seconds old"):
        rates.get("USD")


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"data":[]}', b'{"data":[{"price":"NaN"}]}', b"\xff", OSError("down")]
)
async def test_a_source_that_fails_is_a_reason_and_the_next_one_is_used(answer: bytes | Exception) -> None:
    rates, _ = make("USD=https://x/p#data.0.price", answer=answer)
    await rates.refresh()
    with pytest.raises(PaymentError, match="its source failed"):
        rates.get("USD")
    fallback, _ = make("USD=https://x/p#data.0.price", "USD=7", answer=answer)
    await fallback.refresh()
    assert fallback.get("USD") == 7 * RATE_ONE


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "1 / 0",
        "__import__('os')",
        "GLD",
        "a(b(c_d))",
        "1 1",
        "((((((((((((((((((((((1",
        "1" * 600,
    ],
)
def test_rules_are_only_arithmetic(rule: str) -> None:
    with pytest.raises(RuleError):
        evaluate(rule, lambda _: Fraction(1))


@pytest.mark.parametrize("setting", ["USD", "USD=", "USD=-1", "U=1", "USD=rule:1+", "USD=1e3"])
def test_a_wrong_setting_is_named(setting: str) -> None:
    with pytest.raises(ValueError, match="-rate="):
        parse_sources([setting], "GLD")
