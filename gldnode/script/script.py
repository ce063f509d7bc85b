"""Scripts as bytes: reading opcodes, building pushes, what a script looks like, its text form, its sigops."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from gldnode.crypto.der import is_strict_der
from gldnode.errors import DecodeError
from gldnode.primitives.codec import compact_size
from gldnode.script import opcodes as op
from gldnode.script.flags import ScriptFlags
from gldnode.script.number import decode_number, encode_number
from gldnode.script.opcodes import op_name

__all__ = [
    "MAX_PUBKEYS_PER_MULTISIG",
    "MAX_SCRIPT_ELEMENT_SIZE",
    "MAX_SCRIPT_SIZE",
    "count_sigops",
    "find_and_delete",
    "is_minimal_push",
    "is_p2sh",
    "is_pay_to_anchor",
    "is_push_only",
    "is_unspendable",
    "iter_ops",
    "last_push",
    "opcode_starts",
    "p2sh_sigops",
    "push_data",
    "push_int",
    "read_op",
    "script_to_asm",
    "witness_program",
    "witness_serialized_size",
    "witness_sigops",
]

MAX_SCRIPT_SIZE: Final = 10_000
MAX_SCRIPT_ELEMENT_SIZE: Final = 520
MAX_PUBKEYS_PER_MULTISIG: Final = 20

_NO_PUSHES: Final = re.compile(rb"[\x00\x4f-\xff]+")
"""Opcodes that are one byte."""

_SIGHASH_NAMES: Final = {
    0x01: "ALL",
    0x02: "NONE",
    0x03: "SINGLE",
    0x81: "ALL|ANYONECANPAY",
    0x82: "NONE|ANYONECANPAY",
    0x83: "SINGLE|ANYONECANPAY",
}


def read_op(script: bytes, pos: int) -> tuple[int, bytes, int] | None:
    """Opcode at `pos`, the data it pushes (empty for others) and the position behind; None where it is cut off."""
    opcode = script[pos]
    pos += 1
    if opcode > op.OP_PUSHDATA4:
        return opcode, b"", pos
    size = opcode
    if opcode >= op.OP_PUSHDATA1:
        width = 1 << (opcode - op.OP_PUSHDATA1)
        if len(script) - pos < width:
            return None
        size = int.from_bytes(script[pos : pos + width], "little")
        pos += width
    end = pos + size
    if end > len(script):
        return None
    return opcode, script[pos:end], end


def iter_ops(script: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcodes with the data they push. Raises DecodeError at a push that is cut off."""
    pos, end = 0, len(script)
    while pos < end:
        step = read_op(script, pos)
        if step is None:
            raise DecodeError("script ends inside a push")
        opcode, data, pos = step
        yield opcode, data


def push_data(data: bytes) -> bytes:
    """A push of exactly these bytes by length (Core: CScript << vector); never OP_1 to OP_16."""
    size = len(data)
    if size < op.OP_PUSHDATA1:
        return bytes((size,)) + data
    if size <= 0xFF:
        return bytes((op.OP_PUSHDATA1, size)) + data
    if size <= 0xFFFF:
        return bytes((op.OP_PUSHDATA2,)) + size.to_bytes(2, "little") + data
    return bytes((op.OP_PUSHDATA4,)) + size.to_bytes(4, "little") + data


def push_int(n: int) -> bytes:
    """A push of the number in its shortest form (Core: CScript << int64_t)."""
    if n == 0:
        return b"\x00"
    if n == -1 or 1 <= n <= 16:
        return bytes((op.OP_1 + n - 1,))
    return push_data(encode_number(n))


def is_minimal_push(opcode: int, data: bytes) -> bool:
    """Whether no shorter opcode pushes the same (Core: CheckMinimalPush)."""
    size = len(data)
    if size == 0:
        return opcode == op.OP_0
    if size == 1 and (1 <= data[0] <= 16 or data[0] == 0x81):
        return False
    if size <= 75:
        return opcode == size
    if size <= 0xFF:
        return opcode == op.OP_PUSHDATA1
    if size <= 0xFFFF:
        return opcode == op.OP_PUSHDATA2
    return True


def is_push_only(script: bytes, pos: int = 0) -> bool:
    """Whether everything from `pos` on pushes; OP_RESERVED counts as a push, a cut-off push does not."""
    end = len(script)
    while pos < end:
        step = read_op(script, pos)
        if step is None or step[0] > op.OP_16:
            return False
        pos = step[2]
    return True


def last_push(script_sig: bytes) -> bytes | None:
    """What the last push of a push-only script leaves on the stack as data; None if it is not push-only."""
    data = b""
    pos, end = 0, len(script_sig)
    while pos < end:
        step = read_op(script_sig, pos)
        if step is None or step[0] > op.OP_16:
            return None
        _, data, pos = step
    return data


def is_p2sh(script: bytes) -> bool:
    """BIP 16's exact form."""
    return len(script) == 23 and script[0] == op.OP_HASH160 and script[1] == 20 and script[22] == op.OP_EQUAL


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """Version and program of a witness output (BIP 141), None for any other script."""
    size = len(script)
    if not 4 <= size <= 42 or script[1] + 2 != size:
        return None
    first = script[0]
    if first == op.OP_0:
        return 0, script[2:]
    if op.OP_1 <= first <= op.OP_16:
        return first - op.OP_1 + 1, script[2:]
    return None


