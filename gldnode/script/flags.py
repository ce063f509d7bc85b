"""Which rules a script is verified with (Core: script/interpreter.h, policy/policy.h)."""

from enum import IntFlag
from typing import Final

__all__ = ["MANDATORY_SCRIPT_VERIFY_FLAGS", "STANDARD_SCRIPT_VERIFY_FLAGS", "ScriptFlags"]


class ScriptFlags(IntFlag):
    """Core's SCRIPT_VERIFY_*: each only makes more scripts invalid."""

    NONE = 0
    P2SH = 1 << 0
    """BIP 16."""
    STRICTENC = 1 << 1
    DERSIG = 1 << 2
    """BIP 66."""
    LOW_S = 1 << 3
    NULLDUMMY = 1 << 4
    """BIP 147."""
    SIGPUSHONLY = 1 << 5
    MINIMALDATA = 1 << 6
    DISCOURAGE_UPGRADABLE_NOPS = 1 << 7
    CLEANSTACK = 1 << 8
    """Only together with P2SH and WITNESS."""
    CHECKLOCKTIMEVERIFY = 1 << 9
    """BIP 65."""
    CHECKSEQUENCEVERIFY = 1 << 10
    """BIP 112."""
    WITNESS = 1 << 11
    """BIP 141; only together with P2SH."""
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = 1 << 12
    MINIMALIF = 1 << 13
    NULLFAIL = 1 << 14
    WITNESS_PUBKEYTYPE = 1 << 15
    CONST_SCRIPTCODE = 1 << 16
    TAPROOT = 1 << 17
    """BIP 341 and 342."""
    DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = 1 << 18
    DISCOURAGE_OP_SUCCESS = 1 << 19
    DISCOURAGE_UPGRADABLE_PUBKEYTYPE = 1 << 20


MANDATORY_SCRIPT_VERIFY_FLAGS: Final = (
    ScriptFlags.P2SH
    | ScriptFlags.DERSIG
    | ScriptFlags.NULLDUMMY
    | ScriptFlags.CHECKLOCKTIMEVERIFY
    | ScriptFlags.CHECKSEQUENCEVERIFY
    | ScriptFlags.WITNESS
    | ScriptFlags.TAPROOT
)
"""All consensus rules: a transaction that breaks one is invalid, not merely unwanted."""

STANDARD_SCRIPT_VERIFY_FLAGS: Final = (
    MANDATORY_SCRIPT_VERIFY_FLAGS
    | ScriptFlags.STRICTENC
    | ScriptFlags.MINIMALDATA
    | ScriptFlags.DISCOURAGE_UPGRADABLE_NOPS
    | ScriptFlags.CLEANSTACK
    | ScriptFlags.MINIMALIF
    | ScriptFlags.NULLFAIL
    | ScriptFlags.LOW_S
    | ScriptFlags.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
    | ScriptFlags.WITNESS_PUBKEYTYPE
    | ScriptFlags.CONST_SCRIPTCODE
    | ScriptFlags.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION
    | ScriptFlags.DISCOURAGE_OP_SUCCESS
    | ScriptFlags.DISCOURAGE_UPGRADABLE_PUBKEYTYPE
)
"""What the mempool verifies with."""
