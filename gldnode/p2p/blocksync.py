"""Blocks from several peers at once (Core: the download half of net_processing).

All of it runs in the validation thread: `processing` calls in, messages go out through the peers' queues.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gldnode.chain.entry import HAVE_DATA, BlockEntry, last_common_ancestor
from gldnode.p2p.compact import PartialBlock
from gldnode.p2p.messages import Inventory, InvItem, InvType, Services
from gldnode.p2p.peer import ConnectionType
from gldnode.p2p.state import InFlight, PeerState

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["BlockSync"]

MAX_BLOCKS_IN_FLIGHT: Final = 16
"""From one peer."""
DOWNLOAD_WINDOW: Final = 1024
"""How far ahead of the last common block blocks are asked for."""
STALL_TIMEOUT_MS: Final = 2_000
MAX_STALL_TIMEOUT_MS: Final = 64_000
MAX_FLIGHTS_PER_BLOCK: Final = 3
"""Peers that are asked for the same block, near the tip."""
SECOND_ASK_S: Final = 20
"""The block that the tip waits for is asked of another peer after this long."""
NOT_FOUND_PAUSE_S: Final = 60
DISK_PAUSE_S: Final = 10
RECENT_BLOCKS: Final = 288
"""What a peer without the older ones must have (BIP 159)."""
_NO_BLOCKS: Final = frozenset((ConnectionType.FEELER, ConnectionType.ADDR_FETCH))
_NETWORK: Final = int(Services.NETWORK)  # plain integers: asked ten times a second
_ANY_NETWORK: Final = int(Services.NETWORK | Services.NETWORK_LIMITED)
_WITNESS: Final = int(Services.WITNESS)


class BlockSync:
    """Which blocks to ask of whom."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self.in_flight: dict[bytes, dict[int, InFlight]] = {}
        """By block, then by peer."""
        self._stall_timeout_ms = STALL_TIMEOUT_MS
        self._paused_until = 0
        self._is_probing = False
        """The disk was full: one block is asked for at a time until one is kept."""

    def can_fetch_from(self, state: PeerState) -> bool:
        """Whether the peer has blocks with witnesses, and this kind of connection carries them."""
        version = state.peer.version
        if version is None or state.peer.kind in _NO_BLOCKS:
            return False
        return bool(version.services & _ANY_NETWORK and version.services & _WITNESS)

    # -- what is under way --

    def flights(self, block_hash: bytes) -> dict[int, InFlight]:
        return self.in_flight.get(block_hash, {})

    def _ask(self, state: PeerState, entries: Sequence[BlockEntry], *, compact: bool = False) -> None:
        if not entries:
            return
        kind = InvType.COMPACT_BLOCK if compact else InvType.WITNESS_BLOCK
        for entry in entries:
            self._fly(state, entry)
        self._p.send(state, "getdata", Inventory([InvItem(kind, entry.hash) for entry in entries]).encode())

    def _fly(self, state: PeerState, entry: BlockEntry, partial: PartialBlock | None = None) -> None:
        now = self._p.clock.now()
        if not state.in_flight:
            state.downloading_since = now
        flight = InFlight(entry, state.id, now, partial)
        state.in_flight[entry.hash] = flight
        self.in_flight.setdefault(entry.hash, {})[state.id] = flight

    def ask_for_block(self, state: PeerState, entry: BlockEntry) -> None:
        """Ask this peer for the whole block, whoever was asked before (`getblockfrompeer`, bad compact block)."""
        self.given_up(entry.hash, state.id)
        self._ask(state, [entry])

    def ask_partial(self, state: PeerState, entry: BlockEntry, partial: PartialBlock) -> None:
        """The block is under way from this peer in its compact form."""
        self.given_up(entry.hash, state.id)
        self._fly(state, entry, partial)

    def arrived(self, block_hash: bytes) -> None:
        """The block is here: nobody needs to send it any more."""
        for peer_id in list(self.in_flight.get(block_hash, ())):
            self.given_up(block_hash, peer_id)

    def given_up(self, block_hash: bytes, peer_id: int) -> None:
        """This peer does not send the block any more."""
        flights = self.in_flight.get(block_hash)
        if flights is None or flights.pop(peer_id, None) is None:
            return
        if not flights:
            del self.in_flight[block_hash]
        state = self._p.peers.get(peer_id)
        if state is not None:
            state.in_flight.pop(block_hash, None)
            state.stalling_since_ms = 0
            state.downloading_since = self._p.clock.now()

    def not_found(self, state: PeerState, block_hash: bytes) -> None:
        """It does not have the block: let others be asked before it is asked for anything again."""
        if block_hash in state.in_flight:
            self.given_up(block_hash, state.id)
            state.no_blocks_until = self._p.clock.now() + NOT_FOUND_PAUSE_S

    def pause(self) -> None:
        """No room for blocks: ask for none for a while, then for one."""
        self._paused_until = self._p.clock.now() + DISK_PAUSE_S
        self._is_probing = True

    def resume(self) -> None:
        """A block was kept."""
        self._is_probing = False

    def peer_gone(self, state: PeerState) -> None:
        for block_hash in list(state.in_flight):
            flights = self.in_flight[block_hash]
            flights.pop(state.id, None)
            if not flights:
                del self.in_flight[block_hash]
        state.in_flight.clear()

    def block_connected(self) -> None:
        """Progress: the stall time limit, doubled at each stall, comes back slowly."""
        self._stall_timeout_ms = max(STALL_TIMEOUT_MS, self._stall_timeout_ms * 85 // 100)

    # -- what to ask for --

    def direct_fetch(self, state: PeerState, last: BlockEntry) -> None:
        """Ask at once for what this header needs, when we are near the tip."""
        chain = self._p.chain
        if not self._may_ask(state) or not self.is_near_present():
            return
        if last.chain_work < chain.tip_entry.chain_work or not last.is_valid_to(2):
            return
        wanted: list[BlockEntry] = []
        walk: BlockEntry | None = last
        while walk is not None and not chain.is_active(walk) and len(wanted) <= MAX_BLOCKS_IN_FLIGHT:
            if not walk.status & HAVE_DATA and walk.hash not in self.in_flight:
                wanted.append(walk)
            walk = walk.prev
        if walk is None or not chain.is_active(walk):
            return  # a large reorganisation goes through the ordinary download
        chosen = list(reversed(wanted))[: self._room(state)]
        single = len(chosen) == 1 and chosen[0].prev is chain.tip_entry and state.supports_compact
        self._ask(state, chosen, compact=single and not self.in_flight)

    def is_near_present(self) -> bool:
        """Core: CanDirectFetch. On the regtest networks blocks may be old and the chain complete."""
        chain = self._p.chain
        return chain.tip.time > self._p.clock.now() - chain.params.block_interval_s * 20 or (
            chain.params.is_regtest and not chain.is_initial_block_download
        )

    def _may_ask(self, state: PeerState) -> bool:
        now = self._p.clock.now()
        return self.can_fetch_from(state) and now >= state.no_blocks_until and now >= self._paused_until

    def _room(self, state: PeerState) -> int:
        """How many more blocks may be asked of it."""
        if self._is_probing:
            return 0 if self.in_flight else 1
        return max(0, MAX_BLOCKS_IN_FLIGHT - len(state.in_flight))

    def schedule(self, state: PeerState) -> None:
        """Ask this peer for the next blocks it can give, within the window."""
        room = self._room(state)
        if not room or not self._may_ask(state):
            return
        if state.best_known is self._p.chain.tip_entry and state.unknown_best is None:
            return
        if (
            self._p.chain.is_initial_block_download
            and not state.is_preferred
            and any(
                other.is_preferred and self.can_fetch_from(other) and other.best_known is not None
                for other in self._p.peers.values()
            )
        ):
            return
        self._p.headers.learn_unknown(state)
        wanted, staller = self._next_blocks(state, room)
        self._ask(state, wanted)
        if not wanted and not state.in_flight and staller is not None:
            slow = self._p.peers.get(staller)
            if slow is not None and not slow.stalling_since_ms:
                slow.stalling_since_ms = self._p.clock.now_ms()

    def _next_blocks(self, state: PeerState, count: int) -> tuple[list[BlockEntry], int | None]:
        """(blocks to ask for, the peer that holds the window back) (Core: FindNextBlocksToDownload)."""
        chain = self._p.chain
        best = state.best_known
        if best is None or best.chain_work < max(chain.tip_entry.chain_work, chain.minimum_chain_work):
            return [], None
        if state.common is None:
            state.common = chain.entry_at(min(best.height, chain.tip.height))
        assert state.common is not None
        state.common = last_common_ancestor(state.common, best)
        if state.common is best:
            return [], None
        assert state.peer.version is not None
        lowest = 0 if state.peer.version.services & _NETWORK else best.height - RECENT_BLOCKS + 2
        end = min(best.height, state.common.height + DOWNLOAD_WINDOW + 1)
        wanted: list[BlockEntry] = []
        waiting_for: int | None = None
        height = state.common.height
        while height < end and len(wanted) < count:
            top = best.ancestor(height + min(end - height, max(128, count)))
            for entry in _path(top, height):
                if entry.is_failed or entry.height < lowest:
                    return wanted, None
                if entry.status & HAVE_DATA:
                    if entry.chain_tx and chain.is_active(entry):
                        state.common = entry
                    continue
                flights = self.in_flight.get(entry.hash)
                if flights is not None:
                    if waiting_for is None:
                        waiting_for = next(iter(flights))
                        if self._deserves_second(state, entry, flights):
                            wanted.append(entry)
                    continue
                if entry.height > state.common.height + DOWNLOAD_WINDOW:
                    staller = waiting_for if not wanted and waiting_for != state.id else None
                    return wanted, staller
                wanted.append(entry)
                if len(wanted) == count:
                    break
            height = top.height
        return wanted, None

    def _deserves_second(self, state: PeerState, entry: BlockEntry, flights: dict[int, InFlight]) -> bool:
        """Near the tip one silent peer must not hold the next block back."""
        if state.id in flights or len(flights) >= MAX_FLIGHTS_PER_BLOCK or not self.is_near_present():
            return False
        now = self._p.clock.now()
        return entry.prev is self._p.chain.tip_entry and all(
            now - flight.asked_at >= SECOND_ASK_S for flight in flights.values()
        )

    def check_timeouts(self, state: PeerState) -> None:
        """Disconnect whoever holds the download up."""
        clock, peer = self._p.clock, state.peer
        if state.stalling_since_ms and clock.now_ms() - state.stalling_since_ms > self._stall_timeout_ms:
            peer.disconnect("stalling block download")
            self._stall_timeout_ms = min(2 * self._stall_timeout_ms, MAX_STALL_TIMEOUT_MS)
            return
        if state.in_flight:
            others = sum(1 for other in self._p.peers.values() if other.in_flight and other is not state)
            limit = max(600, self._p.chain.params.block_interval_s) * (2 + others) // 2
            if clock.now() - state.downloading_since > limit:
                first = next(iter(state.in_flight.values())).entry
                peer.disconnect(f"timeout downloading block {first.hash[::-1].hex()}")


def _path(top: BlockEntry, above: int) -> list[BlockEntry]:
    """The blocks above that height up to `top`, lowest first."""
    path: list[BlockEntry] = []
    for entry in top.walk_back():
        if entry.height <= above:
            break
        path.append(entry)
    path.reverse()
    return path
