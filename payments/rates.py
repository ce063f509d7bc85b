"""Rates of the chain's coin in other currencies: read from a cache that is filled in the background.

No network stands in the path that creates an invoice: a rate is there and fresh, or the invoice is refused with
the reason. Sources are asked in the order of the configuration (`-rate`, repeatable):

    -rate=USD=12.5                                       fixed
    -rate=USD=https://host/path#data.0.price             HTTP JSON, the path into the answer behind the #
    -rate=USD=rule:XAU_USD / 31.1034768                  a rule over other pairs
    -rate=XAU_USD=https://...                            any other pair, for rules

`-ratemaxage` (seconds, 900) is the age from which an HTTP rate is no longer used.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol

import msgspec

from gldnode.clock import Clock
from payments.errors import PaymentError
from payments.money import RATE_ONE, WHOLE, AmountError, normalise_currency, parse_rate
from payments.rules import RuleError, evaluate, parse_rule

__all__ = ["FetchJson", "RateSource", "Rates", "parse_sources"]

log = logging.getLogger(__name__)

MAX_AGE_S: Final = 900
REFRESH_S: Final = 60
_PAIR: Final = re.compile(r"([A-Z][A-Z0-9]{1,9})[_-]([A-Z][A-Z0-9]{1,9})")


class FetchJson(Protocol):
    """Gets a JSON document through the guarded client. Raises OSError, ValueError or TimeoutError."""

    async def __call__(self, url: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RateSource:
    """Where a pair's rate comes from."""

    pair: str
    """`GLD_USD`: what one GLD is in USD."""
    kind: str
    """`fixed`, `http` or `rule`."""
    text: str
    rate: Fraction | None = None


@dataclass(frozen=True, slots=True)
class _Quote:
    rate: Fraction
    at: int


def parse_sources(settings: Sequence[str], unit: str) -> list[RateSource]:
    """The sources of the configuration. Raises ValueError with the setting that is wrong."""
    return [_parse_source(setting, unit) for setting in settings]


def _parse_source(setting: str, unit: str) -> RateSource:
    name, equals, text = setting.partition("=")
    try:
        pair = (
            name.upper().replace("-", "_")
            if _PAIR.fullmatch(name.upper())
            else f"{unit}_{normalise_currency(name)}"
        )
        if not equals or not text:
            raise ValueError("no source behind the =")
        if text.startswith(("https://", "http://")):
            return RateSource(pair, "http", text)
        if text.startswith("rule:"):
            parse_rule(text[5:])
            return RateSource(pair, "rule", text[5:])
        return RateSource(pair, "fixed", text, Fraction(parse_rate(text), RATE_ONE))
    except (AmountError, RuleError, ValueError) as error:
        raise ValueError(f"-rate={setting}: {error}") from None


