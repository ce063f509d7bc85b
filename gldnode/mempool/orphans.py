"""Transactions whose parents are not known yet, kept for a while in case they come.

Bounded in number and weight. When it is full, the peer that has filled it most loses its oldest: nobody can push
out what others sent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gldnode.mempool.policy import MAX_STANDARD_TX_WEIGHT
from gldnode.primitives.block import Block
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import OutPoint, Tx

__all__ = ["OrphanPool"]

EXPIRY_S: Final = 20 * 60
MAX_WEIGHT_PER_SLOT: Final = 404_000


@dataclass(slots=True)
class _Orphan:
    tx: Tx
    peers: dict[int, None]
    """Who announced it, first one first."""
    expires_at: int


class OrphanPool:
    """Orphans by wtxid, and by the outputs that they wait for. One thread only."""

    def __init__(self, max_count: int = 100, max_weight: int = 20 * MAX_WEIGHT_PER_SLOT) -> None:
        self._max_count = max_count
        self._max_weight = max_weight
        self._orphans: dict[Wtxid, _Orphan] = {}
        self._waiting: dict[OutPoint, set[Wtxid]] = {}
        self._weight_of_peer: dict[int, int] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._orphans)

    def __contains__(self, wtxid: object) -> bool:
        return wtxid in self._orphans

    def get(self, wtxid: Wtxid) -> Tx | None:
        orphan = self._orphans.get(wtxid)
        return orphan.tx if orphan is not None else None

    def txs(self) -> list[Tx]:
        return [orphan.tx for orphan in self._orphans.values()]

    def peers_of(self, wtxid: Wtxid) -> tuple[int, ...]:
        orphan = self._orphans.get(wtxid)
        return tuple(orphan.peers) if orphan is not None else ()

    def add(self, tx: Tx, peer: int, now: int) -> bool:
        """Keep `tx` for `peer`; whether it is new here. Too large ones are not kept."""
        weight = tx.weight
        if weight > MAX_STANDARD_TX_WEIGHT or self._max_count == 0:
            return False
        known = self._orphans.get(tx.wtxid)
        if known is not None:
            if peer not in known.peers:
                known.peers[peer] = None
                self._charge(peer, weight)
            return False
        self._orphans[tx.wtxid] = _Orphan(tx, {peer: None}, now + EXPIRY_S)
        for txin in tx.inputs:
            self._waiting.setdefault(txin.prevout, set()).add(tx.wtxid)
        self._weight += weight
        self._charge(peer, weight)
        self.expire(now)
        while len(self._orphans) > self._max_count or self._weight > self._max_weight:
            self._evict_one()
        return tx.wtxid in self._orphans

    def _charge(self, peer: int, weight: int) -> None:
        total = self._weight_of_peer.get(peer, 0) + weight
        if total:
            self._weight_of_peer[peer] = total
        else:
            del self._weight_of_peer[peer]

    def _evict_one(self) -> None:
        greedy = max(self._weight_of_peer, key=lambda peer: self._weight_of_peer[peer])
        oldest = next(wtxid for wtxid, orphan in self._orphans.items() if greedy in orphan.peers)
        self._drop_announcement(oldest, greedy)

    def _drop_announcement(self, wtxid: Wtxid, peer: int) -> None:
        orphan = self._orphans[wtxid]
        del orphan.peers[peer]
        self._charge(peer, -orphan.tx.weight)
        if not orphan.peers:
            self.remove(wtxid)

    def remove(self, wtxid: Wtxid) -> bool:
        """Forget one; whether it was here."""
        orphan = self._orphans.pop(wtxid, None)
        if orphan is None:
            return False
        for peer in orphan.peers:
            self._charge(peer, -orphan.tx.weight)
        self._weight -= orphan.tx.weight
        for txin in orphan.tx.inputs:
            waiting = self._waiting[txin.prevout]
            waiting.discard(wtxid)
            if not waiting:
                del self._waiting[txin.prevout]
        return True

    def remove_peer(self, peer: int) -> None:
        """A peer has gone: what only it announced is forgotten."""
        for wtxid in [wtxid for wtxid, orphan in self._orphans.items() if peer in orphan.peers]:
            self._drop_announcement(wtxid, peer)

    def expire(self, now: int) -> int:
        """Forget what has waited for twenty minutes; how many."""
        old = [wtxid for wtxid, orphan in self._orphans.items() if orphan.expires_at <= now]
        for wtxid in old:
            self.remove(wtxid)
        return len(old)

    def children_of(self, tx: Tx) -> list[Tx]:
        """Orphans that wait for an output of `tx`, to be tried again now that it is accepted."""
        found: dict[Wtxid, Tx] = {}
        for vout in range(len(tx.outputs)):
            for wtxid in self._waiting.get(tx.outpoint(vout), ()):
                found[wtxid] = self._orphans[wtxid].tx
        return list(found.values())

    def children_from_peer(self, tx: Tx, peer: int) -> list[Tx]:
        """Those of them that `peer` announced: candidates for a package of parent and child."""
        return [one for one in self.children_of(tx) if peer in self._orphans[one.wtxid].peers]

    def block_connected(self, block: Block) -> None:
        """What the block holds or conflicts with is no orphan any more."""
        if not self._orphans:
            return
        for tx in block.txs:
            self.remove(tx.wtxid)
            for wtxid in self._spenders(txin.prevout for txin in tx.inputs):
                self.remove(wtxid)

    def _spenders(self, prevouts: Iterable[OutPoint]) -> set[Wtxid]:
        return {wtxid for prevout in prevouts for wtxid in self._waiting.get(prevout, ())}

    def missing_parents(self, tx: Tx) -> frozenset[Txid]:
        """All transactions that `tx` spends from."""
        return frozenset(txin.prevout.txid for txin in tx.inputs)
