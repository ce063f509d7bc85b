"""Secrets at rest: a random wallet key, sealed by the passphrase, seals everything else.

scrypt makes the passphrase costly to guess; ChaCha20-Poly1305 tells a wrong key from a right one.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gldnode.entropy import Entropy
from gldnode.wallet.layout import Encryption

__all__ = ["WrongPassphrase", "make_encryption", "open_key", "seal", "unseal"]

_NONCE: Final = 12
_N, _R, _P = 1 << 15, 8, 1  # 32 MiB and about 0.1 s


class WrongPassphrase(Exception):
    """The passphrase does not open this wallet."""


def _passphrase_key(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.encode("utf-8", "surrogatepass"))


def make_encryption(passphrase: str, key: bytes, entropy: Entropy) -> Encryption:
    """Seal the wallet's key with a passphrase."""
    salt = entropy.bytes(16)
    outer = _passphrase_key(passphrase, salt, _N, _R, _P)
    return Encryption(salt, _N, _R, _P, seal(outer, key, b"wallet key", entropy))


def open_key(passphrase: str, encryption: Encryption) -> bytes:
    """The wallet's key. Raises WrongPassphrase."""
    outer = _passphrase_key(passphrase, encryption.salt, encryption.n, encryption.r, encryption.p)
    return unseal(outer, encryption.sealed_key, b"wallet key")


def seal(key: bytes, data: bytes, about: bytes, entropy: Entropy) -> bytes:
    """Nonce and ciphertext; `about` says what it is, so that records cannot be swapped."""
    nonce = entropy.bytes(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, data, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Raises WrongPassphrase."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about)
    except (InvalidTag, ValueError):
        raise WrongPassphrase from None
