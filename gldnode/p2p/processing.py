"""What peers' messages mean for chain and mempool (Core: net_processing).

Everything here runs in the validation thread and is synchronous: a message goes in, answers wait in the peers'
output queues. Time and randomness come from the clock and entropy that are passed in, so a simulated network
replays exactly.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.entry import HAVE_DATA, BlockEntry, last_common_ancestor
from gldnode.clock import Clock
from gldnode.entropy import Entropy
from gldnode.errors import DecodeError, Reject, RejectKind
from gldnode.events import BlockConnected, ChainStep, MempoolTxAdded, MempoolTxRefused, MempoolTxRemoved
from gldnode.mempool.orphans import OrphanPool
from gldnode.mempool.pool import Mempool
from gldnode.p2p.addrrelay import AddressRelay
from gldnode.p2p.blocksync import BlockSync
from gldnode.p2p.compact import COMPACT_VERSION, PartialBlock, ShortIdCollision, make_compact
from gldnode.p2p.framing import Message
from gldnode.p2p.messages import (
    Addr,
    AddrV2,
    BlockTxn,
    CompactBlock,
    FeeFilter,
    GetBlockTxn,
    Headers,
    Inventory,
    InvItem,
    InvType,
    Locator,
    SendCompact,
    TimedAddress,
)
from gldnode.p2p.netaddress import NetAddress
from gldnode.p2p.peer import ConnectionType, Peer, Permission
from gldnode.p2p.state import PeerState
from gldnode.p2p.txrelay import TxRelay
from gldnode.primitives.block import Block, parse_block
from gldnode.primitives.codec import compact_size
from gldnode.primitives.tx import Tx

__all__ = ["FilterSource", "Processing"]

MAX_HEADERS: Final = 2_000
MAX_BLOCKS_TO_ANNOUNCE: Final = 8
MAX_INV_BLOCKS: Final = 500
MAX_COMPACT_DEPTH: Final = 5
MAX_BLOCKTXN_DEPTH: Final = 10
MAX_OUTPUT: Final = 1_000_000
"""A peer that does not read gets no more blocks until it has read these bytes."""
PRUNED_SERVE_DEPTH: Final = 288
HIGH_BANDWIDTH_PEERS: Final = 3
MAX_GETDATA: Final = 50_000
HISTORY_S: Final = 7 * 86_400
"""A block older than this is history, which `-maxuploadtarget` may forbid to serve."""


class FilterSource(Protocol):
    """BIP 157 service, when the filter index is on: the payload of the answer, None when the request is bad."""

    def answer(self, command: str, payload: bytes) -> Iterable[tuple[str, bytes]] | None: ...


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
        relay_txs: bool = True,
        filters: FilterSource | None = None,
        bloom_allowed: bool = False,
    ) -> None:
        self.chain = chain
        self.mempool = mempool
        self.clock = clock
        self.entropy = entropy
        self.log = log
        self.relay_txs = relay_txs
        self.filters = filters
        self.bloom_allowed = bloom_allowed
        self.peers: dict[int, PeerState] = {}
        self.orphans = OrphanPool()
        self.blocks = BlockSync(self)
        self.txs = TxRelay(self)
        self.addresses = AddressRelay(self)
        self.discourage: Callable[[NetAddress, str], None] = lambda address, reason: None
        self.known_addresses: Callable[[int, int], list[TimedAddress]] = lambda count, percent: []
        self.learned_addresses: Callable[[list[TimedAddress], NetAddress], None] = lambda found, source: None
        self.own_address: Callable[[], TimedAddress | None] = lambda: None
        self.may_serve_history: Callable[[], bool] = lambda: True
        """False once `-maxuploadtarget` is used up: then only recent blocks go out."""
        self._compact_source: list[int] = []
        self._fresh: list[BlockEntry] = []
        self._recent_block: Block | None = None
        chain.add_listener(self._on_step)
        mempool.on_event(self._on_mempool)

    # -- connections --

    def connected(self, peer: Peer) -> None:
        self.peers[peer.id] = PeerState(peer)

    def established(self, peer: Peer) -> None:
        """The handshake is over: say what we would like."""
        state = self.peers[peer.id]
        if peer.kind is ConnectionType.FEELER:
            peer.disconnect("feeler connection completed")
            return
        self.addresses.established(state)
        self.send(state, "sendcmpct", SendCompact(False, COMPACT_VERSION).encode())
        self.send(state, "sendheaders")
        self.txs.send_fee_filter(state)
        self.blocks.start_sync(state)

    def disconnected(self, peer: Peer) -> None:
        state = self.peers.pop(peer.id, None)
        if state is None:
            return
        self.blocks.peer_gone(state)
        self.txs.peer_gone(state)
        if peer.id in self._compact_source:
            self._compact_source.remove(peer.id)

    def send(self, state: PeerState, command: str, payload: bytes = b"") -> None:
        state.peer.send(command, payload, self.clock.now())

    def misbehaving(self, state: PeerState, reason: str) -> None:
        """Disconnect and discourage a peer that broke the protocol; the operator's own choices are only logged."""
        self.log(f"Misbehaving: peer={state.id} ({state.peer.address_name}): {reason}")
        if state.may_misbehave:
            return
        self.discourage(state.peer.address, reason)
        state.peer.disconnect(f"misbehaving: {reason}")

    def exponential_ms(self, mean_ms: int) -> int:
        """A random delay of a Poisson process."""
        uniform = (self.entropy.below(1 << 48) + 1) / (1 << 48)
        return int(-mean_ms * math.log(uniform))

    # -- bytes --

    def receive(self, peer: Peer, data: bytes) -> None:
        """Bytes that arrived from `peer`: the handshake is answered, messages are handled one after another."""
        now, now_ms = self.clock.now(), self.clock.now_ms()
        was_established = peer.is_established
        messages = peer.feed(data, now, now_ms)
        if peer.is_established and not was_established and peer.disconnect_reason is None:
            self.established(peer)
        for message in messages:
            self.message(peer, message)
        self.flush_announcements()

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

    def message(self, peer: Peer, message: Message) -> None:
        """Handle one message of an established peer. Never raises for what a peer can send."""
        state = self.peers.get(peer.id)
        handler = _HANDLERS.get(message.command)
        if state is None or handler is None or peer.disconnect_reason is not None:
            return
        try:
            handler(self, state, message.payload)
        except DecodeError as error:
            self.log(
                f"{message.command} ({len(message.payload)} bytes) from peer={peer.id} does not parse: {error}"
            )

    def _on_sendheaders(self, state: PeerState, payload: bytes) -> None:
        state.prefers_headers = True

    def _on_sendcmpct(self, state: PeerState, payload: bytes) -> None:
        wish = SendCompact.decode(payload)
        if wish.version == COMPACT_VERSION:
            state.supports_compact = True
            state.wants_high_bandwidth = wish.high_bandwidth

    def _on_feefilter(self, state: PeerState, payload: bytes) -> None:
        feerate = FeeFilter.decode(payload).feerate_per_kvb
        if 0 <= feerate <= self.chain.params.max_money:
            state.fee_filter = feerate

    def _on_addr(self, state: PeerState, payload: bytes) -> None:
        self.addresses.on_addresses(state, list(Addr.decode(payload).addresses))

    def _on_addrv2(self, state: PeerState, payload: bytes) -> None:
        self.addresses.on_addresses(state, list(AddrV2.decode(payload).addresses))

    def _on_getaddr(self, state: PeerState, payload: bytes) -> None:
        self.addresses.on_getaddr(state)

    def _on_inv(self, state: PeerState, payload: bytes) -> None:
        last_block: bytes | None = None
        for item in self._inventory(state, payload).items:
            if item.type in {InvType.BLOCK, InvType.WITNESS_BLOCK}:
                last_block = item.hash
            elif item.type in {InvType.TX, InvType.WTX}:
                self.txs.announced(state, item)
        if last_block is not None:
            self.blocks.announced_hash(state, last_block)

    def _inventory(self, state: PeerState, payload: bytes) -> Inventory:
        try:
            return Inventory.decode(payload)
        except DecodeError as error:
            if str(error) == "size too large":
                self.misbehaving(state, "too many inventory items")
            raise

    def _on_notfound(self, state: PeerState, payload: bytes) -> None:
        for item in Inventory.decode(payload).items:
            self.txs.not_found(state, item)
            if item.type & ~0x40000000 in {InvType.BLOCK, InvType.COMPACT_BLOCK}:
                flight = self.blocks.in_flight.get(item.hash)
                if flight is not None and flight.peer_id == state.id:
                    self.blocks.arrived(item.hash)

    def _on_tx(self, state: PeerState, payload: bytes) -> None:
        self.txs.on_tx(state, payload)

    def _on_headers(self, state: PeerState, payload: bytes) -> None:
        try:
            headers = Headers.decode(payload).headers
        except DecodeError as error:
            if str(error) == "size too large":
                self.misbehaving(state, "headers message size too large")
            raise
        self.blocks.on_headers(state, headers)

    def _on_block(self, state: PeerState, payload: bytes) -> None:
        try:
            block = parse_block(payload)
        except DecodeError:
            self.misbehaving(state, "block does not parse")
            raise
        self.take_block(state, block)

    def take_block(self, state: PeerState, block: Block, *, from_compact: bool = False) -> None:
        """A whole block from a peer."""
        flight = self.blocks.in_flight.get(block.hash)
        requested = flight is not None
        if self.chain.entry(block.header.prev_hash) is None:
            self.log(f"block {block.hash[::-1].hex()} from peer={state.id}: prev-blk-not-found")
            self.blocks.request_headers(state)
            return
        try:
            result = self.chain.accept_block(block, requested=requested)
        except Reject as error:
            self.blocks.arrived(block.hash)
            self._punish_block(state, block, error, from_compact=from_compact)
            return
        self.blocks.arrived(block.hash)
        self.blocks.saw(state, result.entry)
        if result.is_new:
            self._prefer_compact_from(state)
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
        self.misbehaving(state, f"invalid block: {error.reason}")

    # -- serving --

    def _on_getheaders(self, state: PeerState, payload: bytes) -> None:
        request = Locator.decode(payload)
        if self.chain.tip.chain_work < self.chain.minimum_chain_work:
            self.send(state, "headers", Headers([]).encode())  # we are not sure of our own chain yet
            return
        if not request.hashes:
            entry = self.chain.entry(request.stop)
            start = entry if entry is not None and self.chain.is_active(entry) else None
        else:
            start = self.chain.next_in_chain(self.chain.find_fork(request.hashes))
        found: list[BlockEntry] = []
        while start is not None and len(found) < MAX_HEADERS:
            found.append(start)
            if start.hash == request.stop or not request.hashes:
                break
            start = self.chain.next_in_chain(start)
        state.best_sent = found[-1] if found else self.chain.tip_entry
        self.send(state, "headers", Headers([entry.header for entry in found]).encode())

    def _on_getblocks(self, state: PeerState, payload: bytes) -> None:
        request = Locator.decode(payload)
        entry = self.chain.next_in_chain(self.chain.find_fork(request.hashes))
        items: list[InvItem] = []
        while entry is not None and entry.hash != request.stop:
            items.append(InvItem(InvType.BLOCK, entry.hash))
            if len(items) == MAX_INV_BLOCKS:
                state.hash_continue = entry.hash  # when it is fetched, an inv of the tip makes the peer ask on
                break
            entry = self.chain.next_in_chain(entry)
        if items:
            self.send(state, "inv", Inventory(items).encode())

    def _on_getdata(self, state: PeerState, payload: bytes) -> None:
        items = self._inventory(state, payload).items
        if len(state.serve) + len(items) > MAX_GETDATA:
            self.misbehaving(state, "too many requests under way")
            return
        state.serve.extend(items)
        self.serve(state)

    def serve(self, state: PeerState) -> None:
        """Answer what the peer asked for, as long as it reads what we send."""
        missing: list[InvItem] = []
        while state.serve and state.peer.output_size < MAX_OUTPUT and state.peer.disconnect_reason is None:
            item = state.serve.popleft()
            if item.type & ~0x40000000 in {InvType.BLOCK, InvType.COMPACT_BLOCK}:
                if not self._serve_block(state, item):
                    missing.append(item)
                continue
            tx = self.txs.find(state, item) if item.type in {InvType.TX, InvType.WITNESS_TX, InvType.WTX} else None
            if tx is None:
                missing.append(item)
            else:
                self.mempool.clear_unbroadcast(tx.txid)
                self.send(state, "tx", tx.stripped() if item.type == InvType.TX else tx.raw)
        if missing:
            self.send(state, "notfound", Inventory(missing).encode())

    def _may_serve(self, state: PeerState, entry: BlockEntry) -> bool:
        if not entry.status & HAVE_DATA or entry.is_failed:
            return False
        if self.chain.is_active(entry):
            return True
        best = self.chain.best_header  # a stale block: only recent ones, old ones would fingerprint us
        return entry.is_valid_to(5) and best.time - entry.time < 30 * 86_400

    def _serve_block(self, state: PeerState, item: InvItem) -> bool:
        entry = self.chain.entry(item.hash)
        if entry is None or not self._may_serve(state, entry):
            return False
        historical = self.chain.best_header.time - entry.time > HISTORY_S
        if historical and not self.may_serve_history() and not state.peer.permissions & Permission.DOWNLOAD:
            state.peer.disconnect("historical block serving limit reached")
            return True
        raw = self.chain.read_block_bytes(entry.hash)
        if raw is None:
            return False
        depth = self.chain.tip.height - entry.height
        if item.type == InvType.COMPACT_BLOCK and depth <= MAX_COMPACT_DEPTH:
            self.send(state, "cmpctblock", self._compact(parse_block(raw)).encode())
        elif item.type == InvType.BLOCK:
            block = parse_block(raw)
            self.send(state, "block", _without_witness(block))
        else:
            self.send(state, "block", raw)
        if entry.hash == state.hash_continue:
            state.hash_continue = None
            tip = InvItem(InvType.BLOCK, self.chain.tip.hash)
            self.send(state, "inv", Inventory([tip]).encode())
        return True

    def _on_mempool_request(self, state: PeerState, payload: bytes) -> None:
        if not self.bloom_allowed and not state.peer.permissions & Permission.MEMPOOL:
            state.peer.disconnect("mempool request with bloom filters disabled")
            return
        for entry in self.mempool.entries():
            state.tx_queue[entry.tx.wtxid] = None

    def _on_filter_request(self, state: PeerState, payload: bytes) -> None:
        if not self.bloom_allowed:
            state.peer.disconnect("bloom filters are not offered")

    def on_filters(self, state: PeerState, command: str, payload: bytes) -> None:
        """BIP 157: served when the filter index is on, else the peer was not to ask."""
        answers = self.filters.answer(command, payload) if self.filters is not None else None
        if answers is None:
            state.peer.disconnect(f"{command} request that cannot be served")
            return
        for name, body in answers:
            self.send(state, name, body)

    # -- compact blocks --

    def _compact(self, block: Block) -> CompactBlock:
        return make_compact(block, int.from_bytes(self.entropy.bytes(8), "little"))

    def _prefer_compact_from(self, state: PeerState) -> None:
        """The last three peers that gave us a new block may send the next one unasked."""
        if not state.supports_compact or (state.peer.is_inbound and not state.is_preferred):
            return
        if state.id in self._compact_source:
            self._compact_source.remove(state.id)
            self._compact_source.append(state.id)
            return
        self._compact_source.append(state.id)
        state.we_want_high_bandwidth = True
        self.send(state, "sendcmpct", SendCompact(True, COMPACT_VERSION).encode())
        if len(self._compact_source) > HIGH_BANDWIDTH_PEERS:
            dropped = self.peers.get(self._compact_source.pop(0))
            if dropped is not None:
                dropped.we_want_high_bandwidth = False
                self.send(dropped, "sendcmpct", SendCompact(False, COMPACT_VERSION).encode())

    def _on_cmpctblock(self, state: PeerState, payload: bytes) -> None:
        if self.chain.is_initial_block_download and not self.chain.params.is_regtest:
            return
        compact = CompactBlock.decode(payload)
        header = compact.header
        if self.chain.entry(header.prev_hash) is None:
            self.blocks.request_headers(state)
            return
        self.blocks.on_headers(state, [header], announced=True)
        entry = self.chain.entry(header.hash)
        if entry is None or entry.status & HAVE_DATA or state.peer.disconnect_reason is not None:
            return
        self.blocks.saw(state, entry)
        flight = self.blocks.in_flight.get(entry.hash)
        if entry.prev is not self.chain.tip_entry:
            if flight is None:
                self.blocks.schedule(state)
            elif flight.peer_id == state.id:
                self.blocks.ask_for_block(state, entry)  # the tip moved meanwhile: our mempool is of no use
            return
        if flight is not None and flight.peer_id != state.id and flight.partial is not None:
            return  # somebody else is completing it already
        try:
            partial = PartialBlock(compact)
        except ShortIdCollision:
            self.blocks.ask_for_block(state, entry)
            return
        partial.fill(entry.tx for entry in self.mempool.entries())
        partial.fill(self.orphans.txs())
        missing = partial.missing
        if not missing:
            self._complete(state, entry, partial, ())
            return
        self.blocks.arrived(entry.hash)
        self.blocks.ask_partial(state, entry, partial)
        self.send(state, "getblocktxn", GetBlockTxn(entry.hash, missing).encode())

    def _complete(self, state: PeerState, entry: BlockEntry, partial: PartialBlock, txs: Sequence[Tx]) -> None:
        block = partial.complete(txs)
        if block is None:
            self.misbehaving(state, "invalid compact block or non-matching block transactions")
            self.blocks.arrived(entry.hash)
            return
        if entry.hash not in self.blocks.in_flight:
            self.blocks.ask_partial(state, entry, partial)
        self.take_block(state, block, from_compact=True)

    def _on_blocktxn(self, state: PeerState, payload: bytes) -> None:
        answer = BlockTxn.decode(payload)
        flight = state.in_flight.get(answer.block_hash)
        if flight is None or flight.partial is None:
            self.log(f"peer={state.id} sent block transactions we did not ask for")
            return
        self._complete(state, flight.entry, flight.partial, answer.txs)

    def _on_getblocktxn(self, state: PeerState, payload: bytes) -> None:
        request = GetBlockTxn.decode(payload)
        entry = self.chain.entry(request.block_hash)
        if entry is None or not self._may_serve(state, entry):
            return
        if self.chain.tip.height - entry.height > MAX_BLOCKTXN_DEPTH:
            state.serve.append(InvItem(InvType.WITNESS_BLOCK, entry.hash))
            self.serve(state)
            return
        block = self.chain.read_block(entry.hash)
        if block is None:
            return
        if any(index >= len(block.txs) for index in request.indexes):
            self.misbehaving(state, "getblocktxn with out-of-bounds tx indices")
            return
        answer = BlockTxn(entry.hash, [block.txs[index] for index in request.indexes])
        self.send(state, "blocktxn", answer.encode())

    # -- news of our own --

    def _on_step(self, step: ChainStep) -> None:
        if not isinstance(step, BlockConnected):
            self.txs.block_disconnected()
            return
        self.txs.block_connected(step.block)
        self.blocks.block_connected()
        entry = self.chain.entry(step.hash)
        assert entry is not None
        self._recent_block = step.block
        self._fresh.append(entry)
        if len(self._fresh) > 64:
            del self._fresh[:-64]

    def _on_mempool(self, event: MempoolTxAdded | MempoolTxRemoved | MempoolTxRefused) -> None:
        if isinstance(event, MempoolTxAdded):
            self.txs.queue_for_all(event.tx)

    def flush_announcements(self) -> None:
        """After the chain has moved: tell every peer, in the form it likes."""
        fresh, self._fresh = self._fresh, []
        if not fresh or self.chain.is_initial_block_download:
            return
        tip = self.chain.tip_entry
        for state in self.peers.values():
            if state.peer.is_established and state.peer.kind is not ConnectionType.FEELER:
                self._announce_tip(state, tip, len(fresh))

    def _announce_tip(self, state: PeerState, tip: BlockEntry, count: int) -> None:
        known = state.best_known
        if known is not None and (known is tip or tip.is_ancestor_of(known)):
            return
        if state.best_sent is tip:
            return
        compact_ok = state.wants_high_bandwidth and count == 1 and self._peer_has(state, tip.prev)
        if compact_ok and self._recent_block is not None and self._recent_block.hash == tip.hash:
            self.send(state, "cmpctblock", self._compact(self._recent_block).encode())
            state.best_sent = tip
            return
        path = self._unknown_to(state, tip) if state.prefers_headers else None
        if path:
            self.send(state, "headers", Headers([entry.header for entry in path]).encode())
        else:
            self.send(state, "inv", Inventory([InvItem(InvType.BLOCK, tip.hash)]).encode())
        state.best_sent = tip

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

    # -- time --

    def tick(self) -> None:
        """About ten times a second: downloads, announcements, time limits."""
        self.txs.requests.expire(self.clock.now_ms())
        self.flush_announcements()
        now, now_ms = self.clock.now(), self.clock.now_ms()
        for state in list(self.peers.values()):
            state.peer.tick(now, now_ms)
            if not state.peer.is_established or state.peer.disconnect_reason is not None:
                continue
            self.blocks.start_sync(state)
            self.blocks.check_timeouts(state)
            self.blocks.schedule(state)
            self.txs.announce(state)
            self.txs.send_fee_filter(state)
            self.addresses.announce(state)
            if state.serve:
                self.serve(state)

    def common_height(self, state: PeerState) -> int:
        """`getpeerinfo.synced_blocks`: the last block in common, -1 when not known."""
        if state.best_known is None:
            return -1
        return last_common_ancestor(self.chain.tip_entry, state.best_known).height


