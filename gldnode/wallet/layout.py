"""The records of a wallet's database.

| prefix | key                       | value                                                        |
|--------|---------------------------|--------------------------------------------------------------|
| `m`    |                           | `Meta`                                                       |
| `c`    |                           | cursor: hash of the last block handled, then its height      |
| `e`    |                           | `Encryption`, when the wallet has a passphrase               |
| `w`    |                           | the mnemonic's words, sealed when there is a passphrase      |
| `k`    | keychain id, u32          | `KeychainRecord`                                             |
| `s`    | keychain id, index, u32   | output script(s) of that index: msgpack list                 |
| `t`    | txid                      | `TxRecord`                                                   |
| `a`    | output script             | `Label` of an address                                        |
| `l`    | outpoint                  | empty: the coin is locked, persistently                      |

One block, one call: one transaction, with the cursor in it.
"""

from typing import Final

import msgspec

from gldnode.events import Cursor
from gldnode.primitives.hashes import BlockHash
from storage.keys import u32

__all__ = [
    "CURSOR",
    "ENCRYPTION",
    "META",
    "SCHEMA",
    "WORDS",
    "Encryption",
    "KeychainRecord",
    "Label",
    "Meta",
    "TxRecord",
    "decode_cursor",
    "encode_cursor",
    "keychain_key",
    "label_key",
    "lock_key",
    "script_key",
    "tx_key",
]

SCHEMA: Final = 1
META: Final = b"m"
CURSOR: Final = b"c"
ENCRYPTION: Final = b"e"
WORDS: Final = b"w"


class Meta(msgspec.Struct):
    """What the wallet is."""

    created_at: int
    """Unix seconds."""
    has_private_keys: bool = True
    is_blank: bool = False
    avoid_reuse: bool = False
    next_keychain: int = 0
    next_order: int = 0
    next_account: int = 1
    """BIP 44 account number for the next plug-in account; 0 is the wallet's own."""
    birth_time: int = 0


class Encryption(msgspec.Struct):
    """How the wallet's key is sealed by the passphrase: scrypt, then ChaCha20-Poly1305."""

    salt: bytes
    n: int
    r: int
    p: int
    sealed_key: bytes


class KeychainRecord(msgspec.Struct):
    """One descriptor."""

    descriptor: str
    """Public and normalized, with checksum."""
    private: bytes = b""
    """The descriptor with private keys, sealed when the wallet has a passphrase; empty without."""
    is_internal: bool = False
    """For change."""
    is_active: bool = False
    """Addresses are handed out from it."""
    account: str = ""
    """Name of the plug-in account that it belongs to; then no RPC hands out from it."""
    first_index: int = 0
    next_index: int = 0
    end_index: int = 0
    """Scripts exist below this index."""
    created_at: int = 0
    label: str = ""


class TxRecord(msgspec.Struct):
    """A transaction that concerns the wallet, and the facts about it."""

    raw: bytes
    received_at: int
    """Unix seconds of first sight."""
    order: int
    block: bytes = b""
    """The active block that it is in; empty while unconfirmed."""
    height: int = -1
    position: int = 0
    block_time: int = 0
    conflict_block: bytes = b""
    """The active block with a transaction that spends the same coin; empty while there is none."""
    conflict_height: int = -1
    is_abandoned: bool = False
    comment: str = ""
    to: str = ""
    replaces: bytes = b""
    replaced_by: bytes = b""


class Label(msgspec.Struct):
    """The address book's entry of an output script."""

    label: str
    purpose: str = "receive"


def keychain_key(number: int) -> bytes:
    return b"k" + u32(number)


def script_key(number: int, index: int) -> bytes:
    return b"s" + u32(number) + u32(index)


def tx_key(txid: bytes) -> bytes:
    return b"t" + txid


def label_key(script: bytes) -> bytes:
    return b"a" + script


def lock_key(prevout: bytes) -> bytes:
    return b"l" + prevout


def encode_cursor(cursor: Cursor) -> bytes:
    return cursor.hash + u32(cursor.height)


def decode_cursor(data: bytes) -> Cursor:
    return Cursor(BlockHash(data[:32]), int.from_bytes(data[32:], "big"))
