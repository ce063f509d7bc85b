"""JSON of the RPC: amounts as numbers with exactly 8 decimals, numbers read without passing through float."""

from typing import Any, Final

import msgspec

from gldnode.primitives.amount import format_amount

__all__ = ["JsonNumber", "amount", "decode", "encode", "json_type", "number", "raw_number"]


class JsonNumber(str):
    """The token of a JSON number with a fraction or an exponent, unread: only an amount parser may read it."""

    __slots__ = ()


_decoder: Final = msgspec.json.Decoder(float_hook=JsonNumber)


def decode(data: bytes) -> Any:
    """The JSON value in `data`; a number that is no integer stays a `JsonNumber`.

    Raises msgspec.DecodeError or RecursionError (nested deeper than the interpreter allows).
    """
    return _decoder.decode(data)


def _enc_hook(value: Any) -> Any:
    if isinstance(value, JsonNumber):
        return msgspec.Raw(value.encode())
    raise TypeError(f"not JSON: {type(value).__name__}")


_encoder: Final = msgspec.json.Encoder(enc_hook=_enc_hook)


def encode(value: Any) -> bytes:
    """`value` as compact JSON."""
    return _encoder.encode(value)


def amount(grains: int) -> msgspec.Raw:
    """An amount as a JSON number of coins: 1.50000000."""
    return msgspec.Raw(format_amount(grains).encode())


def raw_number(text: str) -> msgspec.Raw:
    """A JSON number of exactly these digits."""
    return msgspec.Raw(text.encode())


def number(value: float) -> msgspec.Raw:
    """A JSON number of at most 16 digits, as Core's UniValue writes a double."""
    return msgspec.Raw(f"{value:.16g}".encode())


def json_type(value: Any) -> str:
    """The type's name as Core's messages have it (uvTypeName)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float, JsonNumber)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
