"""Signing inputs of the standard kinds with keys that are at hand (Core: ProduceSignature).

Signatures already present are kept where they verify, so several signers can complete one multisig in turn.
Every signature is verified by libsecp256k1 before it leaves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gldnode.crypto.secp256k1 import (
    pubkey_of,
    sign_ecdsa,
    sign_schnorr,
    tweak_pubkey,
    tweak_seckey,
    verify_ecdsa,
    verify_schnorr,
)
from gldnode.descriptors import Expansion, TaprootTree, tapleaf_hash
from gldnode.errors import DecodeError
from gldnode.primitives.hashes import hash160, sha256
from gldnode.primitives.tx import Tx, TxIn, make_tx
from gldnode.script.errors import ScriptError
from gldnode.script.flags import STANDARD_SCRIPT_VERIFY_FLAGS
from gldnode.script.script import iter_ops, push_data
from gldnode.script.sighash import SIGHASH_ALL, SIGHASH_DEFAULT, SighashCache, SpentOutput
from gldnode.script.templates import ScriptKind, p2sh_script, p2wpkh_script, p2wsh_script, solve
from gldnode.script.verify import verify_input

__all__ = ["SIGHASH_TYPES", "InputSignature", "SigningKeys", "sign_input", "sign_transaction"]

SIGHASH_TYPES: Final = {
    "DEFAULT": 0,
    "ALL": 1,
    "NONE": 2,
    "SINGLE": 3,
    "ALL|ANYONECANPAY": 0x81,
    "NONE|ANYONECANPAY": 0x82,
    "SINGLE|ANYONECANPAY": 0x83,
}


@dataclass(slots=True)
class SigningKeys:
    """Secrets and scripts, found by what output scripts name them by."""

    secrets: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    """By public key (33 or 65 bytes) and by its x coordinate."""
    pubkeys: dict[bytes, bytes] = field(default_factory=dict)
    """By hash160."""
    scripts: dict[bytes, bytes] = field(default_factory=dict)
    """Redeem and witness scripts by hash160 and by SHA-256."""
    taproot: dict[bytes, TaprootTree] = field(default_factory=dict)
    """By output key."""
    origins: dict[bytes, tuple[bytes, tuple[int, ...]]] = field(default_factory=dict)
    """Master fingerprint and path by public key."""

    def add_secret(self, secret: bytes, *, compressed: bool = True) -> None:
        """A single key with the scripts that are made of it alone."""
        pubkey = pubkey_of(secret, compressed=compressed)
        self.secrets[pubkey] = secret
        self.add_pubkey(pubkey)
        if compressed:
            self.secrets[pubkey[1:]] = secret
            tree = TaprootTree(pubkey[1:], b"")
            self.taproot[tweak_pubkey(pubkey[1:])[0]] = tree
            self.add_script(p2wpkh_script(hash160(pubkey)))

    def add_pubkey(self, pubkey: bytes) -> None:
        self.pubkeys[hash160(pubkey)] = pubkey

    def add_script(self, script: bytes) -> None:
        self.scripts[hash160(script)] = script
        self.scripts[sha256(script)] = script

    def add_expansion(self, expansion: Expansion) -> None:
        """What an expanded descriptor knows."""
        for key in expansion.keys:
            self.add_pubkey(key.pubkey)
            self.origins[key.pubkey] = key.fingerprint, key.path
            if key.secret is not None:
                self.secrets[key.pubkey] = key.secret
                if len(key.pubkey) == 33:
                    self.secrets[key.xonly] = key.secret
        for script in expansion.inner_scripts:
            self.add_script(script)
        if expansion.taproot is not None:
            self.taproot[expansion.scripts[0][2:]] = expansion.taproot


@dataclass(frozen=True, slots=True)
class InputSignature:
    """What was reached for one input."""

    script_sig: bytes
    witness: tuple[bytes, ...]
    is_complete: bool
    error: str = ""
    """Core's words, empty when complete."""


