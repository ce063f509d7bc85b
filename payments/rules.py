"""Rules of rates: arithmetic over pairs, such as `kraken(XAU_USD) / 31.1034768`. Parsed by hand, never `eval`.

expression := term (("+" | "-") term)*
term       := factor (("*" | "/") factor)*
factor     := number | PAIR | name "(" PAIR ")" | "(" expression ")"
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from gldnode.errors import NodeError

__all__ = ["RuleError", "evaluate", "parse_rule"]

_TOKEN: Final = re.compile(
    r"\s*(?:([0-9]{1,15}(?:\.[0-9]{1,12})?)|([A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)?)|([-+*/()]))"
)
MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 20

Look = Callable[[str], Fraction | str]


class RuleError(NodeError):
    """A rule that cannot be read, or has no value now."""


def parse_rule(text: str) -> None:
    """Check that the rule can be read. Raises RuleError."""
    _Reader(text, lambda _: Fraction(1)).read()


def evaluate(text: str, look: Look) -> Fraction:
    """The rule's value; `look` gives a pair's rate or why there is none. Raises RuleError."""
    return _Reader(text, look).read()


class _Reader:
    """Reads the rule from left to right and calculates while it reads."""

    def __init__(self, text: str, look: Look) -> None:
        if len(text) > MAX_LENGTH:
            raise RuleError(f"a rule has at most {MAX_LENGTH} characters")
        self._tokens = _tokens(text)
        self._pos = 0
        self._look = look
        self._depth = 0

    def read(self) -> Fraction:
        value = self._expression()
        if self._pos != len(self._tokens):
            raise RuleError(f"unexpected {self._tokens[self._pos]!r}")
        return value

    def _next(self) -> str:
        return self._tokens[self._pos] if self._pos < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        if not token:
            raise RuleError("the rule ends early")
        self._pos += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise RuleError(f"{token!r} is missing")

    def _expression(self) -> Fraction:
        value = self._term()
        while self._next() in ("+", "-"):
            value = value + self._term() if self._take() == "+" else value - self._term()
        return value

    def _term(self) -> Fraction:
        value = self._factor()
        while self._next() in ("*", "/"):
            if self._take() == "*":
                value *= self._factor()
                continue
            divisor = self._factor()
            if not divisor:
                raise RuleError("division by zero")
            value /= divisor
        return value

    def _factor(self) -> Fraction:
        token = self._take()
        if token == "(":  # noqa: S105  (a token of the grammar)
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise RuleError("too many parentheses")
            value = self._expression()
            self._expect(")")
            self._depth -= 1
            return value
        if token[0].isdigit():
            return Fraction(token)
        if token in ("+", "-", "*", "/", ")"):
            raise RuleError(f"unexpected {token!r}")
        if self._next() == "(":
            # The name of a source as BTCPay writes it; sources are the configuration's here.
            self._take()
            token = self._take()
            self._expect(")")
        return self._pair(token)

    def _pair(self, token: str) -> Fraction:
        if "_" not in token:
            raise RuleError(f"{token!r} is not a pair")
        found = self._look(token.upper())
        if isinstance(found, str):
            raise RuleError(f"{token.upper()}: {found}")
        return found


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise RuleError(f"cannot read {text[at : at + 20]!r}")
        tokens.append(next(group for group in match.groups() if group))
        at = match.end()
    if not tokens:
        raise RuleError("the rule is empty")
    return tokens
