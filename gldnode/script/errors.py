"""Why a script failed: Core's names and Core's sentences (script_error.h, ScriptErrorString)."""

from enum import StrEnum
from typing import Final

from gldnode.errors import NodeError

__all__ = ["ERROR_TEXTS", "ScriptError", "ScriptErrorName"]


class ScriptErrorName(StrEnum):
    """Core's SCRIPT_ERR_* without the prefix, spelt as in its published script tests."""

    UNKNOWN_ERROR = "UNKNOWN_ERROR"
    EVAL_FALSE = "EVAL_FALSE"
    OP_RETURN = "OP_RETURN"
    SCRIPT_SIZE = "SCRIPT_SIZE"
    PUSH_SIZE = "PUSH_SIZE"
    OP_COUNT = "OP_COUNT"
    STACK_SIZE = "STACK_SIZE"
    SIG_COUNT = "SIG_COUNT"
    PUBKEY_COUNT = "PUBKEY_COUNT"
    VERIFY = "VERIFY"
    EQUALVERIFY = "EQUALVERIFY"
    CHECKMULTISIGVERIFY = "CHECKMULTISIGVERIFY"
    CHECKSIGVERIFY = "CHECKSIGVERIFY"
    NUMEQUALVERIFY = "NUMEQUALVERIFY"
    SCRIPTNUM = "SCRIPTNUM"
    BAD_OPCODE = "BAD_OPCODE"
    DISABLED_OPCODE = "DISABLED_OPCODE"
    INVALID_STACK_OPERATION = "INVALID_STACK_OPERATION"
    INVALID_ALTSTACK_OPERATION = "INVALID_ALTSTACK_OPERATION"
    UNBALANCED_CONDITIONAL = "UNBALANCED_CONDITIONAL"
    NEGATIVE_LOCKTIME = "NEGATIVE_LOCKTIME"
    UNSATISFIED_LOCKTIME = "UNSATISFIED_LOCKTIME"
    SIG_HASHTYPE = "SIG_HASHTYPE"
    SIG_DER = "SIG_DER"
    MINIMALDATA = "MINIMALDATA"
    SIG_PUSHONLY = "SIG_PUSHONLY"
    SIG_HIGH_S = "SIG_HIGH_S"
    SIG_NULLDUMMY = "SIG_NULLDUMMY"
    PUBKEYTYPE = "PUBKEYTYPE"
    CLEANSTACK = "CLEANSTACK"
    MINIMALIF = "MINIMALIF"
    SIG_NULLFAIL = "NULLFAIL"
    DISCOURAGE_UPGRADABLE_NOPS = "DISCOURAGE_UPGRADABLE_NOPS"
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM"
    DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION"
    DISCOURAGE_OP_SUCCESS = "DISCOURAGE_OP_SUCCESS"
    DISCOURAGE_UPGRADABLE_PUBKEYTYPE = "DISCOURAGE_UPGRADABLE_PUBKEYTYPE"
    WITNESS_PROGRAM_WRONG_LENGTH = "WITNESS_PROGRAM_WRONG_LENGTH"
    WITNESS_PROGRAM_WITNESS_EMPTY = "WITNESS_PROGRAM_WITNESS_EMPTY"
    WITNESS_PROGRAM_MISMATCH = "WITNESS_PROGRAM_MISMATCH"
    WITNESS_MALLEATED = "WITNESS_MALLEATED"
    WITNESS_MALLEATED_P2SH = "WITNESS_MALLEATED_P2SH"
    WITNESS_UNEXPECTED = "WITNESS_UNEXPECTED"
    WITNESS_PUBKEYTYPE = "WITNESS_PUBKEYTYPE"
    SCHNORR_SIG_SIZE = "SCHNORR_SIG_SIZE"
    SCHNORR_SIG_HASHTYPE = "SCHNORR_SIG_HASHTYPE"
    SCHNORR_SIG = "SCHNORR_SIG"
    TAPROOT_WRONG_CONTROL_SIZE = "TAPROOT_WRONG_CONTROL_SIZE"
    TAPSCRIPT_VALIDATION_WEIGHT = "TAPSCRIPT_VALIDATION_WEIGHT"
    TAPSCRIPT_CHECKMULTISIG = "TAPSCRIPT_CHECKMULTISIG"
    TAPSCRIPT_MINIMALIF = "TAPSCRIPT_MINIMALIF"
    TAPSCRIPT_EMPTY_PUBKEY = "TAPSCRIPT_EMPTY_PUBKEY"
    OP_CODESEPARATOR = "OP_CODESEPARATOR"
    SIG_FINDANDDELETE = "SIG_FINDANDDELETE"


