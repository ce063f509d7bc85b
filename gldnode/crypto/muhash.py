"""MuHash3072: a hash of a set that elements are put into and taken out of in any order (Core: crypto/muhash.h)."""

from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

__all__ = ["MuHash3072"]

_PRIME: Final = (1 << 3072) - 1_103_717
_SIZE: Final = 384
_ZEROS: Final = bytes(_SIZE)


def _element(data: bytes) -> int:
    """The number that stands for `data`: 384 bytes of ChaCha20 keyed with its SHA-256."""
    stream = Cipher(ChaCha20(sha256(data).digest(), bytes(16)), mode=None).encryptor().update(_ZEROS)
    return int.from_bytes(stream, "little")


class MuHash3072:
    """A running product: what was inserted over what was removed."""

    def __init__(self, numerator: int = 1, denominator: int = 1) -> None:
        self._numerator = numerator
        self._denominator = denominator

    def insert(self, data: bytes) -> None:
        self._numerator = self._numerator * _element(data) % _PRIME

    def remove(self, data: bytes) -> None:
        self._denominator = self._denominator * _element(data) % _PRIME

    def digest(self) -> bytes:
        """32 bytes in wire order."""
        value = self._numerator * pow(self._denominator, -1, _PRIME) % _PRIME
        return sha256(value.to_bytes(_SIZE, "little")).digest()

    def to_bytes(self) -> bytes:
        """Numerator and denominator, for storage."""
        return self._numerator.to_bytes(_SIZE, "little") + self._denominator.to_bytes(_SIZE, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> "MuHash3072":
        return cls(int.from_bytes(data[:_SIZE], "little"), int.from_bytes(data[_SIZE:], "little"))
