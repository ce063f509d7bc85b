"""Signature operations and what they cost a block (BIP 16, BIP 141)."""

from collections.abc import Sequence
from typing import Final

from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import WITNESS_SCALE_FACTOR, Tx, TxOut
from gldnode.script.flags import ScriptFlags
from gldnode.script.script import count_sigops, p2sh_sigops, witness_sigops

__all__ = [
    "MAX_BLOCK_SIGOPS_COST",
    "legacy_sigops",
    "script_sigops",
    "sigop_cost",
]

MAX_BLOCK_SIGOPS_COST: Final = 80_000


def script_sigops(script: bytes) -> int:
    """Signature operations of an output script, counted as before BIP 16. The usual ones without a walk."""
    length = len(script)
    if length == 22 and script[:2] == b"\x00\x14":
        return 0
    if length == 34 and script[1:2] == b"\x20" and (script[0] == 0 or script[0] >= 0x51):
        return 0
    if length == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return 1
    if length == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return 0
    return count_sigops(script, False)


def legacy_sigops(tx: Tx) -> int:
    """Signature operations of all its scripts, without what they spend (GetLegacySigOpCount)."""
    count = 0
    for txin in tx.inputs:
        if txin.script_sig:
            count += count_sigops(txin.script_sig, False)
    for output in tx.outputs:
        count += script_sigops(output.script_pubkey)
    return count


def sigop_cost(tx: Tx, spent: Sequence[Coin | TxOut], flags: ScriptFlags, legacy: int | None = None) -> int:
    """Cost of all signature operations of `tx`, BIP 141 (GetTransactionSigOpCost).

    `spent`: what each input spends, in order; empty for a coinbase. `legacy` is `legacy_sigops(tx)` where the
    caller has it already.
    """
    cost = (legacy_sigops(tx) if legacy is None else legacy) * WITNESS_SCALE_FACTOR
    if not spent:
        return cost
    with_p2sh = bool(flags & ScriptFlags.P2SH)
    with_witness = bool(flags & ScriptFlags.WITNESS)
    for txin, coin in zip(tx.inputs, spent, strict=True):
        script = coin.script_pubkey
        length = len(script)
        if length == 22 and script[:2] == b"\x00\x14":
            cost += with_witness
            continue
        if length == 25 and script[0] == 0x76:
            continue  # P2PKH: neither P2SH nor a witness program
        if with_p2sh:
            cost += p2sh_sigops(txin.script_sig, script) * WITNESS_SCALE_FACTOR
        if with_witness:
            cost += witness_sigops(txin.script_sig, script, txin.witness, flags)
    return cost
