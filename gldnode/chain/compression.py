"""Core's compact forms of coins: VARINT, compressed amounts and scripts (serialize.h, compressor.cpp)."""

from typing import Final

from gldnode.crypto.secp256k1 import is_valid_pubkey, serialize_pubkey
from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader

__all__ = [
    "compress_amount",
    "compress_script",
    "decompress_amount",
    "read_script",
    "read_varint",
    "varint",
]

MAX_SCRIPT_SIZE: Final = 10_000
_SPECIAL: Final = 6
"""Sizes below this name a form of script instead: P2PKH, P2SH, and P2PK with four kinds of keys."""
_OVERSIZED: Final = b"\x6a"


def varint(value: int) -> bytes:
    """Seven bits a byte, the most significant first; every number has one form (not a CompactSize)."""
    out = [value & 0x7F]
    while value > 0x7F:
        value = (value >> 7) - 1
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def read_varint(reader: Reader, bits: int) -> int:
    """A `varint` of at most so many bits. Raises DecodeError."""
    value = 0
    while True:
        byte = reader.u8()
        value = value << 7 | byte & 0x7F
        if value >> bits:
            raise DecodeError("ReadVarInt(): size too large")
        if not byte & 0x80:
            return value
        value += 1


def compress_amount(amount: int) -> int:
    """Round amounts become small numbers."""
    if amount == 0:
        return 0
    exponent = 0
    while amount % 10 == 0 and exponent < 9:
        amount //= 10
        exponent += 1
    if exponent < 9:
        amount, digit = divmod(amount, 10)
        return 1 + (amount * 9 + digit - 1) * 10 + exponent
    return 1 + (amount - 1) * 10 + 9


def decompress_amount(value: int) -> int:
    if value == 0:
        return 0
    value, exponent = divmod(value - 1, 10)
    if exponent < 9:
        value, digit = divmod(value, 9)
        amount = value * 10 + digit + 1
    else:
        amount = value + 1
    return int(amount * 10**exponent)


def compress_script(script: bytes) -> bytes:
    """A script with its size, or in a special form."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return b"\x00" + script[3:23]
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87":
        return b"\x01" + script[2:22]
    if len(script) == 35 and script[0] == 33 and script[34] == 0xAC and script[1] in (2, 3):
        return script[1:34]
    if len(script) == 67 and script[:2] == b"\x41\x04" and script[66] == 0xAC and is_valid_pubkey(script[1:66]):
        return bytes((4 | script[65] & 1,)) + script[2:34]
    return varint(len(script) + _SPECIAL) + script


def read_script(reader: Reader) -> bytes:
    """What `compress_script` wrote; one too long to be spent comes back as OP_RETURN. Raises DecodeError."""
    size = read_varint(reader, 32)
    if size == 0:
        return b"\x76\xa9\x14" + reader.take(20) + b"\x88\xac"
    if size == 1:
        return b"\xa9\x14" + reader.take(20) + b"\x87"
    if size in (2, 3):
        return b"\x21" + bytes((size,)) + reader.take(32) + b"\xac"
    if size in (4, 5):
        key = bytes((size - 2,)) + reader.take(32)
        if not is_valid_pubkey(key):
            return b""
        return b"\x41" + serialize_pubkey(key, compressed=False) + b"\xac"
    script = reader.take(size - _SPECIAL)
    return script if len(script) <= MAX_SCRIPT_SIZE else _OVERSIZED
