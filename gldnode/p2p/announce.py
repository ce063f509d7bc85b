"""Telling peers about new blocks, in the form that each of them likes: compact, headers or inv."""

from typing import TYPE_CHECKING, Final

from gldnode.chain.entry import BlockEntry
from gldnode.events import BlockConnected
from gldnode.p2p.compact import make_compact
from gldnode.p2p.messages import Headers, InvItem, InvType
from gldnode.p2p.peer import ConnectionType
from gldnode.p2p.state import PeerState
from gldnode.primitives.block import Block
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import Tx

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["Announcer"]

MAX_BLOCKS_TO_ANNOUNCE: Final = 8
MAX_FRESH: Final = 64


class Announcer:
    """New blocks of our chain, until everyone has been told."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self._fresh: list[BlockEntry] = []
        self.recent_block: Block | None = None
        """The block that was connected last: most likely to be asked for next."""
        self._recent_txs: dict[bytes, Tx] = {}
        self._compact: tuple[bytes, bytes] | None = None

    def connected(self, step: BlockConnected) -> None:
        entry = self._p.chain.entry(step.hash)
        assert entry is not None
        self.recent_block = step.block
        self._recent_txs = {}
        self._fresh.append(entry)
        del self._fresh[:-MAX_FRESH]

    def recent_tx(self, tx_hash: bytes) -> Tx | None:
        """A transaction of the last block, by txid or wtxid: who missed its announcement may still ask for it."""
        if not self._recent_txs and self.recent_block is not None:
            for tx in self.recent_block.txs:
                names: tuple[Txid, Wtxid] = (tx.txid, tx.wtxid)
                self._recent_txs.update(dict.fromkeys(names, tx))
        return self._recent_txs.get(tx_hash)

    def flush(self) -> None:
        """After the chain has moved: tell every peer."""
        fresh, self._fresh = self._fresh, []
        if not fresh or self._p.chain.is_initial_block_download:
            return
        tip = self._p.chain.tip_entry
        for state in self._p.peers.values():
            if state.peer.is_established and state.peer.kind is not ConnectionType.FEELER:
                self._announce(state, tip, len(fresh))

    def _announce(self, state: PeerState, tip: BlockEntry, count: int) -> None:
        known = state.best_known
        if known is not None and (known is tip or tip.is_ancestor_of(known)):
            return
        if state.best_sent is tip:
            return
        wants_compact = state.wants_high_bandwidth and count == 1 and self._peer_has(state, tip.prev)
        if wants_compact and self.recent_block is not None and self.recent_block.hash == tip.hash:
            self._p.send(state, "cmpctblock", self._compact_of(self.recent_block))
        elif path := self._unknown_to(state, tip) if state.prefers_headers else None:
            self._p.send(state, "headers", Headers([entry.header for entry in path]).encode())
        else:
            self._p.send_inv(state, [InvItem(InvType.BLOCK, tip.hash)])
        state.best_sent = tip

    def _compact_of(self, block: Block) -> bytes:
        if self._compact is None or self._compact[0] != block.hash:
            nonce = int.from_bytes(self._p.entropy.bytes(8), "little")
            self._compact = (block.hash, make_compact(block, nonce).encode())
        return self._compact[1]

    def _peer_has(self, state: PeerState, entry: BlockEntry | None) -> bool:
        if entry is None:
            return False
        return any(
            known is not None and entry.is_ancestor_of(known) for known in (state.best_known, state.best_sent)
        )

    def _unknown_to(self, state: PeerState, tip: BlockEntry) -> list[BlockEntry] | None:
        """Headers up to the tip that connect to something the peer has; None when there are too many."""
        path: list[BlockEntry] = []
        for entry in tip.walk_back():
            if self._peer_has(state, entry):
                return path[::-1]
            path.append(entry)
            if len(path) > MAX_BLOCKS_TO_ANNOUNCE:
                return None
        return None
