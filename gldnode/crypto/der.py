"""DER signatures as consensus has read them since OpenSSL: far laxer than the standard."""

from typing import Final

__all__ = ["compact_of_lax_der", "is_strict_der"]

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_ZERO: Final = bytes(64)


def _length(data: bytes, pos: int) -> tuple[int, int] | None:
    """A BER length at `pos` with leading zeros allowed, and the position behind it."""
    if pos >= len(data):
        return None
    first = data[pos]
    pos += 1
    if not first & 0x80:
        return first, pos
    count = first - 0x80
    if count > len(data) - pos:
        return None
    while count > 0 and data[pos] == 0:
        pos += 1
        count -= 1
    if count >= 4:  # Core: a size_t that could overflow
        return None
    return int.from_bytes(data[pos : pos + count], "big"), pos + count


def _integer(data: bytes, pos: int) -> tuple[int, int] | None:
    """An INTEGER at `pos`, read as unsigned, and the position behind it."""
    if pos >= len(data) or data[pos] != 0x02:
        return None
    length = _length(data, pos + 1)
    if length is None or length[0] > len(data) - length[1]:
        return None
    size, pos = length
    return int.from_bytes(data[pos : pos + size], "big"), pos + size


def compact_of_lax_der(data: bytes) -> bytes | None:
    """r and s as 64 bytes, None where Core's ecdsa_signature_parse_der_lax fails.

    Numbers beyond the curve's order give 64 zeros, which parse and never verify. What follows s is ignored.
    """
    if not data or data[0] != 0x30 or len(data) < 2:
        return None
    pos = 2
    if data[1] & 0x80:  # the sequence's length is skipped, not read
        pos += data[1] - 0x80
        if pos > len(data):
            return None
    r = _integer(data, pos)
    if r is None:
        return None
    s = _integer(data, r[1])
    if s is None:
        return None
    if r[0] >= _ORDER or s[0] >= _ORDER:
        return _ZERO
    return r[0].to_bytes(32, "big") + s[0].to_bytes(32, "big")


def is_strict_der(signature: bytes) -> bool:
    """BIP 66: whether `signature`, its hash type byte included, is a strict DER encoding.

    0x30 [total length] 0x02 [length of R] [R] 0x02 [length of S] [S] [hash type]; both numbers positive and
    without padding. Core: IsValidSignatureEncoding.
    """
    size = len(signature)
    if not 9 <= size <= 73 or signature[0] != 0x30 or signature[1] != size - 3:
        return False
    r_size = signature[3]
    if 5 + r_size >= size:
        return False
    s_size = signature[5 + r_size]
    if r_size + s_size + 7 != size:
        return False
    if signature[2] != 0x02 or r_size == 0 or signature[4] & 0x80:
        return False
    if r_size > 1 and signature[4] == 0 and not signature[5] & 0x80:
        return False
    if signature[r_size + 4] != 0x02 or s_size == 0 or signature[r_size + 6] & 0x80:
        return False
    return not (s_size > 1 and signature[r_size + 6] == 0 and not signature[r_size + 7] & 0x80)
