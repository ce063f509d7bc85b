"""The fields of PSBT maps, BIP 174, 370, 371 and 373: which keys and values each type may have.

The sentences are Bitcoin Core's where it has one.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from gldnode.crypto.secp256k1 import is_valid_pubkey
from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader
from gldnode.primitives.tx import parse_tx

__all__ = ["Global", "In", "Out", "PsbtError", "check_field"]


class PsbtError(DecodeError):
    """Not a PSBT."""


class Global(IntEnum):
    UNSIGNED_TX = 0x00
    XPUB = 0x01
    TX_VERSION = 0x02
    FALLBACK_LOCKTIME = 0x03
    INPUT_COUNT = 0x04
    OUTPUT_COUNT = 0x05
    TX_MODIFIABLE = 0x06
    VERSION = 0xFB
    PROPRIETARY = 0xFC


class In(IntEnum):
    NON_WITNESS_UTXO = 0x00
    WITNESS_UTXO = 0x01
    PARTIAL_SIG = 0x02
    SIGHASH_TYPE = 0x03
    REDEEM_SCRIPT = 0x04
    WITNESS_SCRIPT = 0x05
    BIP32_DERIVATION = 0x06
    FINAL_SCRIPTSIG = 0x07
    FINAL_SCRIPTWITNESS = 0x08
    RIPEMD160 = 0x0A
    SHA256 = 0x0B
    HASH160 = 0x0C
    HASH256 = 0x0D
    PREVIOUS_TXID = 0x0E
    OUTPUT_INDEX = 0x0F
    SEQUENCE = 0x10
    REQUIRED_TIME_LOCKTIME = 0x11
    REQUIRED_HEIGHT_LOCKTIME = 0x12
    TAP_KEY_SIG = 0x13
    TAP_SCRIPT_SIG = 0x14
    TAP_LEAF_SCRIPT = 0x15
    TAP_BIP32_DERIVATION = 0x16
    TAP_INTERNAL_KEY = 0x17
    TAP_MERKLE_ROOT = 0x18
    MUSIG2_PARTICIPANTS = 0x1A
    MUSIG2_PUB_NONCE = 0x1B
    MUSIG2_PARTIAL_SIG = 0x1C
    PROPRIETARY = 0xFC


class Out(IntEnum):
    REDEEM_SCRIPT = 0x00
    WITNESS_SCRIPT = 0x01
    BIP32_DERIVATION = 0x02
    AMOUNT = 0x03
    SCRIPT = 0x04
    TAP_INTERNAL_KEY = 0x05
    TAP_TREE = 0x06
    TAP_BIP32_DERIVATION = 0x07
    MUSIG2_PARTICIPANTS = 0x08
    PROPRIETARY = 0xFC


LOCKTIME_THRESHOLD: Final = 500_000_000
Check = Callable[[bytes, bytes], None]
"""(key data behind the type, value) -> raises PsbtError."""


def _require(good: object, message: str) -> None:
    if not good:
        raise PsbtError(message)


def _no_key(what: str) -> Callable[[bytes], None]:
    def check(key: bytes) -> None:
        _require(not key, f"{what} key is more than one byte type")

    return check


def _single(what: str, check_value: Callable[[bytes], None] = lambda value: None) -> Check:
    """A field with nothing behind its type."""
    check_key = _no_key(what)

    def check(key: bytes, value: bytes) -> None:
        check_key(key)
        check_value(value)

    return check


def _size(what: str, *sizes: int) -> Callable[[bytes], None]:
    def check(value: bytes) -> None:
        _require(len(value) in sizes, f"{what} has the wrong size")

    return check


def _pubkey(key: bytes, what: str) -> None:
    _require(len(key) in (33, 65), f"Size of key was not the expected size for the type {what}")
    _require(is_valid_pubkey(key), "Invalid pubkey")


def _origin(value: bytes, what: str) -> None:
    _require(len(value) and len(value) % 4 == 0, f"Invalid length for {what}")


def _bip32(key: bytes, value: bytes) -> None:
    _pubkey(key, "BIP32 keypath")
    _origin(value, "HD key path")


def _partial_sig(key: bytes, value: bytes) -> None:
    _pubkey(key, "partial signature pubkey")
    _require(9 <= len(value) <= 73 and value[0] == 0x30, "Signature is not a valid encoding")


def _tx(value: bytes) -> None:
    try:
        parse_tx(value)
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None


def _unsigned_tx(value: bytes) -> None:
    try:
        tx = parse_tx(value, allow_witness=False)
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None
    _require(
        not any(txin.script_sig for txin in tx.inputs),
        "Unsigned tx does not have empty scriptSigs and scriptWitnesses.",
    )


def _tx_out(value: bytes) -> None:
    reader = Reader(value)
    try:
        reader.i64()
        reader.var_bytes()
        reader.expect_end()
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None


def _witness(value: bytes) -> None:
    reader = Reader(value)
    try:
        for _ in range(reader.compact_size()):
            reader.var_bytes()
        reader.expect_end()
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None


def _preimage(size: int, what: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _require(len(key) == size, f"Size of key was not the expected size for the type {what} preimage")

    return check


def _schnorr_sig(what: str) -> Callable[[bytes], None]:
    def check(value: bytes) -> None:
        _require(len(value) >= 64, f"{what} signature is too short: {len(value)} is less than 64")
        _require(len(value) <= 65, f"{what} signature is too long: {len(value)} is greater than 65")

    return check


def _tap_script_sig(key: bytes, value: bytes) -> None:
    _require(len(key) == 64, "Input Taproot script signature key is not 65 bytes")
    _schnorr_sig("Input Taproot script path")(value)


def _leaf_script(key: bytes, value: bytes) -> None:
    _require(len(key) >= 33, "Taproot leaf script key is not at least 34 bytes")
    _require(
        (len(key) - 1) % 32 == 0 and len(key) <= 33 + 128 * 32,
        "Input Taproot leaf script key's control block size is not valid",
    )
    _require(value, "Input Taproot leaf script must be at least 1 byte")


def _tap_bip32(where: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _require(len(key) == 32, f"{where} Taproot BIP32 keypath key is not at 33 bytes")
        reader = Reader(value)
        try:
            count = reader.compact_size()
            reader.take(count * 32)
        except DecodeError:
            raise PsbtError(f"{where} Taproot BIP32 keypath has an invalid length") from None
        left = reader.remaining
        _require(left >= 4 and left % 4 == 0, f"{where} Taproot BIP32 keypath has an invalid length")

    return check


def _tap_tree(key: bytes, value: bytes) -> None:
    _no_key("Output Taproot tree")(key)
    _require(value, "Output Taproot tree must not be empty")
    reader = Reader(value)
    space = 0  # in units of the deepest level: the leaves must fill the tree
    try:
        while reader.remaining:
            depth, version = reader.u8(), reader.u8()
            _require(depth <= 128, "Output Taproot tree has as leaf greater than Taproot maximum depth")
            _require(not version & 1, "Output Taproot tree has a leaf with an invalid leaf version")
            reader.var_bytes()
            space += 1 << (128 - depth)
    except PsbtError:
        raise
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None
    _require(space == 1 << 128, "Output Taproot tree is malformed")


def _musig_participants(where: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _require(len(key) == 33, f"Size of key was not 34 for the type {where} MuSig2 Participants Pubkeys")
        _require(is_valid_pubkey(key), f"{where} musig2 aggregate pubkey is invalid")
        for at in range(0, len(value) - 32, 33):
            _require(is_valid_pubkey(value[at : at + 33]), f"{where} musig2 participant pubkey is invalid")
        _require(len(value) % 33 == 0, f"{where} musig2 participants pubkeys value size is not a multiple of 33")

    return check


def _musig_keys(key: bytes, what: str) -> None:
    _require(len(key) in (66, 98), f"Input musig2 {what} key is not expected size")
    _require(is_valid_pubkey(key[:33]), "musig2 participant pubkey is invalid")
    _require(is_valid_pubkey(key[33:66]), "musig2 aggregate pubkey is invalid")


def _musig_nonce(key: bytes, value: bytes) -> None:
    _musig_keys(key, "pubnonce")
    _require(len(value) == 66, "Input musig2 pubnonce value is not 66 bytes")


def _musig_sig(key: bytes, value: bytes) -> None:
    _musig_keys(key, "partial sig")
    _require(len(value) == 32, "Size of value was not the stated size")


def _xpub(key: bytes, value: bytes) -> None:
    _require(len(key) == 78, "Size of key was not the expected size for the type global xpub")
    _require(is_valid_pubkey(key[45:]), "Invalid pubkey")
    _origin(value, "HD key path")


def _compact(value: bytes) -> None:
    reader = Reader(value)
    try:
        reader.compact_size()
        reader.expect_end()
    except DecodeError:
        raise PsbtError("Size of value was not the stated size") from None


def _time_lock(value: bytes) -> None:
    _size("Required time based locktime", 4)(value)
    _require(
        int.from_bytes(value, "little") >= LOCKTIME_THRESHOLD,
        f"Required time based locktime is invalid (less than {LOCKTIME_THRESHOLD})",
    )


def _height_lock(value: bytes) -> None:
    _size("Required height based locktime", 4)(value)
    height = int.from_bytes(value, "little")
    _require(height, "Required height based locktime is invalid (0)")
    _require(
        height < LOCKTIME_THRESHOLD,
        f"Required height based locktime is invalid (greater than or equal to {LOCKTIME_THRESHOLD})",
    )


def _proprietary(key: bytes, value: bytes) -> None:
    reader = Reader(key)
    try:
        reader.var_bytes()
        reader.compact_size()
    except DecodeError:
        raise PsbtError("Proprietary key is malformed") from None


def _xonly_key(what: str) -> Check:
    return _single(what, _size(f"{what} key", 32))


_GLOBAL: Final[dict[int, Check]] = {
    Global.UNSIGNED_TX: _single("Global unsigned tx", _unsigned_tx),
    Global.XPUB: _xpub,
    Global.TX_VERSION: _single("Global transaction version", _size("Global transaction version", 4)),
    Global.FALLBACK_LOCKTIME: _single("Global fallback locktime", _size("Global fallback locktime", 4)),
    Global.INPUT_COUNT: _single("Global input count", _compact),
    Global.OUTPUT_COUNT: _single("Global output count", _compact),
    Global.TX_MODIFIABLE: _single("Global tx modifiable flags", _size("Global tx modifiable flags", 1)),
    Global.VERSION: _single("Global version", _size("Global version", 4)),
    Global.PROPRIETARY: _proprietary,
}
_IN: Final[dict[int, Check]] = {
    In.NON_WITNESS_UTXO: _single("Non-witness utxo", _tx),
    In.WITNESS_UTXO: _single("Witness utxo", _tx_out),
    In.PARTIAL_SIG: _partial_sig,
    In.SIGHASH_TYPE: _single("Sighash type", _size("Sighash type", 4)),
    In.REDEEM_SCRIPT: _single("Input redeemScript"),
    In.WITNESS_SCRIPT: _single("Input witnessScript"),
    In.BIP32_DERIVATION: _bip32,
    In.FINAL_SCRIPTSIG: _single("Final scriptSig"),
    In.FINAL_SCRIPTWITNESS: _single("Final scriptWitness", _witness),
    In.RIPEMD160: _preimage(20, "ripemd160"),
    In.SHA256: _preimage(32, "sha256"),
    In.HASH160: _preimage(20, "hash160"),
    In.HASH256: _preimage(32, "hash256"),
    In.PREVIOUS_TXID: _single("Previous txid", _size("Previous txid", 32)),
    In.OUTPUT_INDEX: _single("Previous output's index", _size("Previous output's index", 4)),
    In.SEQUENCE: _single("Sequence", _size("Sequence", 4)),
    In.REQUIRED_TIME_LOCKTIME: _single("Required time based locktime", _time_lock),
    In.REQUIRED_HEIGHT_LOCKTIME: _single("Required height based locktime", _height_lock),
    In.TAP_KEY_SIG: _single("Input Taproot key signature", _schnorr_sig("Input Taproot key path")),
    In.TAP_SCRIPT_SIG: _tap_script_sig,
    In.TAP_LEAF_SCRIPT: _leaf_script,
    In.TAP_BIP32_DERIVATION: _tap_bip32("Input"),
    In.TAP_INTERNAL_KEY: _xonly_key("Input Taproot internal key"),
    In.TAP_MERKLE_ROOT: _xonly_key("Input Taproot merkle root"),
    In.MUSIG2_PARTICIPANTS: _musig_participants("Input"),
    In.MUSIG2_PUB_NONCE: _musig_nonce,
    In.MUSIG2_PARTIAL_SIG: _musig_sig,
    In.PROPRIETARY: _proprietary,
}
_OUT: Final[dict[int, Check]] = {
    Out.REDEEM_SCRIPT: _single("Output redeemScript"),
    Out.WITNESS_SCRIPT: _single("Output witnessScript"),
    Out.BIP32_DERIVATION: _bip32,
    Out.AMOUNT: _single("Output amount", _size("Output amount", 8)),
    Out.SCRIPT: _single("Output script"),
    Out.TAP_INTERNAL_KEY: _xonly_key("Output Taproot internal key"),
    Out.TAP_TREE: _tap_tree,
    Out.TAP_BIP32_DERIVATION: _tap_bip32("Output"),
    Out.MUSIG2_PARTICIPANTS: _musig_participants("Output"),
    Out.PROPRIETARY: _proprietary,
}
_TABLES: Final = {"global": _GLOBAL, "input": _IN, "output": _OUT}


def check_field(where: str, key: bytes, value: bytes) -> None:
    """Check one pair of a "global", "input" or "output" map; unknown types pass. Raises PsbtError."""
    check = _TABLES[where].get(key[0])
    if check is not None:
        check(key[1:], value)
