"""Transactions between peers: announced with a delay, asked for one peer at a time, orphans resolved."""

from typing import TYPE_CHECKING, Final

from gldnode.errors import DecodeError, Reject
from gldnode.mempool.results import MissingInputs
from gldnode.p2p.bounded import RecentSet
from gldnode.p2p.messages import FeeFilter, Inventory, InvItem, InvType
from gldnode.p2p.peer import ConnectionType, Permission
from gldnode.p2p.state import PeerState
from gldnode.p2p.txrequest import TxRequests
from gldnode.primitives.block import Block
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import Tx, parse_tx

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["TxRelay"]

OUTBOUND_INTERVAL_MS: Final = 2_000
INBOUND_INTERVAL_MS: Final = 5_000
"""Mean of the random delay before announcements, so that their origin cannot be timed."""
MAX_INV_PER_ROUND: Final = 1_000
INV_PER_SECOND: Final = 14
MAX_QUEUE: Final = 50_000
FEE_FILTER_INTERVAL_S: Final = 600
_TX_TYPES: Final = frozenset((InvType.TX, InvType.WITNESS_TX, InvType.WTX))


class TxRelay:
    """What was announced, asked for, refused; what to announce next."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self.requests = TxRequests()
        self.recent_rejects: RecentSet[bytes] = RecentSet(60_000)
        """Wtxids refused since the last block: not asked for again."""
        self._recent_confirmed: RecentSet[bytes] = RecentSet(24_000)
        self._next_inbound_ms = 0
        self._orphans = processing.orphans

    # -- in --

    def announced(self, state: PeerState, item: InvItem) -> None:
        """An `inv` of a transaction."""
        if not self._wants_txs(state):
            return
        is_wtxid = item.type == InvType.WTX
        if is_wtxid != state.peer.wtxid_relay:
            return  # BIP 339: only the agreed kind
        state.known_txs.add(item.hash)
        if self.has(item.hash, is_wtxid=is_wtxid) or self._p.chain.is_initial_block_download:
            return
        some_wtxid = any(other.peer.wtxid_relay for other in self._p.peers.values())
        self.requests.announced(
            item.hash,
            state.id,
            is_wtxid=is_wtxid,
            preferred=state.is_preferred,
            delay_txid=some_wtxid,
            now_ms=self._p.clock.now_ms(),
        )

    def _wants_txs(self, state: PeerState) -> bool:
        """Whether transactions may come over this connection."""
        if state.peer.kind is ConnectionType.BLOCK_RELAY_ONLY:
            return False
        allowed = bool(state.peer.permissions & Permission.RELAY)
        return self._p.relay_txs or allowed

    def has(self, tx_hash: bytes, *, is_wtxid: bool) -> bool:
        """Whether we have it, had it lately, or have refused it."""
        if tx_hash in self.recent_rejects or tx_hash in self._recent_confirmed:
            return True
        if is_wtxid:
            return self._p.mempool.get_by_wtxid(Wtxid(tx_hash)) is not None or tx_hash in self._orphans
        return self._p.mempool.get(Txid(tx_hash)) is not None

    def on_tx(self, state: PeerState, payload: bytes) -> None:
        """A `tx` message."""
        if not self._wants_txs(state):
            state.peer.disconnect("transaction sent in violation of protocol")
            return
        if self._p.chain.is_initial_block_download:
            return
        try:
            tx = parse_tx(payload)
        except DecodeError as error:
            self._p.log(f"transaction from peer={state.id} does not parse: {error}")
            return
        state.known_txs.add(tx.wtxid if state.peer.wtxid_relay else tx.txid)
        self.requests.refused(tx.txid, state.id)
        self.requests.refused(tx.wtxid, state.id)
        if self.has(tx.wtxid, is_wtxid=True):
            if state.peer.permissions & Permission.FORCERELAY and self._p.mempool.get(tx.txid):
                self.queue_for_all(tx)
            return
        self.offer(tx, state)

    def offer(self, tx: Tx, state: PeerState | None) -> None:
        """Try a transaction; take orphans that waited for it too."""
        work = [(tx, state)]
        while work:
            candidate, source = work.pop()
            try:
                self._p.mempool.accept(candidate)
            except MissingInputs as missing:
                self._keep_orphan(candidate, source, missing)
                continue
            except Reject as error:
                self._refuse(candidate, source, error)
                continue
            self.requests.forget(candidate.txid, candidate.wtxid)
            self._p.log(
                f"AcceptToMemoryPool: peer={source.id if source else -1}: accepted "
                f"{candidate.txid[::-1].hex()} (wtxid={candidate.wtxid[::-1].hex()})"
            )
            for child in self._orphans.children_of(candidate):
                self._orphans.remove(child.wtxid)
                work.append((child, source))

    def _keep_orphan(self, tx: Tx, state: PeerState | None, missing: MissingInputs) -> None:
        if state is None or any(parent in self.recent_rejects for parent in missing.parents):
            self._refuse(tx, state, missing)
            return
        if not self._orphans.add(tx, state.id, self._p.clock.now()):
            return
        now_ms = self._p.clock.now_ms()
        for parent in missing.parents:
            state.known_txs.add(parent)
            if not self.has(parent, is_wtxid=False):
                self.requests.announced(
                    parent, state.id, is_wtxid=False, preferred=state.is_preferred, delay_txid=False, now_ms=now_ms
                )

    def _refuse(self, tx: Tx, state: PeerState | None, error: Reject) -> None:
        self._orphans.remove(tx.wtxid)
        if error.reason not in {"txn-already-in-mempool", "txn-already-known"}:
            # A witness may have been cut off by whoever sent it: only the wtxid is known to be bad.
            self.recent_rejects.add(tx.wtxid)
        self.requests.forget(tx.wtxid)
        self._p.log(
            f"{tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()}) from peer={state.id if state else -1} "
            f"was not accepted: {error}"
        )

    def not_found(self, state: PeerState, item: InvItem) -> None:
        if item.type in _TX_TYPES:
            self.requests.refused(item.hash, state.id)

    def block_connected(self, block: Block) -> None:
        self.recent_rejects.clear()
        for tx in block.txs:
            self._recent_confirmed.add(tx.txid)
            self._recent_confirmed.add(tx.wtxid)
            self.requests.forget(tx.txid, tx.wtxid)
        self._orphans.block_connected(block)

    def block_disconnected(self) -> None:
        """What was confirmed may come again."""
        self._recent_confirmed.clear()

    def peer_gone(self, state: PeerState) -> None:
        self.requests.peer_gone(state.id)
        self._orphans.remove_peer(state.id)

    # -- out --

    def queue_for_all(self, tx: Tx) -> None:
        """Announce a transaction of the mempool to everyone, each after its delay."""
        for state in self._p.peers.values():
            if state.peer.relays_txs and len(state.tx_queue) < MAX_QUEUE:
                name = tx.wtxid if state.peer.wtxid_relay else tx.txid
                if name not in state.known_txs:
                    state.tx_queue[tx.wtxid] = None

    def announce(self, state: PeerState) -> None:
        """Send the `inv`s that are due, and ask for what is due."""
        now_ms = self._p.clock.now_ms()
        if state.peer.relays_txs and now_ms >= state.next_inv_ms:
            self._set_next_inv(state, now_ms)
            self._send_invs(state)
        elif state.tx_queue and state.peer.permissions & Permission.NOBAN:
            self._send_invs(state)
        wanted = list(self.requests.due(state.id, now_ms))
        if wanted:
            items = [
                InvItem(InvType.WTX if is_wtxid else InvType.WITNESS_TX, tx_hash) for tx_hash, is_wtxid in wanted
            ]
            for at in range(0, len(items), 1000):
                self._p.send(state, "getdata", Inventory(items[at : at + 1000]).encode())

    def _set_next_inv(self, state: PeerState, now_ms: int) -> None:
        if state.peer.is_inbound:
            # One timer for all inbound peers: being connected often gives no better timing.
            if now_ms >= self._next_inbound_ms:
                self._next_inbound_ms = now_ms + self._p.exponential_ms(INBOUND_INTERVAL_MS)
            state.next_inv_ms = self._next_inbound_ms
        else:
            state.next_inv_ms = now_ms + self._p.exponential_ms(OUTBOUND_INTERVAL_MS)

    def _send_invs(self, state: PeerState) -> None:
        """Parents before children, the better feerate first, at most what trickle allows."""
        mempool = self._p.mempool
        state.last_inv_sequence = mempool.sequence
        entries = [entry for wtxid in state.tx_queue if (entry := mempool.get_by_wtxid(Wtxid(wtxid))) is not None]
        entries.sort(key=lambda entry: (entry.ancestor_count, -entry.fee / entry.vsize))
        budget = min(MAX_INV_PER_ROUND, INV_PER_SECOND * INBOUND_INTERVAL_MS // 1000 + len(entries) // 5)
        state.tx_queue.clear()
        kind = InvType.WTX if state.peer.wtxid_relay else InvType.TX
        items: list[InvItem] = []
        for entry in entries:
            name = entry.tx.wtxid if state.peer.wtxid_relay else entry.tx.txid
            if name in state.known_txs or entry.fee * 1000 < state.fee_filter * entry.vsize:
                continue
            if len(items) >= budget:
                state.tx_queue[entry.tx.wtxid] = None
                continue
            state.known_txs.add(name)
            items.append(InvItem(kind, name))
        for at in range(0, len(items), 1000):
            self._p.send(state, "inv", Inventory(items[at : at + 1000]).encode())

    def send_fee_filter(self, state: PeerState) -> None:
        """Tell the peer what is not worth announcing to us; rounded, so that it does not fingerprint us."""
        if not state.peer.relays_txs or state.peer.permissions & Permission.FORCERELAY:
            return
        now = self._p.clock.now()
        downloading = self._p.chain.is_initial_block_download
        nothing = int(self._p.chain.params.max_money)
        leaving = not downloading and state.fee_filter_sent == nothing
        if now < state.next_fee_filter and not leaving:
            return
        state.next_fee_filter = now + FEE_FILTER_INTERVAL_S + self._p.entropy.below(FEE_FILTER_INTERVAL_S)
        if downloading:
            feerate = nothing
        else:
            feerate = self._p.mempool.min_feerate_per_kvb()
            step = max(1, feerate // 10)
            feerate = feerate // step * step
        if feerate != state.fee_filter_sent:
            state.fee_filter_sent = feerate
            self._p.send(state, "feefilter", FeeFilter(feerate).encode())

    def find(self, state: PeerState, item: InvItem) -> Tx | None:
        """A transaction that a peer asks for, if it may know that we have it."""
        mempool = self._p.mempool
        entry = (
            mempool.get_by_wtxid(Wtxid(item.hash)) if item.type == InvType.WTX else mempool.get(Txid(item.hash))
        )
        if entry is None:
            return None
        allowed = entry.sequence <= state.last_inv_sequence or state.peer.permissions & Permission.NOBAN
        return entry.tx if allowed else None