class _Signer:
    """One input being signed."""

    def __init__(self, cache: SighashCache, index: int, keys: SigningKeys, hash_type: int) -> None:
        self.cache, self.index, self.keys = cache, index, keys
        self.hash_type = hash_type or SIGHASH_ALL
        self.taproot_hash_type = hash_type
        txin = cache.tx.inputs[index]
        self.amount = cache.spent[index].amount
        try:
            pushed = [data for _, data in iter_ops(txin.script_sig) if data]
        except DecodeError:
            pushed = []
        self.present = [item for item in (*pushed, *txin.witness) if item]

    def digest(self, script_code: bytes, hash_type: int, is_v0: bool) -> bytes:
        if is_v0:
            return self.cache.segwit_v0(self.index, script_code, self.amount, hash_type)
        return self.cache.legacy(self.index, script_code, hash_type)

    def ecdsa(self, pubkey: bytes, script_code: bytes, is_v0: bool) -> bytes | None:
        """A signature by `pubkey`, with the hash type behind it: one that is there, or a new one."""
        for item in self.present:
            if 9 <= len(item) <= 73 and item[0] == 0x30:
                digest = self.digest(script_code, item[-1], is_v0)
                if verify_ecdsa(item[:-1], digest, pubkey):
                    return item
        secret = self.keys.secrets.get(pubkey)
        if secret is None:
            return None
        return sign_ecdsa(secret, self.digest(script_code, self.hash_type, is_v0)) + bytes((self.hash_type,))

    def script(self, digest: bytes) -> bytes | None:
        """The script behind a hash, from the keys or from what the input carries."""
        found = self.keys.scripts.get(digest)
        if found is not None:
            return found
        for item in self.present:
            if (hash160(item) if len(digest) == 20 else sha256(item)) == digest:
                return item
        return None

    def stack(self, script: bytes, is_v0: bool) -> tuple[list[bytes], bool]:
        """What satisfies `script`, and whether nothing is missing. Nothing but keys, hashes and multisig."""
        kind, data = solve(script)
        if kind is ScriptKind.PUBKEY:
            signature = self.ecdsa(data[0], script, is_v0)
            return ([signature], True) if signature else ([], False)
        if kind is ScriptKind.PUBKEYHASH:
            pubkey = self.pubkey(data[0])
            signature = self.ecdsa(pubkey, script, is_v0) if pubkey else None
            return ([signature, pubkey], True) if signature and pubkey else ([], False)
        if kind is ScriptKind.MULTISIG:
            required = data[0][0]
            found = [self.ecdsa(pubkey, script, is_v0) for pubkey in data[1:-1]]
            signatures = [signature for signature in found if signature][:required]
            missing = [b""] * (required - len(signatures))
            return [b"", *signatures, *missing], not missing
        return [], False

    def pubkey(self, key_hash: bytes) -> bytes | None:
        found = self.keys.pubkeys.get(key_hash)
        if found is not None:
            return found
        return next((item for item in self.present if len(item) in (33, 65) and hash160(item) == key_hash), None)

    def witness_v0(self, script: bytes) -> tuple[list[bytes], bool]:
        """The witness for a version 0 program."""
        kind, data = solve(script)
        if kind is ScriptKind.WITNESS_V0_KEYHASH:
            pubkey = self.pubkey(data[0])
            if pubkey is None or len(pubkey) != 33:
                return [], False
            signature = self.ecdsa(pubkey, b"\x76\xa9\x14" + data[0] + b"\x88\xac", True)
            return ([signature, pubkey], True) if signature else ([], False)
        witness_script = self.script(data[0])
        if witness_script is None:
            return [], False
        stack, complete = self.stack(witness_script, True)
        return ([*stack, witness_script] if stack else []), complete

    def taproot(self, output_key: bytes) -> tuple[list[bytes], bool]:
        """A key path signature, or a script path one for a leaf of one key or multi_a form."""
        for item in self.present:
            if len(item) in (64, 65):
                hash_type = item[64] if len(item) == 65 else SIGHASH_DEFAULT
                digest = self.cache.taproot(self.index, hash_type)
                if digest is not None and verify_schnorr(item[:64], digest, output_key):
                    return [item], True
        tree = self.keys.taproot.get(output_key)
        secret = self.keys.secrets.get(tree.internal_key) if tree else None
        tweaked = tweak_seckey(secret, tree.merkle_root) if secret and tree else self.keys.secrets.get(output_key)
        if tweaked is not None:
            digest = self.cache.taproot(self.index, self.taproot_hash_type)
            if digest is None:
                return [], False
            return [self.schnorr(tweaked, digest)], True
        return self.script_path(tree, output_key) if tree else ([], False)

    def schnorr(self, secret: bytes, digest: bytes) -> bytes:
        tail = bytes((self.taproot_hash_type,)) if self.taproot_hash_type else b""
        return sign_schnorr(secret, digest) + tail

    def script_path(self, tree: TaprootTree, output_key: bytes) -> tuple[list[bytes], bool]:
        parity = tweak_pubkey(tree.internal_key, tree.merkle_root)[1]
        for script, path in tree.leaves:
            if len(script) != 34 or script[0] != 32 or script[-1] != 0xAC:
                continue
            secret = self.keys.secrets.get(script[1:33])
            if secret is None:
                continue
            context = _Leaf(tapleaf_hash(script), 0xFFFFFFFF)
            digest = self.cache.taproot(self.index, self.taproot_hash_type, None, context)
            if digest is None:
                continue
            control = bytes((0xC0 | parity,)) + tree.internal_key + b"".join(path)
            return [self.schnorr(secret, digest), script, control], True
        return [], False


