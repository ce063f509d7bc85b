"""The entry point: does this input's script and witness satisfy the output it spends? (Core: VerifyScript)"""

from collections.abc import Sequence
from typing import Final

from gldnode.primitives.hashes import sha256
from gldnode.primitives.tx import Tx
from gldnode.script.checker import ExecutionData, SignatureChecker, SigVersion, TxChecker
from gldnode.script.errors import ScriptError, ScriptErrorName
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.interpreter import eval_script
from gldnode.script.number import cast_to_bool
from gldnode.script.script import (
    MAX_SCRIPT_ELEMENT_SIZE,
    is_p2sh,
    is_push_only,
    push_data,
    read_op,
    witness_program,
    witness_serialized_size,
)
from gldnode.script.sighash import SighashCache, SpentOutput
from gldnode.script.stack import MAX_STACK_SIZE, fail
from gldnode.script.tapscript import (
    ANNEX_TAG,
    LEAF_MASK,
    LEAF_VERSION_TAPSCRIPT,
    OP_SUCCESSES,
    annex_hash,
    is_control_block_size,
    leaf_hash,
    verify_commitment,
)
from gldnode.script.templates import p2pkh_script

__all__ = [
    "MANDATORY_SCRIPT_VERIFY_FLAGS",
    "STANDARD_SCRIPT_VERIFY_FLAGS",
    "ScriptError",
    "ScriptErrorName",
    "ScriptFlags",
    "verify_input",
    "verify_script",
]

_P2SH: Final = int(ScriptFlags.P2SH)
_SIGPUSHONLY: Final = int(ScriptFlags.SIGPUSHONLY)
_CLEANSTACK: Final = int(ScriptFlags.CLEANSTACK)
_WITNESS: Final = int(ScriptFlags.WITNESS)
_TAPROOT: Final = int(ScriptFlags.TAPROOT)
_ANNEX_START: Final = bytes((ANNEX_TAG,))
_ANCHOR_PROGRAM: Final = b"\x4e\x73"
_VALIDATION_WEIGHT_OFFSET: Final = 50


def verify_script(
    script_sig: bytes,
    script_pubkey: bytes,
    witness: Sequence[bytes],
    flags: ScriptFlags,
    checker: SignatureChecker,
) -> None:
    """Raises ScriptError unless the spend is valid under `flags`. WITNESS needs P2SH, CLEANSTACK both."""
    bits = int(flags)  # an IntFlag's own operators are many times slower
    if bits & _SIGPUSHONLY and not is_push_only(script_sig):
        fail(ScriptErrorName.SIG_PUSHONLY)
    stack: list[bytes] = []
    _eval_legacy(stack, script_sig, bits, checker)
    pushed = list(stack)
    _eval_legacy(stack, script_pubkey, bits, checker)
    _require_true(stack)

    had_witness = False
    program = witness_program(script_pubkey) if bits & _WITNESS else None
    if program is not None:
        had_witness = True
        if script_sig:  # would make the txid malleable again
            fail(ScriptErrorName.WITNESS_MALLEATED)
        _verify_witness_program(witness, *program, bits, checker, is_p2sh=False)
        del stack[1:]
    if bits & _P2SH and is_p2sh(script_pubkey):
        if not is_push_only(script_sig):
            fail(ScriptErrorName.SIG_PUSHONLY)
        stack = pushed
        redeem_script = stack.pop()
        _eval_legacy(stack, redeem_script, bits, checker)
        _require_true(stack)
        program = witness_program(redeem_script) if bits & _WITNESS else None
        if program is not None:
            had_witness = True
            if script_sig != push_data(redeem_script):
                fail(ScriptErrorName.WITNESS_MALLEATED_P2SH)
            _verify_witness_program(witness, *program, bits, checker, is_p2sh=True)
            del stack[1:]

    if bits & _CLEANSTACK:
        assert bits & _P2SH
        assert bits & _WITNESS
        if len(stack) != 1:
            fail(ScriptErrorName.CLEANSTACK)
    if bits & _WITNESS:
        assert bits & _P2SH
        if not had_witness and witness:
            fail(ScriptErrorName.WITNESS_UNEXPECTED)


def _eval_legacy(stack: list[bytes], script: bytes, flags: int, checker: SignatureChecker) -> None:
    eval_script(stack, script, flags, checker, SigVersion.BASE, ExecutionData())


def _require_true(stack: list[bytes]) -> None:
    if not stack or not cast_to_bool(stack[-1]):
        fail(ScriptErrorName.EVAL_FALSE)


