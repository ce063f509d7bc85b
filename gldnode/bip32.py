"""Extended keys (BIP 32), and mnemonics (BIP 39) over embit."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from embit import bip39

from gldnode.crypto.pointadder import point_adder
from gldnode.crypto.secp256k1 import (
    InvalidKey,
    is_valid_pubkey,
    is_valid_seckey,
    pubkey_of,
    seckey_tweak_add,
)
from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.base58 import decode_base58check, encode_base58check
from gldnode.primitives.hashes import hash160

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
_SHA512 = hashlib.sha512()
_INNER_PAD = bytes(value ^ 0x36 for value in range(256))
_OUTER_PAD = bytes(value ^ 0x5C for value in range(256))
_INDEX = re.compile(r"([0-9]{1,10})(['h]?)")


class ExtendedKey:
    """A key of a BIP 32 tree, private or public, without a network: the text form takes its version bytes."""

    __slots__ = (
        "_adder",
        "_chain_code",
        "_depth",
        "_fingerprint",
        "_inner",
        "_number",
        "_outer",
        "_parent",
        "_pubkey",
        "_secret",
    )

    def __init__(
        self,
        pubkey: bytes,
        secret: bytes | None,
        chain_code: bytes,
        depth: int = 0,
        parent: bytes = bytes(4),
        number: int = 0,
    ) -> None:
        """`parent` is the parent's fingerprint, `number` the key's place among its children."""
        self._pubkey = pubkey
        self._secret = secret
        self._chain_code = chain_code
        self._depth = depth
        self._parent = parent
        self._number = number
        self._fingerprint = b""
        self._adder: Callable[[bytes], bytes] | None = None
        self._inner = self._outer = _SHA512

    @classmethod
    def from_seed(cls, seed: bytes) -> "ExtendedKey":
        """The master key. Raises DecodeError for the one seed in 2^127 that has none."""
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        if not is_valid_seckey(digest[:32]):
            raise DecodeError("seed has no master key")
        return cls(pubkey_of(digest[:32]), digest[:32], digest[32:])

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
        depth, parent, number = payload[0], payload[1:5], payload[5:9]
        chain_code, key = payload[9:41], payload[41:]
        if depth == 0 and (any(parent) or any(number)):
            raise DecodeError("master key with a parent or an index")
        if private and (key[0] != 0 or not is_valid_seckey(key[1:])):
            raise DecodeError("extended private key without a private key")
        if not private and (key[0] not in (2, 3) or not is_valid_pubkey(key)):
            raise DecodeError("extended public key without a public key")
        secret = key[1:] if private else None
        pubkey = pubkey_of(secret) if secret is not None else key
        return cls(pubkey, secret, chain_code, depth, parent, int.from_bytes(number, "big"))

    @property
    def is_private(self) -> bool:
        return self._secret is not None

    @property
    def pubkey(self) -> bytes:
        """Compressed."""
        return self._pubkey

    @property
    def secret(self) -> bytes:
        """The 32-byte private key; only of a private one."""
        assert self._secret is not None, "a public key has no secret"
        return self._secret

    @property
    def fingerprint(self) -> bytes:
        """First four bytes of the identifier."""
        if not self._fingerprint:
            self._fingerprint = hash160(self._pubkey)[:4]
        return self._fingerprint

    def child(self, index: int) -> "ExtendedKey":
        """Raises DecodeError for a hardened child of a public key and for the one in 2^127 that does not exist."""
        is_hardened = bool(index & HARDENED)
        if not 0 <= index < 1 << 32 or self._depth == 255 or (is_hardened and self._secret is None):
            raise DecodeError(f"cannot derive child {index}")
        secret = None
        if self._secret is None:
            pubkey, chain_code = self._public_child(index)
        else:
            head = b"\x00" + self.secret if is_hardened else self._pubkey
            digest = hmac.digest(self._chain_code, head + index.to_bytes(4, "big"), "sha512")
            try:
                secret = seckey_tweak_add(self._secret, digest[:32])
            except InvalidKey:
                raise DecodeError(f"cannot derive child {index}") from None
            pubkey, chain_code = pubkey_of(secret), digest[32:]
        return ExtendedKey(pubkey, secret, chain_code, self._depth + 1, self.fingerprint, index)

    def _public_child(self, index: int) -> tuple[bytes, bytes]:
        """Public key and chain code of an unhardened child. Raises DecodeError."""
        if self._adder is None:
            self._inner = hashlib.sha512(self._chain_code.ljust(128, b"\0").translate(_INNER_PAD))
            self._outer = hashlib.sha512(self._chain_code.ljust(128, b"\0").translate(_OUTER_PAD))
            self._adder = point_adder(self._pubkey)
        # HMAC (RFC 2104) from the states behind the key's two blocks, which all children share.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(self._pubkey + index.to_bytes(4, "big"))
        outer.update(inner.digest())
        digest = outer.digest()
        try:
            return self._adder(digest[:32]), digest[32:]
        except InvalidKey:
            raise DecodeError(f"cannot derive child {index}") from None

    def child_pubkey(self, index: int) -> bytes:
        """The public key of `child(index)` of a public key, for those who want no more of it."""
        if not 0 <= index < HARDENED or self._depth == 255 or self._secret is not None:
            return self.child(index).pubkey
        return self._public_child(index)[0]

    def derive(self, path: Iterable[int]) -> "ExtendedKey":
        key = self
        for index in path:
            key = key.child(index)
        return key

    def to_public(self) -> "ExtendedKey":
        if self._secret is None:
            return self
        return ExtendedKey(self._pubkey, None, self._chain_code, self._depth, self._parent, self._number)

    def payload(self) -> bytes:
        """The 74 bytes that `from_payload` takes."""
        key = self._pubkey if self._secret is None else b"\x00" + self._secret
        return bytes((self._depth,)) + self._parent + self._number.to_bytes(4, "big") + self._chain_code + key

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
