"""Verifying the scripts of one transaction for the mempool, and remembering that it was done."""

from collections.abc import Sequence

from gldnode.chain.scriptcache import ScriptCache
from gldnode.consensus.sizes import sigop_cost
from gldnode.errors import Reject, RejectKind
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import Tx
from gldnode.script.batch import TxVerifier
from gldnode.script.flags import STANDARD_SCRIPT_VERIFY_FLAGS
from gldnode.script.script import is_p2sh, is_pay_to_anchor, last_push, witness_program

__all__ = ["ScriptVerifier", "tx_sigop_cost"]


def tx_sigop_cost(tx: Tx, coins: Sequence[Coin]) -> int:
    """Cost of the signature operations, BIP 141. Key-hash and taproot spends to witness outputs without a walk."""
    cost = 0
    for txin, coin in zip(tx.inputs, coins, strict=True):
        script = coin.script_pubkey
        if txin.script_sig:
            return sigop_cost(tx, coins, STANDARD_SCRIPT_VERIFY_FLAGS)
        if len(script) == 22 and script[:2] == b"\x00\x14":
            cost += 1
        elif not (len(script) == 34 and script[:2] == b"\x51\x20"):
            return sigop_cost(tx, coins, STANDARD_SCRIPT_VERIFY_FLAGS)
    for output in tx.outputs:
        script = output.script_pubkey
        if not (
            (len(script) == 22 and script[:2] == b"\x00\x14")
            or (len(script) == 34 and script[:2] in (b"\x51\x20", b"\x00\x20"))
        ):
            return sigop_cost(tx, coins, STANDARD_SCRIPT_VERIFY_FLAGS)
    return cost


class ScriptVerifier:
    """Verifies with the flags of policy, which include every consensus rule. For the validation thread."""

    def __init__(self, cache: ScriptCache) -> None:
        """What passes is noted in `cache`: a block need not verify it again."""
        self._cache = cache
        self._verifier = TxVerifier(STANDARD_SCRIPT_VERIFY_FLAGS)

    def verify(self, tx: Tx, coins: Sequence[Coin]) -> None:
        """Raises Reject(mempool-script-verify-flag-failed …)."""
        is_verified = self._cache.checker(STANDARD_SCRIPT_VERIFY_FLAGS)
        if is_verified is not None and is_verified(tx):
            return  # it was here before: evicted, replaced, or in a block that the chain has left
        failure = self._verifier.failure(tx, coins)
        if failure is None:
            self._cache.add(tx, STANDARD_SCRIPT_VERIFY_FLAGS)
            return
        index = failure.input_index
        raise Reject(
            f"mempool-script-verify-flag-failed ({failure.error})",
            f"input {index} of {tx.txid[::-1].hex()} (wtxid {tx.wtxid[::-1].hex()}),"
            f" spending {tx.inputs[index].prevout!r}",
            # Without its witness it says nothing about the transaction itself, which may come again with it.
            RejectKind.MUTATED if self._is_stripped(tx, coins) else RejectKind.POLICY,
        )

    @staticmethod
    def _is_stripped(tx: Tx, coins: Sequence[Coin]) -> bool:
        """Whether the witness that its inputs need was left away (Core: SpendsNonAnchorWitnessProg)."""
        if tx.has_witness:
            return False
        for txin, coin in zip(tx.inputs, coins, strict=True):
            script = coin.script_pubkey
            if is_p2sh(script):
                script = last_push(txin.script_sig) or b""
            if witness_program(script) is not None and not is_pay_to_anchor(script):
                return True
        return False