def _verify_witness_program(
    witness: Sequence[bytes], version: int, program: bytes, flags: int, checker: SignatureChecker, *, is_p2sh: bool
) -> None:
    """BIP 141; BIP 341 for version 1 outside P2SH. Versions without rules yet succeed."""
    if version == 0:
        _verify_v0(witness, program, flags, checker)
    elif version == 1 and len(program) == 32 and not is_p2sh:
        if flags & _TAPROOT:
            _verify_taproot(witness, program, flags, checker)
    elif not is_p2sh and version == 1 and program == _ANCHOR_PROGRAM:
        return
    elif flags & ScriptFlags.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM:
        fail(ScriptErrorName.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM)


def _verify_v0(witness: Sequence[bytes], program: bytes, flags: int, checker: SignatureChecker) -> None:
    stack = list(witness)
    if len(program) == 32:
        if not stack:
            fail(ScriptErrorName.WITNESS_PROGRAM_WITNESS_EMPTY)
        script = stack.pop()
        if sha256(script) != program:
            fail(ScriptErrorName.WITNESS_PROGRAM_MISMATCH)
    elif len(program) == 20:
        if len(stack) != 2:
            fail(ScriptErrorName.WITNESS_PROGRAM_MISMATCH)
        script = p2pkh_script(program)
    else:
        fail(ScriptErrorName.WITNESS_PROGRAM_WRONG_LENGTH)
    _execute_witness_script(stack, script, flags, checker, SigVersion.WITNESS_V0, ExecutionData())


def _verify_taproot(witness: Sequence[bytes], program: bytes, flags: int, checker: SignatureChecker) -> None:
    stack = list(witness)
    if not stack:
        fail(ScriptErrorName.WITNESS_PROGRAM_WITNESS_EMPTY)
    data = ExecutionData()
    if len(stack) >= 2 and stack[-1][:1] == _ANNEX_START:
        data.annex_hash = annex_hash(stack.pop())
    if len(stack) == 1:
        checker.check_schnorr(stack[0], program, SigVersion.TAPROOT, data)
        return
    control_block = stack.pop()
    script = stack.pop()
    if not is_control_block_size(len(control_block)):
        fail(ScriptErrorName.TAPROOT_WRONG_CONTROL_SIZE)
    leaf_version = control_block[0] & LEAF_MASK
    data.tapleaf_hash = leaf_hash(script, leaf_version)
    if not verify_commitment(control_block, program, data.tapleaf_hash):
        fail(ScriptErrorName.WITNESS_PROGRAM_MISMATCH)
    if leaf_version == LEAF_VERSION_TAPSCRIPT:
        data.validation_weight_left = witness_serialized_size(witness) + _VALIDATION_WEIGHT_OFFSET
        _execute_witness_script(stack, script, flags, checker, SigVersion.TAPSCRIPT, data)
    elif flags & ScriptFlags.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION:
        fail(ScriptErrorName.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION)


def _succeeds_at_once(script: bytes, flags: int) -> bool:
    """Whether an OP_SUCCESS stands in front of anything that does not parse, BIP 342."""
    pos, end = 0, len(script)
    while pos < end:
        step = read_op(script, pos)
        if step is None:
            fail(ScriptErrorName.BAD_OPCODE)
        opcode, _, pos = step
        if opcode in OP_SUCCESSES:
            if flags & ScriptFlags.DISCOURAGE_OP_SUCCESS:
                fail(ScriptErrorName.DISCOURAGE_OP_SUCCESS)
            return True
    return False


def _execute_witness_script(
    stack: list[bytes],
    script: bytes,
    flags: int,
    checker: SignatureChecker,
    sig_version: SigVersion,
    data: ExecutionData,
) -> None:
    if sig_version is SigVersion.TAPSCRIPT:
        if _succeeds_at_once(script, flags):
            return
        if len(stack) > MAX_STACK_SIZE:
            fail(ScriptErrorName.STACK_SIZE)
    if any(len(item) > MAX_SCRIPT_ELEMENT_SIZE for item in stack):
        fail(ScriptErrorName.PUSH_SIZE)
    eval_script(stack, script, flags, checker, sig_version, data)
    if len(stack) != 1:  # consensus here, policy in legacy scripts
        fail(ScriptErrorName.CLEANSTACK)
    _require_true(stack)


def verify_input(
    tx: Tx,
    index: int,
    spent: Sequence[SpentOutput],
    flags: ScriptFlags,
    precomputed: SighashCache | None = None,
) -> None:
    """Raises ScriptError unless input `index` may spend `spent[index]`.

    `spent` are the outputs of all inputs in order; give the same `precomputed` to all inputs of a transaction.
    """
    cache = precomputed or SighashCache(tx, spent)
    txin, output = tx.inputs[index], spent[index]
    checker = TxChecker(cache, index, output.amount)
    verify_script(txin.script_sig, output.script_pubkey, txin.witness, flags, checker)
