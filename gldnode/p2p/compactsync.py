"""Blocks that come in compact form: who may send them unasked, and how they are completed (BIP 152)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gldnode.chain.entry import HAVE_DATA, BlockEntry
from gldnode.p2p.compact import COMPACT_VERSION, PartialBlock, ShortIdCollision
from gldnode.p2p.messages import BlockTxn, CompactBlock, GetBlockTxn, SendCompact
from gldnode.p2p.peer import ConnectionType
from gldnode.p2p.state import InFlight, PeerState
from gldnode.primitives.tx import Tx

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["CompactSync"]

HIGH_BANDWIDTH_PEERS: Final = 3
MAX_PARTIAL_PER_BLOCK: Final = 3
"""Peers that may complete the same block side by side; the last place is an outbound peer's."""


class CompactSync:
    """The receiving half."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self._sources: list[int] = []
        """Peers that may send unasked, the one that was useful longest ago first."""

    def on_sendcmpct(self, state: PeerState, payload: bytes) -> None:
        wish = SendCompact.decode(payload)
        if wish.version == COMPACT_VERSION:
            state.supports_compact = True
            state.wants_high_bandwidth = wish.high_bandwidth

    def prefer(self, state: PeerState) -> None:
        """The last three peers that gave us a new block may send the next one unasked."""
        if not state.supports_compact or not self._p.relay_txs or self._p.chain.is_initial_block_download:
            return
        if len(self._p.blocks.in_flight) > 0:
            return  # still catching up
        if state.id in self._sources:
            self._sources.remove(state.id)
            self._sources.append(state.id)
            return
        if len(self._sources) >= HIGH_BANDWIDTH_PEERS:
            self._drop_one(state)
        self._sources.append(state.id)
        self._choose(state, True)

    def _drop_one(self, newcomer: PeerState) -> None:
        """Make room, but never so that inbound peers alone are left."""
        outbound = [peer_id for peer_id in self._sources if not self._p.peers[peer_id].peer.is_inbound]
        if newcomer.peer.is_inbound and len(outbound) == 1 and self._sources[0] == outbound[0]:
            self._sources[0], self._sources[1] = self._sources[1], self._sources[0]
        self._choose(self._p.peers[self._sources.pop(0)], False)

    def _choose(self, state: PeerState, high_bandwidth: bool) -> None:
        state.we_want_high_bandwidth = high_bandwidth
        self._p.send(state, "sendcmpct", SendCompact(high_bandwidth, COMPACT_VERSION).encode())

    def peer_gone(self, state: PeerState) -> None:
        if state.id in self._sources:
            self._sources.remove(state.id)

    def on_cmpctblock(self, state: PeerState, payload: bytes) -> None:
        chain, blocks = self._p.chain, self._p.blocks
        compact = CompactBlock.decode(payload)
        header = compact.header
        if chain.entry(header.prev_hash) is None:
            if not chain.is_initial_block_download:
                self._p.headers.request(state)
            return
        self._p.headers.on_headers(state, [header], via_compact=True)
        entry = chain.entry(header.hash)
        if entry is None or state.peer.disconnect_reason is not None:
            return
        self._p.headers.saw(state, entry)
        if entry.status & HAVE_DATA:
            return
        flights = blocks.flights(entry.hash)
        mine = flights.get(state.id)
        if entry.prev is not chain.tip_entry or not blocks.can_fetch_from(state):
            if mine is not None:
                blocks.ask_for_block(state, entry)  # the tip moved meanwhile: our mempool is of no use
            elif not flights:
                blocks.schedule(state)
            return
        if mine is not None and mine.partial is not None:
            self._p.log(f"Peer {state.id} sent us a compact block we were already syncing!")
            return
        if mine is None and (not blocks.is_near_present() or not self._has_room(state, flights)):
            return
        self._start(state, entry, compact)

    def _has_room(self, state: PeerState, flights: dict[int, InFlight]) -> bool:
        """Whether one more peer may complete this block."""
        if len(flights) < MAX_PARTIAL_PER_BLOCK - 1:
            return True
        if len(flights) >= MAX_PARTIAL_PER_BLOCK:
            return False
        has_outbound = any(
            not self._p.peers[peer_id].peer.is_inbound for peer_id in flights if peer_id in self._p.peers
        )
        return has_outbound or state.peer.kind is not ConnectionType.INBOUND

    def _start(self, state: PeerState, entry: BlockEntry, compact: CompactBlock) -> None:
        blocks = self._p.blocks
        try:
            partial = PartialBlock(compact)
        except ShortIdCollision:
            blocks.ask_for_block(state, entry)
            return
        partial.fill(entry.tx for entry in self._p.mempool.entries())
        partial.fill(self._p.orphans.txs())
        blocks.ask_partial(state, entry, partial)
        missing = partial.missing
        if missing:
            self._p.send(state, "getblocktxn", GetBlockTxn(entry.hash, missing).encode())
        else:
            self._complete(state, entry, partial, ())

    def _complete(self, state: PeerState, entry: BlockEntry, partial: PartialBlock, txs: Sequence[Tx]) -> None:
        block = partial.complete(txs)
        if block is None:
            self._p.blocks.given_up(entry.hash, state.id)
            self._p.misbehaving(state, "invalid compact block/non-matching block transactions")
            return
        self._p.take_block(state, block, from_compact=True)

    def on_blocktxn(self, state: PeerState, payload: bytes) -> None:
        answer = BlockTxn.decode(payload)
        flight = state.in_flight.get(answer.block_hash)
        if flight is None or flight.partial is None:
            self._p.log(f"Peer {state.id} sent us block transactions for block we weren't expecting")
            return
        self._complete(state, flight.entry, flight.partial, answer.txs)
