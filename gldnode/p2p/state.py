"""What `processing` remembers of a peer beside the connection itself."""

from collections import deque
from dataclasses import dataclass, field

from gldnode.chain.entry import BlockEntry
from gldnode.p2p.bounded import RecentSet
from gldnode.p2p.compact import PartialBlock
from gldnode.p2p.framing import Message
from gldnode.p2p.headersync import LowWorkSync
from gldnode.p2p.messages import InvItem, TimedAddress
from gldnode.p2p.peer import ConnectionType, Peer, Permission

__all__ = ["ChainSync", "InFlight", "PeerState"]


@dataclass(slots=True)
class InFlight:
    """A block that was asked for."""

    entry: BlockEntry
    peer_id: int
    asked_at: int
    partial: PartialBlock | None = None
    """Set while its compact form is being completed."""


@dataclass(slots=True)
class ChainSync:
    """How long an outbound peer may stay on a chain with less work than ours (Core: ChainSyncTimeoutState)."""

    deadline: int = 0
    """0: it is not behind."""
    work_entry: BlockEntry | None = None
    """Our tip when the time began."""
    asked: bool = False
    """It has had its last chance, a getheaders."""


@dataclass(slots=True)
class PeerState:
    """Chain and relay state of one peer."""

    peer: Peer
    inbox: deque[Message] = field(default_factory=deque)
    """Messages that wait until it has read our answers to those before."""
    ticked_at: int = -1
    """The second in which time limits were looked at last."""
    # what it has
    best_known: BlockEntry | None = None
    """The header with most work that the peer has shown to have."""
    unknown_best: bytes | None = None
    """The last block it announced that we do not know."""
    common: BlockEntry | None = None
    """The last block that both have."""
    best_sent: BlockEntry | None = None
    """The highest header we have told it."""
    # headers
    sync_started: bool = False
    low_work: LowWorkSync | None = None
    headers_asked_at: int = 0
    headers_deadline: int = 0
    has_more_headers: bool = False
    """Its last `headers` was a full one."""
    prefers_headers: bool = False
    sendheaders_sent: bool = False
    chain_sync: ChainSync = field(default_factory=lambda: ChainSync())
    is_protected: bool = False
    """Kept whatever its chain: one of the few outbound peers that had a good one early on."""
    last_announcement_at: int = 0
    """When it last told us of a block with more work than our tip's, Unix seconds."""
    last_block_at: int = 0
    """When it last gave us a new block."""
    last_tx_at: int = 0
    # blocks
    in_flight: dict[bytes, InFlight] = field(default_factory=dict)
    downloading_since: int = 0
    stalling_since_ms: int = 0
    no_blocks_until: int = 0
    """It did not have a block that it had announced: others are asked meanwhile."""
    announce: list[BlockEntry] = field(default_factory=list)
    hash_continue: bytes | None = None
    # compact blocks
    supports_compact: bool = False
    we_want_high_bandwidth: bool = False
    wants_high_bandwidth: bool = False
    # transactions
    known_txs: RecentSet[bytes] = field(default_factory=lambda: RecentSet(20_000))
    tx_queue: dict[bytes, None] = field(default_factory=dict)
    """Wtxids to announce, in order of arrival."""
    next_inv_ms: int = 0
    last_inv_sequence: int = 0
    send_mempool: bool = False
    """It has asked for all we have."""
    fee_filter: int = 0
    fee_filter_sent: int = -1
    next_fee_filter: int = 0
    serve: deque[InvItem] = field(default_factory=deque)
    # addresses
    known_addresses: RecentSet[bytes] = field(default_factory=lambda: RecentSet(2_500))
    address_queue: list[TimedAddress] = field(default_factory=list)
    address_tokens: float = 1.0
    address_refilled_at: int = 0
    addresses_processed: int = 0
    addresses_rate_limited: int = 0
    getaddr_answered: bool = False
    getaddr_asked: bool = False
    relays_addresses: bool = False
    next_address_ms: int = 0
    next_own_address: int = 0

    @property
    def id(self) -> int:
        return self.peer.id

    @property
    def is_preferred(self) -> bool:
        """Blocks and transactions are asked of it first: we chose it, or the operator trusts it."""
        if self.peer.kind in {ConnectionType.FEELER, ConnectionType.ADDR_FETCH}:
            return False
        return not self.peer.is_inbound or bool(self.peer.permissions & Permission.NOBAN)