ERROR_TEXTS: Final[dict[ScriptErrorName, str]] = {
    ScriptErrorName.UNKNOWN_ERROR: "unknown error",
    ScriptErrorName.EVAL_FALSE: (
        "Script evaluated without error but finished with a false/empty top stack element"
    ),
    ScriptErrorName.OP_RETURN: "OP_RETURN was encountered",
    ScriptErrorName.SCRIPT_SIZE: "Script is too big",
    ScriptErrorName.PUSH_SIZE: "Push value size limit exceeded",
    ScriptErrorName.OP_COUNT: "Operation limit exceeded",
    ScriptErrorName.STACK_SIZE: "Stack size limit exceeded",
    ScriptErrorName.SIG_COUNT: "Signature count negative or greater than pubkey count",
    ScriptErrorName.PUBKEY_COUNT: "Pubkey count negative or limit exceeded",
    ScriptErrorName.VERIFY: "Script failed an OP_VERIFY operation",
    ScriptErrorName.EQUALVERIFY: "Script failed an OP_EQUALVERIFY operation",
    ScriptErrorName.CHECKMULTISIGVERIFY: "Script failed an OP_CHECKMULTISIGVERIFY operation",
    ScriptErrorName.CHECKSIGVERIFY: "Script failed an OP_CHECKSIGVERIFY operation",
    ScriptErrorName.NUMEQUALVERIFY: "Script failed an OP_NUMEQUALVERIFY operation",
    ScriptErrorName.SCRIPTNUM: "Script number overflowed or is non-minimally encoded",
    ScriptErrorName.BAD_OPCODE: "Opcode missing or not understood",
    ScriptErrorName.DISABLED_OPCODE: "Attempted to use a disabled opcode",
    ScriptErrorName.INVALID_STACK_OPERATION: "Operation not valid with the current stack size",
    ScriptErrorName.INVALID_ALTSTACK_OPERATION: "Operation not valid with the current altstack size",
    ScriptErrorName.UNBALANCED_CONDITIONAL: "Invalid OP_IF construction",
    ScriptErrorName.NEGATIVE_LOCKTIME: "Negative locktime",
    ScriptErrorName.UNSATISFIED_LOCKTIME: "Locktime requirement not satisfied",
    ScriptErrorName.SIG_HASHTYPE: "Signature hash type missing or not understood",
    ScriptErrorName.SIG_DER: "Non-canonical DER signature",
    ScriptErrorName.MINIMALDATA: "Data push larger than necessary",
    ScriptErrorName.SIG_PUSHONLY: "Only push operators allowed in signatures",
    ScriptErrorName.SIG_HIGH_S: "Non-canonical signature: S value is unnecessarily high",
    ScriptErrorName.SIG_NULLDUMMY: "Dummy CHECKMULTISIG argument must be zero",
    ScriptErrorName.PUBKEYTYPE: "Public key is neither compressed or uncompressed",
    ScriptErrorName.CLEANSTACK: "Stack size must be exactly one after execution",
    ScriptErrorName.MINIMALIF: "OP_IF/NOTIF argument must be minimal",
    ScriptErrorName.SIG_NULLFAIL: "Signature must be zero for failed CHECK(MULTI)SIG operation",
    ScriptErrorName.DISCOURAGE_UPGRADABLE_NOPS: "NOPx reserved for soft-fork upgrades",
    ScriptErrorName.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM: "Witness version reserved for soft-fork upgrades",
    ScriptErrorName.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION: "Taproot version reserved for soft-fork upgrades",
    ScriptErrorName.DISCOURAGE_OP_SUCCESS: "OP_SUCCESSx reserved for soft-fork upgrades",
    ScriptErrorName.DISCOURAGE_UPGRADABLE_PUBKEYTYPE: "Public key version reserved for soft-fork upgrades",
    ScriptErrorName.WITNESS_PROGRAM_WRONG_LENGTH: "Witness program has incorrect length",
    ScriptErrorName.WITNESS_PROGRAM_WITNESS_EMPTY: "Witness program was passed an empty witness",
    ScriptErrorName.WITNESS_PROGRAM_MISMATCH: "Witness program hash mismatch",
    ScriptErrorName.WITNESS_MALLEATED: "Witness requires empty scriptSig",
    ScriptErrorName.WITNESS_MALLEATED_P2SH: "Witness requires only-redeemscript scriptSig",
    ScriptErrorName.WITNESS_UNEXPECTED: "Witness provided for non-witness script",
    ScriptErrorName.WITNESS_PUBKEYTYPE: "Using non-compressed keys in segwit",
    ScriptErrorName.SCHNORR_SIG_SIZE: "Invalid Schnorr signature size",
    ScriptErrorName.SCHNORR_SIG_HASHTYPE: "Invalid Schnorr signature hash type",
    ScriptErrorName.SCHNORR_SIG: "Invalid Schnorr signature",
    ScriptErrorName.TAPROOT_WRONG_CONTROL_SIZE: "Invalid Taproot control block size",
    ScriptErrorName.TAPSCRIPT_VALIDATION_WEIGHT: "Too much signature validation relative to witness weight",
    ScriptErrorName.TAPSCRIPT_CHECKMULTISIG: "OP_CHECKMULTISIG(VERIFY) is not available in tapscript",
    ScriptErrorName.TAPSCRIPT_MINIMALIF: "OP_IF/NOTIF argument must be minimal in tapscript",
    ScriptErrorName.TAPSCRIPT_EMPTY_PUBKEY: "Empty public key in tapscript",
    ScriptErrorName.OP_CODESEPARATOR: "Using OP_CODESEPARATOR in non-witness script",
    ScriptErrorName.SIG_FINDANDDELETE: "Signature is found in scriptCode",
}


class ScriptError(NodeError):
    """A script failed. `name` is Core's error name; str() is Core's sentence."""

    def __init__(self, name: ScriptErrorName) -> None:
        super().__init__(ERROR_TEXTS[name])
        self.name = name