def _without_witness(block: Block) -> bytes:
    return b"".join((block.header.serialize(), compact_size(len(block.txs)), *(tx.stripped() for tx in block.txs)))


_HANDLERS: Final[dict[str, Callable[[Processing, PeerState, bytes], None]]] = {
    "sendheaders": Processing._on_sendheaders,
    "sendcmpct": Processing._on_sendcmpct,
    "feefilter": Processing._on_feefilter,
    "addr": Processing._on_addr,
    "addrv2": Processing._on_addrv2,
    "getaddr": Processing._on_getaddr,
    "inv": Processing._on_inv,
    "notfound": Processing._on_notfound,
    "tx": Processing._on_tx,
    "headers": Processing._on_headers,
    "block": Processing._on_block,
    "getheaders": Processing._on_getheaders,
    "getblocks": Processing._on_getblocks,
    "getdata": Processing._on_getdata,
    "mempool": Processing._on_mempool_request,
    "filterload": Processing._on_filter_request,
    "filteradd": Processing._on_filter_request,
    "filterclear": Processing._on_filter_request,
    "cmpctblock": Processing._on_cmpctblock,
    "blocktxn": Processing._on_blocktxn,
    "getblocktxn": Processing._on_getblocktxn,
    "getcfilters": lambda self, state, payload: self.on_filters(state, "getcfilters", payload),
    "getcfheaders": lambda self, state, payload: self.on_filters(state, "getcfheaders", payload),
    "getcfcheckpt": lambda self, state, payload: self.on_filters(state, "getcfcheckpt", payload),
}
