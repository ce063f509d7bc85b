"""The sockets: an asyncio shell around `processing`, which runs in the validation thread."""

import asyncio
import contextlib
import select
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from gldnode.clock import Clock
from gldnode.entropy import Entropy
from gldnode.p2p.addrman import AddressManager
from gldnode.p2p.bans import BanList
from gldnode.p2p.inbound import Inbound
from gldnode.p2p.localaddress import AddressOrigin, LocalAddresses
from gldnode.p2p.messages import TimedAddress
from gldnode.p2p.netaddress import NetAddress
from gldnode.p2p.options import P2POptions
from gldnode.p2p.outbound import Outbound
from gldnode.p2p.peer import ConnectionType, LocalNode, Peer, Permission
from gldnode.p2p.processing import Processing
from gldnode.p2p.upload import UploadTarget
from gldnode.params import ChainParams

__all__ = ["Connection", "P2POptions", "PeerManager", "Validator"]

T = TypeVar("T")

READ_SIZE: Final = 64 * 1024
TICK_S: Final = 0.1
READS_AHEAD: Final = 2
WAIT_S: Final = 0.02
CLOSE_S: Final = 5.0
DUMP_PEERS_S: Final = 15 * 60
HEALTH_CHECK_S: Final = 86_400
TIME_WARNING_S: Final = 10 * 60
TIME_WARNING_PEERS: Final = 5
NEAR_TIP_BLOCKS: Final = 144
MAX_WRITE_BUFFER: Final = 5_000_000


class Validator(Protocol):
    """Does a piece of work in the validation thread."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


@dataclass(slots=True)
class Connection:
    """A peer and its socket."""

    peer: Peer
    writer: asyncio.StreamWriter
    shook_hands: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the other side has hung up. The event loop finds out by itself only while it reads or writes."""
        if self.writer.is_closing():
            return True
        sock = self.writer.get_extra_info("socket")
        if sock is None:
            return False
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # errors and hang-ups are always told
        return bool(poll.poll(0))


