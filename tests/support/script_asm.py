"""The text form of scripts in Bitcoin Core's test vectors, and their flag lists."""

import re
from typing import Final

from gldnode.script.flags import ScriptFlags
from gldnode.script.opcodes import OPCODE_BY_NAME
from gldnode.script.script import push_data, push_int

__all__ = ["ALL_FLAGS", "fill_flags", "is_possible", "parse_asm", "parse_flags", "parse_script", "trim_flags"]

_NAMES: Final = {
    alias: value
    for name, value in OPCODE_BY_NAME.items()
    if value >= 0x61 or name == "OP_RESERVED"
    for alias in (name, name.removeprefix("OP_"))
} | {"NOP2": 0xB1, "OP_NOP2": 0xB1, "NOP3": 0xB2, "OP_NOP3": 0xB2}

ALL_FLAGS: Final = ScriptFlags((1 << 21) - 1)


def parse_script(text: str) -> bytes:
    """Core's ParseScript: names with or without OP_, decimal numbers, 'text' pushes, 0x… raw bytes."""
    script = b""
    for word in text.split():
        if re.fullmatch(r"-?[0-9]+", word):
            script += push_int(int(word))
        elif word.startswith("0x"):
            script += bytes.fromhex(word[2:])
        elif len(word) >= 2 and word[0] == word[-1] == "'":
            script += push_data(word[1:-1].encode())
        else:
            script += bytes((_NAMES[word],))
    return script


def parse_asm(text: str) -> bytes:
    """bitcoinjs's form: names with OP_, pushes as bare hex, shortest encoding."""
    script = b""
    for word in text.split():
        if word in OPCODE_BY_NAME:
            script += bytes((OPCODE_BY_NAME[word],))
        else:
            data = bytes.fromhex(word)
            small = len(data) == 1 and (1 <= data[0] <= 16 or data[0] == 0x81)
            script += push_int(data[0] if data[0] <= 16 else -1) if small else push_data(data)
    return script


def parse_flags(text: str) -> ScriptFlags:
    """A comma list; "NONE" and the empty list are no flags."""
    flags = ScriptFlags.NONE
    for word in text.split(","):
        if word and word != "NONE":
            flags |= ScriptFlags[word]
    return flags


def trim_flags(flags: ScriptFlags) -> ScriptFlags:
    """Without the flags that need one that is missing: WITNESS needs P2SH; CLEANSTACK and TAPROOT need WITNESS."""
    if not flags & ScriptFlags.P2SH:
        flags &= ~ScriptFlags.WITNESS
    if not flags & ScriptFlags.WITNESS:
        flags &= ~(ScriptFlags.CLEANSTACK | ScriptFlags.TAPROOT)
    return flags


def fill_flags(flags: ScriptFlags) -> ScriptFlags:
    """With the flags that the given ones need."""
    if flags & (ScriptFlags.CLEANSTACK | ScriptFlags.TAPROOT):
        flags |= ScriptFlags.WITNESS
    if flags & ScriptFlags.WITNESS:
        flags |= ScriptFlags.P2SH
    return flags


def is_possible(flags: ScriptFlags) -> bool:
    """Whether no flag misses one it needs."""
    return trim_flags(flags) == flags
