"""Transactions between peers: announced with a delay, asked for one peer at a time, orphans resolved."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gldnode.errors import DecodeError, Reject
from gldnode.mempool.results import FeeReject, MissingInputs
from gldnode.p2p.bounded import RecentSet
from gldnode.p2p.messages import FeeFilter, Inventory, InvItem, InvType
from gldnode.p2p.peer import FEE_FILTER_PROTOCOL, ConnectionType, Permission
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
MAX_INV: Final = 50_000
REBROADCAST_S: Final = 10 * 60
REBROADCAST_SPREAD_S: Final = 5 * 60
MAX_FEE_FILTER_CHANGE_DELAY_S: Final = 5 * 60
FEE_FILTER_INTERVAL_S: Final = 600
_TX_TYPES: Final = frozenset((InvType.TX, InvType.WITNESS_TX, InvType.WTX))


class TxRelay:
    """What was announced, asked for, refused; what to announce next."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self.requests = TxRequests(processing.entropy.bytes(16))
        self.recent_rejects: RecentSet[bytes] = RecentSet(60_000)
        """Wtxids refused since the last block: not asked for again."""
        self._too_cheap: RecentSet[bytes] = RecentSet(60_000)
        """Wtxids that only paid too little: not asked for again for their own sake, but for a child that pays."""
        self._recent_confirmed: RecentSet[bytes] = RecentSet(24_000)
        self._next_inbound_ms = 0
        self._next_rebroadcast = 0
        self._orphans = processing.orphans

    # -- in --

    def announced(self, state: PeerState, item: InvItem) -> None:
        """An `inv` of a transaction."""
        is_wtxid = item.type == InvType.WTX
        if is_wtxid != state.peer.wtxid_relay:
            return  # BIP 339: only the agreed kind
        state.known_txs.add(item.hash)
        if is_wtxid:
            self._orphan_known_to(state, Wtxid(item.hash))
        if self.has(item.hash, is_wtxid=is_wtxid) or self._p.chain.is_initial_block_download:
            return
        if item.hash in self._too_cheap:
            return
        some_wtxid = any(other.peer.wtxid_relay for other in self._p.peers.values())
        self.requests.announced(
            item.hash,
            state.id,
            is_wtxid=is_wtxid,
            preferred=state.is_preferred,
            delay_txid=some_wtxid,
            now_ms=self._p.clock.now_ms(),
            unlimited=bool(state.peer.permissions & Permission.RELAY),
        )

    def wants_from(self, state: PeerState) -> bool:
        """Whether transactions may come over this connection (Core: not RejectIncomingTxs)."""
        if state.peer.kind in {ConnectionType.BLOCK_RELAY_ONLY, ConnectionType.FEELER}:
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
        if not self.wants_from(state):
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
        self._orphan_known_to(state, tx.wtxid)
        if self.has(tx.wtxid, is_wtxid=True):
            self._force_relay(state, tx)
            return
        self.offer(tx, state)

    def _force_relay(self, state: PeerState, tx: Tx) -> None:
        """A trusted peer sends again what we have: it wants it announced again."""
        if not state.peer.permissions & Permission.FORCERELAY:
            return
        display = tx.txid[::-1].hex()
        if self._p.mempool.get(tx.txid) is None:
            self._p.log(f"Not relaying non-mempool transaction {display} from forcerelay peer={state.id}")
            return
        self._p.log(f"Force relaying tx {display} from peer={state.id}")
        self.queue_for_all(tx)

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
            except FeeReject as error:
                if not self._accept_with_child(candidate, source):
                    self._refuse(candidate, source, error)
                continue
            except Reject as error:
                self._refuse(candidate, source, error)
                continue
            work += self._accepted(candidate, source)

    def _accepted(self, tx: Tx, source: PeerState | None) -> list[tuple[Tx, PeerState | None]]:
        """Note it; the orphans that waited for it, to be tried next."""
        self.requests.forget(tx.txid, tx.wtxid)
        if source is not None:
            source.last_tx_at = self._p.clock.now()
        self._p.log(
            f"AcceptToMemoryPool: peer={source.id if source else -1}: accepted "
            f"{tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"
        )
        children = self._orphans.children_of(tx)
        for child in children:
            self._orphans.remove(child.wtxid)
        return [(child, source) for child in children]

    def _accept_with_child(self, parent: Tx, source: PeerState | None) -> bool:
        """A parent that pays too little, with an orphan of the same peer's that pays for both."""
        if source is None:
            return False
        for child in self._orphans.children_from_peer(parent, source.id):
            result = self._p.mempool.submit_package([parent, child])
            if all(self._p.mempool.get(tx.txid) is not None for tx in (parent, child)):
                self._orphans.remove(child.wtxid)
                self._p.log(f"package evaluation for parent {parent.txid[::-1].hex()}: {result.message}")
                for tx in (parent, child):
                    for orphan, _ in self._accepted(tx, source):
                        self.offer(orphan, source)
                return True
        return False

    def _keep_orphan(self, tx: Tx, state: PeerState | None, missing: MissingInputs) -> None:
        if state is None or any(parent in self.recent_rejects for parent in missing.parents):
            self._refuse(tx, state, missing)
            return
        if self._orphans.add(tx, state.id, self._p.clock.now()):
            self._ask_for_parents(state, missing.parents)

    def _orphan_known_to(self, state: PeerState, wtxid: Wtxid) -> None:
        """Another peer has an orphan of ours: it has the parents too, should the first one not answer."""
        tx = self._orphans.get(wtxid)
        if tx is None or state.id in self._orphans.peers_of(wtxid) or self._p.chain.is_initial_block_download:
            return
        self._orphans.add(tx, state.id, self._p.clock.now())
        coin = self._p.mempool.coin
        missing = dict.fromkeys(txin.prevout.txid for txin in tx.inputs if coin(txin.prevout) is None)
        self._ask_for_parents(state, missing)

    def _ask_for_parents(self, state: PeerState, parents: Iterable[Txid]) -> None:
        now_ms = self._p.clock.now_ms()
        for parent in parents:
            state.known_txs.add(parent)
            if not self.has(parent, is_wtxid=False):
                self.requests.announced(
                    parent, state.id, is_wtxid=False, preferred=state.is_preferred, delay_txid=False, now_ms=now_ms
                )

    def _refuse(self, tx: Tx, state: PeerState | None, error: Reject) -> None:
        self._orphans.remove(tx.wtxid)
        if error.reason not in {"txn-already-in-mempool", "txn-already-known"} and not isinstance(
            error, FeeReject
        ):
            # A witness may have been cut off by whoever sent it: only the wtxid is known to be bad.
            self.recent_rejects.add(tx.wtxid)
        elif isinstance(error, FeeReject):
            self._too_cheap.add(tx.wtxid)
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
        self._too_cheap.clear()
        if self._p.chain.is_initial_block_download:
            return  # nobody's transactions are taken yet
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

    def tick(self) -> None:
        """Time passes: unanswered requests, and our own transactions that no peer has asked for yet."""
        self.requests.advance(self._p.clock.now_ms())
        now = self._p.clock.now()
        if now < self._next_rebroadcast:
            return
        first = not self._next_rebroadcast
        self._next_rebroadcast = now + REBROADCAST_S + self._p.entropy.below(REBROADCAST_SPREAD_S)
        if first:
            return
        for txid in self._p.mempool.unbroadcast():
            entry = self._p.mempool.get(txid)
            if entry is not None:
                self.queue_for_all(entry.tx)

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
        is_trusted = bool(state.peer.permissions & Permission.NOBAN)
        if state.peer.relays_txs and (now_ms >= state.next_inv_ms or is_trusted):
            if now_ms >= state.next_inv_ms:
                self._set_next_inv(state, now_ms)
            if state.send_mempool:
                self._send_mempool(state)
            self._send_invs(state, unlimited=is_trusted)
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

    def _send_mempool(self, state: PeerState) -> None:
        """All that the peer would take (BIP 35)."""
        state.send_mempool = False
        items = []
        for entry in self._p.mempool.entries():
            if entry.fee * 1000 < state.fee_filter * entry.vsize:
                continue
            name = entry.tx.wtxid if state.peer.wtxid_relay else entry.tx.txid
            state.tx_queue.pop(entry.tx.wtxid, None)
            state.known_txs.add(name)
            items.append(InvItem(InvType.WTX if state.peer.wtxid_relay else InvType.TX, name))
        for at in range(0, len(items), MAX_INV):
            self._p.send_inv(state, items[at : at + MAX_INV])

    def _send_invs(self, state: PeerState, *, unlimited: bool) -> None:
        """Parents before children, the better feerate first, at most what trickle allows."""
        mempool = self._p.mempool
        state.last_inv_sequence = mempool.sequence
        if not state.tx_queue:
            return
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
            if len(items) >= budget and not unlimited:
                state.tx_queue[entry.tx.wtxid] = None
                continue
            state.known_txs.add(name)
            items.append(InvItem(kind, name))
        for at in range(0, len(items), 1000):
            self._p.send_inv(state, items[at : at + 1000])

    def send_fee_filter(self, state: PeerState) -> None:
        """Tell the peer what is not worth announcing to us; rounded, so that it does not fingerprint us."""
        if (
            not self.wants_from(state)
            or state.peer.permissions & Permission.FORCERELAY
            or state.peer.protocol < FEE_FILTER_PROTOCOL
        ):
            return
        now = self._p.clock.now()
        downloading = self._p.chain.is_initial_block_download
        nothing = int(self._p.chain.params.max_money)
        if now < state.next_fee_filter and (downloading or state.fee_filter_sent != nothing):
            self._hasten_fee_filter(state, now)
            return
        state.next_fee_filter = now + self._p.exponential_ms(FEE_FILTER_INTERVAL_S * 1000) // 1000
        if downloading:
            feerate = nothing
        else:
            step = max(1, self._p.mempool.min_feerate_per_kvb() // 10)
            feerate = self._p.mempool.min_feerate_per_kvb() // step * step
        if feerate != state.fee_filter_sent:
            state.fee_filter_sent = feerate
            self._p.send(state, "feefilter", FeeFilter(feerate).encode())

    def _hasten_fee_filter(self, state: PeerState, now: int) -> None:
        """A large change is told within five minutes."""
        sent = state.fee_filter_sent
        if sent < 0 or now + MAX_FEE_FILTER_CHANGE_DELAY_S >= state.next_fee_filter:
            return
        present = self._p.mempool.min_feerate_per_kvb()
        if present * 4 < sent * 3 or present * 3 > sent * 4:
            state.next_fee_filter = now + self._p.entropy.below(MAX_FEE_FILTER_CHANGE_DELAY_S)

    def find(self, state: PeerState, item: InvItem) -> Tx | None:
        """A transaction that a peer asks for, if it may know that we have it."""
        mempool = self._p.mempool
        entry = (
            mempool.get_by_wtxid(Wtxid(item.hash)) if item.type == InvType.WTX else mempool.get(Txid(item.hash))
        )
        if entry is None:
            return self._p.announcer.recent_tx(item.hash)
        allowed = entry.sequence <= state.last_inv_sequence or state.peer.permissions & Permission.NOBAN
        return entry.tx if allowed else None