class PeerManager:
    """Reads and writes; `inbound` listens, `outbound` dials."""

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
        self.clock = clock
        self.entropy = entropy
        self.addresses = addresses
        self.bans = bans
        self.log = log
        self.network_active = True
        self.total_sent = 0
        self.total_received = 0
        self.upload = UploadTarget(options.max_upload_bytes, params.block_interval_s, clock)
        self.local_addresses = LocalAddresses()
        self.connections: dict[int, Connection] = {}
        self.is_stopping = False
        self._next_id = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self.inbound = Inbound(self)
        self.outbound = Outbound(self)
        processing.discourage = lambda address, reason: bans.discourage(address)
        processing.is_unwanted = lambda address: (
            bans.is_discouraged(address) or bans.is_banned(address, clock.now())
        )
        processing.known_addresses = lambda count, percent: addresses.sample(count, percent, clock.now())
        processing.learned_addresses = self._learned
        processing.own_address = self._own_address
        processing.may_serve_history = lambda: self.upload.serves_history

    # -- life --

    async def start(self) -> None:
        """Open the listening sockets and begin to connect. Raises OSError when a port cannot be bound."""
        for address in self.options.external:
            self.local_addresses.add(address, AddressOrigin.MANUAL)
        if self.options.listen:
            await self.inbound.listen()
        self.run_task("p2p-tick", self._tick_forever())
        self.run_task("p2p-connect", self.outbound.run())
        self.run_task("p2p-housekeeping", self._housekeeping())

    def run_task(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run until the manager stops."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def background(self, work: Coroutine[Any, Any, bool]) -> None:
        """Something that ends by itself."""
        task = asyncio.create_task(work, name="p2p connection")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self.is_stopping:
            self.log(f"{task.get_name()} ended: {task.exception()!r}")

    async def stop(self) -> None:
        """Close everything and keep what was learnt."""
        self.is_stopping = True
        self.inbound.close()
        self.outbound.save_anchors()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self.connections.values()):
            connection.writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self._dump()

    # -- what others ask --

    @property
    def connection_count(self) -> tuple[int, int]:
        """(inbound, outbound) connections."""
        inbound = sum(connection.peer.is_inbound for connection in self.connections.values())
        return inbound, len(self.connections) - inbound

    def peers(self) -> list[Peer]:
        return [connection.peer for connection in self.connections.values()]

    def disconnect(self, *, address: str | None = None, peer_id: int | None = None) -> bool:
        """Whether such a peer was there."""
        for connection in self.connections.values():
            peer = connection.peer
            if peer.id == peer_id or (address is not None and peer.address_name == address):
                self.close(connection, "disconnectnode")
                return True
        return False

    def drop(self, connection: Connection, reason: str) -> None:
        """End a connection at once."""
        connection.peer.disconnect(reason)
        connection.writer.transport.abort()

    def close(self, connection: Connection, reason: str) -> None:
        """End a connection; what is on its way out may still leave, for a few seconds."""
        connection.peer.disconnect(reason)
        if not connection.writer.is_closing():
            connection.writer.close()
            self._loop.call_later(CLOSE_S, connection.writer.transport.abort)

    def set_network_active(self, active: bool) -> None:
        self.network_active = active
        self.log(f"SetNetworkActive: {str(active).lower()}")
        if active:
            self.outbound.look_now()
            return
        for connection in self.connections.values():
            self.close(connection, "network deactivated")

    def disconnect_banned(self) -> None:
        """After `setban`: let go of those who are banned now."""
        now = self.clock.now()
        for connection in self.connections.values():
            if self.bans.is_banned(connection.peer.address, now):
                self.close(connection, "banned")

    def warnings(self) -> list[str]:
        """What the operator should know about the connections."""
        offsets = sorted(peer.time_offset for peer in self.peers() if peer.is_established and not peer.is_inbound)
        if len(offsets) < TIME_WARNING_PEERS or abs(offsets[len(offsets) // 2]) <= TIME_WARNING_S:
            return []
        return [
            f"Your computer's date and time appear to be more than {TIME_WARNING_S // 60} minutes out of sync "
            "with the network, this may lead to consensus failure. After you've confirmed your computer's clock, "
            "this message should no longer appear when you restart your node. Without a restart, it should stop "
            "showing automatically after you've connected to a sufficient number of new outbound peers, which may "
            "take some time. You can inspect the `timeoffset` field of the `getpeerinfo` and `getnetworkinfo` RPC "
            "methods to get more info."
        ]

    # -- one connection --

    async def serve(
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
        self._look_at_tip()
        peer = Peer(
            peer_id,
            self.local,
            kind,
            address,
            self.clock.now(),
            permissions=permissions,
            use_v2=use_v2,
            address_name=name,
            bind_name=f"[{bound[0]}]:{bound[1]}" if ":" in str(bound[0]) else f"{bound[0]}:{bound[1]}",
        )
        connection = Connection(peer, writer)
        self.connections[peer_id] = connection
        try:
            await self.work(lambda: self.processing.connected(peer))
            await self._read(connection, reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections.pop(peer_id, None)
            try:
                if not self.is_stopping:
                    await asyncio.shield(
                        asyncio.ensure_future(self.work(lambda: self.processing.disconnected(peer)))
                    )
            finally:
                peer.closed()  # nothing is sent to it any more
            if peer.is_ending():
                writer.close()  # what it is told last may still leave
                self._loop.call_later(CLOSE_S, writer.transport.abort)
            else:
                writer.transport.abort()
            self.log(f"disconnected peer={peer_id}: {peer.disconnect_reason or 'closed by the other side'}")
        return peer

    async def _read(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        """Bytes to `processing`, as long as it takes them: what waits there is bounded by two reads.

        One read is taken in while the next waits behind it, so that blocks that follow each other are made
        durable together.
        """
        under_way: deque[asyncio.Task[None]] = deque()
        try:
            await self._read_ahead(connection, reader, under_way)
        finally:
            outcomes = await asyncio.gather(*under_way, return_exceptions=True)
        for failure in outcomes:
            if failure is not None:
                raise failure

    async def _read_ahead(
        self, connection: Connection, reader: asyncio.StreamReader, under_way: deque[asyncio.Task[None]]
    ) -> None:
        peer, processing = connection.peer, self.processing
        while not peer.is_ending() and not self.is_stopping:
            if processing.is_waiting(peer):
                while under_way:
                    await under_way.popleft()
                if not await self._wait(connection):
                    return
            data = await reader.read(READ_SIZE)
            if not data:
                return
            self.total_received += len(data)
            if len(under_way) == READS_AHEAD:
                await under_way.popleft()
            under_way.append(asyncio.create_task(self._receive(connection, data), name="p2p read"))

    async def _wait(self, connection: Connection) -> bool:
        """Until it has read our answers, or the others had their turn; False when nobody is there any more."""
        peer, processing = connection.peer, self.processing
        while processing.is_waiting(peer) and not peer.is_ending():
            if connection.is_gone:
                return False
            if peer.is_congested:
                await asyncio.sleep(WAIT_S)
                peer.socket_backlog = connection.writer.transport.get_write_buffer_size()
            else:
                await self.work(lambda: processing.resume(peer))
        return True

    async def _receive(self, connection: Connection, data: bytes) -> None:
        peer = connection.peer
        try:
            await self.work(lambda: self.processing.receive(peer, data))
        except Exception:
            connection.writer.transport.abort()  # nobody waits for this read yet: end the next
            raise
        if peer.is_established and not connection.shook_hands:
            connection.shook_hands = True
            self._shook_hands(peer)

    def _shook_hands(self, peer: Peer) -> None:
        if not peer.is_inbound:
            self.addresses.succeeded(peer.address, self.clock.now())
        elif peer.our_address is not None:
            self.local_addresses.seen(peer.our_address)

    def work_soon(self, work: Callable[[], None]) -> None:
        """Do a piece of work in the validation thread some time soon."""

        async def later() -> bool:
            with contextlib.suppress(Exception):  # the node is stopping, or says itself what failed
                await self.work(work)
            return True

        self.background(later())

    async def work(self, work: Callable[[], None]) -> None:
        """Do a piece of work in the validation thread, then send what it left to send."""

        def job() -> tuple[list[tuple[int, bytes]], list[tuple[int, str]]]:
            work()
            return self.processing.take_output(), self.processing.unwanted()

        output, unwanted = await self._run(job)
        for peer_id, data in output:
            connection = self.connections.get(peer_id)
            if connection is not None and not connection.writer.is_closing():
                self._write(connection, data)
        for peer_id, reason in unwanted:
            connection = self.connections.get(peer_id)
            if connection is not None and not connection.writer.is_closing():
                self.log(f"{reason}, disconnecting peer={peer_id}")
                self.close(connection, reason)

    def _write(self, connection: Connection, data: bytes) -> None:
        connection.writer.write(data)
        self.total_sent += len(data)
        self.upload.sent(len(data))
        backlog = connection.writer.transport.get_write_buffer_size()
        connection.peer.socket_backlog = backlog
        if backlog > MAX_WRITE_BUFFER + len(data):
            self.close(connection, "does not read what it asked for")

    # -- time --

    def _look_at_tip(self) -> None:
        chain = self.processing.chain
        self.local.height = chain.tip.height
        behind_s = self.clock.now() - chain.tip.time
        self.local.near_tip = behind_s < NEAR_TIP_BLOCKS * self.params.block_interval_s

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for connection in self.connections.values():
                connection.peer.socket_backlog = connection.writer.transport.get_write_buffer_size()
            self._look_at_tip()
            await self.work(self.processing.tick)

    async def _housekeeping(self) -> None:
        next_check = self.clock.monotonic()
        while True:
            await asyncio.sleep(DUMP_PEERS_S)
            self._dump()
            if self.clock.monotonic() >= next_check:
                next_check += HEALTH_CHECK_S
                if health := self.options.groups.health(peer.address for peer in self.peers()):
                    self.log(health)

    def _dump(self) -> None:
        if self.options.peers_file is not None:
            with contextlib.suppress(OSError):
                self.addresses.dump(self.options.peers_file)

    # -- for processing --

    def _learned(self, found: list[TimedAddress], source: NetAddress) -> None:
        """Called in the validation thread; the address manager belongs to the loop's."""
        now = self.clock.now()
        self._loop.call_soon_threadsafe(lambda: self.addresses.add(found, source, now, penalty_s=2 * 3600))

    def _own_address(self, peer: Peer) -> TimedAddress | None:
        """What to tell that peer of ourselves."""
        if not self.options.listen or self.processing.chain.is_initial_block_download:
            return None
        told = peer.our_address
        if told is not None and not (self.options.discover and self.outbound.can_reach(told.network)):
            told = None
        address = self.local_addresses.to_tell(
            peer.address, told, is_inbound=peer.is_inbound, port=self.params.p2p_port, entropy=self.entropy
        )
        return None if address is None else TimedAddress(self.clock.now(), int(self.local.services), address)
