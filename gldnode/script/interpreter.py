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

_HANDLERS: Final[list[Handler | None]] = [
    (STACK_HANDLERS | SIGNATURE_HANDLERS).get(opcode) for opcode in range(256)
]
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


class _Conditions:
    """The open IFs: how many there are, and which is the first whose branch is not taken (0: none).

    Two numbers instead of a list, as in Core: a script of a million OP_IFs stays linear.
    """

    __slots__ = ("depth", "first_false")

    def __init__(self) -> None:
        self.depth = 0
        self.first_false = 0

    def push(self, value: bool) -> None:
        self.depth += 1
        if not value and not self.first_false:
            self.first_false = self.depth

    def toggle(self) -> None:
        if not self.first_false:
            self.first_false = self.depth
        elif self.first_false == self.depth:
            self.first_false = 0

    def pop(self) -> None:
        if self.first_false == self.depth:
            self.first_false = 0
        self.depth -= 1


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
    alt = m.alt
    minimal = m.minimal
    const_script_code = sig_version == SigVersion.BASE and bool(flags & ScriptFlags.CONST_SCRIPTCODE)
    data.codeseparator_pos = 0xFFFFFFFF
    conditions = _Conditions()
    handlers = _HANDLERS
    pos, end = 0, len(script)
    opcode_pos = -1
    while pos < end:
        opcode_pos += 1
        opcode = script[pos]
        if opcode <= op.OP_PUSHDATA4:
            step = read_op(script, pos)
            if step is None:
                fail(ScriptErrorName.BAD_OPCODE)
            _, item, pos = step
            if len(item) > MAX_SCRIPT_ELEMENT_SIZE:
                fail(ScriptErrorName.PUSH_SIZE)
            if conditions.first_false:
                continue
            if minimal and not is_minimal_push(opcode, item):
                fail(ScriptErrorName.MINIMALDATA)
            stack.append(item)
        else:
            pos += 1
            if opcode > op.OP_16:
                if counts_ops:
                    m.op_count += 1
                    if m.op_count > MAX_OPS_PER_SCRIPT:
                        fail(ScriptErrorName.OP_COUNT)
                if opcode in _DISABLED:  # even where not executed
                    fail(ScriptErrorName.DISABLED_OPCODE)
                if opcode == op.OP_CODESEPARATOR and const_script_code:
                    fail(ScriptErrorName.OP_CODESEPARATOR)
            if op.OP_IF <= opcode <= op.OP_ENDIF:
                _branch(m, opcode, conditions)
            elif conditions.first_false:
                continue
            elif (handler := handlers[opcode]) is not None:
                m.opcode = opcode
                handler(m)
            elif opcode <= op.OP_16 and opcode != op.OP_RESERVED:
                stack.append(b"\x81" if opcode == op.OP_1NEGATE else bytes((opcode - op.OP_RESERVED,)))
            elif opcode == op.OP_CODESEPARATOR:
                m.separate_code(pos)
                data.codeseparator_pos = opcode_pos
            else:
                fail(ScriptErrorName.BAD_OPCODE)
        if len(stack) + len(alt) > MAX_STACK_SIZE:
            fail(ScriptErrorName.STACK_SIZE)
    if conditions.depth:
        fail(ScriptErrorName.UNBALANCED_CONDITIONAL)


def _branch(m: Machine, opcode: int, conditions: _Conditions) -> None:
    """OP_IF, OP_NOTIF, OP_ELSE, OP_ENDIF; OP_VERIF and OP_VERNOTIF fail even where not executed."""
    if opcode in (op.OP_IF, op.OP_NOTIF):
        value = False
        if not conditions.first_false:
            value = _condition(m)
            if opcode == op.OP_NOTIF:
                value = not value
        conditions.push(value)
    elif opcode in (op.OP_ELSE, op.OP_ENDIF):
        if not conditions.depth:
            fail(ScriptErrorName.UNBALANCED_CONDITIONAL)
        if opcode == op.OP_ELSE:
            conditions.toggle()
        else:
            conditions.pop()
    else:
        fail(ScriptErrorName.BAD_OPCODE)


def _condition(m: Machine) -> bool:
    m.need(1)
    item = m.stack.pop()
    if item not in (b"", b"\x01"):
        if m.sig_version is SigVersion.TAPSCRIPT:  # consensus there, policy in witness v0
            fail(ScriptErrorName.TAPSCRIPT_MINIMALIF)
        if m.sig_version is SigVersion.WITNESS_V0 and m.flags & ScriptFlags.MINIMALIF:
            fail(ScriptErrorName.MINIMALIF)
    return cast_to_bool(item)
