"""Key expressions of output descriptors (BIP 380): origin, key, derivation path.

The sentences are Bitcoin Core's (`ParsePubkey`).
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum

from gldnode.address import encode_wif, parse_wif
from gldnode.bip32 import HARDENED, ExtendedKey, format_path, parse_index
from gldnode.crypto.secp256k1 import is_valid_pubkey, is_valid_xonly, pubkey_of
from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.hashes import hash160

__all__ = ["DerivedKey", "DescriptorError", "KeyExpr", "KeyUse", "Wildcard", "parse_key"]

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


class DescriptorError(DecodeError):
    """Not a descriptor; the text is Core's."""


class KeyUse(Enum):
    """Where a key stands: that decides which forms it may have."""

    LEGACY = "legacy"
    """Top level or in sh(): uncompressed keys are allowed."""
    SEGWIT = "segwit"
    TAPROOT = "taproot"
    """X-only keys are allowed and meant."""


class Wildcard(Enum):
    NONE = ""
    PLAIN = "/*"
    HARDENED = "/*h"


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """One public key of an expanded descriptor."""

    pubkey: bytes
    """33 or 65 bytes; in taproot with an even y where only x is known."""
    fingerprint: bytes
    """Of the master key, as far as the descriptor tells."""
    path: tuple[int, ...]
    """From the master key to this one."""
    secret: bytes | None = None

    @property
    def xonly(self) -> bytes:
        return self.pubkey[1:33]


@dataclass(frozen=True, slots=True)
class KeyExpr:
    """One key expression. Build it with `parse_key`."""

    use: KeyUse
    origin: tuple[bytes, tuple[int, ...]] | None = None
    origin_mark: str = "h"
    pubkey: bytes = b""
    """A bare key; empty for an extended one."""
    secret: bytes | None = None
    """Of a bare key given as WIF."""
    extended: ExtendedKey | None = None
    path: tuple[int, ...] = ()
    mark: str = "h"
    """How hardened steps were written."""
    wildcard: Wildcard = Wildcard.NONE
    _parents: dict[bool, ExtendedKey] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_range(self) -> bool:
        return self.wildcard is not Wildcard.NONE

    @property
    def is_private(self) -> bool:
        return self.secret is not None or (self.extended is not None and self.extended.is_private)

    @property
    def needs_private(self) -> bool:
        """Whether even the public keys need the private one: a hardened step behind an xpub or xprv."""
        return self.wildcard is Wildcard.HARDENED or any(step & HARDENED for step in self.path)

    def _parent(self) -> ExtendedKey:
        assert self.extended is not None
        found = self._parents.get(True)
        if found is None:
            found = self.extended.derive(self.path)
            if not self.is_private:
                found = found.to_public()
            self._parents[True] = found
        return found

    def derive(self, index: int) -> DerivedKey:
        """The key at `index` (ignored without wildcard). Raises DescriptorError if the private key is missing."""
        if self.extended is None:
            fingerprint, path = self.origin or (hash160(self.pubkey)[:4], ())
            return DerivedKey(self.pubkey, fingerprint, path, self.secret)
        try:
            key = self._parent()
            steps = self.path
            if self.is_range:
                last = index | HARDENED if self.wildcard is Wildcard.HARDENED else index
                key, steps = key.child(last), (*steps, last)
        except DecodeError:
            raise DescriptorError("Cannot derive script without private keys") from None
        fingerprint, path = self.origin or (self.extended.fingerprint, ())
        return DerivedKey(key.pubkey, fingerprint, path + steps, key.secret if key.is_private else None)

    def pubkey_at(self, index: int) -> bytes:
        """The public key of `derive(index)`, without what else there is to know of it."""
        if self.wildcard is not Wildcard.PLAIN or self.is_private or self.extended is None:
            return self.derive(index).pubkey
        try:
            return self._parent().child_pubkey(index)
        except DecodeError:
            raise DescriptorError("Cannot derive script without private keys") from None

    def at(self, index: int) -> "KeyExpr":
        """The bare public key at `index`, with its origin. Raises DescriptorError as `derive` does."""
        key = self.derive(index)
        origin = (key.fingerprint, key.path) if self.extended is not None or self.origin else None
        return KeyExpr(self.use, origin, pubkey=key.pubkey)

    def to_public(self) -> "KeyExpr":
        """The same without private key; hardened steps stay and then need it."""
        if not self.is_private:
            return self
        extended = self.extended.to_public() if self.extended else None
        return replace(self, secret=None, extended=extended, _parents={})

    def normalized(self) -> "KeyExpr":
        """The public form whose hardened steps are in the origin, so that it derives without the private key."""
        if self.extended is None or not self.is_private:
            return self.to_public()
        hardened = [position for position, step in enumerate(self.path) if step & HARDENED]
        cut = hardened[-1] + 1 if hardened else 0
        fingerprint, path = self.origin or (self.extended.fingerprint, ())
        account = self.extended.derive(self.path[:cut]).to_public()
        origin = (fingerprint, path + self.path[:cut]) if cut or self.origin else None
        return replace(
            self,
            origin=origin,
            extended=account,
            path=self.path[cut:],
            mark="h",
            origin_mark="h",
            _parents={},
        )

    def to_text(self, params: ChainParams, *, private: bool = False) -> str:
        origin = ""
        if self.origin is not None:
            fingerprint, path = self.origin
            origin = f"[{fingerprint.hex()}{format_path(path, self.origin_mark)}]"
        if self.extended is None:
            if private and self.secret is not None:
                return origin + encode_wif(self.secret, params, compressed=len(self.pubkey) == 33)
            return origin + (self.pubkey[1:33] if self.use is KeyUse.TAPROOT else self.pubkey).hex()
        key = self.extended if private else self.extended.to_public()
        star = self.wildcard.value.replace("h", self.mark)
        return origin + key.to_text(params) + format_path(self.path, self.mark) + star


