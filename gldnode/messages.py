"""Signed messages: BIP 322 for every kind of script, and the legacy form of P2PKH keys.

BIP 322 signs a virtual transaction that spends a virtual output of the address; whatever can spend the address
can sign, and the ordinary script verification judges. `smp` in front of the base64 is the witness alone, `ful`
the whole transaction, which may carry time locks; without prefix the witness is tried.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from gldnode.crypto.secp256k1 import pubkey_of, recover, sign_recoverable
from gldnode.errors import DecodeError, NodeError
from gldnode.primitives.codec import Reader, compact_size, var_bytes
from gldnode.primitives.hashes import hash160, sha256d, tagged_hash
from gldnode.primitives.tx import NULL_OUTPOINT, Tx, TxIn, TxOut, make_tx, parse_tx
from gldnode.script.errors import ScriptError
from gldnode.script.flags import STANDARD_SCRIPT_VERIFY_FLAGS
from gldnode.script.templates import ScriptKind, solve
from gldnode.script.verify import verify_input

__all__ = [
    "MessageFault",
    "SignedMessage",
    "bip322_hash",
    "bip322_to_sign",
    "bip322_to_spend",
    "check_signature",
    "encode_simple",
    "message_hash",
    "sign_message",
    "verify_bip322",
    "verify_message",
]

_MAGIC: Final = b"Bitcoin Signed Message:\n"
_MAX_SIGNATURE_TEXT: Final = 100_000
_PREFIXES: Final = ("smp", "ful", "pof")


class MessageFault(NodeError):
    """Why a signature cannot even be judged."""


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A signature that holds, under these conditions."""

    lock_time: int = 0
    """nLockTime that must have passed; 0 for none."""
    sequence: int = 0
    """BIP 68 age that the coin must have; 0 for none."""

    @property
    def is_unconditional(self) -> bool:
        return self.lock_time == 0 and self.sequence == 0


# --- BIP 322 ---


def bip322_hash(message: bytes) -> bytes:
    return tagged_hash("BIP0322-signed-message", message)


def bip322_to_spend(script: bytes, message: bytes) -> Tx:
    """The virtual transaction with an output to `script` that commits to the message."""
    txin = TxIn(NULL_OUTPOINT, b"\x00\x20" + bip322_hash(message), 0)
    return make_tx(0, [txin], [TxOut(0, script)])


def bip322_to_sign(
    script: bytes, message: bytes, *, version: int = 0, lock_time: int = 0, sequence: int = 0
) -> Tx:
    """The virtual transaction to be signed, without its signature."""
    txin = TxIn(bip322_to_spend(script, message).outpoint(0), b"", sequence)
    return make_tx(version, [txin], [TxOut(0, b"\x6a")], lock_time)


def encode_simple(witness: tuple[bytes, ...]) -> str:
    """The `smp` form of a signed input's witness."""
    data = compact_size(len(witness)) + b"".join(map(var_bytes, witness))
    return "smp" + base64.b64encode(data).decode()


def _decode_base64(text: str) -> bytes:
    if len(text) > _MAX_SIGNATURE_TEXT:
        raise MessageFault("signature too long")
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MessageFault("Malformed base64 encoding") from None


def _read_witness(data: bytes) -> tuple[bytes, ...]:
    reader = Reader(data)
    witness = tuple(reader.var_bytes() for _ in range(min(reader.compact_size(), 10_000)))
    reader.expect_end()
    return witness


def _signed_tx(script: bytes, message: bytes, signature: str) -> Tx | None:
    """The signed virtual transaction that the text stands for; None where it is not one for this message."""
    prefix = signature[:3] if signature[:3] in _PREFIXES else ""
    if prefix == "pof":
        raise MessageFault("proofs of funds are not supported")
    data = _decode_base64(signature[len(prefix) :])
    if not data:
        raise MessageFault("signature too short")
    try:
        if prefix == "ful":
            return parse_tx(data)
        witness = _read_witness(data)
    except DecodeError:
        raise MessageFault("signature cannot be decoded") from None
    plain = bip322_to_sign(script, message)
    return make_tx(0, [TxIn(plain.inputs[0].prevout, b"", 0, witness)], plain.outputs)


def verify_bip322(script: bytes, message: bytes, signature: str) -> SignedMessage | None:
    """Under which conditions the owner of `script` signed; None where he did not. Raises MessageFault."""
    tx = _signed_tx(script, message, signature)
    to_spend = bip322_to_spend(script, message)
    if (
        tx is None
        or tx.version not in (0, 2)
        or len(tx.inputs) != 1
        or tx.inputs[0].prevout != to_spend.outpoint(0)
        or len(tx.outputs) != 1
        or tx.outputs[0] != TxOut(0, b"\x6a")
    ):
        return None
    try:
        verify_input(tx, 0, to_spend.outputs, STANDARD_SCRIPT_VERIFY_FLAGS)
    except ScriptError:
        return None
    return SignedMessage(tx.lock_time, tx.inputs[0].sequence)


# --- legacy ---


def message_hash(message: bytes) -> bytes:
    """What a legacy message signature signs."""
    return sha256d(var_bytes(_MAGIC) + var_bytes(message))


def sign_message(secret: bytes, message: str, *, compressed: bool = True) -> str:
    """The legacy form: base64 of a recoverable signature."""
    digest = message_hash(message.encode("utf-8", "surrogatepass"))
    signature, recovery_id = sign_recoverable(secret, digest)
    assert recover(signature, recovery_id, digest) == pubkey_of(secret)
    return base64.b64encode(bytes((27 + recovery_id + (4 if compressed else 0),)) + signature).decode()


def verify_message(script: bytes, signature: str, message: str) -> bool:
    """The legacy form, as Core's verifymessage: only for P2PKH. Raises MessageFault."""
    kind, data = solve(script)
    if kind is not ScriptKind.PUBKEYHASH:
        raise MessageFault("Address does not refer to key")
    raw = _decode_base64(signature)
    header = raw[0] - 27 if len(raw) == 65 else -1
    if not 0 <= header < 8:
        return False
    digest = message_hash(message.encode("utf-8", "surrogatepass"))
    pubkey = recover(raw[1:], header & 3, digest, compressed=bool(header & 4))
    return pubkey is not None and hash160(pubkey) == data[0]


def check_signature(script: bytes, message: str, signature: str) -> SignedMessage | None:
    """Either form: BIP 322 for any script, legacy for P2PKH. None where it does not hold. Raises MessageFault."""
    if solve(script).kind is ScriptKind.PUBKEYHASH and signature[:3] not in _PREFIXES:
        return SignedMessage() if verify_message(script, signature, message) else None
    return verify_bip322(script, message.encode("utf-8", "surrogatepass"), signature)
