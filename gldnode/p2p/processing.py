"""What peers' messages mean for chain and mempool (Core: net_processing).

Everything here runs in the validation thread and is synchronous: a message goes in, answers wait in the peers'
output queues. Time and randomness come from the clock and entropy that are passed in, so a simulated network
replays exactly. The parts: `headers`, `blocks` and `compact` download, `serving` and `announcer` give, `txs` and
`addresses` relay.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.entry import last_common_ancestor
from gldnode.chain.options import DiskSpaceLow
from gldnode.clock import Clock
from gldnode.consensus.pow import block_work
from gldnode.entropy import Entropy
from gldnode.errors import DecodeError, Reject, RejectKind
from gldnode.events import BlockConnected, ChainStep, MempoolTxAdded, MempoolTxRefused, MempoolTxRemoved
from gldnode.mempool.orphans import OrphanPool
from gldnode.mempool.pool import Mempool
from gldnode.p2p.addrrelay import AddressRelay
from gldnode.p2p.announce import Announcer
from gldnode.p2p.blocksync import BlockSync
from gldnode.p2p.compact import COMPACT_VERSION
from gldnode.p2p.compactsync import CompactSync
from gldnode.p2p.framing import Message
from gldnode.p2p.headers import HeaderSync
from gldnode.p2p.messages import (
    FeeFilter,
    Headers,
    Inventory,
    InvItem,
    InvType,
    SendCompact,
    Services,
    TimedAddress,
    count_of,
)
from gldnode.p2p.netaddress import NetAddress
from gldnode.p2p.peer import SHORT_IDS_PROTOCOL, ConnectionType, Peer, Permission
from gldnode.p2p.serving import FilterSource, Serving
from gldnode.p2p.state import PeerState
from gldnode.p2p.txrelay import TxRelay
from gldnode.primitives.block import Block, parse_block

__all__ = ["FilterSource", "Processing"]

WORK_BUDGET_S: Final = 0.01
"""A peer's messages are put back after this long: others, and the node itself, come in between."""
_BLOCK_INVS: Final = frozenset((InvType.BLOCK, InvType.WITNESS_BLOCK))
_TX_INVS: Final = frozenset((InvType.TX, InvType.WTX))


