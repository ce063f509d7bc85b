"""Whom we connect to: the operator's nodes, slots filled from the address manager, anchors, feelers, seeds."""

import asyncio
import contextlib
import json
import math
import socket
from typing import TYPE_CHECKING, Final

from gldnode.p2p.messages import Services, TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from gldnode.p2p.options import Dialer, dial_directly, permissions_of
from gldnode.p2p.peer import ConnectionType

if TYPE_CHECKING:
    from gldnode.p2p.manager import Connection, PeerManager

__all__ = ["MAX_BLOCK_RELAY", "MAX_FULL_RELAY", "Outbound"]

MAX_FULL_RELAY: Final = 8
MAX_BLOCK_RELAY: Final = 2
MAX_ADDNODE: Final = 8
FEELER_INTERVAL_S: Final = 120
EXTRA_BLOCK_RELAY_INTERVAL_S: Final = 300
STALE_CHECK_S: Final = 600
EVICTION_CHECK_S: Final = 45
MINIMUM_CONNECT_S: Final = 30
PROXY_TIMEOUT_S: Final = 60
RETRY_MANUAL_S: Final = 60
RECENTLY_TRIED_S: Final = 600
RETRY_S: Final = 30
"""An address is left alone for so long, even where no other is known."""
DNS_SEED_WAIT_S: Final = 11
ENOUGH_ADDRESSES: Final = 1000
LOOP_S: Final = 0.5
_IP: Final = frozenset((Network.IPV4, Network.IPV6))
_NOWHERE: Final = bytes(4)


