"""Replacement by fee: when a transaction may take the place of those it conflicts with (BIP 125 rules 2–6).

Rule 1 (only what signals may be replaced) does not bind: `mempoolfullrbf` is on, as in Core since 28.
"""

from collections.abc import Collection, Iterable
from typing import Final

from gldnode.errors import Reject, RejectKind
from gldnode.mempool.entry import MempoolEntry, feerate_fee
from gldnode.mempool.graph import TxGraph
from gldnode.mempool.results import FeeReject
from gldnode.primitives.amount import format_amount, format_amount_short
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = [
    "MAX_REPLACEMENT_CANDIDATES",
    "check_no_new_unconfirmed",
    "check_pays_for_replacement",
    "check_pays_more_than_conflicts",
    "collect_conflicts",
]

MAX_REPLACEMENT_CANDIDATES: Final = 100


def _feerate_text(fee: int, vsize: int) -> str:
    return f"{format_amount(fee * 1000 // vsize)} BTC/kvB"


def money_text(amount: int) -> str:
    """Core's FormatMoney: at least two decimals."""
    text = format_amount_short(amount)
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def check_pays_more_than_conflicts(
    tx: Tx, fee: int, vsize: int, conflicts: Iterable[MempoolEntry], reason: str
) -> None:
    """Rule 6: a better feerate than each transaction it replaces directly (PaysMoreThanConflicts)."""
    for entry in conflicts:
        if fee * entry.vsize <= entry.modified_fee * vsize:
            raise FeeReject(
                reason,
                f"rejecting replacement {tx.txid[::-1].hex()}; new feerate {_feerate_text(fee, vsize)}"
                f" <= old feerate {_feerate_text(entry.modified_fee, entry.vsize)}",
            )


def collect_conflicts(graph: TxGraph, tx: Tx, conflicts: Collection[MempoolEntry]) -> set[Txid]:
    """Rule 5: all that would go, if it is not too much (GetEntriesForConflicts). Raises Reject."""
    count = sum(entry.descendant_count for entry in conflicts)
    if count > MAX_REPLACEMENT_CANDIDATES:
        raise Reject(
            "too many potential replacements",
            f"rejecting replacement {tx.txid[::-1].hex()}; too many potential replacements"
            f" ({count} > {MAX_REPLACEMENT_CANDIDATES})",
            RejectKind.POLICY,
        )
    return graph.with_descendants(entry.tx.txid for entry in conflicts)


def check_no_new_unconfirmed(graph: TxGraph, tx: Tx, conflicts: Iterable[MempoolEntry]) -> None:
    """Rule 2: no unconfirmed input but from parents of what it replaces (HasNoNewUnconfirmed). Raises Reject."""
    known = {txin.prevout[:32] for entry in conflicts for txin in entry.tx.inputs}
    for index, txin in enumerate(tx.inputs):
        parent = txin.prevout[:32]
        if parent not in known and parent in graph:
            raise Reject(
                "replacement-adds-unconfirmed",
                f"replacement {tx.txid[::-1].hex()} adds unconfirmed input, idx {index}",
                RejectKind.POLICY,
            )


def check_pays_for_replacement(
    txid: Txid, fee: int, vsize: int, replaced_fees: int, incremental_feerate: int, reason: str
) -> None:
    """Rules 3 and 4: at least the fees it takes away, and its own bandwidth on top (PaysForRBF)."""
    if fee < replaced_fees:
        raise FeeReject(
            reason,
            f"rejecting replacement {txid[::-1].hex()}, less fees than conflicting txs;"
            f" {money_text(fee)} < {money_text(replaced_fees)}",
        )
    needed = feerate_fee(incremental_feerate, vsize)
    if fee - replaced_fees < needed:
        raise FeeReject(
            reason,
            f"rejecting replacement {txid[::-1].hex()}, not enough additional fees to relay;"
            f" {money_text(fee - replaced_fees)} < {money_text(needed)}",
        )