def parse_key(text: str, use: KeyUse, params: ChainParams) -> list[KeyExpr]:
    """The key expression of `text`, or one per branch of a multipath step (BIP 389). Raises DescriptorError."""
    parts = text.split("]")
    if len(parts) > 2:
        raise DescriptorError("Multiple ']' characters found for a single pubkey")
    if len(parts) == 1:
        return _parse_inner(text, use, params, None, "h")
    head = parts[0]
    if not head.startswith("["):
        raise DescriptorError(
            f"Key origin start '[ character expected but not found, got '{head[:1] or ']'}' instead"
        )
    fingerprint, *steps = head[1:].split("/")
    if len(fingerprint) != 8:
        raise DescriptorError(
            f"Fingerprint is not 4 bytes ({len(fingerprint)} characters instead of 8 characters)"
        )
    if not _HEX.fullmatch(fingerprint):
        raise DescriptorError(f"Fingerprint '{fingerprint}' is not hex")
    mark = "'" if any(step.endswith("'") for step in steps) else "h"
    origin = bytes.fromhex(fingerprint), tuple(_step(step) for step in steps)
    return _parse_inner(parts[1], use, params, origin, mark)


def _step(text: str) -> int:
    if text.startswith("<") and text.endswith(">"):
        raise DescriptorError(
            f"Key path value '{text}' specifies multipath in a section where multipath is not allowed"
        )
    try:
        return parse_index(text)
    except DecodeError as error:
        raise DescriptorError(str(error)) from None


def _parse_inner(
    text: str,
    use: KeyUse,
    params: ChainParams,
    origin: tuple[bytes, tuple[int, ...]] | None,
    origin_mark: str,
) -> list[KeyExpr]:
    key_text, *steps = text.split("/")
    if not key_text:
        raise DescriptorError("No key provided")
    if not steps:
        bare = _bare_key(key_text, use, params)
        if bare is not None:
            return [KeyExpr(use, origin, origin_mark, pubkey=bare[0], secret=bare[1])]
    try:
        extended = ExtendedKey.parse(key_text, params)
    except DecodeError:
        raise DescriptorError(f"key '{key_text[:200]}' is not valid") from None
    wildcard, mark = Wildcard.NONE, "h"
    if steps and steps[-1] in ("*", "*'", "*h"):
        wildcard = Wildcard.PLAIN if steps[-1] == "*" else Wildcard.HARDENED
        mark = "'" if steps[-1] == "*'" else mark
        steps = steps[:-1]
    mark = "'" if any("'" in step for step in steps) else mark
    return [
        KeyExpr(use, origin, origin_mark, extended=extended, path=path, mark=mark, wildcard=wildcard)
        for path in _paths(steps)
    ]


def _bare_key(text: str, use: KeyUse, params: ChainParams) -> tuple[bytes, bytes | None] | None:
    """Public key and secret of a hex or WIF key; None when it must be an extended one."""
    if _HEX.fullmatch(text):
        data = bytes.fromhex(text)
        if len(data) == 65 and data[0] in (6, 7) and is_valid_pubkey(data):
            raise DescriptorError("Hybrid public keys are not allowed")
        if len(data) in (33, 65) and is_valid_pubkey(data):
            if len(data) == 65 and use is not KeyUse.LEGACY:
                raise DescriptorError("Uncompressed keys are not allowed")
            return data, None
        if len(data) == 32 and use is KeyUse.TAPROOT and is_valid_xonly(data):
            return b"\x02" + data, None
        raise DescriptorError(f"Pubkey '{text}' is invalid")
    try:
        secret, compressed = parse_wif(text, params)
    except DecodeError:
        return None
    if not compressed and use is not KeyUse.LEGACY:
        raise DescriptorError("Uncompressed keys are not allowed")
    return pubkey_of(secret, compressed=compressed), secret


def _paths(steps: list[str]) -> list[tuple[int, ...]]:
    """The path, or one per branch of its only multipath step."""
    multiple = [position for position, step in enumerate(steps) if step.startswith("<") and step.endswith(">")]
    if not multiple:
        return [tuple(_step(step) for step in steps)]
    if len(multiple) > 1:
        raise DescriptorError("Multiple multipath key path specifiers found")
    position = multiple[0]
    branches = steps[position][1:-1].split(";")
    if len(branches) < 2:
        raise DescriptorError("Multipath key path specifiers must have at least two items")
    values = [_step(branch) for branch in branches]
    for value in values:
        if values.count(value) > 1:
            raise DescriptorError(f"Duplicated key path value {value} in multipath specifier")
    before = tuple(_step(step) for step in steps[:position])
    after = tuple(_step(step) for step in steps[position + 1 :])
    return [(*before, value, *after) for value in values]
