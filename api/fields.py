"""Readers of single JSON values whose shape the models leave open: amounts, durations, enums, percentages.

Greenfield takes numbers or strings for most of them; what arrives here is the token as written.
"""

import re
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from api.errors import Invalid
from api.jsonbody import raw_text

__all__ = [
    "AmountText",
    "AnyJson",
    "DurationJson",
    "Given",
    "JsonObject",
    "OptionalAmountText",
    "amount_text",
    "duration",
    "enum_of",
    "flag",
    "json_object",
]

_PATTERN = "^[0-9]{1,10}(\\.[0-9]{1,8})?$"
AmountText = Annotated[
    Raw,
    Meta(
        description="A decimal amount, as a JSON string or number, without exponent.",
        extra_json_schema={"anyOf": [{"type": "string", "pattern": _PATTERN}, {"type": "number"}]},
    ),
]
OptionalAmountText = Annotated[
    Raw,
    Meta(
        description='A decimal amount as text or number without exponent; null and "" leave it out.',
        extra_json_schema={
            "anyOf": [{"type": "string", "pattern": f"^$|{_PATTERN}"}, {"type": "number"}, {"type": "null"}]
        },
    ),
]
JsonObject = Annotated[
    Raw, Meta(description="Any JSON object, kept as it was sent.", extra_json_schema={"type": ["object", "null"]})
]
DurationJson = Annotated[
    Raw,
    Meta(
        description="A whole number of units, or text such as 00:15:00.",
        extra_json_schema={
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}:[0-9]{2}$"},
                {"type": "null"},
            ]
        },
    ),
]
AnyJson = Annotated[Raw, Meta(description="Any JSON value.", extra_json_schema={})]
Given = Raw | UnsetType
"""A token, or nothing where the property was left out."""

E = TypeVar("E", bound=StrEnum)

_ANYTHING = msgspec.json.Decoder()
_CLOCK = re.compile(r"(?:([0-9]{1,4})\.)?([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_WHOLE = re.compile(r"[0-9]{1,12}")


def is_null(raw: Given | None) -> bool:
    """Left out, or null."""
    return raw is None or raw is UNSET or bytes(raw).strip() == b"null"


def amount_text(raw: Given | None, path: str) -> str | None:
    """The amount's text for `parse_amount`, None where it was left out, null or "". Raises JsonError."""
    if raw is None or raw is UNSET:
        return None
    return raw_text(raw, path) or None


def duration(raw: Given | None, path: str, unit_s: int = 1) -> int | None:
    """Seconds of a whole number of units, or of text such as "00:15:00". Raises ApiError 422."""
    if is_null(raw):
        return None
    assert isinstance(raw, Raw)
    text = raw_text(raw, path) if bytes(raw).strip()[:1] in b'"0123456789' else ""
    if text and _WHOLE.fullmatch(text):
        return int(text) * unit_s
    match = _CLOCK.fullmatch(text or "")
    if match is None:
        raise Invalid(path, "Invalid timespan")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def enum_of(kind: type[E], raw: Given | None, path: str) -> E | None:
    """A member by its name without regard to case, or by its number. Raises ApiError 422."""
    if is_null(raw):
        return None
    assert isinstance(raw, Raw)
    text = raw_text(raw, path) or ""
    members = list(kind)
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(members):
        return members[int(text)]
    for member in members:
        if member.value.lower() == text.strip().lower():
            return member
    raise Invalid(path, f"The value '{text[:40]}' is not valid.")


def flag(raw: Given | None, path: str) -> bool | None:
    if is_null(raw):
        return None
    assert isinstance(raw, Raw)
    value = {b"true": True, b"false": False}.get(bytes(raw).strip())
    if value is None:
        raise Invalid(path, "Expected true or false.")
    return value


def json_object(raw: Given | None, path: str) -> bytes | None:
    """The text of a JSON object as it was sent, None where it was left out or null. Raises ApiError 422."""
    if raw is None or isinstance(raw, UnsetType):
        return None
    token = bytes(raw).strip()
    if token == b"null":
        return None
    if not token.startswith(b"{"):
        raise Invalid(path, "Expected an object.")
    try:
        _ANYTHING.decode(token)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Invalid(path, f"Not an object that can be kept: {error}") from error
    return token
