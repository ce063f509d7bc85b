"""The state of a running script, and the opcodes that only need its stack: moving, arithmetic, hashing."""

import hashlib
from collections.abc import Callable
from typing import Final, NoReturn

from gldnode.primitives.hashes import hash160, ripemd160, sha256, sha256d
from gldnode.script import opcodes as op
from gldnode.script.checker import ExecutionData, SignatureChecker, SigVersion
from gldnode.script.errors import ScriptError, ScriptErrorName
from gldnode.script.flags import ScriptFlags
from gldnode.script.number import cast_to_bool, decode_number, encode_number

__all__ = ["FALSE", "MAX_STACK_SIZE", "STACK_HANDLERS", "TRUE", "Handler", "Machine", "fail"]

MAX_STACK_SIZE: Final = 1000
TRUE: Final = b"\x01"
FALSE: Final = b""


def fail(name: ScriptErrorName) -> NoReturn:
    raise ScriptError(name)


class Machine:
    """One script being run."""

    __slots__ = (
        "_code",
        "alt",
        "checker",
        "code_start",
        "data",
        "depth",
        "first_false",
        "flags",
        "minimal",
        "op_count",
        "script",
        "sig_version",
        "stack",
    )

    def __init__(
        self,
        stack: list[bytes],
        script: bytes,
        flags: int,
        checker: SignatureChecker,
        sig_version: SigVersion,
        data: ExecutionData,
    ) -> None:
        self.stack = stack
        self.alt: list[bytes] = []
        self.script = script
        self.flags = flags
        self.minimal = bool(flags & ScriptFlags.MINIMALDATA)
        self.checker = checker
        self.sig_version = sig_version
        self.data = data
        self.op_count = 0
        # Open IFs as two numbers instead of a list, as in Core: a script of a million of them stays linear.
        self.depth = 0
        """How many IFs are open."""
        self.first_false = 0
        """The first of them, from 1, whose branch is not taken; 0 while opcodes are executed."""
        self.code_start = 0
        self._code: bytes | None = script

    def open_condition(self, value: bool) -> None:
        self.depth += 1
        if not value and not self.first_false:
            self.first_false = self.depth

    def toggle_condition(self) -> None:
        if not self.first_false:
            self.first_false = self.depth
        elif self.first_false == self.depth:
            self.first_false = 0

    def close_condition(self) -> None:
        if self.first_false == self.depth:
            self.first_false = 0
        self.depth -= 1

    def separate_code(self, pos: int) -> None:
        """From here on signatures cover the script from `pos`."""
        self.code_start = pos
        self._code = None

    def script_code(self) -> bytes:
        """What signatures cover: the script from the last executed OP_CODESEPARATOR on."""
        if self._code is None:
            self._code = self.script[self.code_start :]
        return self._code

    def need(self, count: int) -> None:
        if len(self.stack) < count:
            fail(ScriptErrorName.INVALID_STACK_OPERATION)

    def number(self, depth: int, max_size: int = 4) -> int:
        """The element `depth` from the top (1 is the top) as a number."""
        return decode_number(self.stack[-depth], minimal=self.minimal, max_size=max_size)


Handler = Callable[[Machine], None]


def _nop(m: Machine) -> None:
    pass


def _upgradable_nop(m: Machine) -> None:
    if m.flags & ScriptFlags.DISCOURAGE_UPGRADABLE_NOPS:
        fail(ScriptErrorName.DISCOURAGE_UPGRADABLE_NOPS)


def _verify(m: Machine) -> None:
    m.need(1)
    if not cast_to_bool(m.stack[-1]):
        fail(ScriptErrorName.VERIFY)
    m.stack.pop()


def _return(m: Machine) -> None:
    fail(ScriptErrorName.OP_RETURN)


def _to_alt_stack(m: Machine) -> None:
    m.need(1)
    m.alt.append(m.stack.pop())


