"""Names of things: base58 of random bytes, as Greenfield's clients expect them."""

from typing import Final

from gldnode.entropy import Entropy
from gldnode.primitives.base58 import encode_base58

__all__ = [
    "INVOICE_PREFIX",
    "is_invoice_id",
    "new_invoice_id",
    "new_short_id",
    "new_store_id",
]

INVOICE_PREFIX: Final = "btngpay_"
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58: Final = frozenset(_ALPHABET)
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_POWERS: Final = tuple((58 * 58) ** place for place in range(10, -1, -1))


def new_invoice_id(entropy: Entropy) -> str:
    data = entropy.bytes(16)
    if data[0] == 0:
        return INVOICE_PREFIX + encode_base58(data)
    # The same two digits at a time, for a shop that makes thousands.
    number = int.from_bytes(data, "big")
    return INVOICE_PREFIX + "".join([_PAIRS[number // power % 3364] for power in _POWERS]).lstrip("1")


def new_store_id(entropy: Entropy) -> str:
    return encode_base58(entropy.bytes(32))


def new_short_id(entropy: Entropy) -> str:
    """Of a webhook or delivery: 16 random bytes."""
    return encode_base58(entropy.bytes(16))


def is_invoice_id(text: str) -> bool:
    """Whether `text` looks like an invoice id: the prefix and 16 bytes in base58."""
    rest = text.removeprefix(INVOICE_PREFIX)
    return rest != text and 16 <= len(rest) <= 22 and all(c in _BASE58 for c in rest)
