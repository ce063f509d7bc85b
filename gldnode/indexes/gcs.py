"""Golomb-coded sets, BIP 158: a sorted set of hashed items, written as differences.

The items are hashed many at a time: SipHash needs only additions, rotations and exclusive ors of 64-bit words,
and a Python integer with a word in every 16 bytes does each of them for all items at once, ten times as fast as
one after another.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from gldnode.errors import DecodeError
from gldnode.primitives.codec import MAX_SIZE, Reader, compact_size
from gldnode.primitives.siphash import siphash

__all__ = ["M", "P", "decode_gcs", "encode_gcs", "hash_to_range", "matches_any"]

P = 19
"""Bits of each difference's remainder."""
M = 784_931
"""One over the rate of false positives."""

_LOW = (1 << P) - 1
_LANES = 512
"""Words in one integer: 8 KiB, so that the four of a state stay in the processor's first cache."""
_FEW = 3
_INIT = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def hash_to_range(items: Iterable[bytes], limit: int, key: bytes) -> list[int]:
    """SipHash-2-4 of each item under the 16 bytes of `key`, scaled to [0, limit). In no particular order."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    by_words: dict[int, list[bytes]] = defaultdict(list)
    for item in items:
        by_words[len(item) >> 3].append(item)
    values: list[int] = []
    for words, group in by_words.items():
        if len(group) <= _FEW or sys.byteorder != "little":
            values += [siphash(k0, k1, item) * limit >> 64 for item in group]
            continue
        for at in range(0, len(group), _LANES):
            values += _hash_lanes(k0, k1, group[at : at + _LANES], words, limit)
    return values


@cache
def _mask(lanes: int) -> int:
    """The low 8 of every 16 bytes."""
    return int.from_bytes((b"\xff" * 8 + bytes(8)) * lanes, "little")


@cache
def _ones(lanes: int) -> int:
    """A one in every lane: times a word, that word in every lane."""
    return int.from_bytes((b"\x01" + bytes(15)) * lanes, "little")


def _hash_lanes(k0: int, k1: int, items: Sequence[bytes], words: int, limit: int) -> list[int]:
    """As `hash_to_range`, for items that all have `words` whole words."""
    lanes = len(items)
    mask, ones = _mask(lanes), _ones(lanes)
    size = (words + 1) * 8
    padded = [item + bytes(size - 1 - len(item)) + bytes((len(item) & 0xFF,)) for item in items]
    table = memoryview(b"".join(padded)).cast("Q")
    v0, v1, v2, v3 = (start * ones for start in (_INIT[0] ^ k0, _INIT[1] ^ k1, _INIT[2] ^ k0, _INIT[3] ^ k1))
    for word in range(words + 2):
        last = word > words
        column = 0
        if last:
            v2 ^= 0xFF * ones
        else:
            spread = memoryview(bytearray(16 * lanes)).cast("Q")
            spread[0::2] = table[word :: words + 1]
            column = int.from_bytes(spread, "little")
            v3 ^= column
        for _ in range(4 if last else 2):
            v0 = (v0 + v1) & mask
            turned = v1 << 13
            v1 = (turned | turned >> 64) & mask ^ v0
            turned = v0 << 32
            v0 = (turned | turned >> 64) & mask
            v2 = (v2 + v3) & mask
            turned = v3 << 16
            v3 = (turned | turned >> 64) & mask ^ v2
            v0 = (v0 + v3) & mask
            turned = v3 << 21
            v3 = (turned | turned >> 64) & mask ^ v0
            v2 = (v2 + v1) & mask
            turned = v1 << 17
            v1 = (turned | turned >> 64) & mask ^ v2
            turned = v2 << 32
            v2 = (turned | turned >> 64) & mask
        v0 ^= column
    product = (v0 ^ v1 ^ v2 ^ v3) * limit  # 64 bits times 64 bits: still inside each lane
    return memoryview(product.to_bytes(16 * lanes, "little")).cast("Q")[1::2].tolist()


def encode_gcs(items: Iterable[bytes], key: bytes) -> bytes:
    """The set of `items` behind its size."""
    distinct = set(items)
    count = len(distinct)
    if count == 0:
        return b"\x00"
    parts = [compact_size(count)]
    bits = filled = previous = 0
    for value in sorted(hash_to_range(distinct, count * M, key)):
        difference = value - previous
        previous = value
        ones = difference >> P
        width = ones + 1 + P
        bits = bits << width | ((1 << ones) - 1) << (P + 1) | difference & _LOW
        filled += width
        if filled >= 1024:
            left = filled & 7
            parts.append((bits >> left).to_bytes(filled >> 3, "big"))
            bits &= (1 << left) - 1
            filled = left
    padding = -filled & 7
    parts.append((bits << padding).to_bytes((filled + padding) >> 3, "big"))
    return b"".join(parts)


def decode_gcs(data: bytes) -> tuple[int, list[int]]:
    """The range's limit and the sorted values of an encoded set. Raises DecodeError."""
    reader = Reader(data)
    count = reader.compact_size(MAX_SIZE)
    body = reader.take(reader.remaining)
    if count * (P + 1) > len(body) * 8:
        raise DecodeError("filter ends early")
    if count == 0:
        if body:
            raise DecodeError(f"{len(body)} bytes left over")
        return 0, []
    bits = format(int.from_bytes(body, "big"), f"0{len(body) * 8}b")
    values = []
    at = value = 0
    for _ in range(count):
        zero = bits.find("0", at)
        end = zero + 1 + P
        if zero < 0 or end > len(bits):
            raise DecodeError("filter ends early")
        value += (zero - at) << P | int(bits[zero + 1 : end], 2)
        values.append(value)
        at = end
    if len(bits) - at >= 8:
        raise DecodeError(f"{(len(bits) - at) // 8} bytes left over")
    return count * M, values


def matches_any(data: bytes, key: bytes, items: Iterable[bytes]) -> bool:
    """Whether the encoded set has one of `items`, or looks like it (one time in M). Raises DecodeError."""
    limit, values = decode_gcs(data)
    return limit > 0 and not set(values).isdisjoint(hash_to_range(items, limit, key))
