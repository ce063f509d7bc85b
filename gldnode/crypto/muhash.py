"""MuHash3072: a hash of a set that elements are put into and taken out of in any order (Core: crypto/muhash.h)."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

__all__ = ["MuHash3072"]

_FOLD: Final = 1_103_717
_PRIME: Final = (1 << 3072) - _FOLD
_MASK: Final = (1 << 3072) - 1
_SIZE: Final = 384
_ZEROS: Final = bytes(_SIZE)


def _element(data: bytes) -> int:
    """The number that stands for `data`: 384 bytes of ChaCha20 keyed with its SHA-256."""
    stream = Cipher(ChaCha20(sha256(data).digest(), bytes(16)), mode=None).encryptor().update(_ZEROS)
    return int.from_bytes(stream, "little")


def _times(one: int, other: int) -> int:
    """The product modulo the prime, without the division, which costs more than the product: 2^3072 is `_FOLD`."""
    product = one * other
    product = (product >> 3072) * _FOLD + (product & _MASK)
    product = (product >> 3072) * _FOLD + (product & _MASK)
    return product - _PRIME if product >= _PRIME else product


class MuHash3072:
    """A running product: what was inserted over what was removed."""

    def __init__(self, numerator: int = 1, denominator: int = 1) -> None:
        self._numerator = numerator
        self._denominator = denominator

    def insert(self, data: bytes) -> None:
        self._numerator = _times(self._numerator, _element(data))

    def remove(self, data: bytes) -> None:
        self._denominator = _times(self._denominator, _element(data))

    def digest(self) -> bytes:
        """32 bytes in wire order."""
        value = self._numerator * pow(self._denominator, -1, _PRIME) % _PRIME
        return sha256(value.to_bytes(_SIZE, "little")).digest()

    def copy(self) -> "MuHash3072":
        return MuHash3072(self._numerator, self._denominator)

    @staticmethod
    def digests(states: Sequence["MuHash3072"]) -> list[bytes]:
        """The digest of each, with one division for all (Montgomery's trick): it costs as much as 200 products."""
        products = list(accumulate((state._denominator for state in states), _times, initial=1))
        inverse = pow(products[-1], -1, _PRIME)
        found = []
        for state, before in zip(reversed(states), reversed(products[:-1]), strict=True):
            value = _times(state._numerator, _times(inverse, before))
            inverse = _times(inverse, state._denominator)
            found.append(sha256(value.to_bytes(_SIZE, "little")).digest())
        return found[::-1]

    def to_bytes(self) -> bytes:
        """Numerator and denominator, for storage."""
        return self._numerator.to_bytes(_SIZE, "little") + self._denominator.to_bytes(_SIZE, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> "MuHash3072":
        return cls(int.from_bytes(data[:_SIZE], "little"), int.from_bytes(data[_SIZE:], "little"))