class Outbound:
    """The dialling half of the manager. Event loop only."""

    def __init__(self, manager: "PeerManager") -> None:
        self._m = manager
        self.added_nodes: list[str] = list(manager.options.add_nodes)
        self._dialling: dict[str, ConnectionType] = {}
        self._retry_at: dict[str, float] = {}
        self._anchors = self._load_anchors()
        self._wanted = asyncio.Event()
        self.try_new_peer = False
        """The tip may be stale: one full-relay peer more than usual."""
        self._tip = b""
        self._tip_changed_at = 0.0
        now = manager.clock.monotonic()
        self._next_feeler = now + FEELER_INTERVAL_S
        self._next_block_relay = now + EXTRA_BLOCK_RELAY_INTERVAL_S
        self._next_stale_check = now + STALE_CHECK_S
        self._next_eviction = now + EVICTION_CHECK_S

    # -- the loop --

    async def run(self) -> None:
        """Keep the connections that should be there."""
        options = self._m.options
        if tuple(options.connect) == ("0",):
            while True:  # nothing automatic, but `addnode add` still works
                await self._connect_manual()
                await self._pause()
        if not options.connect:
            self._m.background(self._learn_from_seeds())
        while True:
            if self._m.network_active:
                await self._connect_manual()
                if not options.connect:
                    self._fill_slots()
                    self._watch_tip()
                    self._evict_extra()
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOP_S):
                await self._wanted.wait()
        self._wanted.clear()

    def look_now(self) -> None:
        """There is something to connect to: do not wait for the next round."""
        self._wanted.set()

    async def _connect_manual(self) -> None:
        """Keep the connections that the operator asked for."""
        wanted = [name for name in self._m.options.connect if name != "0"] or self.added_nodes[:MAX_ADDNODE]
        present = {connection.peer.address_name for connection in self._m.connections.values()}
        now = self._m.clock.monotonic()
        for target in wanted:
            if target in present or target in self._dialling or now < self._retry_at.get(target, 0):
                continue
            self._retry_at[target] = now + RETRY_MANUAL_S
            self._m.background(self.dial_name(target, ConnectionType.MANUAL))

    def _count(self, kind: ConnectionType) -> int:
        """Connections of that kind, those being made included."""
        there = sum(connection.peer.kind is kind for connection in self._m.connections.values())
        return there + sum(being_made is kind for being_made in self._dialling.values())

    def has_room(self, kind: ConnectionType) -> bool:
        """Whether one more may be opened by hand (`addconnection`)."""
        most = {
            ConnectionType.OUTBOUND_FULL_RELAY: MAX_FULL_RELAY,
            ConnectionType.BLOCK_RELAY_ONLY: MAX_BLOCK_RELAY,
        }
        return self._count(kind) < most.get(kind, 1)

    def _fill_slots(self) -> None:
        now = self._m.clock.monotonic()
        full, blocks = (
            self._count(ConnectionType.OUTBOUND_FULL_RELAY),
            self._count(ConnectionType.BLOCK_RELAY_ONLY),
        )
        if self._anchors and blocks < MAX_BLOCK_RELAY:
            anchor = self._anchors.pop()
            self._m.background(self._dial_known(anchor, ConnectionType.BLOCK_RELAY_ONLY))
        elif full < MAX_FULL_RELAY or (self.try_new_peer and full == MAX_FULL_RELAY):
            self._dial_selected(ConnectionType.OUTBOUND_FULL_RELAY)
        elif blocks < MAX_BLOCK_RELAY:
            self._dial_selected(ConnectionType.BLOCK_RELAY_ONLY)
        elif now >= self._next_block_relay and self._is_synced():
            # One more for a moment: a chain that none of our peers tells us of would show itself.
            self._next_block_relay = now + self._exponential_s(EXTRA_BLOCK_RELAY_INTERVAL_S)
            self._dial_selected(ConnectionType.BLOCK_RELAY_ONLY)
        elif now >= self._next_feeler:
            self._next_feeler = now + self._exponential_s(FEELER_INTERVAL_S)
            self._dial_selected(ConnectionType.FEELER)

    def _is_synced(self) -> bool:
        return not self._m.processing.chain.is_initial_block_download

    def _exponential_s(self, mean_s: float) -> float:
        return -mean_s * math.log((self._m.entropy.below(1 << 48) + 1) / (1 << 48))

    def _watch_tip(self) -> None:
        """Look for another peer when no block has come for three times the usual."""
        now, tip = self._m.clock.monotonic(), self._m.processing.chain.tip
        if tip.hash != self._tip:
            self._tip, self._tip_changed_at = tip.hash, now
        if now < self._next_stale_check:
            return
        self._next_stale_check = now + STALE_CHECK_S
        since = now - self._tip_changed_at
        stale = since > 3 * self._m.params.block_interval_s and not self._m.processing.blocks.in_flight
        if stale and not self.try_new_peer:
            self._m.log(
                f"Potential stale tip detected, will try using extra outbound peer (last tip update: {since:.0f} "
                "seconds ago)"
            )
        self.try_new_peer = stale

    def _evict_extra(self) -> None:
        """Let the extra peers go again, or those that turned out to be worse (Core: EvictExtraOutboundPeers)."""
        now = self._m.clock.monotonic()
        if now < self._next_eviction:
            return
        self._next_eviction = now + EVICTION_CHECK_S
        blocks = self._of(ConnectionType.BLOCK_RELAY_ONLY)
        if len(blocks) > MAX_BLOCK_RELAY:
            youngest, next_youngest = blocks[-1], blocks[-2]
            newer = self._last_block(youngest) > self._last_block(next_youngest)
            self._evict(next_youngest if newer else youngest, "extra block-relay-only peer")
        full = self._of(ConnectionType.OUTBOUND_FULL_RELAY)
        if len(full) > MAX_FULL_RELAY:
            states = self._m.processing.peers
            open_to_it = [one for one in full if (state := states.get(one.peer.id)) and not state.is_protected]
            if open_to_it:
                worst = min(open_to_it, key=lambda one: (states[one.peer.id].last_announcement_at, -one.peer.id))
                self._evict(worst, "extra outbound peer")
                self.try_new_peer = False

    def _of(self, kind: ConnectionType) -> "list[Connection]":
        """Oldest first."""
        found = [connection for connection in self._m.connections.values() if connection.peer.kind is kind]
        return sorted(found, key=lambda connection: connection.peer.id)

    def _last_block(self, connection: "Connection") -> int:
        state = self._m.processing.peers.get(connection.peer.id)
        return state.last_block_at if state is not None else 0

    def _evict(self, connection: "Connection", what: str) -> None:
        state = self._m.processing.peers.get(connection.peer.id)
        if self._m.clock.now() - connection.peer.connected_at < MINIMUM_CONNECT_S or (state and state.in_flight):
            return
        self._m.close(connection, f"disconnecting {what}")

    # -- dialling --

    def _dial_selected(self, kind: ConnectionType) -> None:
        """Connect to somebody from the address manager, in a group that we have no peer in."""
        manager = self._m
        now, group_of = manager.clock.now(), manager.options.groups.group
        groups = {
            group_of(connection.peer.address)
            for connection in manager.connections.values()
            if not connection.peer.is_inbound and connection.peer.kind is not ConnectionType.MANUAL
        }
        is_feeler = kind is ConnectionType.FEELER
        networks = manager.options.only_networks or None
        for attempt in range(100):
            known = manager.addresses.collision() if is_feeler and not attempt else None
            known = known or manager.addresses.select(now, new_only=is_feeler, networks=networks)
            if known is None:
                return
            address = known.address
            if (group_of(address) in groups and not is_feeler) or str(address) in self._dialling:
                continue
            since_s = now - known.last_try
            if since_s < RETRY_S or (since_s < RECENTLY_TRIED_S and attempt < 30):
                continue
            if manager.bans.is_banned(address, now) or manager.bans.is_discouraged(address):
                continue
            if manager.local_addresses.is_ours(address) or not self.can_reach(address.network):
                continue
            manager.background(self._dial_known(address, kind, use_v2=bool(known.services & Services.P2P_V2)))
            return

    async def _dial_known(self, address: NetAddress, kind: ConnectionType, *, use_v2: bool = True) -> bool:
        self._m.addresses.attempted(address, self._m.clock.now(), failed=True)
        return await self._dial(address.host, str(address), address, kind, use_v2=use_v2)

    def can_reach(self, network: Network) -> bool:
        """Whether automatic connections go to that network."""
        only = self._m.options.only_networks
        if only and network not in only:
            return False
        return network in _IP or network in self._m.options.proxies

    def split_target(self, target: str) -> tuple[str, int]:
        """Host and port of `host`, `host:port` or `[v6]:port`. Raises ValueError."""
        default = self._m.params.p2p_port
        if target.startswith("["):
            host, _, rest = target[1:].partition("]")
            return host, int(rest[1:]) if rest.startswith(":") else default
        if target.count(":") == 1:
            host, port = target.split(":")
            return host, int(port)
        return target, default

    async def dial_name(self, target: str, kind: ConnectionType, *, use_v2: bool = True) -> bool:
        """Connect to `host[:port]` now; whether the connection was made."""
        manager = self._m
        try:
            host, port = self.split_target(target)
        except ValueError:
            return False
        address = parse_host(host, port)
        if address is None and manager.options.name_proxy is not None:
            nowhere = NetAddress(Network.IPV4, _NOWHERE, port)
            return await self._dial(host, target, nowhere, kind, use_v2=use_v2, dialer=manager.options.name_proxy)
        if address is None:
            address = await self._look_up(host, port)
        if address is None:
            return False
        if kind is not ConnectionType.MANUAL and manager.bans.is_banned(address, manager.clock.now()):
            return False
        return await self._dial(address.host, target, address, kind, use_v2=use_v2)

    async def _look_up(self, host: str, port: int) -> NetAddress | None:
        found = await self._look_up_all(host, port) if self._m.options.dns else []
        return found[0] if found else None

    async def _look_up_all(self, host: str, port: int) -> list[NetAddress]:
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return []
        found = [parse_host(str(row[4][0]), port) for row in rows]
        return [address for address in found if address is not None]

    async def _dial(
        self,
        host: str,
        name: str,
        address: NetAddress,
        kind: ConnectionType,
        *,
        use_v2: bool,
        dialer: Dialer | None = None,
    ) -> bool:
        manager = self._m
        chosen = dialer or manager.options.proxies.get(address.network, dial_directly)
        self._dialling[name] = kind
        try:
            limit = manager.options.connect_timeout_s if chosen is dial_directly else PROXY_TIMEOUT_S
            async with asyncio.timeout(limit):
                reader, writer = await chosen(host, address.port)
        except (OSError, TimeoutError):
            return False
        finally:
            self._dialling.pop(name, None)
        granted = permissions_of(address, manager.options.whitelist_out)

        async def serve() -> bool:
            peer = await manager.serve(reader, writer, kind, address, granted, name=name, use_v2=use_v2)
            if peer.may_retry_with_v1 and not manager.is_stopping:
                manager.log(f"retrying with v1 transport protocol for peer={peer.id}")
                return await self._dial(host, name, address, kind, use_v2=False, dialer=dialer)
            return True

        manager.background(serve())
        return True

    # -- seeds --

    async def _learn_from_seeds(self) -> bool:
        """Names of the DNS seeds and `-seednode`s, when too little is known."""
        manager, options = self._m, self._m.options
        if len(manager.addresses) < ENOUGH_ADDRESSES or not options.dns_seed:
            for target in options.seed_nodes:
                manager.background(self.dial_name(target, ConnectionType.ADDR_FETCH))
        if not options.dns_seed or not options.dns:
            return True
        if len(manager.addresses) and not options.force_dns_seed:
            await asyncio.sleep(DNS_SEED_WAIT_S)
            if len(manager.connections) >= 2:
                return True
        for seed in (*manager.params.dns_seeds, *options.dns_seeds):
            if options.name_proxy is not None:
                await self.dial_name(seed, ConnectionType.ADDR_FETCH)
                continue
            found = await self._look_up_all(seed, manager.params.p2p_port)
            now, offered = manager.clock.now(), int(Services.NETWORK | Services.WITNESS)
            items = [
                TimedAddress(now - 3 * 86_400 - manager.entropy.below(4 * 86_400), offered, address)
                for address in found
            ]
            if items:
                manager.addresses.add(items, items[0].address, now)
            manager.log(f"{len(items)} addresses found from DNS seed {seed}")
        return True

    # -- anchors --

    def _load_anchors(self) -> list[NetAddress]:
        """Block-relay-only peers of the last run: an attacker who fills the tables cannot choose these.

        The file is gone afterwards: a crash caused by one of them does not come back.
        """
        path = self._m.options.anchors_file
        if path is None:
            return []
        try:
            rows = json.loads(path.read_text(encoding="ascii"))
            path.unlink()
            anchors = [NetAddress(Network(row[0]), bytes.fromhex(row[1]), int(row[2])) for row in rows]
        except (OSError, ValueError, TypeError, IndexError, KeyError):
            return []
        self._m.log(f"{len(anchors)} block-relay-only anchors will be tried for connections.")
        return anchors[:MAX_BLOCK_RELAY]

    def save_anchors(self) -> None:
        path = self._m.options.anchors_file
        if path is None:
            return
        peers = [one.peer.address for one in self._of(ConnectionType.BLOCK_RELAY_ONLY) if one.peer.is_established]
        rows = [[int(one.network), one.raw.hex(), one.port] for one in peers[:MAX_BLOCK_RELAY]]
        with contextlib.suppress(OSError):
            if rows:
                path.write_text(json.dumps(rows), encoding="ascii")
