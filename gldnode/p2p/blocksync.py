"""Headers first, then blocks from several peers at once (Core: the download half of net_processing).

All of it runs in the validation thread: `processing` calls in, messages go out through the peers' queues.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gldnode.chain.entry import HAVE_DATA, BlockEntry, last_common_ancestor
from gldnode.consensus.pow import block_work, has_valid_proof_of_work
from gldnode.errors import Reject, RejectKind
from gldnode.p2p.compact import PartialBlock
from gldnode.p2p.headersync import LowWorkSync, SyncFailed
from gldnode.p2p.messages import MAX_HEADERS, Inventory, InvItem, InvType, Locator, Services
from gldnode.p2p.peer import ConnectionType
from gldnode.p2p.state import InFlight, PeerState
from gldnode.primitives.block import BlockHeader
from gldnode.primitives.hashes import ZERO_HASH, BlockHash

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["BlockSync"]

MAX_BLOCKS_IN_FLIGHT: Final = 16
"""From one peer."""
DOWNLOAD_WINDOW: Final = 1024
"""How far ahead of the last common block blocks are asked for."""
STALL_TIMEOUT_MS: Final = 2_000
MAX_STALL_TIMEOUT_MS: Final = 64_000
HEADERS_RESPONSE_S: Final = 120
HEADERS_BASE_TIMEOUT_S: Final = 15 * 60
LOW_WORK_BUFFER: Final = 144
"""Blocks of work that a header chain may lack compared with our tip before it counts as low work."""
RECENT_S: Final = 24 * 60 * 60
_NO_BLOCKS: Final = frozenset((ConnectionType.FEELER, ConnectionType.ADDR_FETCH))
_ANY_NETWORK: Final = int(Services.NETWORK | Services.NETWORK_LIMITED)  # plain integers: asked ten times a second
_WITNESS: Final = int(Services.WITNESS)


class BlockSync:
    """Which headers and blocks to ask of whom."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self.in_flight: dict[bytes, InFlight] = {}
        self._stall_timeout_ms = STALL_TIMEOUT_MS

    # -- headers --

    def request_headers(self, state: PeerState, head: BlockHash | None = None) -> None:
        """`getheaders` from our best header (or continuing behind `head`), unless one is under way."""
        now = self._p.clock.now()
        if head is None and now - state.headers_asked_at < HEADERS_RESPONSE_S:
            return
        chain = self._p.chain
        if head is not None:
            hashes = [head, chain.params.genesis.hash]
        else:
            best = chain.best_header
            # One back, so that a peer without anything new still answers and shows what it has.
            hashes = chain.locator(best.prev or best)
        state.headers_asked_at = now
        self._p.send(state, "getheaders", Locator(hashes, ZERO_HASH).encode())

    def start_sync(self, state: PeerState) -> None:
        """Begin with one peer while far behind, with all once near the present."""
        if state.sync_started or not state.peer.services & (Services.NETWORK | Services.NETWORK_LIMITED):
            return
        now = self._p.clock.now()
        best = self._p.chain.best_header
        syncing = sum(1 for other in self._p.peers.values() if other.sync_started)
        if syncing and best.time <= now - RECENT_S and not self._p.chain.params.is_regtest:
            return
        state.sync_started = True
        spacing = self._p.chain.params.block_interval_s
        state.headers_deadline = now + HEADERS_BASE_TIMEOUT_S + max(0, now - best.time) // spacing // 1000
        self.request_headers(state)

    def on_headers(self, state: PeerState, headers: Sequence[BlockHeader], *, announced: bool = False) -> None:
        """Judge headers that a peer sent."""
        chain, params = self._p.chain, self._p.chain.params
        state.headers_asked_at = 0
        if not headers:
            if state.low_work is not None:
                state.low_work = None
            return
        for header in headers:
            if not has_valid_proof_of_work(header.hash, header.bits, params):
                self._p.misbehaving(state, "header with invalid proof of work")
                return
        for before, after in pairwise(headers):
            if after.prev_hash != before.hash:
                self._p.misbehaving(state, "non-continuous headers sequence")
                return
        is_full = len(headers) == MAX_HEADERS
        if state.low_work is not None:
            headers, is_full = self._continue_low_work(state, headers, is_full=is_full)
            if not headers:
                return
        parent = chain.entry(headers[0].prev_hash)
        if parent is None:
            state.unknown_best = headers[-1].hash
            self.request_headers(state)
            return
        known = chain.entry(headers[-1].hash)
        if known is None and not self._enough_work(state, parent, headers, is_full=is_full):
            return
        try:
            last = chain.accept_headers(headers)
        except Reject as error:
            self._punish_header(state, error)
            return
        if last is None:
            return
        self.saw(state, last)
        if is_full:
            self.request_headers(state, last.hash)
        elif not announced or not self._p.chain.is_initial_block_download:
            self.direct_fetch(state, last)

    def minimum_work(self) -> int:
        """A header chain must reach this much work before its headers are kept."""
        chain = self._p.chain
        tip = chain.tip_entry
        near = tip.chain_work - min(LOW_WORK_BUFFER * block_work(tip.bits), tip.chain_work)
        return max(near, chain.minimum_chain_work)

    def _enough_work(
        self, state: PeerState, parent: BlockEntry, headers: Sequence[BlockHeader], *, is_full: bool
    ) -> bool:
        total = parent.chain_work + sum(block_work(header.bits) for header in headers)
        minimum = self.minimum_work()
        if total >= minimum:
            return True
        if not is_full:
            self._p.log(f"ignoring low-work chain from peer={state.id} (height {parent.height + len(headers)})")
            return False
        now, spacing = self._p.clock.now(), self._p.chain.params.block_interval_s
        # Six blocks a second would be the most that the timestamp rules allow to be mined.
        most = 6 * max(0, now - parent.median_time_past + 7200) + 10 * spacing
        state.low_work = LowWorkSync(parent, minimum, self._p.entropy.bytes(16), most)
        self._continue_low_work(state, headers, is_full=is_full)
        return False

    def _continue_low_work(
        self, state: PeerState, headers: Sequence[BlockHeader], *, is_full: bool
    ) -> tuple[Sequence[BlockHeader], bool]:
        sync = state.low_work
        assert sync is not None
        try:
            keep, more = sync.feed(headers, lambda header: block_work(header.bits), is_full=is_full)
        except SyncFailed as error:
            state.low_work = None
            self._p.log(f"low-work header sync with peer={state.id} failed: {error}")
            self._p.misbehaving(state, str(error))
            return (), False
        if sync.is_done:
            state.low_work = None
            return keep, more
        if more:
            self.request_headers(state, sync.locator_head)
        return keep, False

    def _punish_header(self, state: PeerState, error: Reject) -> None:
        if error.kind is RejectKind.CONTEXT:
            self._p.log(f"header from peer={state.id} not accepted: {error}")
            return
        self._p.misbehaving(state, f"invalid header received: {error.reason}")

    def saw(self, state: PeerState, entry: BlockEntry) -> None:
        """The peer has this block."""
        if state.best_known is None or entry.chain_work > state.best_known.chain_work:
            state.best_known = entry

    def announced_hash(self, state: PeerState, block_hash: bytes) -> None:
        """An `inv` of a block."""
        entry = self._p.chain.entry(block_hash)
        if entry is not None:
            self.saw(state, entry)
        else:
            state.unknown_best = block_hash
            self.request_headers(state)

    # -- blocks --

    def can_fetch_from(self, state: PeerState) -> bool:
        """Whether the peer has blocks with witnesses, and this kind of connection carries them."""
        version = state.peer.version
        if version is None or state.peer.kind in _NO_BLOCKS:
            return False
        return bool(version.services & _ANY_NETWORK and version.services & _WITNESS)

    def direct_fetch(self, state: PeerState, last: BlockEntry) -> None:
        """Ask at once for what this header needs, when we are near the tip."""
        chain = self._p.chain
        if not self.can_fetch_from(state) or not self._is_near_present():
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
        room = MAX_BLOCKS_IN_FLIGHT - len(state.in_flight)
        chosen = list(reversed(wanted))[: max(0, room)]
        single = len(chosen) == 1 and chosen[0].prev is chain.tip_entry and state.supports_compact
        self._ask(state, chosen, compact=single)

    def _is_near_present(self) -> bool:
        spacing = self._p.chain.params.block_interval_s
        return self._p.chain.tip.time > self._p.clock.now() - spacing * 20 or (
            self._p.chain.params.is_regtest and not self._p.chain.is_initial_block_download
        )

    def _ask(self, state: PeerState, entries: Sequence[BlockEntry], *, compact: bool = False) -> None:
        if not entries:
            return
        now = self._p.clock.now()
        kind = InvType.COMPACT_BLOCK if compact else InvType.WITNESS_BLOCK
        if not state.in_flight:
            state.downloading_since = now
        for entry in entries:
            flight = InFlight(entry, state.id, now)
            state.in_flight[entry.hash] = flight
            self.in_flight[entry.hash] = flight
        self._p.send(state, "getdata", Inventory([InvItem(kind, entry.hash) for entry in entries]).encode())

    def ask_for_block(self, state: PeerState, entry: BlockEntry) -> None:
        """Ask this peer for the whole block, whoever was asked before (`getblockfrompeer`, bad compact block)."""
        self.arrived(entry.hash)
        self._ask(state, [entry])

    def ask_partial(self, state: PeerState, entry: BlockEntry, partial: PartialBlock) -> None:
        """The block is under way from this peer in its compact form."""
        if not state.in_flight:
            state.downloading_since = self._p.clock.now()
        flight = InFlight(entry, state.id, self._p.clock.now(), partial)
        state.in_flight[entry.hash] = flight
        self.in_flight[entry.hash] = flight

    def arrived(self, block_hash: bytes) -> InFlight | None:
        """The block is here (or given up): it is no longer under way."""
        flight = self.in_flight.pop(block_hash, None)
        if flight is not None:
            state = self._p.peers.get(flight.peer_id)
            if state is not None:
                state.in_flight.pop(block_hash, None)
                state.stalling_since_ms = 0
                state.downloading_since = self._p.clock.now()
        return flight

    def peer_gone(self, state: PeerState) -> None:
        for block_hash in list(state.in_flight):
            self.in_flight.pop(block_hash, None)
        state.in_flight.clear()

    def block_connected(self) -> None:
        """Progress: the stall time limit, doubled at each stall, comes back slowly."""
        self._stall_timeout_ms = max(STALL_TIMEOUT_MS, self._stall_timeout_ms * 85 // 100)

    def schedule(self, state: PeerState) -> None:
        """Ask this peer for the next blocks it can give, within the window."""
        if not self.can_fetch_from(state) or len(state.in_flight) >= MAX_BLOCKS_IN_FLIGHT:
            return
        if state.best_known is self._p.chain.tip_entry and state.unknown_best is None:
            return
        if (
            not state.is_preferred
            and any(
                other.is_preferred and self.can_fetch_from(other) and other.best_known is not None
                for other in self._p.peers.values()
            )
            and self._p.chain.is_initial_block_download
        ):
            return
        self._learn_unknown(state)
        wanted, staller = self._next_blocks(state, MAX_BLOCKS_IN_FLIGHT - len(state.in_flight))
        self._ask(state, wanted)
        if not wanted and not state.in_flight and staller is not None:
            slow = self._p.peers.get(staller)
            if slow is not None and not slow.stalling_since_ms:
                slow.stalling_since_ms = self._p.clock.now_ms()

    def _learn_unknown(self, state: PeerState) -> None:
        if state.unknown_best is not None:
            entry = self._p.chain.entry(state.unknown_best)
            if entry is not None:
                self.saw(state, entry)
                state.unknown_best = None

    def _next_blocks(self, state: PeerState, count: int) -> tuple[list[BlockEntry], int | None]:
        """(blocks to ask for, the peer that holds the window back) (Core: FindNextBlocksToDownload)."""
        chain = self._p.chain
        best = state.best_known
        if best is None or best.chain_work < chain.tip_entry.chain_work:
            return [], None
        if best.chain_work < chain.minimum_chain_work:
            return [], None
        if state.common is None:
            state.common = chain.entry_at(min(best.height, chain.tip.height))
        assert state.common is not None
        state.common = last_common_ancestor(state.common, best)
        if state.common is best:
            return [], None
        end = min(best.height, state.common.height + DOWNLOAD_WINDOW + 1)
        wanted: list[BlockEntry] = []
        waiting_for: int | None = None
        height = state.common.height
        while height < end and len(wanted) < count:
            step = min(end - height, max(128, count))
            top = best.ancestor(height + step)
            path: list[BlockEntry] = []
            for entry in top.walk_back():
                if entry.height <= height:
                    break
                path.append(entry)
            for entry in reversed(path):
                if entry.is_failed:
                    return wanted, None
                if entry.status & HAVE_DATA:
                    if entry.chain_tx and chain.is_active(entry):
                        state.common = entry
                    continue
                flight = self.in_flight.get(entry.hash)
                if flight is not None:
                    if waiting_for is None:
                        waiting_for = flight.peer_id
                    continue
                if entry.height > state.common.height + DOWNLOAD_WINDOW:
                    staller = waiting_for if not wanted and waiting_for != state.id else None
                    return wanted, staller
                wanted.append(entry)
                if len(wanted) == count:
                    break
            height = top.height
        return wanted, None

    def check_timeouts(self, state: PeerState) -> None:
        """Disconnect whoever holds the download up."""
        clock, peer = self._p.clock, state.peer
        if state.stalling_since_ms and clock.now_ms() - state.stalling_since_ms > self._stall_timeout_ms:
            peer.disconnect("stalling block download")
            self._stall_timeout_ms = min(2 * self._stall_timeout_ms, MAX_STALL_TIMEOUT_MS)
            return
        now, spacing = clock.now(), self._p.chain.params.block_interval_s
        if state.in_flight:
            others = sum(1 for other in self._p.peers.values() if other.in_flight and other is not state)
            limit = max(600, spacing) * (2 + others) // 2
            if now - state.downloading_since > limit:
                peer.disconnect("timeout downloading block")
                return
        if (
            state.sync_started
            and state.headers_deadline
            and now > state.headers_deadline
            and self._p.chain.best_header.time < now - RECENT_S
            and state.best_known is None
            and not state.may_misbehave
        ):
            peer.disconnect("timeout downloading headers")
