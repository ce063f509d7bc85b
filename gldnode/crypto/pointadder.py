"""P + t·G for one t after another: most of what public derivation costs.

The multiples of G come from a table. Entry d of row i is (d + 1)·256^(31 − i)·G, and the entries that the 32 bytes
of t name add up to t·G + O, where O, the sum of all first entries, is the same for every t: P is kept without it.
Adding 33 points costs half as much as multiplying one. The table (8,192 points, half a megabyte) serves the whole
process; the derivations that follow the first few make a row of it each.

How long it takes depends on t: for public keys only, never with a secret.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib

from gldnode.crypto.secp256k1 import CURVE_ORDER, InvalidKey, pubkey_of, pubkey_tweak_add, serialize_pubkey

__all__ = ["point_adder"]

_STATIC: Final[Any] = lib.secp256k1_context_static
_COMPRESSED: Final = lib.SECP256K1_EC_COMPRESSED
_ORDER: Final = CURVE_ORDER.to_bytes(32, "big")
_ROWS: Final = 32
_POINT: Final = 64
"""Bytes of the library's own form of a point."""
_OFFSET: Final = sum(256**i for i in range(_ROWS))
"""O = _OFFSET·G."""
_PATIENCE: Final = 64
"""So many points are multiplied before the table is begun: whoever looks at a few keys needs none."""
_SUITS: Final = sys.byteorder == "little" and ffi.sizeof("void *") == 8
"""Whether pointers are as `pointers` makes them; elsewhere every point is multiplied."""
# An entry's place within its row, d·64, as the two low bytes of a pointer.
_LOW: Final = bytes((d * _POINT) & 255 for d in range(256))
_HIGH: Final = bytes((d * _POINT) >> 8 for d in range(256))


class _Table:
    """The multiples of G, and how far they are made."""

    def __init__(self) -> None:
        self._points: Any = ffi.new("secp256k1_pubkey[]", _ROWS * 256)
        start = int(ffi.cast("uintptr_t", self._points))
        self._starts = sum(start + row * 256 * _POINT << 64 * row for row in range(_ROWS))
        """Where the rows begin: 32 pointers in one number, the first one lowest."""
        self._lock = threading.Lock()
        self._made = 0
        self._asked = 0

    @property
    def is_complete(self) -> bool:
        return self._made == _ROWS

    def make_row(self) -> None:
        """One row more, once there was patience enough; about a millisecond."""
        self._asked += 1
        if not _SUITS or self._asked <= _PATIENCE or not self._lock.acquire(blocking=False):
            return
        try:
            if self._made < _ROWS:
                self._fill(self._made)
                self._made += 1
        finally:
            self._lock.release()

    def _fill(self, row: int) -> None:
        first = self._points + row * 256
        step = pubkey_of((256 ** (_ROWS - 1 - row)).to_bytes(32, "big"))
        if not lib.secp256k1_ec_pubkey_parse(_STATIC, first, step, len(step)):
            raise AssertionError("a multiple of G is a point")
        for entry in range(1, 256):
            both = ffi.new("secp256k1_pubkey *[2]", (first + entry - 1, first))
            if not lib.secp256k1_ec_pubkey_combine(_STATIC, first + entry, both, 2):
                raise AssertionError("no multiple of G in the table is infinity")

    def pointers(self, tweak: bytes) -> bytes:
        """Where the entries are that the tweak's bytes name: 32 pointers, little-endian."""
        places = bytearray(8 * _ROWS)
        places[0::8] = tweak.translate(_LOW)
        places[1::8] = tweak.translate(_HIGH)
        return (int.from_bytes(places, "little") + self._starts).to_bytes(8 * _ROWS, "little")


class _Buffers(threading.local):
    """What one thread's calls read and write."""

    def __init__(self) -> None:
        self.points: Any = ffi.new("secp256k1_pubkey *[]", _ROWS + 1)
        self.pointers: Any = ffi.buffer(self.points, 8 * _ROWS)
        self.total: Any = ffi.new("secp256k1_pubkey *")
        self.out: Any = ffi.new("unsigned char [33]")
        self.size: Any = ffi.new("size_t *", 33)


_NONE: Final[Any] = ffi.new("secp256k1_pubkey *")
"""Stands where there is no point."""
_table = _Table()
_buffers = _Buffers()


def point_adder(pubkey: bytes) -> Callable[[bytes], bytes]:
    """A function that gives `pubkey` + tweak·G, compressed, for one tweak (32 bytes) after another.

    Raises InvalidKey for what is no point, and the function for a tweak that is none below the order, or a sum at
    infinity.
    """
    serialize_pubkey(pubkey)
    start: Any = None

    def add(tweak: bytes) -> bytes:
        nonlocal start
        if not _table.is_complete or len(tweak) != 32 or tweak >= _ORDER:
            _table.make_row()
            return pubkey_tweak_add(pubkey, tweak)
        if start is None:
            start = _without_offset(pubkey)
        buffers = _buffers
        buffers.pointers[:] = _table.pointers(tweak)
        buffers.points[_ROWS] = start
        if start is _NONE or not lib.secp256k1_ec_pubkey_combine(
            _STATIC, buffers.total, buffers.points, _ROWS + 1
        ):
            return pubkey_tweak_add(pubkey, tweak)  # which knows whether the sum is at infinity
        lib.secp256k1_ec_pubkey_serialize(_STATIC, buffers.out, buffers.size, buffers.total, _COMPRESSED)
        return bytes(ffi.buffer(buffers.out))

    return add


def _without_offset(pubkey: bytes) -> Any:
    """P − O, or `_NONE` where P is O."""
    try:
        found = pubkey_tweak_add(pubkey, (CURVE_ORDER - _OFFSET % CURVE_ORDER).to_bytes(32, "big"))
    except InvalidKey:
        return _NONE
    point: Any = ffi.new("secp256k1_pubkey *")
    lib.secp256k1_ec_pubkey_parse(_STATIC, point, found, len(found))
    return point