@dataclass(frozen=True, slots=True)
class _Leaf:
    tapleaf_hash: bytes
    codeseparator_pos: int


def sign_input(
    cache: SighashCache, index: int, keys: SigningKeys, hash_type: int = SIGHASH_DEFAULT
) -> InputSignature:
    """Sign one input as far as the keys go. `cache.spent` has the outputs of all inputs."""
    signer = _Signer(cache, index, keys, hash_type)
    script = cache.spent[index].script_pubkey
    script_sig = b""
    witness: list[bytes] = []
    complete = False
    kind, data = solve(script)
    redeem: bytes | None = None
    if kind is ScriptKind.SCRIPTHASH:
        redeem = signer.script(data[0])
        if redeem is None:
            return InputSignature(
                b"", (), False, "Unable to sign input, invalid stack size (possibly missing key)"
            )
        script_sig = push_data(redeem)
        kind, data = solve(redeem)
        script = redeem
    if kind in (ScriptKind.WITNESS_V0_KEYHASH, ScriptKind.WITNESS_V0_SCRIPTHASH):
        witness, complete = signer.witness_v0(script)
    elif kind is ScriptKind.WITNESS_V1_TAPROOT and redeem is None:
        witness, complete = signer.taproot(data[0])
    elif kind is ScriptKind.ANCHOR:
        complete = True
    else:
        stack, complete = signer.stack(script, False)
        script_sig = b"".join(map(push_data, stack)) + script_sig if stack or redeem is not None else b""
    error = "" if complete else "Unable to sign input, invalid stack size (possibly missing key)"
    return InputSignature(script_sig, tuple(witness), complete, error)


def sign_transaction(
    tx: Tx,
    spent: Sequence[SpentOutput],
    keys: SigningKeys,
    hash_type: int = SIGHASH_DEFAULT,
    *,
    only: Iterable[int] | None = None,
) -> tuple[Tx, dict[int, str]]:
    """The transaction with all signatures that the keys can give, and what is wrong with which input.

    spent[i] is what input i spends. An input that verifies already is left as it is.
    """
    cache = SighashCache(tx, spent)
    wanted = range(len(tx.inputs)) if only is None else only
    inputs = list(tx.inputs)
    for index in wanted:
        if not _fault(tx, index, spent, cache):
            continue
        signed = sign_input(cache, index, keys, hash_type)
        if signed.script_sig or signed.witness:
            txin = tx.inputs[index]
            inputs[index] = TxIn(txin.prevout, signed.script_sig, txin.sequence, signed.witness)
    signed_tx = make_tx(tx.version, inputs, tx.outputs, tx.lock_time)
    after = SighashCache(signed_tx, spent)
    errors = {}
    for index in wanted:
        fault = _fault(signed_tx, index, spent, after)
        if fault:
            errors[index] = fault
    return signed_tx, errors


def _fault(tx: Tx, index: int, spent: Sequence[SpentOutput], cache: SighashCache) -> str:
    """Why input `index` does not verify, in Core's words; empty when it does."""
    try:
        verify_input(tx, index, spent, STANDARD_SCRIPT_VERIFY_FLAGS, cache)
    except ScriptError as error:
        return str(error)
    return ""


def redeem_scripts_for(output_script: bytes, inner: bytes) -> list[bytes]:
    """The chain of scripts by which `output_script` commits to `inner`; empty when it does not."""
    if p2sh_script(inner) == output_script or p2wsh_script(inner) == output_script:
        return [inner]
    wrapped = p2wsh_script(inner)
    if p2sh_script(wrapped) == output_script:
        return [inner, wrapped]
    return []
