"""The state of the mempool and the few ways in which it changes: in, out, dearer.

Everything here runs in the validation thread; `Mempool` wraps it with what others call.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence

from gldnode.clock import Clock
from gldnode.errors import Reject, RejectKind
from gldnode.events import MempoolTxAdded, MempoolTxRefused, MempoolTxRemoved, RemovalReason
from gldnode.mempool.entry import MempoolEntry, make_entry
from gldnode.mempool.fees import FeeEstimator
from gldnode.mempool.floor import RollingFloor
from gldnode.mempool.graph import TxGraph
from gldnode.mempool.judge import Judge, Terms, Workspace
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.scripts import ScriptVerifier
from gldnode.mempool.view import CoinView, PoolChain
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["MempoolEvent", "PoolCore"]

MempoolEvent = MempoolTxAdded | MempoolTxRemoved | MempoolTxRefused


class PoolCore:
    """Entries, fee deltas, rolling minimum and fee statistics, kept in step with each other."""

    def __init__(self, chain: PoolChain, options: MempoolOptions, clock: Clock) -> None:
        self.chain = chain
        self.options = options
        self.clock = clock
        self.graph = TxGraph()
        self.deltas: dict[Txid, int] = {}
        self.floor = RollingFloor(options, clock, lambda: self.graph.memory)
        self.estimator = FeeEstimator()
        self.scripts = ScriptVerifier(chain.script_cache)
        self.judge = Judge(chain, self.graph, options, self.deltas, self.floor, self.scripts)
        self.view = CoinView(chain, self.graph)
        self.unbroadcast: set[Txid] = set()
        self.sequence = 0
        self._changes = 0
        self._by_time: list[tuple[int, Txid]] = []
        self._listeners: list[Callable[[MempoolEvent], None]] = []

    # --- events

    def listen(self, fn: Callable[[MempoolEvent], None]) -> None:
        self._listeners.append(fn)

    def publish(self, event: MempoolEvent) -> None:
        for fn in self._listeners:
            fn(event)

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    # --- in

    def admit(
        self,
        spaces: Sequence[Workspace],
        terms: Terms,
        now: int,
        *,
        replaces: Collection[Txid] = (),
        keep_size: bool = False,
    ) -> list[Tx]:
        """Put judged transactions in, after what they replace is out; what was replaced.

        `keep_size`: do not evict for memory now (the caller will). Raises Reject("mempool full") when the last
        one did not survive the eviction.
        """
        gone = set(replaces)
        for ws in spaces:
            gone |= ws.replaces
        replaced = [entry.tx for entry in self.remove(gone, RemovalReason.REPLACED, spaces[-1].tx.txid)]
        tip = self.chain.tip
        for ws in spaces:
            sequence = self.next_sequence()
            entry = make_entry(
                ws.tx,
                fee=ws.fee,
                modified_fee=ws.fee + self.deltas.get(ws.tx.txid, 0),
                vsize=ws.vsize,
                sigop_cost=ws.sigop_cost,
                time=now,
                height=tip.height,
                sequence=sequence,
                spends_coinbase=ws.spends_coinbase,
                locks=ws.locks,
            )
            self.graph.add(entry, adopt_children=terms.bypass_limits)
            heapq.heappush(self._by_time, (now, ws.tx.txid))
            alone = not gone and not terms.bypass_limits and len(spaces) == 1 and not ws.parents
            if alone and not self.chain.is_initial_block_download:
                # Its own feerate is why it will confirm when it does: that teaches the estimator.
                self.estimator.tx_added(ws.tx.txid, ws.fee, ws.vsize, tip.height)
            self.publish(MempoolTxAdded(ws.tx, sequence))
        if not terms.bypass_limits and not keep_size:
            self.limit_size()
            if spaces[-1].tx.txid not in self.graph:
                raise Reject("mempool full", "", RejectKind.POLICY)
        return replaced

    # --- out

    def remove(
        self, txids: Collection[Txid], reason: RemovalReason, replaced_by: Txid | None = None
    ) -> list[MempoolEntry]:
        """Take out exactly these (see TxGraph.remove), parents first."""
        if not txids:
            return []
        removed = self.graph.remove(txids)
        self.unbroadcast.difference_update(txids)
        for entry in removed:
            if reason is not RemovalReason.BLOCK:
                self.estimator.tx_removed(entry.tx.txid)
            self.publish(MempoolTxRemoved(entry.tx, reason, replaced_by, self.next_sequence()))
        return removed

    def remove_recursive(
        self, txids: Iterable[Txid], reason: RemovalReason, replaced_by: Txid | None = None
    ) -> list[MempoolEntry]:
        """Take out these and all that spends from them."""
        return self.remove(self.graph.with_descendants(txids), reason, replaced_by)

    def remove_spenders(self, tx: Tx, reason: RemovalReason) -> None:
        """Take out what spends from `tx`, which itself is not here."""
        spenders = (self.graph.spender(tx.outpoint(vout)) for vout in range(len(tx.outputs)))
        self.remove_recursive([txid for txid in spenders if txid is not None], reason)

    def limit_size(self) -> None:
        """Expire what is too old, then evict the least valuable until memory suffices."""
        self.expire(self.clock.now() - self.options.expiry_s)
        while self.graph.memory > self.options.max_mempool_bytes:
            worst = self.graph.worst()
            if worst is None:
                break
            feerate = worst.descendant_fees * 1000 / worst.descendant_size
            self.floor.evicted(feerate + self.options.incremental_relay_feerate)
            self.remove_recursive([worst.tx.txid], RemovalReason.SIZELIMIT)

    def expire(self, before: int) -> int:
        """Take out what was accepted before that moment, with descendants; how many."""
        old = []
        while self._by_time and self._by_time[0][0] < before:
            time, txid = heapq.heappop(self._by_time)
            entry = self.graph.get(txid)
            if entry is not None and entry.time == time:
                old.append(txid)
        if len(self._by_time) > 2 * len(self.graph) + 1_000:
            self._by_time = [(entry.time, entry.tx.txid) for entry in self.graph.entries()]
            heapq.heapify(self._by_time)
        return len(self.remove_recursive(old, RemovalReason.EXPIRY)) if old else 0

    # --- dearer

    def prioritise(self, txid: Txid, delta: int) -> None:
        """Let `txid` count as if it paid `delta` more (or less); remembered even while it is not here."""
        total = self.deltas.get(txid, 0) + delta
        if total:
            self.deltas[txid] = total
        else:
            self.deltas.pop(txid, None)
        if txid in self.graph:
            self.graph.change_fee(txid, delta)

    def check_sometimes(self) -> None:
        """`check` once in so many changes, where the operator asks for it."""
        ratio = self.options.check_ratio
        if ratio:
            self._changes += 1
            if self._changes % ratio == 0:
                self.check()

    def check(self) -> None:
        """Assert that the parts agree with each other and with the chain (Core: CTxMemPool::check)."""
        self.graph.check()
        for entry in self.graph.entries():
            tx = entry.tx
            assert entry.modified_fee == entry.fee + self.deltas.get(tx.txid, 0)
            for txin in tx.inputs:
                assert self.view.coin(txin.prevout) is not None
                if txin.prevout.txid in self.graph:
                    assert self.chain.coin(txin.prevout) is None
        assert all(txid in self.graph for txid in self.unbroadcast)
