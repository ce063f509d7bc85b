"""Reads the coin file that comes with a published block (btcd's format)."""

from gldnode.crypto.secp256k1 import serialize_pubkey
from gldnode.primitives.coin import Coin

__all__ = ["read_coin_file"]


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Base 128 with an added one for each continuation, as Core's VARINT."""
    number = 0
    while True:
        byte = data[pos]
        pos += 1
        number = (number << 7) | (byte & 0x7F)
        if not byte & 0x80:
            return number, pos
        number += 1


def _amount(code: int) -> int:
    """Core's DecompressAmount."""
    if code == 0:
        return 0
    code -= 1
    exponent = code % 10
    code //= 10
    if exponent < 9:
        digit = code % 9 + 1
        return (code // 9 * 10 + digit) * int(10**exponent)
    return (code + 1) * 10**9


def _script(data: bytes, pos: int) -> bytes:
    kind, pos = _varint(data, pos)
    rest = data[pos:]
    if kind == 0:
        return b"\x76\xa9\x14" + rest + b"\x88\xac"
    if kind == 1:
        return b"\xa9\x14" + rest + b"\x87"
    if kind in (2, 3):
        return b"\x21" + bytes((kind,)) + rest + b"\xac"
    if kind in (4, 5):
        return b"\x41" + serialize_pubkey(bytes((kind - 2,)) + rest, compressed=False) + b"\xac"
    assert len(rest) == kind - 6
    return rest


def read_coin_file(data: bytes) -> dict[bytes, Coin]:
    """Coins by outpoint."""
    coins = {}
    pos = 0
    while pos < len(data):
        prevout = data[pos : pos + 36]
        size = int.from_bytes(data[pos + 36 : pos + 40], "little")
        record = data[pos + 40 : pos + 40 + size]
        pos += 40 + size
        code, at = _varint(record, 0)
        amount, at = _varint(record, at)
        coins[prevout] = Coin(_amount(amount), _script(record, at), code >> 1, bool(code & 1))
    return coins
