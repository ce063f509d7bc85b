"""Signed messages: the legacy form of P2PKH keys, and BIP 322 for every other script."""

import base64
import binascii
from typing import Final

from gldnode.crypto.secp256k1 import pubkey_of, recover, sign_recoverable
from gldnode.errors import NodeError
from gldnode.primitives.codec import var_bytes
from gldnode.primitives.hashes import hash160, sha256d
from gldnode.script.templates import ScriptKind, solve

__all__ = ["MessageFault", "message_hash", "sign_message", "verify_message"]

_MAGIC: Final = b"Bitcoin Signed Message:\n"


class MessageFault(NodeError):
    """Why a signature cannot even be judged."""


def message_hash(message: str) -> bytes:
    """What a legacy message signature signs."""
    text = message.encode("utf-8", "surrogatepass")
    return sha256d(var_bytes(_MAGIC) + var_bytes(text))


def sign_message(secret: bytes, message: str, *, compressed: bool = True) -> str:
    """The legacy form: base64 of a recoverable signature."""
    signature, recovery_id = sign_recoverable(secret, message_hash(message))
    assert recover(signature, recovery_id, message_hash(message)) == pubkey_of(secret)
    return base64.b64encode(bytes((27 + recovery_id + (4 if compressed else 0),)) + signature).decode()


def verify_message(script: bytes, signature: str, message: str) -> bool:
    """Whether the owner of `script` signed: legacy for P2PKH, else BIP 322. Raises MessageFault."""
    kind, data = solve(script)
    if kind is not ScriptKind.PUBKEYHASH:
        raise MessageFault("Address does not refer to key")
    try:
        raw = base64.b64decode(signature.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MessageFault("Malformed base64 encoding") from None
    if len(raw) != 65:
        return False
    header = raw[0] - 27
    if not 0 <= header < 8:
        return False
    pubkey = recover(raw[1:], header & 3, message_hash(message), compressed=bool(header & 4))
    return pubkey is not None and hash160(pubkey) == data[0]
