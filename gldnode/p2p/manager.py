"""The sockets: who connects to whom. An asyncio shell around `processing`, which runs in the validation thread."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from gldnode.clock import Clock
from gldnode.entropy import Entropy
from gldnode.p2p.addrman import AddressManager
from gldnode.p2p.bans import BanList
from gldnode.p2p.eviction import EvictionCandidate, select_for_eviction
from gldnode.p2p.messages import Services, TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from gldnode.p2p.peer import ConnectionType, LocalNode, Peer, Permission
from gldnode.p2p.processing import Processing
from gldnode.params import ChainParams
from gldnode.primitives.hashes import sha256

__all__ = ["Dialer", "P2POptions", "PeerManager", "Validator"]

T = TypeVar("T")

READ_SIZE: Final = 64 * 1024
TICK_S: Final = 0.1
FEELER_INTERVAL_S: Final = 120
MAX_FULL_RELAY: Final = 8
MAX_BLOCK_RELAY: Final = 2
MAX_ADDNODE: Final = 8
CONNECT_TIMEOUT_S: Final = 5
RETRY_MANUAL_S: Final = 60
DUMP_PEERS_S: Final = 15 * 60
DNS_SEED_WAIT_S: Final = 11
UPLOAD_WINDOW_S: Final = 86_400
TIME_WARNING_S: Final = 70 * 60
TIME_WARNING_PEERS: Final = 5
MAX_WRITE_BUFFER: Final = 5_000_000


class Validator(Protocol):
    """Does a piece of work in the validation thread."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class Dialer(Protocol):
    """How an outbound connection is opened: directly, or through a proxy."""

    async def __call__(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


async def dial_directly(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, port)


@dataclass(slots=True)
class P2POptions:
    """Core's flags about connections."""

    listen: bool = True
    bind: Sequence[tuple[str, int, Permission]] = ()
    """Host, port and what `-whitebind` grants; empty: all addresses at the network's port."""
    connect: Sequence[str] = ()
    """`-connect`: only these; the single value "0" means no automatic connections."""
    add_nodes: Sequence[str] = ()
    seed_nodes: Sequence[str] = ()
    dns_seed: bool = True
    max_connections: int = 125
    only_networks: frozenset[Network] = frozenset()
    whitelist: Sequence[tuple[Permission, str]] = ()
    """(what is granted, subnet)."""
    peers_file: Path | None = None
    anchors_file: Path | None = None
    max_upload_bytes: int = 0
    """`-maxuploadtarget` a day, 0: no limit."""
    proxies: dict[Network, Dialer] = field(default_factory=dict)
    proxy_name: str = ""
    """host:port of `-proxy`, for `getnetworkinfo`."""


@dataclass(slots=True)
class _Connection:
    peer: Peer
    writer: asyncio.StreamWriter
    task: "asyncio.Task[None] | None" = None
    last_block_at: int = 0
    last_tx_at: int = 0


class PeerManager:
    """Listens, dials, reads and writes."""

    def __init__(
        self,
        params: ChainParams,
        options: P2POptions,
        local: LocalNode,
        processing: Processing,
        run: Validator,
        clock: Clock,
        entropy: Entropy,
        addresses: AddressManager,
        bans: BanList,
        log: Callable[[str], None],
    ) -> None:
        """Made in the event loop that it will run in."""
        self.params = params
        self.options = options
        self.local = local
        self.processing = processing
        self._run = run
        self._clock = clock
        self._entropy = entropy
        self.addresses = addresses
        self.bans = bans
        self._log = log
        self.network_active = True
        self.total_sent = 0
        self.total_received = 0
        self.added_nodes: list[str] = list(options.add_nodes)
        self.local_addresses: list[NetAddress] = []
        self.listening: list[tuple[str, int]] = []
        self._next_id = 0
        self._connections: dict[int, _Connection] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dialling: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._group_key = entropy.bytes(16)
        self._upload_window: tuple[int, int] = (0, 0)
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        processing.discourage = self._discourage
        processing.known_addresses = lambda count, percent: addresses.sample(count, percent, clock.now())
        processing.learned_addresses = self._learned
        processing.own_address = self._own_address
        processing.may_serve_history = lambda: not self.upload_target_reached

    # -- life --

    async def start(self) -> None:
        """Open the listening sockets and begin to connect. Raises OSError when a port cannot be bound."""
        if self.options.listen:
            binds = self.options.bind or (("", self.params.p2p_port, Permission.NONE),)
            for host, port, permissions in binds:
                await self._listen(host, port, permissions)
        self._spawn("p2p-tick", self._tick_forever())
        self._spawn("p2p-connect", self._connect_forever())
        self._spawn("p2p-housekeeping", self._housekeeping())

    async def _listen(self, host: str, port: int, permissions: Permission) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._background(self._accepted(reader, writer, permissions))

        server = await asyncio.start_server(accept, host or None, port, limit=READ_SIZE * 2)
        self._servers.append(server)
        for listening in server.sockets:
            name = listening.getsockname()
            self.listening.append((str(name[0]), int(name[1])))
            self._log(f"Bound to {name[0]}:{name[1]}")

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """Close everything and keep what was learnt."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        connections = list(self._connections.values())
        for connection in connections:
            connection.writer.close()
            if connection.task is not None:
                connection.task.cancel()
        waiting = [connection.task for connection in connections if connection.task is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=5)
        self._dump()

    # -- what others ask --

    @property
    def connection_count(self) -> tuple[int, int]:
        """(inbound, outbound) connections."""
        inbound = sum(connection.peer.is_inbound for connection in self._connections.values())
        return inbound, len(self._connections) - inbound

    def peers(self) -> list[Peer]:
        return [connection.peer for connection in self._connections.values()]

    def disconnect(self, *, address: str | None = None, peer_id: int | None = None) -> bool:
        """Whether such a peer was there."""
        for connection in self._connections.values():
            peer = connection.peer
            if peer.id == peer_id or (address is not None and peer.address_name == address):
                peer.disconnect("disconnectnode")
                connection.writer.close()
                return True
        return False

    def set_network_active(self, active: bool) -> None:
        self.network_active = active
        if not active:
            for connection in self._connections.values():
                connection.peer.disconnect("network deactivated")
                connection.writer.close()

    def disconnect_banned(self) -> None:
        """After `setban`: let go of those who are banned now."""
        now = self._clock.now()
        for connection in self._connections.values():
            if self.bans.is_banned(connection.peer.address, now):
                connection.peer.disconnect("banned")
                connection.writer.close()

    async def try_once(
        self, target: str, kind: ConnectionType = ConnectionType.MANUAL, *, use_v2: bool | None = None
    ) -> bool:
        """Connect to `host[:port]` now; whether the connection was made."""
        return await self._dial_name(target, kind, use_v2=use_v2 is not False)

    def last_useful(self, peer_id: int) -> tuple[int, int]:
        """When the peer last gave us a new block and a new transaction, Unix seconds; 0 for never."""
        connection = self._connections.get(peer_id)
        return (connection.last_block_at, connection.last_tx_at) if connection else (0, 0)

    def warnings(self) -> list[str]:
        """What the operator should know about the connections."""
        offsets = sorted(peer.time_offset for peer in self.peers() if peer.is_established and not peer.is_inbound)
        if len(offsets) >= TIME_WARNING_PEERS and abs(offsets[len(offsets) // 2]) > TIME_WARNING_S:
            return [
                "Please check that your computer's date and time are correct! "
                "If your clock is wrong, the node will not work properly."
            ]
        return []

    # -- upload target --

    def _upload(self) -> tuple[int, int]:
        """(start of the present day of counting, bytes sent since)."""
        now = self._clock.now()
        start, sent_before = self._upload_window
        if not start or now - start >= UPLOAD_WINDOW_S:
            start, sent_before = now, self.total_sent
            self._upload_window = (start, sent_before)
        return start, self.total_sent - sent_before

    @property
    def upload_bytes_left(self) -> int:
        if not self.options.max_upload_bytes:
            return 0
        return max(0, self.options.max_upload_bytes - self._upload()[1])

    @property
    def upload_target_reached(self) -> bool:
        return bool(self.options.max_upload_bytes) and not self.upload_bytes_left

    @property
    def upload_seconds_left(self) -> int:
        if not self.options.max_upload_bytes:
            return 0
        return self._upload()[0] + UPLOAD_WINDOW_S - self._clock.now()

    # -- inbound --

    def permissions_of(self, address: NetAddress) -> Permission:
        granted = Permission.NONE
        if address.network not in {Network.IPV4, Network.IPV6}:
            return granted
        ip = ipaddress.ip_address(address.raw)
        for permission, subnet in self.options.whitelist:
            net = ipaddress.ip_network(subnet, strict=False)
            if ip.version == net.version and ip in net:
                granted |= permission
        return granted

    async def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, permissions: Permission
    ) -> bool:
        name = writer.get_extra_info("peername")
        address = parse_host(str(name[0]), int(name[1])) if name else None
        if address is None or not self._admits(address, permissions | self.permissions_of(address)):
            writer.close()
            return False
        await self._serve(reader, writer, ConnectionType.INBOUND, address, permissions)
        return True

    def _admits(self, address: NetAddress, permissions: Permission) -> bool:
        """Whether an inbound connection may stay; makes room for it where it can."""
        if not self.network_active or self._stopping:
            return False
        protected = bool(permissions & Permission.NOBAN)
        if not protected and self.bans.is_banned(address, self._clock.now()):
            self._log(f"connection from {address} dropped (banned)")
            return False
        inbound, _ = self.connection_count
        most = max(0, self.options.max_connections - MAX_FULL_RELAY - MAX_BLOCK_RELAY - 1)
        if not protected and self.bans.is_discouraged(address) and inbound + 1 >= most:
            self._log(f"connection from {address} dropped (discouraged)")
            return False
        if inbound < most:
            return True
        victim = select_for_eviction(
            [
                self._candidate(connection)
                for connection in self._connections.values()
                if connection.peer.is_inbound and not connection.peer.permissions & Permission.NOBAN
            ]
        )
        if victim is None:
            self._log(f"failed to find an eviction candidate - connection from {address} dropped (full)")
            return False
        self._connections[victim].peer.disconnect("evicted for a new inbound connection")
        self._connections[victim].writer.close()
        return True

    def _candidate(self, connection: _Connection) -> EvictionCandidate:
        peer = connection.peer
        group = peer.address.group
        return EvictionCandidate(
            peer.id,
            peer.connected_at,
            peer.min_ping_ms if peer.min_ping_ms is not None else 1 << 40,
            connection.last_block_at,
            connection.last_tx_at,
            int.from_bytes(sha256(self._group_key + group)[:8], "little"),
            group,
            self.bans.is_discouraged(peer.address),
        )

    # -- one connection --

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kind: ConnectionType,
        address: NetAddress,
        permissions: Permission,
        *,
        name: str = "",
        use_v2: bool = True,
    ) -> Peer:
        """Run a connection until it ends."""
        peer_id, self._next_id = self._next_id, self._next_id + 1
        bound = writer.get_extra_info("sockname") or ("", 0)
        sock = writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local.height = self.processing.chain.tip.height
        granted = permissions | (
            self.permissions_of(address) if kind is ConnectionType.INBOUND else Permission.NONE
        )
        peer = Peer(
            peer_id,
            self.local,
            kind,
            address,
            self._clock.now(),
            permissions=granted,
            use_v2=use_v2,
            address_name=name,
            bind_name=f"{bound[0]}:{bound[1]}",
        )
        connection = _Connection(peer, writer, asyncio.current_task())
        self._connections[peer_id] = connection
        try:
            await self.work(lambda: self.processing.connected(peer))
            while peer.disconnect_reason is None and not self._stopping:
                data = await reader.read(READ_SIZE)
                if not data:
                    break
                self.total_received += len(data)
                await self._receive(connection, data)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.pop(peer_id, None)
            peer.closed()
            if not self._stopping:
                await asyncio.shield(asyncio.ensure_future(self.work(lambda: self.processing.disconnected(peer))))
            writer.close()
            self._log(f"disconnected peer={peer_id}: {peer.disconnect_reason or 'closed by the other side'}")
        return peer

    async def _receive(self, connection: _Connection, data: bytes) -> None:
        peer = connection.peer
        was_established = peer.is_established
        height, sequence = self.processing.chain.tip.height, self.processing.mempool.sequence
        await self.work(lambda: self.processing.receive(peer, data))
        now = self._clock.now()
        if self.processing.chain.tip.height != height:
            connection.last_block_at = now
        if self.processing.mempool.sequence != sequence:
            connection.last_tx_at = now
        if peer.is_established and not was_established and not peer.is_inbound:
            self.addresses.succeeded(peer.address, now)

    def background(self, work: Callable[[], None]) -> None:
        """Do a piece of work in the validation thread some time soon."""

        async def later() -> bool:
            with contextlib.suppress(Exception):  # the node is stopping, or says itself what failed
                await self.work(work)
            return True

        self._background(later())

    async def work(self, work: Callable[[], None]) -> None:
        """Do a piece of work in the validation thread, then send what it left to send."""

        def job() -> tuple[list[tuple[int, bytes]], list[tuple[int, str]]]:
            work()
            return self.processing.take_output(), self.processing.unwanted()

        output, unwanted = await self._run(job)
        for peer_id, data in output:
            connection = self._connections.get(peer_id)
            if connection is not None and not connection.writer.is_closing():
                self._write(connection, data)
        for peer_id, reason in unwanted:
            connection = self._connections.get(peer_id)
            if connection is not None and not connection.writer.is_closing():
                self._log(f"disconnecting peer={peer_id}: {reason}")
                connection.writer.close()

    def _write(self, connection: _Connection, data: bytes) -> None:
        connection.writer.write(data)
        self.total_sent += len(data)
        backlog = connection.writer.transport.get_write_buffer_size()
        connection.peer.socket_backlog = backlog
        if backlog > MAX_WRITE_BUFFER + len(data):
            connection.peer.disconnect("does not read what it asked for")
            connection.writer.close()

    # -- time --

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for connection in self._connections.values():
                connection.peer.socket_backlog = connection.writer.transport.get_write_buffer_size()
            self.local.height = self.processing.chain.tip.height
            await self.work(self.processing.tick)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(DUMP_PEERS_S)
            self._dump()

    def _dump(self) -> None:
        if self.options.peers_file is not None:
            with contextlib.suppress(OSError):
                self.addresses.dump(self.options.peers_file)

    # -- outbound --

    async def _connect_forever(self) -> None:
        if tuple(self.options.connect) == ("0",):
            return
        if not self.options.connect:
            await self._learn_from_seeds()
        next_feeler = self._clock.monotonic() + FEELER_INTERVAL_S
        while True:
            if self.network_active:
                await self._connect_manual()
                if not self.options.connect:
                    await self._fill_slots()
                    if self._clock.monotonic() >= next_feeler:
                        next_feeler = self._clock.monotonic() + FEELER_INTERVAL_S
                        await self._dial_selected(ConnectionType.FEELER)
            await asyncio.sleep(0.5)

    async def _connect_manual(self) -> None:
        """Keep the connections that the operator asked for."""
        wanted = self.options.connect or self.added_nodes[:MAX_ADDNODE]
        present = {connection.peer.address_name for connection in self._connections.values()}
        for target in wanted:
            if target in present or target in self._dialling:
                continue
            if self._clock.monotonic() < self._retry_at.get(target, 0):
                continue
            self._retry_at[target] = self._clock.monotonic() + RETRY_MANUAL_S
            self._background(self._dial_name(target, ConnectionType.MANUAL))

    async def _fill_slots(self) -> None:
        kinds = [connection.peer.kind for connection in self._connections.values()]
        if kinds.count(ConnectionType.OUTBOUND_FULL_RELAY) < MAX_FULL_RELAY:
            await self._dial_selected(ConnectionType.OUTBOUND_FULL_RELAY)
        elif kinds.count(ConnectionType.BLOCK_RELAY_ONLY) < MAX_BLOCK_RELAY:
            await self._dial_selected(ConnectionType.BLOCK_RELAY_ONLY)

    async def _dial_selected(self, kind: ConnectionType) -> None:
        """Connect to somebody from the address manager, in a group that we have no peer in."""
        now = self._clock.now()
        groups = {
            connection.peer.address.group
            for connection in self._connections.values()
            if not connection.peer.is_inbound and connection.peer.kind is not ConnectionType.MANUAL
        }
        networks = self.options.only_networks or None
        for _ in range(100):
            known = self.addresses.select(now, new_only=kind is ConnectionType.FEELER, networks=networks)
            if known is None:
                return
            address = known.address
            name = str(address)
            if address.group in groups or name in self._dialling or now - known.last_try < 600:
                continue
            if self.bans.is_banned(address, now) or self.bans.is_discouraged(address):
                continue
            if address in self.local_addresses or not self._can_reach(address):
                continue
            self.addresses.attempted(address, now, failed=True)
            self._background(self._dial(address.host, address.port, name, address, kind))
            return

    def _can_reach(self, address: NetAddress) -> bool:
        return address.network in {Network.IPV4, Network.IPV6} or address.network in self.options.proxies

    def _background(self, work: Coroutine[Any, Any, bool]) -> None:
        task = asyncio.create_task(work, name="p2p connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def split_target(self, target: str) -> tuple[str, int]:
        """Host and port of `host`, `host:port` or `[v6]:port`."""
        if target.startswith("["):
            host, _, rest = target[1:].partition("]")
            return host, int(rest[1:]) if rest.startswith(":") else self.params.p2p_port
        if target.count(":") == 1:
            host, port = target.split(":")
            return host, int(port)
        return target, self.params.p2p_port

    async def _dial_name(self, target: str, kind: ConnectionType, *, use_v2: bool = True) -> bool:
        try:
            host, port = self.split_target(target)
        except ValueError:
            return False
        address = parse_host(host, port)
        if address is None:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                return False
            address = parse_host(str(found[0][4][0]), port)
            if address is None:
                return False
        if kind is not ConnectionType.MANUAL and self.bans.is_banned(address, self._clock.now()):
            return False
        return await self._dial(address.host, port, target, address, kind, use_v2=use_v2)

    async def _dial(
        self, host: str, port: int, name: str, address: NetAddress, kind: ConnectionType, *, use_v2: bool = True
    ) -> bool:
        self._dialling.add(name)
        try:
            dialer = self.options.proxies.get(address.network, dial_directly)
            async with asyncio.timeout(CONNECT_TIMEOUT_S if dialer is dial_directly else 60):
                reader, writer = await dialer(host, port)
        except (OSError, TimeoutError):
            self.addresses.attempted(address, self._clock.now(), failed=True)
            self._dialling.discard(name)
            return False
        self._dialling.discard(name)

        async def serve() -> bool:
            peer = await self._serve(reader, writer, kind, address, Permission.NONE, name=name, use_v2=use_v2)
            if peer.may_retry_with_v1 and not self._stopping:
                self._log(f"retrying {name} with the version 1 transport")
                return await self._dial(host, port, name, address, kind, use_v2=False)
            return True

        self._background(serve())
        return True

    async def _learn_from_seeds(self) -> None:
        """Names of the DNS seeds and `-seednode`s, when too little is known."""
        if len(self.addresses) < 1000 or not self.options.dns_seed:
            for target in self.options.seed_nodes:
                self._background(self._dial_name(target, ConnectionType.ADDR_FETCH))
        if not self.options.dns_seed or not self.params.dns_seeds:
            return
        if len(self.addresses):
            await asyncio.sleep(DNS_SEED_WAIT_S)
            if len(self._connections) >= 2:
                return
        loop, now = asyncio.get_running_loop(), self._clock.now()
        for seed in self.params.dns_seeds:
            try:
                found = await loop.getaddrinfo(seed, self.params.p2p_port, type=socket.SOCK_STREAM)
            except OSError:
                continue
            offered = Services.NETWORK | Services.WITNESS
            items = [
                TimedAddress(now - 3 * 86_400 - self._entropy.below(4 * 86_400), offered, address)
                for row in found
                if (address := parse_host(str(row[4][0]), self.params.p2p_port)) is not None
            ]
            for item in items[:1]:
                self.addresses.add(items, item.address, now)
            self._log(f"{len(items)} addresses found from DNS seed {seed}")

    # -- for processing --

    def _discourage(self, address: NetAddress, reason: str) -> None:
        self.bans.discourage(address)

    def _learned(self, found: list[TimedAddress], source: NetAddress) -> None:
        """Called in the validation thread; the address manager belongs to the loop's."""
        now = self._clock.now()
        self._loop.call_soon_threadsafe(lambda: self.addresses.add(found, source, now, penalty_s=2 * 3600))

    def _own_address(self) -> TimedAddress | None:
        if not self.options.listen or not self.local_addresses:
            return None
        return TimedAddress(self._clock.now(), int(self.local.services), self.local_addresses[0])
