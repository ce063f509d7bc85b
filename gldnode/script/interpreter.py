"""Running one script on a stack (Core: EvalScript)."""

from typing import Final

from gldnode.script import opcodes as op
from gldnode.script.checker import ExecutionData, SignatureChecker, SigVersion
from gldnode.script.errors import ScriptErrorName
from gldnode.script.flags import ScriptFlags
from gldnode.script.number import cast_to_bool
from gldnode.script.script import (
    MAX_SCRIPT_ELEMENT_SIZE,
    MAX_SCRIPT_SIZE,
    is_minimal_push,
    read_op,
)
from gldnode.script.signatures import MAX_OPS_PER_SCRIPT, SIGNATURE_HANDLERS
from gldnode.script.stack import MAX_STACK_SIZE, STACK_HANDLERS, Handler, Machine, fail

__all__ = ["eval_script"]

_DISABLED: Final = frozenset(
    (
        op.OP_CAT,
        op.OP_SUBSTR,
        op.OP_LEFT,
        op.OP_RIGHT,
        op.OP_INVERT,
        op.OP_AND,
        op.OP_OR,
        op.OP_XOR,
        op.OP_2MUL,
        op.OP_2DIV,
        op.OP_MUL,
        op.OP_DIV,
        op.OP_MOD,
        op.OP_LSHIFT,
        op.OP_RSHIFT,
    )
)


def _if(m: Machine) -> None:
    m.open_condition(_condition(m))


def _not_if(m: Machine) -> None:
    m.open_condition(not _condition(m))


def _condition(m: Machine) -> bool:
    m.need(1)
    item = m.stack.pop()
    if item not in (b"", b"\x01"):
        if m.sig_version is SigVersion.TAPSCRIPT:  # consensus there, policy in witness v0
            fail(ScriptErrorName.TAPSCRIPT_MINIMALIF)
        if m.sig_version is SigVersion.WITNESS_V0 and m.flags & ScriptFlags.MINIMALIF:
            fail(ScriptErrorName.MINIMALIF)
    return cast_to_bool(item)


def _else(m: Machine) -> None:
    if not m.depth:
        fail(ScriptErrorName.UNBALANCED_CONDITIONAL)
    m.toggle_condition()


def _end_if(m: Machine) -> None:
    if not m.depth:
        fail(ScriptErrorName.UNBALANCED_CONDITIONAL)
    m.close_condition()


def _bad(m: Machine) -> None:
    fail(ScriptErrorName.BAD_OPCODE)


def _disabled(m: Machine) -> None:
    fail(ScriptErrorName.DISABLED_OPCODE)


def _skipped_if(m: Machine) -> None:
    m.open_condition(True)  # already below one that is false


def _constant(item: bytes) -> Handler:
    def handler(m: Machine) -> None:
        m.stack.append(item)

    return handler


_HANDLERS: Final[list[Handler]] = [_bad] * 256
"""What an executed opcode behind the pushes does."""
for _opcode, _handler in (
    STACK_HANDLERS
    | SIGNATURE_HANDLERS
    | dict.fromkeys(_DISABLED, _disabled)
    | {op.OP_IF: _if, op.OP_NOTIF: _not_if, op.OP_ELSE: _else, op.OP_ENDIF: _end_if}
    | {op.OP_RESERVED + n: _constant(bytes((n,))) for n in range(1, 17)}
    | {op.OP_1NEGATE: _constant(b"\x81")}
).items():
    _HANDLERS[_opcode] = _handler

_SKIPPED_HANDLERS: Final[dict[int, Handler]] = {
    op.OP_IF: _skipped_if,
    op.OP_NOTIF: _skipped_if,
    op.OP_VERIF: _bad,
    op.OP_VERNOTIF: _bad,
    op.OP_ELSE: _else,
    op.OP_ENDIF: _end_if,
    **dict.fromkeys(_DISABLED, _disabled),
}
"""What an opcode does in a branch that is not taken, where that is not nothing."""


def eval_script(
    stack: list[bytes],
    script: bytes,
    flags: int,
    checker: SignatureChecker,
    sig_version: SigVersion,
    data: ExecutionData,
) -> None:
    """Runs `script` on `stack`, in place. Raises ScriptError; says nothing of what is left on the stack."""
    counts_ops = sig_version <= SigVersion.WITNESS_V0  # tapscript has neither limit, BIP 342
    if counts_ops and len(script) > MAX_SCRIPT_SIZE:
        fail(ScriptErrorName.SCRIPT_SIZE)
    m = Machine(stack, script, flags, checker, sig_version, data)
    const_script_code = sig_version == SigVersion.BASE and bool(flags & ScriptFlags.CONST_SCRIPTCODE)
    data.codeseparator_pos = 0xFFFFFFFF
    # Names of this function's own: a tapscript may have four million opcodes.
    alt, minimal, handlers, skipped = m.alt, m.minimal, _HANDLERS, _SKIPPED_HANDLERS
    push_data1, last_push, last_number = op.OP_PUSHDATA1, op.OP_PUSHDATA4, op.OP_16
    code_separator = op.OP_CODESEPARATOR
    stack_limit, element_limit = MAX_STACK_SIZE, MAX_SCRIPT_ELEMENT_SIZE
    pos, end = 0, len(script)
    opcode_pos = -1
    while pos < end:
        opcode_pos += 1
        opcode = script[pos]
        if opcode <= last_push:
            if opcode < push_data1:
                start = pos + 1
                pos = start + opcode
                if pos > end:
                    fail(ScriptErrorName.BAD_OPCODE)
                item = script[start:pos]
            else:
                step = read_op(script, pos)
                if step is None:
                    fail(ScriptErrorName.BAD_OPCODE)
                _, item, pos = step
            if len(item) > element_limit:
                fail(ScriptErrorName.PUSH_SIZE)
            if m.first_false:
                continue
            if minimal and not is_minimal_push(opcode, item):
                fail(ScriptErrorName.MINIMALDATA)
            stack.append(item)
        else:
            pos += 1
            if counts_ops and opcode > last_number:
                m.op_count += 1
                if m.op_count > MAX_OPS_PER_SCRIPT:
                    fail(ScriptErrorName.OP_COUNT)
            if opcode == code_separator:
                if const_script_code:  # even where not executed
                    fail(ScriptErrorName.OP_CODESEPARATOR)
                if not m.first_false:
                    m.separate_code(pos)
                    data.codeseparator_pos = opcode_pos
            elif not m.first_false:
                handlers[opcode](m)
            elif opcode in skipped:
                skipped[opcode](m)
            else:
                continue
        if len(stack) + len(alt) > stack_limit:
            fail(ScriptErrorName.STACK_SIZE)
    if m.depth:
        fail(ScriptErrorName.UNBALANCED_CONDITIONAL)
