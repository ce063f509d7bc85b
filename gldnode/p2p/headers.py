"""Headers: whom to ask, what to think of the answers, and which peers have fallen behind (Core: net_processing).

All of it runs in the validation thread: `processing` calls in, messages go out through the peers' queues.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import block_work, has_valid_proof_of_work
from gldnode.errors import Reject, RejectKind
from gldnode.p2p.headersync import LowWorkSync, SyncFailed
from gldnode.p2p.messages import MAX_HEADERS, Locator, Services
from gldnode.p2p.peer import SEND_HEADERS_PROTOCOL, ConnectionType, Permission
from gldnode.p2p.state import ChainSync, PeerState
from gldnode.primitives.block import BlockHeader
from gldnode.primitives.hashes import ZERO_HASH, BlockHash

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["HeaderProgress", "HeaderSync"]

HEADERS_RESPONSE_S: Final = 120
HEADERS_BASE_TIMEOUT_S: Final = 15 * 60
LOW_WORK_BUFFER: Final = 144
"""Blocks of work that a header chain may lack compared with our tip before it counts as low work."""
RECENT_S: Final = 24 * 60 * 60
CHAIN_SYNC_TIMEOUT_S: Final = 20 * 60
MAX_PROTECTED: Final = 4
REPORT_S: Final = 10
_ANY_NETWORK: Final = int(Services.NETWORK | Services.NETWORK_LIMITED)
_JUDGED: Final = frozenset((ConnectionType.OUTBOUND_FULL_RELAY, ConnectionType.BLOCK_RELAY_ONLY))


@dataclass(frozen=True, slots=True)
class HeaderProgress:
    """How far the headers have come."""

    is_presync: bool
    """They are only counted so far: the chain has not shown enough work (`LowWorkSync`)."""
    height: int
    expected: int
    """The height of the chain's end, by the time of the last header."""

    @property
    def percent(self) -> float:
        return 100 * self.height / max(1, self.expected)

    def __str__(self) -> str:
        """Core's sentence."""
        what = "Pre-synchronizing" if self.is_presync else "Synchronizing"
        return f"{what} blockheaders, height: {self.height} (~{self.percent:.2f}%)"


