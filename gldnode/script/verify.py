"""The entry point: does this input's script and witness satisfy the output it spends? (Core: VerifyScript)"""

from collections.abc import Sequence

from gldnode.primitives.tx import Tx
from gldnode.script.checker import SignatureChecker, TxChecker
from gldnode.script.errors import ScriptError, ScriptErrorName
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.sighash import SighashCache, SpentOutput

__all__ = [
    "MANDATORY_SCRIPT_VERIFY_FLAGS",
    "STANDARD_SCRIPT_VERIFY_FLAGS",
    "ScriptError",
    "ScriptErrorName",
    "ScriptFlags",
    "verify_input",
    "verify_script",
]


def verify_script(
    script_sig: bytes,
    script_pubkey: bytes,
    witness: Sequence[bytes],
    flags: ScriptFlags,
    checker: SignatureChecker,
) -> None:
    """Raises ScriptError unless the spend is valid under `flags`. WITNESS needs P2SH, CLEANSTACK both."""
    raise ScriptError(ScriptErrorName.UNKNOWN_ERROR)


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