def _from_alt_stack(m: Machine) -> None:
    if not m.alt:
        fail(ScriptErrorName.INVALID_ALTSTACK_OPERATION)
    m.stack.append(m.alt.pop())


def _shuffle(count: int, order: tuple[int, ...]) -> Handler:
    """A handler that replaces the top `count` elements by those of `order` (1 is the deepest of them)."""

    def handler(m: Machine) -> None:
        stack = m.stack
        if len(stack) < count:
            fail(ScriptErrorName.INVALID_STACK_OPERATION)
        top = stack[-count:]
        stack[-count:] = [top[n - 1] for n in order]

    return handler


def _if_dup(m: Machine) -> None:
    m.need(1)
    if cast_to_bool(m.stack[-1]):
        m.stack.append(m.stack[-1])


def _depth(m: Machine) -> None:
    m.stack.append(encode_number(len(m.stack)))


def _pop_index(m: Machine) -> int:
    """The number on top, taken off, as an index from the end of what is below."""
    m.need(2)
    n = m.number(1)
    m.stack.pop()
    if not 0 <= n < len(m.stack):
        fail(ScriptErrorName.INVALID_STACK_OPERATION)
    return -n - 1


def _pick(m: Machine) -> None:
    m.stack.append(m.stack[_pop_index(m)])


def _roll(m: Machine) -> None:
    m.stack.append(m.stack.pop(_pop_index(m)))


def _dup(m: Machine) -> None:
    m.need(1)
    m.stack.append(m.stack[-1])


def _drop(m: Machine) -> None:
    m.need(1)
    m.stack.pop()


def _size(m: Machine) -> None:
    m.need(1)
    m.stack.append(encode_number(len(m.stack[-1])))


def _equal(m: Machine) -> None:
    m.need(2)
    stack = m.stack
    stack.append(TRUE if stack.pop() == stack.pop() else FALSE)


def _equal_verify(m: Machine) -> None:
    m.need(2)
    if m.stack.pop() != m.stack.pop():
        fail(ScriptErrorName.EQUALVERIFY)


def _unary(function: Callable[[int], int]) -> Handler:
    def handler(m: Machine) -> None:
        m.need(1)
        m.stack[-1] = encode_number(function(m.number(1)))

    return handler


def _binary(function: Callable[[int, int], int]) -> Handler:
    def handler(m: Machine) -> None:
        m.need(2)
        result = function(m.number(2), m.number(1))
        m.stack[-2:] = (encode_number(result),)

    return handler


def _num_equal_verify(m: Machine) -> None:
    m.need(2)
    if m.number(2) != m.number(1):
        fail(ScriptErrorName.NUMEQUALVERIFY)
    del m.stack[-2:]


def _within(m: Machine) -> None:
    m.need(3)
    value, least, limit = m.number(3), m.number(2), m.number(1)
    m.stack[-3:] = (TRUE if least <= value < limit else FALSE,)


def _hash(function: Callable[[bytes], bytes]) -> Handler:
    def handler(m: Machine) -> None:
        stack = m.stack
        if not stack:
            fail(ScriptErrorName.INVALID_STACK_OPERATION)
        stack[-1] = function(stack[-1])

    return handler


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _check_lock_time(m: Machine) -> None:
    """BIP 65."""
    if not m.flags & ScriptFlags.CHECKLOCKTIMEVERIFY:
        return
    m.need(1)
    lock_time = m.number(1, max_size=5)  # beyond 2038
    if lock_time < 0:
        fail(ScriptErrorName.NEGATIVE_LOCKTIME)
    if not m.checker.check_lock_time(lock_time):
        fail(ScriptErrorName.UNSATISFIED_LOCKTIME)