class Processing:
    """All peers of one node."""

    def __init__(
        self,
        chain: Chainstate,
        mempool: Mempool,
        clock: Clock,
        entropy: Entropy,
        *,
        log: Callable[[str], None],
        notice: Callable[[str], None] | None = None,
        relay_txs: bool = True,
        services: Services = Services.NETWORK | Services.WITNESS | Services.NETWORK_LIMITED,
        filters: FilterSource | None = None,
        bloom_allowed: bool = False,
    ) -> None:
        self.chain = chain
        self.mempool = mempool
        self.clock = clock
        self.entropy = entropy
        self.log = log
        self.notice = notice or log
        """For what an operator should see without `-debug`."""
        self.relay_txs = relay_txs
        self.services = services
        self.peers: dict[int, PeerState] = {}
        self.orphans = OrphanPool(mempool.options.max_orphans)
        self.headers = HeaderSync(self)
        self.blocks = BlockSync(self)
        self.compact = CompactSync(self)
        self.serving = Serving(self, filters, bloom_allowed=bloom_allowed)
        self.announcer = Announcer(self)
        self.txs = TxRelay(self)
        self.addresses = AddressRelay(self)
        self.discourage: Callable[[NetAddress, str], None] = lambda address, reason: None
        self.is_unwanted: Callable[[NetAddress], bool] = lambda address: False
        """Whether an address is banned or discouraged: gossip about it is not kept."""
        self.known_addresses: Callable[[int, int], list[TimedAddress]] = lambda count, percent: []
        self.learned_addresses: Callable[[list[TimedAddress], NetAddress], None] = lambda found, source: None
        self.own_address: Callable[[Peer], TimedAddress | None] = lambda peer: None
        self.may_serve_history: Callable[[], bool] = lambda: True
        """False once `-maxuploadtarget` is used up: then only recent blocks go out."""
        chain.add_listener(self._on_step)
        mempool.on_event(self._on_mempool)

    # -- connections --

    def connected(self, peer: Peer) -> None:
        self.peers[peer.id] = PeerState(peer)

    def _established(self, state: PeerState) -> None:
        """The handshake is over: say what we would like."""
        peer = state.peer
        if peer.kind is ConnectionType.FEELER:
            peer.disconnect("feeler connection completed")
            return
        version = peer.version
        assert version is not None
        self.log(
            f"New {peer.kind} peer connected: version: {version.protocol}, blocks={version.start_height}, "
            f"peer={peer.id} {version.subversion}"
        )
        if peer.protocol >= SHORT_IDS_PROTOCOL:
            self.send(state, "sendcmpct", SendCompact(False, COMPACT_VERSION).encode())
        self.addresses.established(state)
        self.txs.send_fee_filter(state)
        self.headers.start_sync(state)

    def disconnected(self, peer: Peer) -> None:
        state = self.peers.pop(peer.id, None)
        if state is None:
            return
        self.headers.peer_gone(state)
        self.blocks.peer_gone(state)
        self.compact.peer_gone(state)
        self.txs.peer_gone(state)

    def send(self, state: PeerState, command: str, payload: bytes = b"") -> None:
        state.peer.send(command, payload, self.clock.now())

    def send_inv(self, state: PeerState, items: Sequence[InvItem]) -> None:
        self.send(state, "inv", Inventory(items).encode())

    def misbehaving(self, state: PeerState, reason: str) -> None:
        """Disconnect and discourage a peer that broke the protocol; the operator's own choices are only logged."""
        self.log(f"Misbehaving: peer={state.id}: {reason}")
        if state.peer.permissions & Permission.NOBAN:
            self.log(f"Warning: not punishing noban peer {state.id}!")
        elif state.peer.kind is ConnectionType.MANUAL:
            self.log(f"Warning: not punishing manually connected peer {state.id}!")
        else:
            if state.peer.address.is_local:
                # A Tor onion service's visitors all come from here.
                self.log(f"Warning: disconnecting but not discouraging local peer {state.id}!")
            else:
                self.discourage(state.peer.address, reason)
            state.peer.disconnect(f"misbehaving: {reason}")

    def exponential_ms(self, mean_ms: int) -> int:
        """A random delay of a Poisson process."""
        uniform = (self.entropy.below(1 << 48) + 1) / (1 << 48)
        return int(-mean_ms * math.log(uniform))

    # -- bytes --

    def receive(self, peer: Peer, data: bytes) -> None:
        """Bytes that arrived from `peer`. What cannot be answered yet waits: see `is_waiting`."""
        state = self.peers.get(peer.id)
        if state is None:
            return
        end = self.clock.monotonic() + WORK_BUDGET_S
        self._drain(state, end)
        for message in peer.feed(data, self.clock.now()):
            if state.inbox or self._must_wait(state) or self.clock.monotonic() > end:
                state.inbox.append(message)
            else:
                self._handle(state, message)
        self.announcer.flush()

    def is_waiting(self, peer: Peer) -> bool:
        """Whether nothing more should be read from it now: it must read our answers, or others have a turn."""
        state = self.peers.get(peer.id)
        return state is not None and (bool(state.inbox) or self._must_wait(state))

    def resume(self, peer: Peer) -> None:
        """Go on with what waits."""
        state = self.peers.get(peer.id)
        if state is not None:
            self._resume(state, self.clock.monotonic() + WORK_BUDGET_S)
            self.announcer.flush()

    def _resume(self, state: PeerState, end: float) -> None:
        self.serving.serve(state)
        self._drain(state, end)

    def _must_wait(self, state: PeerState) -> bool:
        return state.peer.is_established and (bool(state.serve) or state.peer.is_congested)

    def _drain(self, state: PeerState, end: float) -> None:
        while state.inbox and not self._must_wait(state) and state.peer.disconnect_reason is None:
            self._handle(state, state.inbox.popleft())
            if self.clock.monotonic() > end:
                return

    def take_output(self) -> list[tuple[int, bytes]]:
        """(peer id, bytes) of everything that waits to be sent."""
        return [
            (peer_id, state.peer.take_output()) for peer_id, state in self.peers.items() if state.peer.has_output
        ]

    def unwanted(self) -> list[tuple[int, str]]:
        """(peer id, reason) of connections that must end."""
        return [
            (peer_id, state.peer.disconnect_reason)
            for peer_id, state in self.peers.items()
            if state.peer.disconnect_reason is not None
        ]

    # -- messages --

    def _handle(self, state: PeerState, message: Message) -> None:
        """Take one message. Never raises for what a peer can send."""
        peer = state.peer
        was_established = peer.is_established
        if peer.take(message, self.clock.now(), self.clock.now_ms()):
            if peer.is_established and not was_established and peer.disconnect_reason is None:
                self._established(state)
            return
        handler = _HANDLERS.get(message.command)
        if handler is None:
            self.log(f'Unknown message type "{message.command}" from peer={peer.id}')
            return
        if peer.disconnect_reason is not None:
            return
        try:
            handler(self, state, message.payload)
        except DecodeError as error:
            self.log(
                f"{message.command} ({len(message.payload)} bytes) from peer={peer.id} does not parse: {error}"
            )

    def inventory(self, state: PeerState, command: str, payload: bytes) -> Inventory:
        """Raises DecodeError; too many items are punished."""
        try:
            return Inventory.decode(payload)
        except DecodeError as error:
            if str(error) == "size too large":
                self.misbehaving(state, f"{command} message size = {count_of(payload)}")
            raise

    def _on_sendheaders(self, state: PeerState, payload: bytes) -> None:
        state.prefers_headers = True

    def _on_feefilter(self, state: PeerState, payload: bytes) -> None:
        feerate = FeeFilter.decode(payload).feerate_per_kvb
        if 0 <= feerate <= self.chain.params.max_money:
            state.fee_filter = feerate

    def _on_inv(self, state: PeerState, payload: bytes) -> None:
        last_block: bytes | None = None
        refuses_txs = not self.txs.wants_from(state)
        for item in self.inventory(state, "inv", payload).items:
            if item.type in _BLOCK_INVS:
                last_block = item.hash
            elif item.type in _TX_INVS:
                if refuses_txs:
                    state.peer.disconnect(
                        f"transaction ({item.hash[::-1].hex()}) inv sent in violation of protocol"
                    )
                    return
                self.txs.announced(state, item)
        if last_block is not None:
            self.headers.announced_hash(state, last_block)

    def _on_notfound(self, state: PeerState, payload: bytes) -> None:
        for item in Inventory.decode(payload).items:
            self.txs.not_found(state, item)
            if item.type & ~0x40000000 in {InvType.BLOCK, InvType.COMPACT_BLOCK}:
                self.blocks.not_found(state, item.hash)

    def _on_headers(self, state: PeerState, payload: bytes) -> None:
        try:
            headers = Headers.decode(payload).headers
        except DecodeError as error:
            if str(error) == "size too large":
                self.misbehaving(state, f"headers message size = {count_of(payload)}")
            raise
        self.headers.on_headers(state, headers)

    def _on_block(self, state: PeerState, payload: bytes) -> None:
        try:
            block = parse_block(payload)
        except DecodeError:
            self.misbehaving(state, "block does not parse")
            raise
        self.take_block(state, block)

    def take_block(self, state: PeerState, block: Block, *, from_compact: bool = False) -> None:
        """A whole block from a peer."""
        display = block.hash[::-1].hex()
        requested = block.hash in state.in_flight
        parent = self.chain.entry(block.header.prev_hash)
        if parent is None:
            self.log(f"block {display} from peer={state.id}: prev-blk-not-found")
            self.headers.request(state)
            return
        if not requested and self.chain.entry(block.hash) is None:
            work = parent.chain_work + block_work(block.header.bits)
            if work < self.headers.minimum_work():
                self.log(f"block {display} from peer={state.id}: too-little-chainwork")
                return
        try:
            result = self.chain.accept_block(block, requested=requested)
        except Reject as error:
            # Mutated bytes say nothing about the block: who else was asked for it may still send it.
            if error.kind is RejectKind.MUTATED:
                self.blocks.given_up(block.hash, state.id)
            else:
                self.blocks.arrived(block.hash)
            self._punish_block(state, block, error, from_compact=from_compact)
            return
        except DiskSpaceLow as error:
            self.log(f"block {display} not stored: {error}")
            self.blocks.given_up(block.hash, state.id)
            self.blocks.pause()
            return
        self.blocks.arrived(block.hash)
        self.blocks.resume()
        self.headers.saw(state, result.entry)
        if result.is_new:
            state.last_block_at = self.clock.now()
            self.compact.prefer(state)
        for other in list(self.peers.values()):
            self.blocks.schedule(other)

    def _punish_block(self, state: PeerState, block: Block, error: Reject, *, from_compact: bool) -> None:
        self.log(f"block {block.hash[::-1].hex()} from peer={state.id} not accepted: {error}")
        if error.kind is RejectKind.CONTEXT:
            return
        if from_compact:
            # BIP 152: such a block may be relayed before it is validated, so it is nobody's fault.
            entry = self.chain.entry(block.hash)
            if error.kind is RejectKind.MUTATED and entry is not None:
                self.blocks.ask_for_block(state, entry)
            return
        if error.reason == "duplicate-invalid" and state.peer.is_inbound:
            return
        self.misbehaving(state, f"invalid block: {error.reason}")

    # -- news of our own --

    def _on_step(self, step: ChainStep) -> None:
        if not isinstance(step, BlockConnected):
            self.txs.block_disconnected()
            return
        self.txs.block_connected(step.block)
        self.blocks.block_connected()
        self.announcer.connected(step)

    def _on_mempool(self, event: MempoolTxAdded | MempoolTxRemoved | MempoolTxRefused) -> None:
        if isinstance(event, MempoolTxAdded):
            self.txs.queue_for_all(event.tx)

    # -- time --

    def tick(self) -> None:
        """About ten times a second: downloads, announcements, time limits."""
        now, now_ms = self.clock.now(), self.clock.now_ms()
        end = self.clock.monotonic() + WORK_BUDGET_S
        self.announcer.flush()
        self.txs.tick()
        for state in list(self.peers.values()):
            if now != state.ticked_at:
                state.ticked_at = now
                self._tick_slowly(state, now, now_ms)
            if not state.peer.is_established or state.peer.disconnect_reason is not None:
                continue
            self.blocks.schedule(state)
            self.txs.announce(state)
            if (state.serve or state.inbox) and self.clock.monotonic() <= end:
                self._resume(state, end)
        self.announcer.flush()

    def _tick_slowly(self, state: PeerState, now: int, now_ms: int) -> None:
        """Once a second: what is not in a hurry."""
        state.peer.tick(now, now_ms)
        if state.peer.is_established and state.peer.disconnect_reason is None:
            self.headers.tick(state)
            self.blocks.check_timeouts(state)
            self.txs.send_fee_filter(state)
            self.addresses.announce(state)

    def common_height(self, state: PeerState) -> int:
        """`getpeerinfo.synced_blocks`: the last block in common, -1 when not known."""
        if state.best_known is None:
            return -1
        return last_common_ancestor(self.chain.tip_entry, state.best_known).height


