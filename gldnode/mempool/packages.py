"""Packages: several transactions judged together (Core: policy/packages.cpp, AcceptMultipleTransactions)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gldnode.errors import NodeError, Reject, RejectKind
from gldnode.mempool.entry import feerate_fee
from gldnode.mempool.graph import ChainLimitError, TxGraph, feerate_key
from gldnode.mempool.judge import Judge, Terms, Workspace
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.replace import MAX_REPLACEMENT_CANDIDATES, money_text
from gldnode.mempool.results import FeeReject
from gldnode.mempool.truc import check_truc_package
from gldnode.mempool.view import CoinView, PoolChain
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import Tx

__all__ = ["PackageError", "PackageVerdict", "check_package", "is_child_with_parents", "judge_package"]

MAX_PACKAGE_COUNT: Final = 25
MAX_PACKAGE_WEIGHT: Final = 404_000


class PackageError(NodeError):
    """The package as such is not acceptable; str() is Core's reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def check_package(txs: Sequence[Tx]) -> None:
    """Size, order and consistency (IsWellFormedPackage). Raises PackageError."""
    if len(txs) > MAX_PACKAGE_COUNT:
        raise PackageError("package-too-many-transactions")
    if len(txs) > 1 and sum(tx.weight for tx in txs) > MAX_PACKAGE_WEIGHT:
        raise PackageError("package-too-large")
    later = {tx.txid for tx in txs}
    if len(later) != len(txs):
        raise PackageError("package-contains-duplicates")
    for tx in txs:
        if any(txin.prevout.txid in later for txin in tx.inputs):
            raise PackageError("package-not-sorted")
        later.discard(tx.txid)
    spent: set[bytes] = set()
    for tx in txs:
        if not tx.inputs or any(txin.prevout in spent for txin in tx.inputs):
            raise PackageError("conflict-in-package")
        spent.update(txin.prevout for txin in tx.inputs)


def is_child_with_parents(txs: Sequence[Tx]) -> bool:
    """The last one spends from every other (IsChildWithParents)."""
    if len(txs) < 2:
        return False
    spent = {txin.prevout.txid for txin in txs[-1].inputs}
    return all(tx.txid in spent for tx in txs[:-1])


@dataclass(slots=True)
class PackageVerdict:
    """What `judge_package` found. `workspaces` is empty unless everything passed."""

    workspaces: list[Workspace] = field(default_factory=list)
    rejects: dict[Wtxid, Reject] = field(default_factory=dict)
    error: str | None = None
    """The package's own reason; "transaction failed" when `rejects` says which."""
    detail: str = ""
    replaces: set[Txid] = field(default_factory=set)

    @property
    def total_fee(self) -> int:
        return sum(ws.modified_fee for ws in self.workspaces)

    @property
    def total_vsize(self) -> int:
        return sum(ws.vsize for ws in self.workspaces)


def _failed(tx: Tx, reject: Reject) -> PackageVerdict:
    return PackageVerdict(rejects={tx.wtxid: reject}, error="transaction failed")


def judge_package(
    txs: Sequence[Tx],
    terms: Terms,
    judge: Judge,
    graph: TxGraph,
    chain: PoolChain,
    options: MempoolOptions,
    max_feerate: int | None = None,
) -> PackageVerdict:
    """Judge a well-formed package of new transactions; nothing is changed."""
    view = CoinView(chain, graph)
    verdict = PackageVerdict()
    # 1. Each alone, seeing the outputs of those before it.
    for tx in txs:
        try:
            ws = judge.examine(tx, terms, view)
            if max_feerate and terms.package_feerates and ws.fee > feerate_fee(max_feerate, ws.vsize):
                raise Reject("max feerate exceeded", "", RejectKind.POLICY)
        except Reject as reject:
            return _failed(tx, reject)
        verdict.workspaces.append(ws)
        view.add(tx)
    spaces = verdict.workspaces
    # 2. Version 3 among themselves.
    for ws in spaces:
        parents = [entry for txid in ws.parents if (entry := graph.get(txid)) is not None]
        try:
            check_truc_package(ws.tx, ws.vsize, txs, parents)
        except Reject as reject:
            return PackageVerdict(error=reject.reason, detail=reject.detail)
    # 3. Fees together.
    if terms.package_feerates:
        try:
            judge.check_feerate(verdict.total_vsize, verdict.total_fee)
        except FeeReject as reject:
            return _failed(txs[-1], reject)
    # 4. Limits, as if every one of them hung below every unconfirmed ancestor of any.
    if len(txs) > 1:
        ancestors = frozenset[Txid]().union(*(ws.ancestors for ws in spaces))
        parents_of_all = frozenset[Txid]().union(*(ws.parents for ws in spaces))
        try:
            graph.check_limits(verdict.total_vsize, len(txs), parents_of_all, ancestors, judge.limits)
        except ChainLimitError as error:
            return PackageVerdict(error="package-mempool-limits", detail=str(error))
    # 5. Replacement, by the package as a whole.
    if any(ws.conflicts for ws in spaces):
        try:
            verdict.replaces = _check_package_replacement(spaces, judge, graph, options)
        except PackageError as error:
            return PackageVerdict(error=error.reason, detail=error.detail)
    # 6. Dust, and scripts last.
    for tx in txs:
        try:
            judge.check_ephemeral_spends([tx], view)
        except Reject as reject:
            return PackageVerdict(rejects={tx.wtxid: reject}, error="unspent-dust")
    for ws in spaces:
        try:
            judge.verify_scripts(ws)
        except Reject as reject:
            return _failed(ws.tx, reject)
    return verdict


def _check_package_replacement(
    spaces: Sequence[Workspace], judge: Judge, graph: TxGraph, options: MempoolOptions
) -> set[Txid]:
    """A parent and its child may together replace what either conflicts with (PackageRBFChecks)."""
    if len(spaces) != 2 or not is_child_with_parents([ws.tx for ws in spaces]):
        raise PackageError("package RBF failed: package must be 1-parent-1-child")
    if any(ws.ancestors for ws in spaces):
        raise PackageError("package RBF failed: new transaction cannot have mempool ancestors")
    direct = {txid for ws in spaces for txid in ws.conflicts}
    entries = [entry for txid in direct if (entry := graph.get(txid)) is not None]
    if sum(entry.descendant_count for entry in entries) > MAX_REPLACEMENT_CANDIDATES:
        raise PackageError("package RBF failed: too many potential replacements")
    replaces = graph.with_descendants(direct)
    fee, vsize = sum(ws.modified_fee for ws in spaces), sum(ws.vsize for ws in spaces)
    replaced_fees = judge.fees_of(replaces)
    needed = feerate_fee(options.incremental_relay_feerate, vsize)
    if fee - replaced_fees < needed:
        raise PackageError(
            "package RBF failed: insufficient anti-DoS fees",
            f"{money_text(fee - replaced_fees)} < {money_text(needed)}",
        )
    parent = spaces[0]
    if feerate_key(fee, vsize) <= feerate_key(parent.modified_fee, parent.vsize):
        raise PackageError("package RBF failed: package feerate is less than or equal to parent feerate")
    for entry in entries:
        if feerate_key(fee, vsize) <= max(
            feerate_key(entry.modified_fee, entry.vsize),
            feerate_key(entry.descendant_fees, entry.descendant_size),
        ):
            raise PackageError("package RBF failed: insufficient feerate: does not improve feerate diagram")
    return replaces
