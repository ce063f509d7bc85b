"""Who connects to us: the listening sockets, and whom of those at the door we let in."""

import asyncio
from typing import TYPE_CHECKING, Final

from gldnode.p2p.eviction import EvictionCandidate, select_for_eviction
from gldnode.p2p.localaddress import AddressOrigin, interface_addresses
from gldnode.p2p.netaddress import NetAddress, parse_host
from gldnode.p2p.options import permissions_of
from gldnode.p2p.outbound import MAX_BLOCK_RELAY, MAX_FULL_RELAY
from gldnode.p2p.peer import ConnectionType, Permission
from gldnode.primitives.hashes import sha256

if TYPE_CHECKING:
    from gldnode.p2p.manager import Connection, PeerManager

__all__ = ["Inbound"]

READ_LIMIT: Final = 128 * 1024
NO_PING_MS: Final = 1 << 40
"""Of a peer that has not answered one: the slowest of all."""


class Inbound:
    """The listening half of the manager. Event loop only."""

    def __init__(self, manager: "PeerManager") -> None:
        self._m = manager
        self.listening: list[tuple[str, int]] = []
        self._servers: list[asyncio.Server] = []
        self._group_key = manager.entropy.bytes(16)

    async def listen(self) -> None:
        """Raises OSError when a port cannot be bound."""
        options = self._m.options
        for host, port, permissions in options.bind or (("", self._m.params.p2p_port, Permission.NONE),):
            await self._listen(host, port, permissions)
        for host, port in options.onion_bind:
            await self._listen(host, port, Permission.NONE, is_onion=True)
        if options.discover:
            self._discover()

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def _listen(self, host: str, port: int, permissions: Permission, *, is_onion: bool = False) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._m.background(self._accepted(reader, writer, permissions))

        server = await asyncio.start_server(accept, host or None, port, limit=READ_LIMIT)
        self._servers.append(server)
        for listening in server.sockets:
            name = listening.getsockname()
            if not is_onion:
                self.listening.append((str(name[0]), int(name[1])))
            self._m.log(f"Bound to {name[0]}:{name[1]}")

    def _discover(self) -> None:
        """What others can reach us by: public addresses that we listen on."""
        for host, port in self.listening:
            bound = parse_host(host, port)
            if bound is not None and not any(bound.raw):
                found = interface_addresses(port)
            else:
                found = [bound] if bound is not None else []
            for address in found:
                if self._m.local_addresses.add(address, AddressOrigin.INTERFACE):
                    self._m.log(f"AddLocal({address},{int(AddressOrigin.INTERFACE)})")

    async def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, permissions: Permission
    ) -> bool:
        name = writer.get_extra_info("peername")
        address = parse_host(str(name[0]), int(name[1])) if name else None
        if address is None:
            writer.close()
            return False
        granted = permissions | permissions_of(address, self._m.options.whitelist)
        if not self._admits(address, granted):
            writer.transport.abort()
            return False
        await self._m.serve(reader, writer, ConnectionType.INBOUND, address, granted)
        return True

    def _admits(self, address: NetAddress, permissions: Permission) -> bool:
        """Whether an inbound connection may stay; makes room for it where it can."""
        manager = self._m
        if not manager.network_active or manager.is_stopping:
            return False
        protected = bool(permissions & Permission.NOBAN)
        if not protected and manager.bans.is_banned(address, manager.clock.now()):
            manager.log(f"connection from {address} dropped (banned)")
            return False
        inbound = [connection for connection in manager.connections.values() if connection.peer.is_inbound]
        staying = [connection for connection in inbound if not connection.peer.is_ending()]
        most = max(0, manager.options.max_connections - MAX_FULL_RELAY - MAX_BLOCK_RELAY - 1)
        if not protected and manager.bans.is_discouraged(address) and len(staying) + 1 >= most:
            manager.log(f"connection from {address} dropped (discouraged)")
            return False
        if len(inbound) > 2 * most:  # those who are leaving take their time
            return False
        if len(staying) < most:
            return True
        unprotected = [one for one in staying if not one.peer.permissions & Permission.NOBAN]
        victim = select_for_eviction([self._candidate(connection) for connection in unprotected])
        if victim is None:
            manager.log(f"failed to find an eviction candidate - connection from {address} dropped (full)")
            return False
        manager.drop(manager.connections[victim], "evicted for a new inbound connection")
        return True

    def _candidate(self, connection: "Connection") -> EvictionCandidate:
        peer = connection.peer
        state = self._m.processing.peers.get(peer.id)
        group = self._m.options.groups.group(peer.address)
        return EvictionCandidate(
            peer.id,
            peer.connected_at,
            peer.min_ping_ms if peer.min_ping_ms is not None else NO_PING_MS,
            state.last_block_at if state else 0,
            state.last_tx_at if state else 0,
            int.from_bytes(sha256(self._group_key + group)[:8], "little"),
            group,
            self._m.bans.is_discouraged(peer.address),
        )
