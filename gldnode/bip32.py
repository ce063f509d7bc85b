"""Extended keys (BIP 32) and mnemonics (BIP 39), over embit with the checks that it leaves out."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

from embit import bip39
from embit.base import EmbitError
from embit.bip32 import HDKey

from gldnode.crypto.secp256k1 import is_valid_pubkey, is_valid_seckey
from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.base58 import decode_base58check, encode_base58check

__all__ = [
    "HARDENED",
    "ExtendedKey",
    "format_path",
    "mnemonic_of",
    "parse_index",
    "parse_path",
    "seed_of_mnemonic",
]

HARDENED: Final = 0x80000000
_EMBIT_XPUB = bytes.fromhex("0488b21e")
_EMBIT_XPRV = bytes.fromhex("0488ade4")
_INDEX = re.compile(r"([0-9]{1,10})(['h]?)")


class ExtendedKey:
    """A key of a BIP 32 tree, private or public, without a network: the text form takes its version bytes."""

    __slots__ = ("_key", "_pubkey")

    def __init__(self, key: Any) -> None:
        self._key = key
        self._pubkey: bytes = key.sec()

    @classmethod
    def from_seed(cls, seed: bytes) -> "ExtendedKey":
        """The master key. Raises DecodeError for the one seed in 2^127 that has none."""
        try:
            return cls(HDKey.from_seed(seed, version=_EMBIT_XPRV))
        except (EmbitError, ValueError):
            raise DecodeError("seed has no master key") from None

    @classmethod
    def parse(cls, text: str, params: ChainParams) -> "ExtendedKey":
        """The key of an xpub or xprv of this network. Raises DecodeError."""
        payload = decode_base58check(text, 78)
        if len(payload) != 78:
            raise DecodeError("extended key of wrong length")
        if payload[:4] not in (params.xpub_version, params.xprv_version):
            raise DecodeError("extended key of another network or kind")
        return cls.from_payload(payload[4:], private=payload[:4] == params.xprv_version)

    @classmethod
    def from_payload(cls, payload: bytes, *, private: bool) -> "ExtendedKey":
        """From the 74 bytes behind the version. Raises DecodeError."""
        depth, parent, number, key = payload[0], payload[1:5], payload[5:9], payload[41:]
        if depth == 0 and (any(parent) or any(number)):
            raise DecodeError("master key with a parent or an index")
        if private and (key[0] != 0 or not is_valid_seckey(key[1:])):
            raise DecodeError("extended private key without a private key")
        if not private and (key[0] not in (2, 3) or not is_valid_pubkey(key)):
            raise DecodeError("extended public key without a public key")
        return cls(HDKey.parse((_EMBIT_XPRV if private else _EMBIT_XPUB) + payload))

    @property
    def is_private(self) -> bool:
        return bool(self._key.is_private)

    @property
    def pubkey(self) -> bytes:
        """Compressed."""
        return self._pubkey

    @property
    def secret(self) -> bytes:
        """The 32-byte private key; only of a private one."""
        return bytes(self._key.secret)

    @property
    def fingerprint(self) -> bytes:
        """First four bytes of the identifier."""
        return bytes(self._key.my_fingerprint)

    def child(self, index: int) -> "ExtendedKey":
        """Raises DecodeError for a hardened child of a public key and for the one in 2^127 that does not exist."""
        try:
            return ExtendedKey(self._key.child(index))
        except (EmbitError, ValueError):
            raise DecodeError(f"cannot derive child {index}") from None

    def derive(self, path: Iterable[int]) -> "ExtendedKey":
        key = self
        for index in path:
            key = key.child(index)
        return key

    def to_public(self) -> "ExtendedKey":
        return ExtendedKey(self._key.to_public(version=_EMBIT_XPUB)) if self.is_private else self

    def payload(self) -> bytes:
        """The 74 bytes that `from_payload` takes."""
        return bytes(self._key.serialize())[4:]

    def to_text(self, params: ChainParams) -> str:
        """xpub or xprv with this network's version bytes."""
        version = params.xprv_version if self.is_private else params.xpub_version
        return encode_base58check(version + self.payload())


def parse_path(elements: Iterable[str]) -> tuple[int, ...]:
    """Child numbers of texts such as `84h`, `0'`, `1`. Raises DecodeError with Core's sentence."""
    return tuple(parse_index(element) for element in elements)


def parse_index(element: str) -> int:
    match = _INDEX.fullmatch(element)
    if match is None or int(match[1]) >= 1 << 32:
        raise DecodeError(f"Key path value '{element.rstrip(chr(39) + 'h')}' is not a valid uint32")
    index = int(match[1])
    if index >= HARDENED:
        raise DecodeError(f"Key path value {index} is out of range")
    return index + HARDENED if match[2] else index


def format_path(path: Sequence[int], mark: str = "h") -> str:
    """`/84h/0h/0` of child numbers; empty for none."""
    return "".join(f"/{index & 0x7FFFFFFF}{mark if index & HARDENED else ''}" for index in path)


def mnemonic_of(entropy: bytes) -> str:
    """English words for 16 to 32 bytes of entropy, BIP 39."""
    return str(bip39.mnemonic_from_bytes(entropy))


def seed_of_mnemonic(mnemonic: str, passphrase: str = "", *, check_english: bool = True) -> bytes:
    """The 64-byte seed. Raises DecodeError for words or a checksum that are not English BIP 39's.

    Without `check_english` any words are taken, as BIP 39 allows.
    """
    words = unicodedata.normalize("NFKD", mnemonic)
    if check_english:
        try:
            bip39.mnemonic_to_bytes(words)
        except ValueError as error:
            raise DecodeError(str(error)) from None
        words = " ".join(words.split())
    salt = "mnemonic" + unicodedata.normalize("NFKD", passphrase)
    try:
        return hashlib.pbkdf2_hmac("sha512", words.encode(), salt.encode(), 2048)
    except UnicodeEncodeError:
        raise DecodeError("mnemonic or passphrase is not Unicode text") from None