Handler = Callable[[Processing, PeerState, bytes], None]


def _bloom(command: str) -> Handler:
    return lambda self, state, payload: self.serving.on_bloom(state, command)


def _filters(command: str) -> Handler:
    return lambda self, state, payload: self.serving.on_filters(state, command, payload)


_HANDLERS: Final[dict[str, Handler]] = {
    "sendheaders": Processing._on_sendheaders,
    "sendcmpct": lambda self, state, payload: self.compact.on_sendcmpct(state, payload),
    "feefilter": Processing._on_feefilter,
    "addr": lambda self, state, payload: self.addresses.on_addr(state, payload),
    "addrv2": lambda self, state, payload: self.addresses.on_addrv2(state, payload),
    "getaddr": lambda self, state, payload: self.addresses.on_getaddr(state),
    "inv": Processing._on_inv,
    "notfound": Processing._on_notfound,
    "tx": lambda self, state, payload: self.txs.on_tx(state, payload),
    "headers": Processing._on_headers,
    "block": Processing._on_block,
    "getheaders": lambda self, state, payload: self.serving.on_getheaders(state, payload),
    "getblocks": lambda self, state, payload: self.serving.on_getblocks(state, payload),
    "getdata": lambda self, state, payload: self.serving.on_getdata(state, payload),
    "mempool": lambda self, state, payload: self.serving.on_mempool(state, payload),
    "filterload": _bloom("filterload"),
    "filteradd": _bloom("filteradd"),
    "filterclear": _bloom("filterclear"),
    "cmpctblock": lambda self, state, payload: self.compact.on_cmpctblock(state, payload),
    "blocktxn": lambda self, state, payload: self.compact.on_blocktxn(state, payload),
    "getblocktxn": lambda self, state, payload: self.serving.on_getblocktxn(state, payload),
    "getcfilters": _filters("getcfilters"),
    "getcfheaders": _filters("getcfheaders"),
    "getcfcheckpt": _filters("getcfcheckpt"),
}
