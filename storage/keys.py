"""Keys that sort as what they name: integers big-endian, texts closed so that none is the beginning of another.

A key is parts joined by `key`; parts read from left to right with `KeyReader`. Fixed-size parts (hashes,
one-byte tags) stand for themselves.
"""

from struct import Struct

from storage.errors import DatabaseCorrupt
from storage.kv import prefix_end

__all__ = ["KeyReader", "blob", "key", "prefix_end", "text", "u8", "u16", "u32", "u64", "u64_descending"]

_U8 = Struct(">B")
_U16 = Struct(">H")
_U32 = Struct(">I")
_U64 = Struct(">Q")
_MAX_U64 = (1 << 64) - 1

u8 = _U8.pack
u16 = _U16.pack
u32 = _U32.pack
u64 = _U64.pack


def u64_descending(value: int) -> bytes:
    """Sorts the greatest first."""
    return _U64.pack(_MAX_U64 - value)


def blob(value: bytes) -> bytes:
    """Bytes of any length, in order, as a part with more parts behind it.

    Zero bytes are written 00 ff and the end 00 01: a shorter value sorts before its continuations.
    """
    return value.replace(b"\x00", b"\x00\xff") + b"\x00\x01"


def text(value: str) -> bytes:
    """A text of any length; sorts by code points."""
    return value.encode("utf-8").replace(b"\x00", b"\x00\xff") + b"\x00\x01"  # as blob(), without the call


def key(*parts: bytes | str | int) -> bytes:
    """One key of `parts`: bytes as they are, a text closed, an integer as `u64`."""
    return b"".join(
        part if isinstance(part, bytes) else text(part) if isinstance(part, str) else _U64.pack(part)
        for part in parts
    )


class KeyReader:
    """Takes a key apart again, part by part. Raises DatabaseCorrupt where there is no such part."""

    __slots__ = ("_data", "_pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self._data = data
        self._pos = pos

    def take(self, count: int) -> bytes:
        end = self._pos + count
        if end > len(self._data):
            raise DatabaseCorrupt(f"key {self._data!r} is too short")
        part = self._data[self._pos : end]
        self._pos = end
        return part

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def u64_descending(self) -> int:
        return _MAX_U64 - self.u64()

    def blob(self) -> bytes:
        at = self._pos
        while True:
            at = self._data.find(b"\x00", at)
            if at < 0 or at + 1 >= len(self._data):
                raise DatabaseCorrupt(f"key {self._data!r} has an open part")
            mark = self._data[at + 1]
            if mark == 0x01:
                break
            if mark != 0xFF:
                raise DatabaseCorrupt(f"key {self._data!r} has a wrong escape")
            at += 2
        value = self._data[self._pos : at].replace(b"\x00\xff", b"\x00")
        self._pos = at + 2
        return value

    def text(self) -> str:
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise DatabaseCorrupt(f"key {self._data!r} has a part that is not UTF-8") from None

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._pos)
