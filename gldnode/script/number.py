"""Script numbers and truth: little-endian, sign in the highest bit (Core: CScriptNum, CastToBool)."""

from gldnode.script.errors import ScriptError, ScriptErrorName

__all__ = ["cast_to_bool", "decode_number", "encode_number"]


def encode_number(n: int) -> bytes:
    """`n` in the only shortest form; zero is empty."""
    if n == 0:
        return b""
    magnitude = abs(n)
    size = magnitude.bit_length() // 8 + 1  # room for the sign bit
    data = magnitude.to_bytes(size, "little")
    return data[:-1] + bytes((data[-1] | 0x80,)) if n < 0 else data


def decode_number(data: bytes, *, minimal: bool, max_size: int = 4) -> int:
    """The number of a stack element. Raises ScriptError(SCRIPTNUM) for a long or, if `minimal`, padded one."""
    size = len(data)
    if size == 0:
        return 0
    if size > max_size:
        raise ScriptError(ScriptErrorName.SCRIPTNUM)
    last = data[-1]
    if minimal and not last & 0x7F and (size == 1 or not data[-2] & 0x80):
        raise ScriptError(ScriptErrorName.SCRIPTNUM)
    n = int.from_bytes(data, "little")
    return (1 << (8 * size - 1)) - n if last & 0x80 else n


def cast_to_bool(data: bytes) -> bool:
    """False for zero of any length, negative zero included."""
    if not data.rstrip(b"\x00"):
        return False
    return data[-1] != 0x80 or bool(data[:-1].rstrip(b"\x00"))
