"""Gossip of addresses: a few to a few, at a bounded rate."""

from typing import TYPE_CHECKING, Final

from gldnode.errors import DecodeError
from gldnode.p2p.messages import Addr, AddrV2, Services, TimedAddress, count_of
from gldnode.p2p.peer import ConnectionType, Permission
from gldnode.p2p.state import PeerState
from gldnode.primitives.hashes import sha256

if TYPE_CHECKING:
    from gldnode.p2p.processing import Processing

__all__ = ["AddressRelay"]

MAX_TO_SEND: Final = 1_000
TOKENS_PER_SECOND: Final = 0.1
MAX_TOKENS: Final = 1_000.0
RELAY_INTERVAL_MS: Final = 30_000
OWN_ADDRESS_INTERVAL_S: Final = 24 * 60 * 60
FRESH_S: Final = 600
GETADDR_SHARE: Final = 23
"""Percent of the known addresses that one answer may show."""
_USEFUL: Final = int(Services.NETWORK | Services.NETWORK_LIMITED)


class AddressRelay:
    """What to do with `addr`, `addrv2` and `getaddr`."""

    def __init__(self, processing: "Processing") -> None:
        self._p = processing
        self._salt = processing.entropy.bytes(16)
        self._answer: list[TimedAddress] = []
        self._answer_until = 0

    def established(self, state: PeerState) -> None:
        """Ask a peer that we chose for addresses, and tell it ours."""
        kind = state.peer.kind
        if kind in {ConnectionType.BLOCK_RELAY_ONLY, ConnectionType.FEELER}:
            return
        if not state.peer.is_inbound:
            state.relays_addresses = True
            state.address_tokens += MAX_TO_SEND
            state.getaddr_asked = True
            self._p.send(state, "getaddr")

    def on_getaddr(self, state: PeerState) -> None:
        """Answered once, to inbound peers: others could map us by asking again (Core does the same)."""
        if not state.peer.is_inbound or state.getaddr_answered:
            return
        state.getaddr_answered = True
        state.relays_addresses = True
        now = self._p.clock.now()
        if now >= self._answer_until or state.peer.permissions & Permission.ADDR:
            self._answer = self._p.known_addresses(MAX_TO_SEND, GETADDR_SHARE)
            self._answer_until = now + 21 * 60 * 60 + self._p.entropy.below(6 * 60 * 60)
        if self._answer:
            self._send(state, self._answer)

    def on_addr(self, state: PeerState, payload: bytes) -> None:
        """Raises DecodeError."""
        try:
            found = list(Addr.decode(payload).addresses)
        except DecodeError as error:
            self._punish_size(state, "addr", payload, error)
            raise
        self._on_addresses(state, found)

    def on_addrv2(self, state: PeerState, payload: bytes) -> None:
        """Raises DecodeError."""
        try:
            found = list(AddrV2.decode(payload).addresses)
        except DecodeError as error:
            self._punish_size(state, "addrv2", payload, error)
            raise
        self._on_addresses(state, found)

    def _punish_size(self, state: PeerState, command: str, payload: bytes, error: DecodeError) -> None:
        if str(error) == "size too large":
            self._p.misbehaving(state, f"{command} message size = {count_of(payload)}")

    def _on_addresses(self, state: PeerState, addresses: list[TimedAddress]) -> None:
        if state.peer.kind is ConnectionType.BLOCK_RELAY_ONLY:
            return
        state.relays_addresses = True
        now = self._p.clock.now()
        self._refill(state, now)
        unlimited = bool(state.peer.permissions & Permission.ADDR)
        is_gossip = len(addresses) <= 10 and not state.getaddr_asked
        kept: list[TimedAddress] = []
        for item in addresses:
            if state.address_tokens < 1 and not unlimited:
                state.addresses_rate_limited += 1
                continue
            state.address_tokens -= 1
            if not item.services & _USEFUL:
                continue
            state.addresses_processed += 1
            state.known_addresses.add(str(item.address).encode())
            if self._p.is_unwanted(item.address):
                continue
            if item.time <= 100_000_000 or item.time > now + 600:
                item = TimedAddress(now - 5 * 86_400, item.services, item.address)
            kept.append(item)
            if item.time > now - FRESH_S and is_gossip and item.address.is_routable:
                self._relay(item, state)
        if len(addresses) < MAX_TO_SEND:
            state.getaddr_asked = False
        self._p.learned_addresses(kept, state.peer.address)
        self._p.log(
            f"Received addr: {len(addresses)} addresses ({state.addresses_processed} processed, "
            f"{state.addresses_rate_limited} rate-limited) from peer={state.id}"
        )
        if state.peer.kind is ConnectionType.ADDR_FETCH and len(addresses) > 1:
            state.peer.disconnect("addrfetch connection completed")

    def _refill(self, state: PeerState, now: int) -> None:
        """One address in ten seconds, saved up to a thousand; what a getaddr of ours allows comes on top."""
        if state.address_tokens < MAX_TOKENS:
            elapsed = max(0, now - (state.address_refilled_at or now))
            state.address_tokens = min(MAX_TOKENS, state.address_tokens + elapsed * TOKENS_PER_SECOND)
        state.address_refilled_at = now

    def _relay(self, item: TimedAddress, source: PeerState) -> None:
        """To two peers that stay the same for a day, so that an address does not flood the network."""
        day = (self._p.clock.now() // 86_400).to_bytes(8, "little")
        name = str(item.address).encode()
        candidates = [
            state
            for state in self._p.peers.values()
            if state is not source and state.relays_addresses and state.peer.is_established
        ]
        candidates.sort(key=lambda state: sha256(self._salt + day + name + state.id.to_bytes(8, "little")))
        for state in candidates[:2]:
            self.queue(state, item)

    def queue(self, state: PeerState, item: TimedAddress) -> None:
        name = str(item.address).encode()
        if name not in state.known_addresses and len(state.address_queue) < MAX_TO_SEND:
            state.known_addresses.add(name)
            state.address_queue.append(item)

    def announce(self, state: PeerState) -> None:
        """Send what is queued, and once a day our own address."""
        now_ms = self._p.clock.now_ms()
        if not state.relays_addresses or now_ms < state.next_address_ms:
            return
        state.next_address_ms = now_ms + self._p.exponential_ms(RELAY_INTERVAL_MS)
        own = self._p.own_address(state.peer)
        if own is not None and now_ms // 1000 >= state.next_own_address and own.address.is_routable:
            state.next_own_address = now_ms // 1000 + OWN_ADDRESS_INTERVAL_S
            state.address_queue.append(own)
        if state.address_queue:
            queued, state.address_queue = state.address_queue, []
            self._send(state, queued)

    def _send(self, state: PeerState, addresses: list[TimedAddress]) -> None:
        if state.peer.wants_addrv2:
            self._p.send(state, "addrv2", AddrV2(addresses).encode())
            return
        old_form = [item for item in addresses if any(item.address.to_v1()[:16])]
        self._p.send(state, "addr", Addr(old_form).encode())
