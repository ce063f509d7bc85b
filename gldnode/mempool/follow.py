"""Keeping the mempool in step with the chain: blocks come, blocks go, and what was in them comes back."""

from gldnode.consensus.locks import is_final
from gldnode.errors import Reject
from gldnode.events import BlockConnected, BlockDisconnected, RemovalReason
from gldnode.mempool.core import PoolCore
from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.judge import Terms
from gldnode.mempool.locktime import NO_LOCKS, do_locks_allow_next, lock_points
from gldnode.mempool.reorg import DisconnectedTxs
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["ChainFollower"]

_READDED = Terms(allow_replacement=False, allow_sibling_eviction=False, bypass_limits=True)


class ChainFollower:
    """Applies steps of the active chain to the mempool (validation thread)."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core
        self._disconnected = DisconnectedTxs()
        self._reorganising = False

    @property
    def is_reorganising(self) -> bool:
        """Whether blocks were disconnected and `finish_reorg` has not been called yet."""
        return self._reorganising

    def connected(self, step: BlockConnected) -> None:
        """A block confirms transactions and rules out those that conflict with it."""
        core = self._core
        graph, deltas = core.graph, core.deltas
        txs = step.block.txs[1:]
        confirmed: list[MempoolEntry] = []
        if len(graph):
            mined = [tx.txid for tx in txs if tx.txid in graph]
            confirmed = core.remove(mined, RemovalReason.BLOCK)
            for tx in txs:
                for txin in tx.inputs:
                    conflict = graph.spender(txin.prevout)
                    if conflict is not None:
                        core.remove_recursive([conflict], RemovalReason.CONFLICT, tx.txid)
        if deltas:
            for tx in txs:
                deltas.pop(tx.txid, None)
        self._disconnected.forget(txs)
        core.estimator.block_connected(step.height, [(entry.tx.txid, entry.height) for entry in confirmed])
        core.floor.block_connected()

    def disconnected(self, step: BlockDisconnected) -> None:
        """A block's transactions are unconfirmed again; which of them stand is decided by `finish_reorg`."""
        self._reorganising = True
        for tx in self._disconnected.add_block(step.block):
            self._core.remove_spenders(tx, RemovalReason.REORG)

    def finish_reorg(self) -> None:
        """Bring back what the left blocks had and drop what the new tip does not allow."""
        if not self._reorganising:
            return
        self._reorganising = False
        core = self._core
        back: list[Txid] = []
        for tx in self._disconnected.take():
            if tx.txid in core.graph:
                continue
            if not tx.is_coinbase and self._bring_back(tx):
                back.append(tx.txid)
            else:
                core.remove_spenders(tx, RemovalReason.REORG)
        self._drop_too_long(back)
        self._drop_premature()
        core.limit_size()
        core.check_sometimes()

    def _bring_back(self, tx: Tx) -> bool:
        core = self._core
        try:
            ws = core.judge.examine(tx, _READDED, core.view)
            core.judge.verify_scripts(ws)
        except Reject:
            return False
        core.admit([ws], _READDED, core.clock.now())
        return True

    def _drop_too_long(self, back: list[Txid]) -> None:
        """Chains that only got too long because a confirmed part of them came back."""
        core = self._core
        options = core.options
        too_long = [
            txid
            for txid in core.graph.with_descendants(back)
            if (entry := core.graph.get(txid)) is not None
            and (entry.ancestor_count > options.ancestor_count or entry.ancestor_size > options.ancestor_size_vb)
        ]
        core.remove_recursive(too_long, RemovalReason.SIZELIMIT)

    def _drop_premature(self) -> None:
        """What is not final, not mature or not old enough for the block after the new tip."""
        core = self._core
        chain = core.chain
        tip = chain.tip
        gone: list[Txid] = []
        for entry in core.graph.entries():
            tx = entry.tx
            if not is_final(tx, tip.height + 1, tip.median_time) or not self._still_unlocked(entry):
                gone.append(tx.txid)
            elif entry.spends_coinbase:
                for txin in tx.inputs:
                    if txin.prevout[:32] in core.graph:
                        continue
                    coin = chain.coin(txin.prevout)
                    if coin is None or (
                        coin.is_coinbase and tip.height + 1 - coin.height < chain.params.coinbase_maturity
                    ):
                        gone.append(tx.txid)
                        break
        core.remove_recursive(gone, RemovalReason.REORG)

    def _still_unlocked(self, entry: MempoolEntry) -> bool:
        """BIP 68 at the new tip; the lock points are computed anew, for coins may have changed their height."""
        core = self._core
        locks = entry.locks
        if locks == NO_LOCKS:
            return True
        coins = [core.view.coin(txin.prevout) for txin in entry.tx.inputs]
        known = [coin for coin in coins if coin is not None]
        if len(known) != len(coins):
            return False
        locks = lock_points(entry.tx, known, core.chain)
        if not do_locks_allow_next(locks, core.chain):
            return False
        core.graph.update_locks(entry, locks)
        return True