def is_pay_to_anchor(script: bytes) -> bool:
    """The output anyone can spend without a witness (P2A)."""
    return script == b"\x51\x02\x4e\x73"


def is_unspendable(script: bytes) -> bool:
    """Whether no input can ever spend it; such outputs are no coins."""
    return (len(script) > 0 and script[0] == op.OP_RETURN) or len(script) > MAX_SCRIPT_SIZE


@lru_cache(maxsize=256)
def opcode_starts(script: bytes) -> bytes:
    """A byte for each of the script's, not zero where an opcode begins; zeros behind one that is cut off."""
    starts = bytearray(len(script))
    pos, end = 0, len(script)
    run_from, push_data1 = _NO_PUSHES.match, op.OP_PUSHDATA1
    while pos < end:
        opcode = script[pos]
        if 0 < opcode < push_data1:
            starts[pos] = 1
            pos += 1 + opcode
        elif run := run_from(script, pos):
            starts[pos : run.end()] = b"\x01" * (run.end() - pos)
            pos = run.end()
        else:
            starts[pos] = 1
            step = read_op(script, pos)
            if step is None:
                break
            pos = step[2]
    return bytes(starts)


@lru_cache(maxsize=256)
def find_and_delete(script: bytes, needle: bytes) -> tuple[bytes, int]:
    """`script` without `needle`, a whole push, where it stands as an opcode, and how often it stood there.

    Consensus of legacy scripts; the rest of a cut-off script stays. Remembered, for a script of 10,000 bytes may
    ask for it two hundred times.
    """
    at = script.find(needle) if needle else -1
    if at < 0:
        return script, 0
    starts = opcode_starts(script)
    kept: list[bytes] = []
    start = 0
    size = len(needle)
    while at >= 0:
        if starts[at]:
            kept.append(script[start:at])
            start = at = at + size
        else:
            at += 1
        at = script.find(needle, at)
    if not kept:
        return script, 0
    kept.append(script[start:])
    return b"".join(kept), len(kept) - 1


def script_to_asm(script: bytes, *, decode_sighash: bool = False) -> str:
    """Core's ScriptToAsmStr: numbers up to 4 bytes in decimal, longer pushes in hex, "[error]" at a cut-off push.

    `decode_sighash` writes the hash type of what looks like a signature as [ALL] (for scriptSigs).
    """
    words: list[str] = []
    decode_sighash = decode_sighash and not is_unspendable(script)
    pos, end = 0, len(script)
    while pos < end:
        step = read_op(script, pos)
        if step is None:
            words.append("[error]")
            break
        opcode, data, pos = step
        if opcode > op.OP_PUSHDATA4:
            words.append(op_name(opcode))
        elif len(data) <= 4:
            words.append(str(decode_number(data, minimal=False)))
        elif decode_sighash and is_strict_der(data) and data[-1] in _SIGHASH_NAMES:
            words.append(f"{data[:-1].hex()}[{_SIGHASH_NAMES[data[-1]]}]")
        else:
            words.append(data.hex())
    return " ".join(words)


def count_sigops(script: bytes, accurate: bool) -> int:
    """CHECKSIGs, and CHECKMULTISIGs as 20 each or, if `accurate`, as the number pushed before them.

    Core: GetSigOpCount.
    """
    count = 0
    last = op.OP_INVALIDOPCODE
    pos, end = 0, len(script)
    while pos < end:
        opcode = script[pos]
        pos += 1
        if opcode <= op.OP_PUSHDATA4:
            if opcode < op.OP_PUSHDATA1:
                pos += opcode
            else:
                step = read_op(script, pos - 1)
                if step is None:
                    break
                pos = step[2]
            if pos > end:
                break
        elif op.OP_CHECKSIG <= opcode <= op.OP_CHECKMULTISIGVERIFY:
            if opcode <= op.OP_CHECKSIGVERIFY:
                count += 1
            elif accurate and op.OP_1 <= last <= op.OP_16:
                count += last - op.OP_1 + 1
            else:
                count += MAX_PUBKEYS_PER_MULTISIG
        last = opcode
    return count


def p2sh_sigops(script_sig: bytes, script_pubkey: bytes) -> int:
    """Sigops of the redeem script that `script_sig` pushes; 0 where `script_pubkey` is not P2SH (BIP 16)."""
    if not is_p2sh(script_pubkey):
        return 0
    redeem = last_push(script_sig)
    return count_sigops(redeem, True) if redeem else 0


def witness_sigops(script_sig: bytes, script_pubkey: bytes, witness: Sequence[bytes], flags: ScriptFlags) -> int:
    """Sigops of the witness, not yet scaled (Core: CountWitnessSigOps); 0 without the WITNESS flag."""
    if not flags & ScriptFlags.WITNESS:
        return 0
    program = witness_program(script_pubkey)
    if program is None and is_p2sh(script_pubkey):
        redeem = last_push(script_sig)
        program = witness_program(redeem) if redeem else None
    if program is None or program[0] != 0:
        return 0
    size = len(program[1])
    if size == 20:
        return 1
    if size == 32 and witness:
        return count_sigops(witness[-1], True)
    return 0


def witness_serialized_size(witness: Sequence[bytes]) -> int:
    """Bytes of the stack as a transaction carries it, the count included."""
    return len(compact_size(len(witness))) + sum(len(compact_size(len(item))) + len(item) for item in witness)
