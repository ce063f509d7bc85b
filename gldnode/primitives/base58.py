"""Base58 and base58check: old addresses, WIF keys, extended keys."""

from gldnode.errors import DecodeError
from gldnode.primitives.hashes import sha256d

__all__ = ["decode_base58", "decode_base58check", "encode_base58", "encode_base58check"]

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_DIGITS = {char: value for value, char in enumerate(_ALPHABET)}


def encode_base58(data: bytes) -> str:
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, pair = divmod(number, 58 * 58)
        digits.append(_PAIRS[pair])
    return "1" * zeros + "".join(reversed(digits)).lstrip("1")


def decode_base58(text: str, max_bytes: int) -> bytes:
    """The bytes of `text`, at most `max_bytes`. Raises DecodeError; spaces are not skipped."""
    if len(text) > 2 * max_bytes:  # 58 digits carry 5.86 bits each; this keeps the arithmetic below small
        raise DecodeError("base58 text too long")
    number = 0
    for char in text:
        digit = _DIGITS.get(char)
        if digit is None:
            raise DecodeError("invalid base58 character")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) > max_bytes:
        raise DecodeError("base58 text too long")
    return data


def encode_base58check(payload: bytes) -> str:
    return encode_base58(payload + sha256d(payload)[:4])


def decode_base58check(text: str, max_bytes: int) -> bytes:
    """The payload in front of a right checksum, at most `max_bytes`. Raises DecodeError."""
    data = decode_base58(text, max_bytes + 4)
    payload, checksum = data[:-4], data[-4:]
    if len(data) < 4 or sha256d(payload)[:4] != checksum:
        raise DecodeError("invalid base58 checksum")
    return payload
