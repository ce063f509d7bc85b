"""The standard forms of output scripts: recognising them (Core: Solver) and writing them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from gldnode.primitives.hashes import hash160, sha256
from gldnode.script import opcodes as op
from gldnode.script.errors import ScriptError
from gldnode.script.number import decode_number
from gldnode.script.script import (
    MAX_PUBKEYS_PER_MULTISIG,
    is_minimal_push,
    is_p2sh,
    is_pay_to_anchor,
    is_push_only,
    push_data,
    push_int,
    read_op,
    witness_program,
)

__all__ = [
    "ScriptKind",
    "Solved",
    "is_pubkey_size_valid",
    "multisig_script",
    "nulldata_script",
    "p2pk_script",
    "p2pkh_script",
    "p2sh_script",
    "p2tr_script",
    "p2wpkh_script",
    "p2wsh_script",
    "solve",
    "witness_script",
]


class ScriptKind(StrEnum):
    """Core's TxoutType, by the names of its RPC."""

    NONSTANDARD = "nonstandard"
    PUBKEY = "pubkey"
    PUBKEYHASH = "pubkeyhash"
    SCRIPTHASH = "scripthash"
    MULTISIG = "multisig"
    NULLDATA = "nulldata"
    WITNESS_V0_KEYHASH = "witness_v0_keyhash"
    WITNESS_V0_SCRIPTHASH = "witness_v0_scripthash"
    WITNESS_V1_TAPROOT = "witness_v1_taproot"
    ANCHOR = "anchor"
    WITNESS_UNKNOWN = "witness_unknown"


class Solved(NamedTuple):
    """What `solve` found.

    data: the key, hash or program; for multisig m, the keys, n (numbers as one byte each); for witness_unknown
    the version (one byte) and the program; empty for nonstandard, nulldata and anchor.
    """

    kind: ScriptKind
    data: tuple[bytes, ...]


def solve(script: bytes) -> Solved:
    """The standard form of an output script, or NONSTANDARD."""
    if is_p2sh(script):
        return Solved(ScriptKind.SCRIPTHASH, (script[2:22],))
    program = witness_program(script)
    if program is not None:
        return _solve_witness(script, *program)
    if len(script) >= 1 and script[0] == op.OP_RETURN and is_push_only(script, 1):
        return Solved(ScriptKind.NULLDATA, ())
    pubkey = _match_pubkey(script)
    if pubkey is not None:
        return Solved(ScriptKind.PUBKEY, (pubkey,))
    if len(script) == 25 and script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac"):
        return Solved(ScriptKind.PUBKEYHASH, (script[3:23],))
    multisig = _match_multisig(script)
    if multisig is not None:
        return Solved(ScriptKind.MULTISIG, multisig)
    return Solved(ScriptKind.NONSTANDARD, ())


def _solve_witness(script: bytes, version: int, program: bytes) -> Solved:
    size = len(program)
    if version == 0 and size == 20:
        return Solved(ScriptKind.WITNESS_V0_KEYHASH, (program,))
    if version == 0 and size == 32:
        return Solved(ScriptKind.WITNESS_V0_SCRIPTHASH, (program,))
    if version == 1 and size == 32:
        return Solved(ScriptKind.WITNESS_V1_TAPROOT, (program,))
    if is_pay_to_anchor(script):
        return Solved(ScriptKind.ANCHOR, ())
    if version != 0:
        return Solved(ScriptKind.WITNESS_UNKNOWN, (bytes((version,)), program))
    return Solved(ScriptKind.NONSTANDARD, ())


def is_pubkey_size_valid(pubkey: bytes) -> bool:
    """Whether the first byte goes with the length (Core: CPubKey::ValidSize); the point may still not exist."""
    size = len(pubkey)
    if size == 33:
        return pubkey[0] in (2, 3)
    return size == 65 and pubkey[0] in (4, 6, 7)


def _match_pubkey(script: bytes) -> bytes | None:
    size = len(script)
    if size in (35, 67) and script[0] == size - 2 and script[-1] == op.OP_CHECKSIG:
        pubkey = script[1:-1]
        return pubkey if is_pubkey_size_valid(pubkey) else None
    return None


def _small_number(opcode: int, data: bytes, least: int) -> int | None:
    """A count from `least` to 20 pushed in its shortest form."""
    if op.OP_1 <= opcode <= op.OP_16:
        count = opcode - op.OP_1 + 1
    elif op.OP_0 < opcode <= op.OP_PUSHDATA4 and is_minimal_push(opcode, data):
        try:
            count = decode_number(data, minimal=True)
        except ScriptError:
            return None
    else:
        return None
    return count if least <= count <= MAX_PUBKEYS_PER_MULTISIG else None


def _match_multisig(script: bytes) -> tuple[bytes, ...] | None:
    if len(script) < 1 or script[-1] != op.OP_CHECKMULTISIG:
        return None
    step = read_op(script, 0)
    required = _small_number(step[0], step[1], 1) if step else None
    if step is None or required is None:
        return None
    pubkeys: list[bytes] = []
    while True:
        if step[2] >= len(script):
            return None
        step = read_op(script, step[2])
        if step is None:
            return None
        if not is_pubkey_size_valid(step[1]):
            break
        pubkeys.append(step[1])
    total = _small_number(step[0], step[1], required)
    if total != len(pubkeys) or step[2] + 1 != len(script):
        return None
    return (bytes((required,)), *pubkeys, bytes((total,)))


def p2pk_script(pubkey: bytes) -> bytes:
    return push_data(pubkey) + b"\xac"


def p2pkh_script(key_hash: bytes) -> bytes:
    """Output to the hash160 of a public key."""
    return b"\x76\xa9\x14" + key_hash + b"\x88\xac"


def p2sh_script(redeem_script: bytes) -> bytes:
    """Output to the hash of `redeem_script`, BIP 16."""
    return b"\xa9\x14" + hash160(redeem_script) + b"\x87"


def witness_script(version: int, program: bytes) -> bytes:
    """Output to a witness program of `version` 0 to 16."""
    return push_int(version) + push_data(program)


def p2wpkh_script(key_hash: bytes) -> bytes:
    """Output to the hash160 of a compressed public key, BIP 141."""
    return b"\x00\x14" + key_hash


def p2wsh_script(script: bytes) -> bytes:
    """Output to the SHA-256 of `script`, BIP 141."""
    return b"\x00\x20" + sha256(script)


def p2tr_script(output_xonly: bytes) -> bytes:
    """Output to a taproot output key (tweaked already), BIP 341."""
    return b"\x51\x20" + output_xonly


def multisig_script(required: int, pubkeys: Sequence[bytes]) -> bytes:
    """Bare multisig, keys in the order given."""
    keys = b"".join(map(push_data, pubkeys))
    return push_int(required) + keys + push_int(len(pubkeys)) + bytes((op.OP_CHECKMULTISIG,))


def nulldata_script(*items: bytes) -> bytes:
    """OP_RETURN and a push of each item (Core: CScript << vector)."""
    return bytes((op.OP_RETURN,)) + b"".join(map(push_data, items))
