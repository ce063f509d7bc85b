"""Reading and writing the wire formats: little-endian integers and CompactSize."""

import struct

from gldnode.errors import DecodeError

__all__ = ["MAX_SIZE", "Reader", "compact_size", "var_bytes"]

MAX_SIZE = 0x02000000
"""Core's MAX_SIZE: no CompactSize that counts something may be larger (32 MiB)."""

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")


def compact_size(n: int) -> bytes:
    """`n` as a CompactSize integer in its only (shortest) form."""
    if n < 0xFD:
        return bytes((n,))
    if n <= 0xFFFF:
        return b"\xfd" + _U16.pack(n)
    if n <= 0xFFFFFFFF:
        return b"\xfe" + _U32.pack(n)
    return b"\xff" + _U64.pack(n)


def var_bytes(data: bytes) -> bytes:
    """`data` behind its length."""
    return compact_size(len(data)) + data


class Reader:
    """A cursor over bytes. Every read raises DecodeError instead of running past the end."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    @property
    def remaining(self) -> int:
        return len(self.data) - self.pos

    def take(self, count: int) -> bytes:
        end = self.pos + count
        if end > len(self.data):
            raise DecodeError("end of data")
        chunk = self.data[self.pos : end]
        self.pos = end
        return chunk

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u16_be(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def compact_size(self, limit: int = MAX_SIZE) -> int:
        """A CompactSize of at most `limit`; a longer form than needed is refused (Core: non-canonical)."""
        first = self.u8()
        if first < 0xFD:
            value, least = first, 0
        elif first == 0xFD:
            value, least = self.u16(), 0xFD
        elif first == 0xFE:
            value, least = self.u32(), 0x10000
        else:
            value, least = self.u64(), 0x100000000
        if value < least:
            raise DecodeError("non-canonical CompactSize")
        if value > limit:
            raise DecodeError("size too large")
        return value

    def var_bytes(self, limit: int = MAX_SIZE) -> bytes:
        return self.take(self.compact_size(limit))

    def expect_end(self) -> None:
        if self.pos != len(self.data):
            raise DecodeError(f"{len(self.data) - self.pos} bytes left over")
