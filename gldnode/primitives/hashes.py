"""Hash functions of the Bitcoin formats. Hashes are `bytes` in wire order; reversed hex is for the edges."""

import hashlib
from typing import NewType

from gldnode.errors import DecodeError

__all__ = [
    "ZERO_HASH",
    "BlockHash",
    "Txid",
    "Wtxid",
    "from_display_hex",
    "hash160",
    "ripemd160",
    "sha256",
    "sha256d",
    "tagged_hash",
    "to_display_hex",
]

Txid = NewType("Txid", bytes)
Wtxid = NewType("Wtxid", bytes)
BlockHash = NewType("BlockHash", bytes)

ZERO_HASH = bytes(32)
_sha256 = hashlib.sha256
_RIPEMD160 = hashlib.new("ripemd160", usedforsecurity=False)  # copying it costs a third of looking it up


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 of SHA-256: txids, block hashes, checksums."""
    return _sha256(_sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    state = _RIPEMD160.copy()
    state.update(data)
    return state.digest()


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256: key and script hashes."""
    state = _RIPEMD160.copy()
    state.update(_sha256(data).digest())
    return state.digest()


def tagged_hash(tag: str, data: bytes) -> bytes:
    """SHA-256 with the tag's hash twice in front, BIP 340."""
    prefix = _sha256(tag.encode()).digest()
    return _sha256(prefix + prefix + data).digest()


def to_display_hex(value: bytes) -> str:
    """A hash as people write it: reversed hex."""
    return value[::-1].hex()


def from_display_hex(text: str) -> bytes:
    """Wire-order bytes of 64 hex digits as people write them. Raises DecodeError."""
    if len(text) != 64:
        raise DecodeError(f"must be of length 64 (not {len(text)}, for '{text[:80]}')")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise DecodeError(f"must be hexadecimal string (not '{text}')") from None
    if len(value) != 32:
        raise DecodeError(f"must be hexadecimal string (not '{text}')")
    return value[::-1]
