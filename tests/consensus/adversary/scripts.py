"""Script building and signing for the cases, with the signature hashes of the tests' own oracle."""

from collections.abc import Sequence
from hashlib import new as new_hash
from hashlib import sha256 as _sha256

from gldnode.crypto.secp256k1 import pubkey_of, sign_ecdsa, sign_schnorr, tweak_pubkey, tweak_seckey, xonly_of
from gldnode.primitives.codec import var_bytes
from gldnode.primitives.hashes import tagged_hash
from gldnode.primitives.tx import Tx, TxIn, make_tx
from tests.consensus.adversary.workshop import Coins
from tests.support.oracle import bip143_digest, bip341_digest, legacy_digest

__all__ = [
    "KEY",
    "OTHER_KEY",
    "PUBKEY",
    "PUBKEY_LONG",
    "Leaf",
    "keyhash",
    "multisig",
    "number",
    "p2sh",
    "p2wsh",
    "push",
    "sha256",
    "sign_legacy",
    "sign_taproot_key",
    "sign_v0",
    "unlock",
]

KEY = _sha256(b"adversary").digest()
OTHER_KEY = _sha256(b"adversary's other key").digest()
PUBKEY = pubkey_of(KEY)
PUBKEY_LONG = pubkey_of(KEY, compressed=False)


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def hash160(data: bytes) -> bytes:
    return new_hash("ripemd160", sha256(data)).digest()


def push(data: bytes) -> bytes:
    """The shortest push by length (small numbers are pushed as data)."""
    size = len(data)
    if size < 0x4C:
        return bytes((size,)) + data
    if size <= 0xFF:
        return b"\x4c" + bytes((size,)) + data
    if size <= 0xFFFF:
        return b"\x4d" + size.to_bytes(2, "little") + data
    return b"\x4e" + size.to_bytes(4, "little") + data


def number(value: int) -> bytes:
    """A push of a script number."""
    if value == 0:
        return b"\x00"
    size = 1
    while abs(value) >= 1 << (8 * size - 1):
        size += 1
    data = bytearray(abs(value).to_bytes(size, "little"))
    if value < 0:
        data[-1] |= 0x80
    return push(bytes(data))


def p2sh(redeem: bytes) -> bytes:
    return b"\xa9\x14" + hash160(redeem) + b"\x87"


def p2wsh(script: bytes) -> bytes:
    return b"\x00\x20" + sha256(script)


def keyhash(pubkey: bytes = PUBKEY) -> bytes:
    return b"\x76\xa9\x14" + hash160(pubkey) + b"\x88\xac"


def p2wpkh(pubkey: bytes = PUBKEY) -> bytes:
    return b"\x00\x14" + hash160(pubkey)


def multisig(required: int, keys: Sequence[bytes]) -> bytes:
    return number(required) + b"".join(map(push, keys)) + number(len(keys)) + b"\xae"


def unlock(tx: Tx, script_sig: bytes = b"", witness: Sequence[bytes] = (), index: int = 0) -> Tx:
    """`tx` with what unlocks one of its inputs."""
    inputs = list(tx.inputs)
    inputs[index] = TxIn(inputs[index].prevout, script_sig, inputs[index].sequence, tuple(witness))
    return make_tx(tx.version, inputs, tx.outputs, tx.lock_time)


def sign_legacy(tx: Tx, code: bytes, hash_type: int = 1, *, key: bytes = KEY, index: int = 0) -> bytes:
    return sign_ecdsa(key, legacy_digest(tx, index, code, hash_type)) + bytes((hash_type,))


def sign_v0(tx: Tx, coin: Coins, code: bytes, hash_type: int = 1, *, key: bytes = KEY, index: int = 0) -> bytes:
    return sign_ecdsa(key, bip143_digest(tx, index, code, coin[1].amount, hash_type)) + bytes((hash_type,))


class Leaf:
    """An output with one tapscript; its key path is `KEY`."""

    def __init__(self, script: bytes, version: int = 0xC0) -> None:
        self.script = script
        self.internal = xonly_of(KEY)
        self.hash = tagged_hash("TapLeaf", bytes((version,)) + var_bytes(script))
        output, parity = tweak_pubkey(self.internal, self.hash)
        self.script_pubkey = b"\x51\x20" + output
        self.control = bytes((version | parity,)) + self.internal

    def witness(self, *stack: bytes, annex: bytes | None = None) -> list[bytes]:
        return [*stack, self.script, self.control, *(() if annex is None else (annex,))]

    def sign(
        self, tx: Tx, coin: Coins, hash_type: int = 0, *, annex: bytes | None = None, key: bytes = KEY
    ) -> bytes:
        digest = bip341_digest(tx, 0, [coin[1]], hash_type, annex, (self.hash, 0xFFFFFFFF))
        assert digest is not None
        return sign_schnorr(key, digest) + (bytes((hash_type,)) if hash_type else b"")

    def sign_key_path(self, tx: Tx, coin: Coins, hash_type: int = 0, *, annex: bytes | None = None) -> bytes:
        digest = bip341_digest(tx, 0, [coin[1]], hash_type, annex)
        assert digest is not None
        return sign_schnorr(tweak_seckey(KEY, self.hash), digest) + (bytes((hash_type,)) if hash_type else b"")


def sign_taproot_key(tx: Tx, coin: Coins, hash_type: int = 0) -> bytes:
    """For the output key that is `KEY` tweaked without scripts."""
    digest = bip341_digest(tx, 0, [coin[1]], hash_type)
    assert digest is not None
    return sign_schnorr(tweak_seckey(KEY), digest) + (bytes((hash_type,)) if hash_type else b"")


def p2tr_key_only() -> bytes:
    return b"\x51\x20" + tweak_pubkey(xonly_of(KEY))[0]
