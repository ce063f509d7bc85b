"""Whether the mempool wants a transaction: Core's checks in Core's order, without changing anything.

`Judge.examine` is Core's PreChecks, `check_replacement` ReplacementChecks, `verify_scripts` PolicyScriptChecks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gldnode.consensus.check_tx import check_transaction, check_tx_inputs
from gldnode.consensus.locks import is_final
from gldnode.errors import Reject, RejectKind
from gldnode.mempool.entry import LockPoints, MempoolEntry, feerate_fee
from gldnode.mempool.graph import ChainLimitError, ChainLimits, TxGraph
from gldnode.mempool.locktime import NO_LOCKS, do_locks_allow_next, lock_points
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.policy import (
    MAX_STANDARD_TX_SIGOPS_COST,
    MIN_STANDARD_TX_NONWITNESS_SIZE,
    TRUC_VERSION,
    check_inputs_standard,
    check_standard_tx,
    check_witness_standard,
    dust_outputs,
    spends_only_keyhashes,
    virtual_size,
)
from gldnode.mempool.replace import (
    check_no_new_unconfirmed,
    check_pays_for_replacement,
    check_pays_more_than_conflicts,
    collect_conflicts,
)
from gldnode.mempool.results import FeeReject, MissingInputs
from gldnode.mempool.scripts import ScriptVerifier, tx_sigop_cost
from gldnode.mempool.truc import SiblingConflict, check_truc
from gldnode.mempool.view import CoinView, PoolChain
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["PACKAGE_CHILD", "PACKAGE_TEST", "SINGLE", "SINGLE_IN_PACKAGE", "Judge", "Terms", "Workspace"]

EXTRA_DESCENDANT_TX_SIZE_LIMIT: Final = 10_000
_NO_TXIDS: Final[frozenset[Txid]] = frozenset()


@dataclass(frozen=True, slots=True)
class Terms:
    """What is allowed while judging (Core: ATMPArgs)."""

    allow_replacement: bool = True
    allow_sibling_eviction: bool = True
    allow_carveout: bool = True
    """One small extra descendant with a single unconfirmed ancestor."""
    package_feerates: bool = False
    """Fees are judged for the package as a whole."""
    bypass_limits: bool = False
    """Came from a disconnected block: no minimum fee."""


SINGLE: Final = Terms()
PACKAGE_TEST: Final = Terms(allow_replacement=False, allow_sibling_eviction=False, allow_carveout=False)
PACKAGE_CHILD: Final = Terms(allow_sibling_eviction=False, allow_carveout=False, package_feerates=True)
SINGLE_IN_PACKAGE: Final = Terms(allow_carveout=False)


class Workspace(msgspec.Struct):
    """What is known about one transaction while it is judged."""

    tx: Tx
    coins: list[Coin]
    fee: int
    modified_fee: int
    vsize: int
    sigop_cost: int
    spends_coinbase: bool
    locks: LockPoints
    parents: frozenset[Txid]
    ancestors: frozenset[Txid] = _NO_TXIDS
    conflicts: frozenset[Txid] = _NO_TXIDS
    """What it replaces directly."""
    replaces: frozenset[Txid] = _NO_TXIDS
    """With descendants."""
    is_sibling_eviction: bool = False


class FeeFloor(Protocol):
    """The rolling minimum fee."""

    def min_feerate(self) -> int:
        """Grains per 1,000 virtual bytes; 0 while there is room."""
        ...


class Judge:
    """Judges transactions against the chain's tip, the mempool and the operator's policy."""

    def __init__(
        self,
        chain: PoolChain,
        graph: TxGraph,
        options: MempoolOptions,
        deltas: Mapping[Txid, int],
        floor: FeeFloor,
        scripts: ScriptVerifier,
    ) -> None:
        self._chain = chain
        self._graph = graph
        self._options = options
        self._deltas = deltas
        self._floor = floor
        self._scripts = scripts
        self._limits = ChainLimits(
            options.ancestor_count,
            options.ancestor_size_vb,
            options.descendant_count,
            options.descendant_size_vb,
        )

    @property
    def limits(self) -> ChainLimits:
        return self._limits

    def check_feerate(self, vsize: int, modified_fee: int) -> None:
        """Enough for this pool now (CheckFeeRate). Raises FeeReject."""
        floor = feerate_fee(self._floor.min_feerate(), vsize)
        if floor > 0 and modified_fee < floor:
            raise FeeReject("mempool min fee not met", f"{modified_fee} < {floor}")
        least = feerate_fee(self._options.min_relay_feerate, vsize)
        if modified_fee < least:
            raise FeeReject("min relay fee not met", f"{modified_fee} < {least}")

    def examine(self, tx: Tx, terms: Terms, view: CoinView) -> Workspace:
        """Everything but replacement rules and scripts. Raises Reject."""
        options = self._options
        graph = self._graph
        chain = self._chain
        tip = chain.tip
        next_height = tip.height + 1
        # 1. The transaction alone.
        check_transaction(tx, chain.params)
        if tx.is_coinbase:
            raise Reject("coinbase")
        dust = check_standard_tx(tx, options) if options.require_standard else 0
        # 64 bytes without witness can be taken for an inner node of the merkle tree (CVE-2017-12842).
        if tx.base_size < MIN_STANDARD_TX_NONWITNESS_SIZE:
            raise Reject("tx-size-small", "", RejectKind.POLICY)
        if not is_final(tx, next_height, tip.median_time):
            raise Reject("non-final", "", RejectKind.CONTEXT)
        # 2. Is it here, or in conflict with what is here?
        if tx.txid in graph:
            if graph.txid_of(tx.wtxid) is not None:
                raise Reject("txn-already-in-mempool", "", RejectKind.CONFLICT)
            raise Reject("txn-same-nonwitness-data-in-mempool", "", RejectKind.CONFLICT)
        conflicts = self._find_conflicts(tx, terms)
        # 3. Inputs exist, are ripe, and pay.
        coins = self._find_coins(tx, view)
        locks = lock_points(tx, coins, chain)
        if locks is not NO_LOCKS and not do_locks_allow_next(locks, chain):
            raise Reject("non-BIP68-final", "", RejectKind.CONTEXT)
        fee = check_tx_inputs(tx, coins, next_height, chain.params)
        # 4. They are spent in a known way.
        if options.require_standard and not spends_only_keyhashes(tx, coins):
            check_inputs_standard(tx, coins)
            if tx.has_witness:
                check_witness_standard(tx, coins)
        # 5. Its cost and its fee.
        sigop_cost = tx_sigop_cost(tx, coins)
        modified_fee = fee + self._deltas.get(tx.txid, 0)
        vsize = virtual_size(tx.weight, sigop_cost, options.bytes_per_sigop)
        if dust and (fee or modified_fee):
            raise Reject("dust", "tx with dust output must be 0-fee", RejectKind.POLICY)
        if sigop_cost > MAX_STANDARD_TX_SIGOPS_COST:
            raise Reject("bad-txns-too-many-sigops", str(sigop_cost), RejectKind.POLICY)
        if not terms.bypass_limits:
            if terms.package_feerates:
                # A version 3 parent may pay nothing: its child pays. Others cannot be left without feerate.
                least = feerate_fee(options.min_relay_feerate, vsize)
                if tx.version != TRUC_VERSION and modified_fee < least:
                    raise FeeReject("min relay fee not met", f"{modified_fee} < {least}")
            else:
                self.check_feerate(vsize, modified_fee)
        # 6. Its place among the unconfirmed.
        ws = Workspace(
            tx,
            coins,
            fee,
            modified_fee,
            vsize,
            sigop_cost,
            True in [coin.is_coinbase for coin in coins],
            locks,
            graph.parents_of(tx),
            conflicts=conflicts,
        )
        if ws.parents:
            ws.ancestors = graph.ancestors_through(ws.parents)
            self._check_chain_limits(ws, terms)
        if ws.parents or tx.version == TRUC_VERSION:
            self._check_truc(ws, terms)
        if conflicts and not conflicts.isdisjoint(ws.ancestors):
            pathological = next(iter(conflicts & ws.ancestors))
            raise Reject(
                "bad-txns-spends-conflicting-tx",
                f"{tx.txid[::-1].hex()} spends conflicting transaction {pathological[::-1].hex()}",
            )
        return ws

    def _find_conflicts(self, tx: Tx, terms: Terms) -> frozenset[Txid]:
        found = self._graph.conflicts_of(tx)
        if not found:
            return _NO_TXIDS
        if not terms.allow_replacement:
            raise Reject("bip125-replacement-disallowed", "", RejectKind.POLICY)
        if not self._options.full_rbf:
            for other in found:
                entry = self._graph.get(other)
                if entry is not None and not entry.signals_itself:
                    raise Reject("txn-mempool-conflict", "", RejectKind.POLICY)
        return frozenset(found)

    def _find_coins(self, tx: Tx, view: CoinView) -> list[Coin]:
        found = view.coins(tx)
        coins = [coin for coin in found if coin is not None]
        if len(coins) != len(found):
            # Are they gone because the transaction itself is confirmed?
            if any(self._chain.coin(tx.outpoint(vout)) is not None for vout in range(len(tx.outputs))):
                raise Reject("txn-already-known", "", RejectKind.CONFLICT)
            missing = [txin.prevout.txid for txin, coin in zip(tx.inputs, found, strict=True) if coin is None]
            raise MissingInputs(tuple(dict.fromkeys(missing)))
        return coins

    def _check_chain_limits(self, ws: Workspace, terms: Terms) -> None:
        limits = self._limits
        graph = self._graph
        if len(ws.conflicts) == 1:
            # Replacing exactly one transaction cannot make a chain longer: it may take the place that gets free.
            (conflict,) = ws.conflicts
            entry = graph.get(conflict)
            assert entry is not None
            limits = ChainLimits(
                limits.ancestor_count,
                limits.ancestor_size,
                limits.descendant_count + 1,
                limits.descendant_size + entry.descendant_size,
            )
        try:
            graph.check_limits(ws.vsize, 1, ws.parents, ws.ancestors, limits)
        except ChainLimitError as error:
            reject = Reject("too-long-mempool-chain", str(error), RejectKind.POLICY)
            # The carve-out for contracts between two parties: each can add one small child.
            if not terms.allow_carveout or (
                ws.vsize > EXTRA_DESCENDANT_TX_SIZE_LIMIT or ws.tx.version == TRUC_VERSION
            ):
                raise reject from None
            carve_out = ChainLimits(
                2,
                limits.ancestor_size,
                limits.descendant_count + 1,
                limits.descendant_size + EXTRA_DESCENDANT_TX_SIZE_LIMIT,
            )
            try:
                graph.check_limits(ws.vsize, 1, ws.parents, ws.ancestors, carve_out)
            except ChainLimitError:
                raise reject from None

    def _check_truc(self, ws: Workspace, terms: Terms) -> None:
        parents = [entry for txid in ws.parents if (entry := self._graph.get(txid)) is not None]
        try:
            check_truc(self._graph, ws.tx, ws.vsize, parents, ws.conflicts)
        except SiblingConflict as conflict:
            if not terms.allow_sibling_eviction:
                raise Reject("TRUC-violation", conflict.detail, RejectKind.POLICY) from None
            ws.conflicts |= {conflict.sibling}
            ws.is_sibling_eviction = True

    def check_replacement(self, ws: Workspace) -> None:
        """The rules of replacement, for a transaction with conflicts; fills `replaces`. Raises Reject."""
        reason = "insufficient fee"
        if ws.is_sibling_eviction:
            reason += " (including sibling eviction)"
        conflicts = [entry for txid in ws.conflicts if (entry := self._graph.get(txid)) is not None]
        check_pays_more_than_conflicts(ws.tx, ws.modified_fee, ws.vsize, conflicts, reason)
        ws.replaces = frozenset(collect_conflicts(self._graph, ws.tx, conflicts))
        check_no_new_unconfirmed(self._graph, ws.tx, conflicts)
        check_pays_for_replacement(
            ws.tx.txid,
            ws.modified_fee,
            ws.vsize,
            self.fees_of(ws.replaces),
            self._options.incremental_relay_feerate,
            reason,
        )

    def fees_of(self, txids: Iterable[Txid]) -> int:
        """Modified fees of mempool transactions together."""
        return sum(entry.modified_fee for txid in txids if (entry := self._graph.get(txid)) is not None)

    def check_ephemeral_spends(self, txs: Sequence[Tx], view: CoinView) -> None:
        """Dust of an unconfirmed parent must be spent by each child (CheckEphemeralSpends). Raises Reject."""
        if not self._options.require_standard:
            return
        for tx in txs:
            self._check_ephemeral(tx, view.package_tx)

    def _check_ephemeral(self, tx: Tx, package_tx: Callable[[bytes], Tx | None]) -> None:
        spent = {txin.prevout for txin in tx.inputs}
        for txid in {prevout.txid for prevout in spent}:
            parent = package_tx(txid)
            if parent is None:
                entry: MempoolEntry | None = self._graph.get(txid)
                if entry is None:
                    continue
                parent = entry.tx
            for vout in dust_outputs(parent, self._options.dust_relay_feerate):
                if parent.outpoint(vout) not in spent:
                    raise Reject(
                        "missing-ephemeral-spends",
                        f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"
                        " did not spend parent's ephemeral dust",
                        RejectKind.POLICY,
                    )

    def verify_scripts(self, ws: Workspace) -> None:
        """All inputs' scripts, with the flags of policy; last because it is slow. Raises Reject."""
        self._scripts.verify(ws.tx, ws.coins)
