"""Which autonomous system an address belongs to (`-asmap`), and the groups of addresses that follow from it.

The file is Core's (src/util/asmap.cpp): a program of bits, lowest bit of each byte first, that reads the 128 bits
of an IPv6 address (an IPv4 one in its mapped form) and returns a number. Its instructions:

    0    RETURN   asn             the answer
    10   JUMP     offset          read a bit of the address; if it is 1 skip so many bits of the program
    110  MATCH    1, bits         read as many bits of the address; unless all are alike return the default
    111  DEFAULT  asn             what a failed MATCH returns from here on

A number is in one of several classes, each with more bits than the one before: one bits choose the class, a zero
bit ends them (the last class needs none), the class's own bits follow, highest first.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

from gldnode.errors import DecodeError
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.primitives.hashes import sha256d

__all__ = ["AsMap", "NetGroups"]

ADDRESS_BITS: Final = 128
MAX_FILE: Final = 8 * 1024 * 1024
MAX_PADDING: Final = 7
_CACHE_SIZE: Final = 200_000
_WINDOW: Final = 9
"""Bytes that hold the longest number: 56 bits, at any of 8 places within the first byte."""
_MAPPED: Final = int.from_bytes(b"\xff\xff", "big") << 32
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Op(IntEnum):
    RETURN = 0
    JUMP = 1
    MATCH = 2
    DEFAULT = 3


class _Classes:
    """How one kind of number is written."""

    def __init__(self, least: int, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.bases = tuple(least + sum(1 << size for size in sizes[:at]) for at in range(len(sizes)))
        self.last = len(self.sizes) - 1


_TYPE: Final = _Classes(0, (0, 0, 1))
_NUMBERS: Final = {
    _Op.RETURN: _Classes(1, range(15, 25)),
    _Op.JUMP: _Classes(17, range(5, 31)),
    _Op.MATCH: _Classes(2, range(1, 9)),
    _Op.DEFAULT: _Classes(1, range(15, 25)),
}


class AsMap:
    """A map that has been found to be sound."""

    def __init__(self, data: bytes) -> None:
        """Raises DecodeError: not a map."""
        self.version = sha256d(data)[::-1].hex()
        """Core's name of the map: two nodes that log the same one have the same groups."""
        self._end = 8 * len(data)
        self._bits = data.translate(_REVERSED) + bytes(_WINDOW)
        self._decoded: dict[int, tuple[_Op, int, int]] = {}
        self._check()

    @classmethod
    def load(cls, path: Path) -> "AsMap":
        """Raises DecodeError, OSError."""
        if path.stat().st_size > MAX_FILE:
            raise DecodeError("larger than any map of the internet")
        return cls(path.read_bytes())

    def _number(self, pos: int, classes: _Classes) -> tuple[int, int]:
        """(value, position behind it). Raises DecodeError behind the end."""
        at = pos >> 3
        window = int.from_bytes(self._bits[at : at + _WINDOW], "big") << (pos & 7) & ((1 << 72) - 1)
        ones = 72 - ((1 << 72) - 1 - window).bit_length()
        chosen = min(ones, classes.last)
        size = classes.sizes[chosen]
        used = chosen + (chosen < classes.last) + size
        if pos + used > self._end:
            raise DecodeError("the map ends within an instruction")
        return classes.bases[chosen] + (window >> (72 - used) & ((1 << size) - 1)), pos + used

    def _instruction(self, pos: int) -> tuple[_Op, int, int]:
        """(what, its number, position behind it)."""
        found = self._decoded.get(pos)
        if found is None:
            kind, behind = self._number(pos, _TYPE)
            op = _Op(kind)
            found = (op, *self._number(behind, _NUMBERS[op]))
            if len(self._decoded) >= _CACHE_SIZE:
                self._decoded.clear()
            self._decoded[pos] = found
        return found

    def look_up(self, address: int) -> int:
        """The number of the 128-bit address's autonomous system, 0 for none."""
        pos, left, default = 0, ADDRESS_BITS, 0
        while True:
            op, number, pos = self._instruction(pos)
            if op is _Op.RETURN:
                return number
            if op is _Op.JUMP:
                left -= 1
                if address >> left & 1:
                    pos += number
            elif op is _Op.MATCH:
                length = number.bit_length() - 1
                left -= length
                if address >> left & ((1 << length) - 1) != number - (1 << length):
                    return default
            else:
                default = number

    def _check(self) -> None:
        """Whether every path through the program ends in a RETURN (Core: SanityCheckAsmap). Raises DecodeError."""
        jumps: list[tuple[int, int]] = []  # where the other branches begin, the nearest last; bits left there
        pos, left = 0, ADDRESS_BITS
        before, short_match = _Op.JUMP, False
        while True:
            if jumps and pos >= jumps[-1][0]:
                raise DecodeError("a jump leads into an instruction")
            kind, behind = self._number(pos, _TYPE)
            op = _Op(kind)
            number, pos = self._number(behind, _NUMBERS[op])
            if op is _Op.RETURN:
                if before is _Op.DEFAULT:
                    raise DecodeError("a default that cannot be used")
                if not jumps:
                    break
                if pos != jumps[-1][0]:
                    raise DecodeError("code that is never reached")
                left, op = jumps.pop()[1], _Op.JUMP
            elif op is _Op.JUMP:
                left -= 1
                target = pos + number
                if left < 0 or target > self._end or (jumps and target >= jumps[-1][0]):
                    raise DecodeError("a jump that leads nowhere")
                jumps.append((target, left))
            elif op is _Op.MATCH:
                length = number.bit_length() - 1
                if before is not _Op.MATCH:
                    short_match = False
                if (length < 8 and short_match) or length > left:
                    raise DecodeError("a match that cannot be")
                short_match = length < 8
                left -= length
            elif before is _Op.DEFAULT:
                raise DecodeError("a default that cannot be used")
            before = op
        if self._end - pos > MAX_PADDING or (self._end > pos and self._bits[pos >> 3] << (pos & 7) & 0xFF):
            raise DecodeError("something behind the end")


class NetGroups:
    """Groups of addresses that are likely one operator's: by autonomous system where a map is there."""

    def __init__(self, asmap: AsMap | None = None) -> None:
        self.asmap = asmap

    def asn(self, address: NetAddress) -> int:
        """The address's autonomous system, 0 where it is not known (Core: GetMappedAS)."""
        if self.asmap is None:
            return 0
        linked = address.linked_ipv4
        if linked is not None:
            return self.asmap.look_up(_MAPPED | int.from_bytes(linked, "big"))
        if address.network is not Network.IPV6:
            return 0
        return self.asmap.look_up(int.from_bytes(address.raw, "big"))

    def health(self, addresses: Iterable[NetAddress]) -> str | None:
        """How well the map fits these peers, as Core says it (ASMapHealthCheck); None without a map."""
        if self.asmap is None:
            return None
        found = [
            self.asn(address) for address in addresses if address.linked_ipv4 or address.network is Network.IPV6
        ]
        return (
            f"ASMap Health Check: {len(found)} clearnet peers are mapped to {len(set(found) - {0})} ASNs with "
            f"{found.count(0)} peers being unmapped"
        )

    def group(self, address: NetAddress) -> bytes:
        """IPv4 and IPv6 of one autonomous system are one group."""
        asn = self.asn(address)
        return bytes((Network.IPV6,)) + asn.to_bytes(4, "little") if asn else address.group
