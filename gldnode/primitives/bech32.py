"""Bech32 (BIP 173) and bech32m (BIP 350), with the places of up to two wrong characters."""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache, reduce
from operator import getitem, xor

from gldnode.errors import DecodeError

__all__ = ["Bech32Error", "Encoding", "convert_bits", "decode_bech32", "encode_bech32", "encode_program"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {char: value for value, char in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_STEPS = tuple(
    reduce(xor, (generator for bit, generator in enumerate(_GENERATOR) if top >> bit & 1), 0) for top in range(32)
)
"""What each value of the top five bits adds."""
_PAIRS = tuple(high + low for high in _CHARSET for low in _CHARSET)
_CHECKSUM_SIZE = 6
_MAX_LENGTH = 90


class Encoding(Enum):
    """Which checksum; the value is the constant that a right one leaves."""

    BECH32 = 1
    BECH32M = 0x2BC830A3


class Bech32Error(DecodeError):
    """`locations` are the positions of the characters at fault, where they can be told (Core: LocateErrors)."""

    def __init__(self, message: str, locations: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.locations = tuple(locations)


def _polymod(values: Iterable[int], start: int = 1) -> int:
    check = start
    for value in values:
        check = (check & 0x1FFFFFF) << 5 ^ value ^ _STEPS[check >> 25]
    return check


def _expand(hrp: str) -> list[int]:
    return [ord(char) >> 5 for char in hrp] + [0] + [ord(char) & 31 for char in hrp]


def encode_bech32(hrp: str, data: Sequence[int], encoding: Encoding) -> str:
    """`data` are 5-bit values; `hrp` is lower case."""
    values = [*_expand(hrp), *data]
    check = _polymod([*values, *bytes(_CHECKSUM_SIZE)]) ^ encoding.value
    checksum = [check >> 5 * (_CHECKSUM_SIZE - 1 - i) & 31 for i in range(_CHECKSUM_SIZE)]
    return hrp + "1" + "".join([_CHARSET[value] for value in (*data, *checksum)])


@lru_cache(maxsize=16)
def _program_tables(
    hrp: str, version: int, size: int, encoding: Encoding
) -> tuple[int, tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """What `encode_program` needs for programs of one size.

    The checksum is linear: that of the zero program, changed by what each byte's value adds at its place; and the
    shifts that give the program's characters two at a time.
    """
    pad = -size * 8 % 5
    count = (size * 8 + pad) // 5

    def check_of(number: int) -> int:
        values = [number >> 5 * place & 31 for place in range(count - 1, -1, -1)]
        return _polymod([*_expand(hrp), version, *values, *bytes(_CHECKSUM_SIZE)]) ^ encoding.value

    zero = check_of(0)
    tables = []
    for place in range(size):
        bits = [check_of(1 << 8 * (size - 1 - place) + bit + pad) ^ zero for bit in range(8)]
        tables.append(
            tuple(reduce(xor, (bits[bit] for bit in range(8) if value >> bit & 1), 0) for value in range(256))
        )
    even_bits = 5 * (count + count % 2)
    return zero, tuple(tables), tuple(range(even_bits - 10, -1, -10))


def encode_program(hrp: str, version: int, program: bytes, encoding: Encoding) -> str:
    """`encode_bech32` of a witness program, by tables: for those who make thousands a second."""
    size = len(program)
    zero, tables, shifts = _program_tables(hrp, version, size, encoding)
    number = int.from_bytes(program, "big") << (-size * 8 % 10)
    text = "".join([_PAIRS[number >> shift & 1023] for shift in shifts])
    if size * 8 % 10 in (1, 2, 3, 4, 5):  # an odd number of characters
        text = text[:-1]
    check = reduce(xor, map(getitem, tables, program), zero)
    checksum = _PAIRS[check >> 20] + _PAIRS[check >> 10 & 1023] + _PAIRS[check & 1023]
    return f"{hrp}1{_CHARSET[version]}{text}{checksum}"


def decode_bech32(text: str) -> tuple[str, list[int], Encoding]:
    """Prefix in lower case, 5-bit values without the checksum, and which checksum it was.

    Raises Bech32Error with Core's text.
    """
    if len(text) > _MAX_LENGTH:
        raise Bech32Error("Bech32 string too long", range(_MAX_LENGTH, len(text)))
    if wrong := _wrong_characters(text):
        raise Bech32Error("Invalid character or mixed case", wrong)
    separator = text.rfind("1")
    if separator == -1:
        raise Bech32Error("Missing separator")
    if separator == 0 or separator + _CHECKSUM_SIZE >= len(text):
        raise Bech32Error("Invalid separator position", [separator])
    lowered = text.lower()
    hrp = lowered[:separator]
    values: list[int] = []
    for position in range(separator + 1, len(lowered)):
        value = _VALUES.get(lowered[position])
        if value is None:
            raise Bech32Error("Invalid Base 32 character", [position])
        values.append(value)
    check = _polymod([*_expand(hrp), *values])
    for encoding in Encoding:
        if check == encoding.value:
            return hrp, values[:-_CHECKSUM_SIZE], encoding
    raise _checksum_error(check, len(values), len(text))


def _wrong_characters(text: str) -> list[int]:
    """Positions outside printable ASCII, or whose case is not that of the first letter."""
    wrong: list[int] = []
    lower = upper = False
    for position, char in enumerate(text):
        if "a" <= char <= "z":
            if upper:
                wrong.append(position)
            else:
                lower = True
        elif "A" <= char <= "Z":
            if lower:
                wrong.append(position)
            else:
                upper = True
        elif not "!" <= char <= "~":
            wrong.append(position)
    return wrong


def _checksum_error(check: int, count: int, length: int) -> Bech32Error:
    """Which checksum was probably meant: the one that fewer wrong characters explain."""
    found: tuple[Encoding, list[int]] | None = None
    for encoding in Encoding:
        places = _locate(check ^ encoding.value, count)
        if places and (found is None or len(places) < len(found[1])):
            found = encoding, places
    if found is None:
        return Bech32Error("Invalid checksum")
    encoding, places = found
    name = "Bech32m" if encoding is Encoding.BECH32M else "Bech32"
    return Bech32Error(f"Invalid {name} checksum", sorted(length - 1 - place for place in places))


def _locate(residue: int, count: int) -> list[int]:
    """The one or two places, counted from the right, where changes leave `residue`; empty if more are wrong.

    The code is linear and at this length has distance five, so the answer is unique.
    """
    left_by: dict[int, int] = {}
    for value in range(1, 32):
        remainder = value
        for place in range(count):
            left_by[remainder] = place
            remainder = _polymod((0,), remainder)
    if residue in left_by:
        return [left_by[residue]]
    for remainder, place in left_by.items():
        other = left_by.get(residue ^ remainder)
        if other is not None and other != place:
            return [place, other]
    return []


def convert_bits(data: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Regroup bits. Without `pad`, left-over bits must be zeros and fewer than `from_bits`, else DecodeError."""
    buffer = bits = 0
    out: list[int] = []
    mask = (1 << to_bits) - 1
    for value in data:
        buffer = (buffer << from_bits | value) & 0xFFFFFFFF
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            out.append(buffer >> bits & mask)
    left = buffer & ((1 << bits) - 1)
    if pad:
        if bits:
            out.append(left << (to_bits - bits) & mask)
    elif bits >= from_bits or left:
        raise DecodeError("Invalid padding in Bech32 data section")
    return out