def _check_sequence(m: Machine) -> None:
    """BIP 112."""
    if not m.flags & ScriptFlags.CHECKSEQUENCEVERIFY:
        return
    m.need(1)
    sequence = m.number(1, max_size=5)
    if sequence < 0:
        fail(ScriptErrorName.NEGATIVE_LOCKTIME)
    if sequence & (1 << 31):  # disabled: a no-op, for later rules
        return
    if not m.checker.check_sequence(sequence):
        fail(ScriptErrorName.UNSATISFIED_LOCKTIME)


STACK_HANDLERS: Final[dict[int, Handler]] = {
    op.OP_NOP: _nop,
    op.OP_VERIFY: _verify,
    op.OP_RETURN: _return,
    op.OP_TOALTSTACK: _to_alt_stack,
    op.OP_FROMALTSTACK: _from_alt_stack,
    op.OP_2DROP: _shuffle(2, ()),
    op.OP_2DUP: _shuffle(2, (1, 2, 1, 2)),
    op.OP_3DUP: _shuffle(3, (1, 2, 3, 1, 2, 3)),
    op.OP_2OVER: _shuffle(4, (1, 2, 3, 4, 1, 2)),
    op.OP_2ROT: _shuffle(6, (3, 4, 5, 6, 1, 2)),
    op.OP_2SWAP: _shuffle(4, (3, 4, 1, 2)),
    op.OP_IFDUP: _if_dup,
    op.OP_DEPTH: _depth,
    op.OP_DROP: _drop,
    op.OP_DUP: _dup,
    op.OP_NIP: _shuffle(2, (2,)),
    op.OP_OVER: _shuffle(2, (1, 2, 1)),
    op.OP_PICK: _pick,
    op.OP_ROLL: _roll,
    op.OP_ROT: _shuffle(3, (2, 3, 1)),
    op.OP_SWAP: _shuffle(2, (2, 1)),
    op.OP_TUCK: _shuffle(2, (2, 1, 2)),
    op.OP_SIZE: _size,
    op.OP_EQUAL: _equal,
    op.OP_EQUALVERIFY: _equal_verify,
    op.OP_1ADD: _unary(lambda n: n + 1),
    op.OP_1SUB: _unary(lambda n: n - 1),
    op.OP_NEGATE: _unary(lambda n: -n),
    op.OP_ABS: _unary(abs),
    op.OP_NOT: _unary(lambda n: n == 0),
    op.OP_0NOTEQUAL: _unary(lambda n: n != 0),
    op.OP_ADD: _binary(lambda a, b: a + b),
    op.OP_SUB: _binary(lambda a, b: a - b),
    op.OP_BOOLAND: _binary(lambda a, b: a != 0 and b != 0),
    op.OP_BOOLOR: _binary(lambda a, b: a != 0 or b != 0),
    op.OP_NUMEQUAL: _binary(lambda a, b: a == b),
    op.OP_NUMEQUALVERIFY: _num_equal_verify,
    op.OP_NUMNOTEQUAL: _binary(lambda a, b: a != b),
    op.OP_LESSTHAN: _binary(lambda a, b: a < b),
    op.OP_GREATERTHAN: _binary(lambda a, b: a > b),
    op.OP_LESSTHANOREQUAL: _binary(lambda a, b: a <= b),
    op.OP_GREATERTHANOREQUAL: _binary(lambda a, b: a >= b),
    op.OP_MIN: _binary(min),
    op.OP_MAX: _binary(max),
    op.OP_WITHIN: _within,
    op.OP_RIPEMD160: _hash(ripemd160),
    op.OP_SHA1: _hash(_sha1),
    op.OP_SHA256: _hash(sha256),
    op.OP_HASH160: _hash(hash160),
    op.OP_HASH256: _hash(sha256d),
    op.OP_NOP1: _upgradable_nop,
    op.OP_CHECKLOCKTIMEVERIFY: _check_lock_time,
    op.OP_CHECKSEQUENCEVERIFY: _check_sequence,
} | dict.fromkeys(range(op.OP_NOP4, op.OP_NOP10 + 1), _upgradable_nop)