class HeaderSync:
    """The header chains that peers offer."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self._protected = 0
        self._next_report = 0.0

    @property
    def progress(self) -> HeaderProgress | None:
        """Where the headers are while a peer has more of them for us, else None. Any thread."""
        since = self._p.clock.now() - HEADERS_RESPONSE_S
        more = [
            state
            for state in list(self._p.peers.values())
            if state.has_more_headers and state.headers_asked_at >= since
        ]
        params = self._p.chain.params
        if not more or not (self._p.chain.is_initial_block_download or params.is_regtest):
            return None
        syncs = [sync for state in more if (sync := state.low_work) is not None and sync.presync_height >= 0]
        best = self._p.chain.best_header
        height, time = max(((sync.presync_height, sync.presync_time) for sync in syncs), default=(-1, 0))
        is_presync = height > best.height
        if not is_presync:
            height, time = best.height, best.time
        if params.is_regtest:  # blocks on demand: time tells nothing, the peers do
            expected = max(state.peer.version.start_height if state.peer.version else 0 for state in more)
        else:
            expected = height + max(0, self._p.clock.now() - time) // params.block_interval_s
        return HeaderProgress(is_presync, height, max(height, expected))

    def _report(self) -> None:
        """Tell the operator how far the headers have come, every ten seconds while they are behind."""
        now = self._p.clock.monotonic()
        progress = self.progress
        if now < self._next_report or progress is None:
            return
        self._next_report = now + REPORT_S
        self._p.notice(str(progress))

    # -- asking --

    def request(self, state: PeerState, behind: BlockEntry | None = None) -> bool:
        """`getheaders` from our best header (or from `behind`), unless one is under way; whether it was sent."""
        now = self._p.clock.now()
        if now - state.headers_asked_at < HEADERS_RESPONSE_S:
            return False
        chain = self._p.chain
        if behind is None:
            best = chain.best_header
            # One back, so that a peer without anything new still answers and shows what it has.
            behind = best.prev or best
        self._ask(state, chain.locator(behind))
        return True

    def _ask(self, state: PeerState, hashes: Sequence[BlockHash]) -> None:
        state.headers_asked_at = self._p.clock.now()
        self._p.send(state, "getheaders", Locator(hashes, ZERO_HASH).encode())

    def _continue(self, state: PeerState, sync: LowWorkSync) -> None:
        """Ask for what follows the last low-work header, which our tree does not have."""
        self._ask(state, [sync.locator_head, *self._p.chain.locator(sync.start)][:101])

    def start_sync(self, state: PeerState) -> None:
        """Begin with one peer while far behind, with all once near the present."""
        if state.sync_started or not state.peer.services & _ANY_NETWORK:
            return
        now, chain = self._p.clock.now(), self._p.chain
        best = chain.best_header
        if best.time <= now - RECENT_S and not chain.params.is_regtest:
            if any(other.sync_started for other in self._p.peers.values()):
                return
            if not state.is_preferred and any(other.is_preferred for other in self._p.peers.values()):
                return
        state.sync_started = True
        spacing = chain.params.block_interval_s
        state.headers_deadline = now + HEADERS_BASE_TIMEOUT_S + max(0, now - best.time) // spacing // 1000
        self.request(state)

    # -- judging --

    def on_headers(self, state: PeerState, headers: Sequence[BlockHeader], *, via_compact: bool = False) -> None:
        """Judge headers that a peer sent."""
        params = self._p.chain.params
        if not headers:
            state.headers_asked_at = 0
            state.has_more_headers = False
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
        is_full = state.has_more_headers = len(headers) == MAX_HEADERS
        self._take(state, headers, is_full=is_full, via_compact=via_compact)
        if is_full:
            self._report()

    def _take(self, state: PeerState, headers: Sequence[BlockHeader], *, is_full: bool, via_compact: bool) -> None:
        """Headers that connect with each other and have their proof of work."""
        chain = self._p.chain
        work_is_known = bool(state.peer.permissions & Permission.NOBAN)
        if state.low_work is not None:
            headers, is_full, work_is_known = self._continue_low_work(state, headers, is_full=is_full)
            if not headers:
                return
        parent = chain.entry(headers[0].prev_hash)
        if parent is None:
            # Perhaps an announcement of a block whose parents we lack: ask for those.
            state.unknown_best = headers[-1].hash
            self.request(state)
            return
        if not via_compact:
            state.headers_asked_at = 0
        known = chain.entry(headers[-1].hash)
        if known is None and not work_is_known and not self._enough_work(state, parent, headers, is_full=is_full):
            return
        try:
            last = chain.accept_headers(headers)
        except Reject as error:
            self._punish(state, error, via_compact=via_compact)
            return
        if last is None:
            return
        self._accepted(state, last, is_new=known is None, is_full=is_full, via_compact=via_compact)

    def _accepted(
        self, state: PeerState, last: BlockEntry, *, is_new: bool, is_full: bool, via_compact: bool
    ) -> None:
        chain = self._p.chain
        if is_new and last.chain_work > chain.tip_entry.chain_work:
            state.last_announcement_at = self._p.clock.now()
        self.saw(state, last)
        if is_full and state.low_work is None:
            self.request(state, last)
        elif not via_compact and state.low_work is None:
            self._judge_outbound(state, last)
            self._p.blocks.direct_fetch(state, last)

    def _judge_outbound(self, state: PeerState, last: BlockEntry) -> None:
        """The peer's whole chain is known: not worth a slot, or worth protecting."""
        chain, kind = self._p.chain, state.peer.kind
        best = state.best_known
        if best is None or kind not in _JUDGED:
            return
        if chain.is_initial_block_download and best.chain_work < chain.minimum_chain_work:
            state.peer.disconnect("outbound peer headers chain has insufficient work")
        elif (
            kind is ConnectionType.OUTBOUND_FULL_RELAY
            and not state.is_protected
            and best.chain_work >= chain.tip_entry.chain_work
            and self._protected < MAX_PROTECTED
        ):
            state.is_protected = True
            self._protected += 1

    def peer_gone(self, state: PeerState) -> None:
        if state.is_protected:
            state.is_protected = False
            self._protected -= 1

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
            self._p.log(f"Ignoring low-work chain (height={parent.height + len(headers)}) from peer={state.id}")
            return False
        now = self._p.clock.now()
        # Six blocks a second are the most that the timestamp rules allow to be mined.
        most = 6 * max(0, now - parent.median_time_past + 7_200)
        state.low_work = LowWorkSync(self._p.chain.params, parent, minimum, self._p.entropy.bytes(16), most)
        self._continue_low_work(state, headers, is_full=is_full)
        return False

    def _continue_low_work(
        self, state: PeerState, headers: Sequence[BlockHeader], *, is_full: bool
    ) -> tuple[Sequence[BlockHeader], bool, bool]:
        """(headers to judge now, whether there are more behind, whether their work is known to suffice)."""
        sync = state.low_work
        assert sync is not None
        try:
            keep, more = sync.feed(headers, is_full=is_full)
        except SyncFailed as error:
            # No proof of malice, a reorganisation does it too: Core does not punish either.
            state.low_work = None
            self._p.log(f"Initial headers sync aborted with peer={state.id}: {error}")
            return headers, is_full, False
        if sync.is_done:
            state.low_work = None
            return keep, more, True
        if more:
            self._continue(state, sync)
        return keep, False, True

    def _punish(self, state: PeerState, error: Reject, *, via_compact: bool) -> None:
        self._p.log(f"header from peer={state.id} not accepted: {error}")
        if error.kind is RejectKind.CONTEXT:
            return
        if error.reason == "duplicate-invalid" and (via_compact or state.peer.is_inbound):
            return  # it may not know that the chain is bad: a new node could be misled just like it
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
            self.request(state)

    def learn_unknown(self, state: PeerState) -> None:
        """The block that it announced may be known by now."""
        if state.unknown_best is not None:
            entry = self._p.chain.entry(state.unknown_best)
            if entry is not None:
                self.saw(state, entry)
                state.unknown_best = None

    # -- time --

    def tick(self, state: PeerState) -> None:
        self.start_sync(state)
        self._say_sendheaders(state)
        self._check_deadline(state)
        self._check_chain(state)

    def _say_sendheaders(self, state: PeerState) -> None:
        """Headers as announcements, once the peer has shown a chain with enough work."""
        if state.sendheaders_sent or state.best_known is None or state.peer.protocol < SEND_HEADERS_PROTOCOL:
            return
        if state.best_known.chain_work > self._p.chain.minimum_chain_work:
            state.sendheaders_sent = True
            self._p.send(state, "sendheaders")

    def _check_deadline(self, state: PeerState) -> None:
        """The one peer that we get headers from must be done in time, where there are others."""
        if not state.sync_started or not state.headers_deadline:
            return
        now = self._p.clock.now()
        if self._p.chain.best_header.time > now - RECENT_S:
            state.headers_deadline = 0
            return
        others = self._p.peers.values()
        if now <= state.headers_deadline or sum(other.sync_started for other in others) != 1:
            return
        if not any(other.is_preferred for other in others if other is not state):
            return
        if state.peer.permissions & Permission.NOBAN:
            state.sync_started, state.headers_deadline = False, 0
        else:
            state.peer.disconnect("timeout downloading headers")

    def _check_chain(self, state: PeerState) -> None:
        """Outbound peers must come to a chain as good as ours in time (Core: ConsiderEviction)."""
        if state.peer.kind not in _JUDGED or state.is_protected or not state.sync_started:
            return
        now, tip, sync = self._p.clock.now(), self._p.chain.tip_entry, state.chain_sync
        best = state.best_known
        if best is not None and best.chain_work >= tip.chain_work:
            if sync.deadline:
                state.chain_sync = ChainSync()
        elif not sync.deadline or (
            best is not None and sync.work_entry is not None and best.chain_work >= sync.work_entry.chain_work
        ):
            state.chain_sync = ChainSync(now + CHAIN_SYNC_TIMEOUT_S, tip)
        elif now > sync.deadline:
            if sync.asked:
                shown = best.hash[::-1].hex() if best is not None else "<none>"
                state.peer.disconnect(f"outbound peer has old chain, best known block = {shown}")
                return
            assert sync.work_entry is not None
            self.request(state, sync.work_entry.prev or sync.work_entry)
            sync.asked = True
            sync.deadline = now + HEADERS_RESPONSE_S
