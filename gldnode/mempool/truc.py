"""Topologically restricted transactions, version 3 (BIP 431): small, with one unconfirmed parent or child.

Whoever shares such a transaction with others can always raise its fee: nobody can pin it with large or many
descendants.
"""

from collections.abc import Collection, Sequence
from typing import Final

from gldnode.errors import Reject, RejectKind
from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.graph import TxGraph
from gldnode.mempool.policy import TRUC_VERSION
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["SiblingConflict", "check_truc", "check_truc_package"]

TRUC_MAX_VSIZE: Final = 10_000
TRUC_CHILD_MAX_VSIZE: Final = 1_000
TRUC_ANCESTOR_LIMIT: Final = 2
TRUC_DESCENDANT_LIMIT: Final = 2


class SiblingConflict(Reject):
    """The parent has its one child already, but replacing that child may be considered."""

    def __init__(self, detail: str, sibling: Txid) -> None:
        super().__init__("TRUC-violation", detail, RejectKind.POLICY)
        self.sibling = sibling


def _violation(detail: str) -> Reject:
    return Reject("TRUC-violation", detail, RejectKind.POLICY)


def _name(tx: Tx) -> str:
    return f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"


def _check_inheritance(tx: Tx, parent: Tx) -> None:
    if tx.version != TRUC_VERSION and parent.version == TRUC_VERSION:
        raise _violation(f"non-version=3 {_name(tx)} cannot spend from version=3 {_name(parent)}")
    if tx.version == TRUC_VERSION and parent.version != TRUC_VERSION:
        raise _violation(f"version=3 {_name(tx)} cannot spend from non-version=3 {_name(parent)}")


def check_truc(
    graph: TxGraph, tx: Tx, vsize: int, parents: Sequence[MempoolEntry], conflicts: Collection[Txid]
) -> None:
    """The rules against the mempool (SingleTRUCChecks). Raises Reject, SiblingConflict."""
    for parent in parents:
        _check_inheritance(tx, parent.tx)
    if tx.version != TRUC_VERSION:
        return
    if vsize > TRUC_MAX_VSIZE:
        raise _violation(f"version=3 {_name(tx)} is too big: {vsize} > {TRUC_MAX_VSIZE} virtual bytes")
    if len(parents) + 1 > TRUC_ANCESTOR_LIMIT:
        raise _violation(f"{_name(tx)} would have too many ancestors")
    if not parents:
        return
    parent = parents[0]
    if parent.ancestor_count + 1 > TRUC_ANCESTOR_LIMIT:
        raise _violation(f"{_name(tx)} would have too many ancestors")
    if vsize > TRUC_CHILD_MAX_VSIZE:
        raise _violation(f"version=3 child {_name(tx)} is too big: {vsize} > {TRUC_CHILD_MAX_VSIZE} virtual bytes")
    others = graph.with_descendants(parent.children)
    if parent.descendant_count + 1 > TRUC_DESCENDANT_LIMIT and others.isdisjoint(conflicts):
        detail = f"{_name(parent.tx)} would exceed descendant count limit"
        if parent.descendant_count == 2:
            (sibling,) = others
            entry = graph.get(sibling)
            if entry is not None and entry.ancestor_count == 2:
                raise SiblingConflict(detail, sibling)
        raise _violation(detail)


def check_truc_package(tx: Tx, vsize: int, package: Sequence[Tx], parents: Sequence[MempoolEntry]) -> None:
    """The rules among the transactions of a sorted package (PackageTRUCChecks). Raises Reject."""
    spent = {txin.prevout.txid for txin in tx.inputs}
    before = package[: next(at for at, one in enumerate(package) if one is tx)]
    package_parents = [one for one in before if one.txid in spent]
    if tx.version != TRUC_VERSION:
        for one in [*(parent.tx for parent in parents), *package_parents]:
            _check_inheritance(tx, one)
        return
    # 1. One parent at most, itself without parents.
    if len(parents) + len(package_parents) + 1 > TRUC_ANCESTOR_LIMIT or (
        parents and parents[0].ancestor_count + len(package_parents) + 1 > TRUC_ANCESTOR_LIMIT
    ):
        raise _violation(f"{_name(tx)} would have too many ancestors")
    if not parents and not package_parents:
        return
    # 2. A child is small and of its parent's kind.
    if vsize > TRUC_CHILD_MAX_VSIZE:
        raise _violation(f"version=3 child {_name(tx)} is too big: {vsize} > {TRUC_CHILD_MAX_VSIZE} virtual bytes")
    parent = parents[0].tx if parents else package_parents[0]
    _check_inheritance(tx, parent)
    # 3. It is the only child, and has none itself.
    for one in package:
        if one is tx:
            continue
        for txin in one.inputs:
            if txin.prevout.txid == parent.txid:
                raise _violation(f"{_name(parent)} would exceed descendant count limit")
            if txin.prevout.txid == tx.txid:
                raise _violation(f"{_name(one)} would have too many ancestors")
    if parents and parents[0].descendant_count > 1:
        raise _violation(f"{_name(parent)} would exceed descendant count limit")
