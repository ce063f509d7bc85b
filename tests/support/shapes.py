"""Expectations of JSON answers: exact keys, types that Go, Rust and C# parse without a second look.

A shape is a type (`int` never takes a bool, `str` any text), a value to be equal to, a predicate, a list of one
shape for every element, or a dict of keys: a key ending in `?` may be missing, every key not named is an error.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

__all__ = ["AMOUNT", "HASH", "HEX", "NUMBER", "anything_of", "mismatch"]

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def HASH(value: Any) -> bool:  # reads as a type in the tables
    """64 hex digits."""
    return isinstance(value, str) and len(value) == 64 and _HEX.fullmatch(value) is not None


def HEX(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def AMOUNT(value: Any) -> bool:
    """A number token with exactly 8 decimals and no exponent."""
    return isinstance(value, Decimal) and value.as_tuple().exponent == -8


def NUMBER(value: Any) -> bool:
    """Any number."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def anything_of(keys: str) -> Callable[[Any], bool]:
    """An object that has at least these keys."""
    return lambda value: isinstance(value, dict) and set(keys.split()) <= set(value)


def mismatch(value: Any, shape: Any, path: str = "$") -> str | None:
    """Where `value` differs from `shape`; None when it does not."""
    if isinstance(shape, dict):
        return _dict_mismatch(value, shape, path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path}: {value!r} is no array"
        found = (mismatch(item, shape[0], f"{path}[{number}]") for number, item in enumerate(value))
        return next((text for text in found if text is not None), None)
    if isinstance(shape, type):
        right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    elif callable(shape):
        right = shape(value)
    else:
        right = value == shape and isinstance(value, bool) == isinstance(shape, bool)
    name = getattr(shape, "__name__", repr(shape))
    return None if right else f"{path}: {value!r} is not {name}"


def _dict_mismatch(value: Any, shape: dict[str, Any], path: str) -> str | None:
    if not isinstance(value, dict):
        return f"{path}: {value!r} is no object"
    known = {key.rstrip("?"): inner for key, inner in shape.items()}
    missing = [key for key in shape if not key.endswith("?") and key not in value]
    extra = [key for key in value if key not in known]
    if missing or extra:
        return f"{path}: missing {missing}, unexpected {extra}"
    found = (mismatch(item, known[key], f"{path}.{key}") for key, item in value.items())
    return next((text for text in found if text is not None), None)