class Rates:
    """The cache. `get` never waits; `refresh` is the background's."""

    def __init__(
        self,
        sources: Sequence[RateSource],
        fetch: FetchJson | None,
        clock: Clock,
        unit: str,
        max_age_s: int = MAX_AGE_S,
    ) -> None:
        self._sources: dict[str, list[RateSource]] = {}
        for source in sources:
            self._sources.setdefault(source.pair, []).append(source)
        self._fetch = fetch
        self._clock = clock
        self._unit = unit
        self._max_age_s = max_age_s
        self._quotes: dict[str, _Quote] = {}
        self._errors: dict[str, str] = {}

    @property
    def unit(self) -> str:
        return self._unit

    @property
    def needs_network(self) -> bool:
        return any(source.kind == "http" for sources in self._sources.values() for source in sources)

    def get(self, currency: str, *, spread: int = 0, rules: str = "") -> int:
        """Price of one coin in `currency`, in 10^-12, less the spread. Raises PaymentError rate-unavailable."""
        if currency == self._unit:
            return RATE_ONE
        pair = f"{self._unit}_{currency}"
        own_rules = _parse_rules(rules)
        found = self._resolve(pair, own_rules, frozenset())
        if isinstance(found, str):
            raise PaymentError("rate-unavailable", f"No rate for {pair}: {found}", 400)
        rate = int(found * RATE_ONE * (WHOLE - spread) / WHOLE)
        if rate <= 0:
            raise PaymentError("rate-unavailable", f"No rate for {pair}: it is zero", 400)
        return rate

    def pair(self, text: str, *, spread: int = 0, rules: str = "") -> Fraction:
        """The rate of any pair such as GLD_USD, GLD-USD or GLDUSD. Raises PaymentError."""
        upper = text.upper()
        match = _PAIR.fullmatch(upper) or re.fullmatch(r"([A-Z]{3})([A-Z]{3})", upper)
        if match is None:
            raise PaymentError("invalid-pair", f"Invalid currency pair '{text[:40]}'", 422)
        left, right = match.groups()
        if left == right:
            return Fraction(1)
        found = self._resolve(f"{left}_{right}", _parse_rules(rules), frozenset())
        if isinstance(found, str):
            raise PaymentError("rate-unavailable", found, 400)
        return found * (WHOLE - spread) / WHOLE

    def _resolve(self, pair: str, rules: Mapping[str, str], seen: frozenset[str]) -> Fraction | str:
        """The pair's rate, or why there is none."""
        left, _, right = pair.partition("_")
        if left == right:
            return Fraction(1)
        if pair in seen or len(seen) > 8:
            return f"the rules for {pair} go round in a circle"
        seen = seen | {pair}
        if pair in rules:
            return self._by_rule(rules[pair], rules, seen)
        reasons = []
        for source in self._sources.get(pair, ()):
            found = self._from_source(source, rules, seen)
            if isinstance(found, Fraction):
                return found
            reasons.append(found)
        inverse = f"{right}_{left}"
        if not reasons and inverse in self._sources and inverse not in seen:
            found = self._resolve(inverse, rules, seen)
            return 1 / found if isinstance(found, Fraction) and found else "the inverse rate is not available"
        return "; ".join(reasons) or "no source is configured for it"

    def _from_source(self, source: RateSource, rules: Mapping[str, str], seen: frozenset[str]) -> Fraction | str:
        if source.rate is not None:
            return source.rate
        if source.kind == "rule":
            return self._by_rule(source.text, rules, seen)
        quote = self._quotes.get(source.text)
        if quote is None:
            return self._errors.get(source.text, "its source has not answered yet")
        age = self._clock.now() - quote.at
        if age > self._max_age_s:
            return f"the newest rate is {age} seconds old"
        return quote.rate

    def _by_rule(self, rule: str, rules: Mapping[str, str], seen: frozenset[str]) -> Fraction | str:
        try:
            return evaluate(rule, lambda pair: self._resolve(pair, rules, seen))
        except RuleError as error:
            return str(error)

    async def keep_fresh(self) -> None:
        """Ask the HTTP sources for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Ask every HTTP source once."""
        urls = {s.text for sources in self._sources.values() for s in sources if s.kind == "http"}
        await asyncio.gather(*(self._refresh_one(url) for url in sorted(urls)))

    async def _refresh_one(self, text: str) -> None:
        if self._fetch is None:
            return
        url, _, path = text.partition("#")
        try:
            rate = _pick(await self._fetch(url), path)
        except (OSError, ValueError, TimeoutError) as error:
            self._errors[text] = f"its source failed: {error}"
            log.warning("rate from %s: %s", url, error)
            return
        self._quotes[text] = _Quote(rate, self._clock.now())
        self._errors.pop(text, None)


def _pick(document: bytes, path: str) -> Fraction:
    """The number at `path` (keys and indexes between dots) of a JSON answer, exactly as written."""
    value: Any = msgspec.json.decode(document, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    for step in path.split("."):
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
        if isinstance(value, list):
            if not step.isdecimal() or int(step) >= len(value):
                raise ValueError(f"no item {step!r} in the answer")
            value = value[int(step)]
        elif step in value:
            value = value[step]
        else:
            raise ValueError(f"no field {step!r} in the answer")
    text = bytes(value).decode() if isinstance(value, msgspec.Raw) else ""
    try:
        return Fraction(parse_rate(text.strip('"')), RATE_ONE)
    except AmountError as error:
        raise ValueError(str(error)) from None


def _parse_rules(text: str) -> dict[str, str]:
    """`GLD_USD = XAU_USD / 31.1;` lines of a store's own rules. Unreadable lines are left out."""
    found: dict[str, str] = {}
    for line in re.split(r"[;\n]", text):
        name, equals, rule = line.partition("=")
        name = name.strip().upper().replace("-", "_")
        if equals and _PAIR.fullmatch(name):
            found[name] = rule.strip()
    return found
