"""What other nodes ask us for: headers, blocks, transactions, filters."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from gldnode.chain.entry import HAVE_DATA, VALID_SCRIPTS, BlockEntry
from gldnode.consensus.pow import block_work
from gldnode.p2p.compact import make_compact
from gldnode.p2p.messages import (
    MAX_LOCATOR,
    BlockTxn,
    GetBlockTxn,
    Inventory,
    InvItem,
    InvType,
    Locator,
    Services,
    count_of,
)
from gldnode.p2p.peer import Permission
from gldnode.p2p.state import PeerState
from gldnode.primitives.block import Block, parse_block
from gldnode.primitives.codec import compact_size
from gldnode.primitives.hashes import BlockHash

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["FilterSource", "Serving"]

MAX_HEADERS: Final = 2_000
MAX_INV_BLOCKS: Final = 500
MAX_COMPACT_DEPTH: Final = 5
MAX_BLOCKTXN_DEPTH: Final = 10
RECENT_BLOCKS: Final = 288
"""NODE_NETWORK_LIMITED promises these (BIP 159)."""
LIMITED_BUFFER: Final = 2
STALE_AGE_S: Final = 30 * 86_400
HISTORY_S: Final = 7 * 86_400
"""A block older than this is history, which `-maxuploadtarget` may forbid to serve."""
_WITNESS: Final = 0x40000000
_BLOCK_TYPES: Final = frozenset((InvType.BLOCK, InvType.WITNESS_BLOCK, InvType.COMPACT_BLOCK))
_TX_TYPES: Final = frozenset((InvType.TX, InvType.WITNESS_TX, InvType.WTX))


class FilterSource(Protocol):
    """BIP 157 service, when the filter index is on: the messages of the answer, None when the request is bad."""

    def answer(self, command: str, payload: bytes) -> Iterable[tuple[str, bytes]] | None: ...


class Serving:
    """Answers to requests. A peer gets the next answer when it has read most of those before."""

    def __init__(self, processing: "Processing", filters: FilterSource | None, *, bloom_allowed: bool) -> None:
        self._p = processing
        self._filters = filters
        self._bloom_allowed = bloom_allowed

    # -- headers and block hashes --

    def on_getheaders(self, state: PeerState, payload: bytes) -> None:
        chain = self._p.chain
        request = self._locator(state, "getheaders", payload)
        if chain.tip.chain_work < chain.minimum_chain_work:
            # We are not sure of our own chain yet; an empty answer keeps the peer from waiting.
            self._p.send(state, "headers", b"\0")
            return
        if not request.hashes:
            entry = chain.entry(request.stop)
            found = [entry] if entry is not None and self._may_show(entry) else []
        else:
            found = self._following(chain.find_fork(request.hashes), request.stop, MAX_HEADERS)
        state.best_sent = found[-1] if found else chain.tip_entry
        parts = [compact_size(len(found))]
        for entry in found:
            parts += (entry.header_bytes, b"\0")
        self._p.send(state, "headers", b"".join(parts))

    def _locator(self, state: PeerState, command: str, payload: bytes) -> Locator:
        """Raises DecodeError; a locator above the limit ends the connection, as Core does."""
        if len(payload) > 5 and payload[4] > MAX_LOCATOR:
            state.peer.disconnect(f"{command} locator size {count_of(payload[4:])} > {MAX_LOCATOR}")
        return Locator.decode(payload)

    def _following(self, fork: BlockEntry, stop: bytes, most: int) -> list[BlockEntry]:
        """What comes behind `fork` on the active chain, `stop` included."""
        chain = self._p.chain
        found: list[BlockEntry] = []
        entry = chain.next_in_chain(fork)
        while entry is not None:
            found.append(entry)
            if len(found) == most or entry.hash == stop:
                break
            entry = chain.next_in_chain(entry)
        return found

    def on_getblocks(self, state: PeerState, payload: bytes) -> None:
        """The old way to sync: an inv of hashes, and when the last one is fetched an inv of our tip."""
        request = self._locator(state, "getblocks", payload)
        found = self._following(self._p.chain.find_fork(request.hashes), request.stop, MAX_INV_BLOCKS)
        if found and found[-1].hash == request.stop:
            found.pop()
        if self._is_pruned:
            lowest = self._p.chain.tip.height - RECENT_BLOCKS
            found = [entry for entry in found if entry.height > lowest and entry.has_data]
        if len(found) == MAX_INV_BLOCKS:
            state.hash_continue = found[-1].hash
        if found:
            self._p.send_inv(state, [InvItem(InvType.BLOCK, entry.hash) for entry in found])

    @property
    def _is_pruned(self) -> bool:
        return not self._p.services & Services.NETWORK

    # -- getdata --

    def on_getdata(self, state: PeerState, payload: bytes) -> None:
        state.serve.extend(self._p.inventory(state, "getdata", payload).items)
        self.serve(state)

    def serve(self, state: PeerState) -> None:
        """Answer what the peer asked for, as long as it reads what we send."""
        missing: list[InvItem] = []
        while state.serve and not state.peer.is_congested and state.peer.disconnect_reason is None:
            item = state.serve.popleft()
            if item.type in _BLOCK_TYPES:
                if not self._serve_block(state, item):
                    missing.append(item)
            elif item.type in _TX_TYPES:
                tx = self._p.txs.find(state, item)
                if tx is None:
                    missing.append(item)
                else:
                    self._p.mempool.clear_unbroadcast(tx.txid)
                    self._p.send(state, "tx", tx.stripped() if item.type == InvType.TX else tx.raw)
        if missing:
            self._p.send(state, "notfound", Inventory(missing).encode())

    def _may_show(self, entry: BlockEntry) -> bool:
        """Any active block, and recent stale ones: old ones would tell who we are (Core: BlockRequestAllowed)."""
        chain = self._p.chain
        if chain.is_active(entry):
            return True
        best = chain.best_header
        if not entry.is_valid_to(VALID_SCRIPTS) or best.time - entry.time >= STALE_AGE_S:
            return False
        behind = (best.chain_work - entry.chain_work) * chain.params.block_interval_s
        return behind // max(1, block_work(best.bits)) < STALE_AGE_S

    def may_serve(self, entry: BlockEntry) -> bool:
        return bool(entry.status & HAVE_DATA) and not entry.is_failed and self._may_show(entry)

    def _serve_block(self, state: PeerState, item: InvItem) -> bool:
        chain, granted = self._p.chain, state.peer.permissions
        entry = chain.entry(item.hash)
        if entry is None or not self._may_show(entry):
            return False
        historical = chain.best_header.time - entry.time > HISTORY_S
        if historical and not self._p.may_serve_history() and not granted & Permission.DOWNLOAD:
            state.peer.disconnect("historical block serving limit reached")
            return True
        depth = chain.tip.height - entry.height
        if self._is_pruned and not granted & Permission.NOBAN and depth > RECENT_BLOCKS + LIMITED_BUFFER:
            state.peer.disconnect("Ignore block request below NODE_NETWORK_LIMITED threshold")
            return True
        raw = self._raw(entry)
        if raw is None:
            return False
        if item.type == InvType.COMPACT_BLOCK and depth <= MAX_COMPACT_DEPTH:
            nonce = int.from_bytes(self._p.entropy.bytes(8), "little")
            self._p.send(state, "cmpctblock", make_compact(self._block(entry, raw), nonce).encode())
        elif item.type == InvType.BLOCK:
            self._p.send(state, "block", _without_witness(self._block(entry, raw)))
        else:
            self._p.send(state, "block", raw)
        if entry.hash == state.hash_continue:
            state.hash_continue = None
            self._p.send_inv(state, [InvItem(InvType.BLOCK, chain.tip.hash)])
        return True

    def _raw(self, entry: BlockEntry) -> bytes | None:
        recent = self._p.announcer.recent_block
        if recent is not None and recent.hash == entry.hash:
            return recent.raw
        return self._p.chain.read_block_bytes(entry.hash) if entry.status & HAVE_DATA else None

    def _block(self, entry: BlockEntry, raw: bytes) -> Block:
        recent = self._p.announcer.recent_block
        return recent if recent is not None and recent.hash == entry.hash else parse_block(raw)

    def on_getblocktxn(self, state: PeerState, payload: bytes) -> None:
        request = GetBlockTxn.decode(payload)
        entry = self._p.chain.entry(request.block_hash)
        if entry is None or not self.may_serve(entry):
            self._p.log(f"Peer {state.id} sent us a getblocktxn for a block we don't have")
            return
        if self._p.chain.tip.height - entry.height > MAX_BLOCKTXN_DEPTH:
            # The whole block: cheaper for us than to look for its transactions again and again.
            state.serve.append(InvItem(InvType.WITNESS_BLOCK, entry.hash))
            self.serve(state)
            return
        raw = self._raw(entry)
        if raw is None:
            return
        block = self._block(entry, raw)
        if any(index >= len(block.txs) for index in request.indexes):
            self._p.misbehaving(state, "getblocktxn with out-of-bounds tx indices")
            return
        answer = BlockTxn(BlockHash(entry.hash), [block.txs[index] for index in request.indexes])
        self._p.send(state, "blocktxn", answer.encode())

    # -- the rest --

    def on_mempool(self, state: PeerState, payload: bytes) -> None:
        if not self._bloom_allowed and not state.peer.permissions & Permission.MEMPOOL:
            if not state.peer.permissions & Permission.NOBAN:
                state.peer.disconnect("mempool request with bloom filters disabled")
        elif not self._p.may_serve_history() and not state.peer.permissions & Permission.MEMPOOL:
            if not state.peer.permissions & Permission.NOBAN:
                state.peer.disconnect("mempool request with bandwidth limit reached")
        else:
            state.send_mempool = True

    def on_bloom(self, state: PeerState, command: str) -> None:
        """BIP 37 is not offered: whoever uses it all the same has not read our services."""
        state.peer.disconnect(f"{command} received despite not offering bloom services")

    def on_filters(self, state: PeerState, command: str, payload: bytes) -> None:
        """BIP 157: served when the filter index is on, else the peer was not to ask."""
        answers = self._filters.answer(command, payload) if self._filters is not None else None
        if answers is None:
            state.peer.disconnect(f"peer sent {command} that cannot be served")
            return
        for name, body in answers:
            self._p.send(state, name, body)


def _without_witness(block: Block) -> bytes:
    return b"".join((block.header.serialize(), compact_size(len(block.txs)), *(tx.stripped() for tx in block.txs)))
