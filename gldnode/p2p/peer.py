"""One connection, sans IO: bytes in, messages and bytes out, time as an argument.

A `Peer` does what concerns this connection alone: choosing the transport, the version handshake, keep-alive
pings and byte counts. What the messages mean for chain and mempool is `processing`'s business.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, Flag, StrEnum, auto
from typing import Final

from gldnode.entropy import Entropy
from gldnode.errors import DecodeError
from gldnode.p2p.capture import Capture
from gldnode.p2p.framing import Deframer, FramingError, Message, encode_frame
from gldnode.p2p.messages import Ping, Services, Version
from gldnode.p2p.netaddress import NetAddress, Network, seen_address
from gldnode.p2p.v2transport import MAX_GARBAGE, SHORT_ID_COMMANDS, V1_PREFIX_SIZE, V2Transport, looks_like_v1

__all__ = ["ConnectionType", "LocalNode", "Peer", "Permission"]

PROTOCOL_VERSION: Final = 70016
MIN_PEER_PROTOCOL: Final = 31800
BIP31_PROTOCOL: Final = 60000
WTXID_RELAY_PROTOCOL: Final = 70016
PING_INTERVAL_S: Final = 120
TIMEOUT_S: Final = 20 * 60
SHORT_IDS_PROTOCOL: Final = 70014
FEE_FILTER_PROTOCOL: Final = 70013
SEND_HEADERS_PROTOCOL: Final = 70012
DEFAULT_SEND_BUFFER: Final = 1_000_000
_MESSAGE_OVERHEAD: Final = 24
_UNNUMBERED: Final = ("version", "verack", "sendaddrv2", "sendheaders", "wtxidrelay", "sendtxrcncl", "getaddr")
_COMMANDS: Final = frozenset((*SHORT_ID_COMMANDS, *_UNNUMBERED))
"""Counted by name; any other as `*other*`, so that invented names take no memory."""


class ConnectionType(StrEnum):
    """Why the connection exists, as `getpeerinfo.connection_type` writes it."""

    INBOUND = "inbound"
    OUTBOUND_FULL_RELAY = "outbound-full-relay"
    BLOCK_RELAY_ONLY = "block-relay-only"
    MANUAL = "manual"
    FEELER = "feeler"
    ADDR_FETCH = "addr-fetch"


class Permission(Flag):
    """What `-whitelist` and `-whitebind` grant (Core: NetPermissionFlags)."""

    NONE = 0
    BLOOMFILTER = auto()
    RELAY = auto()
    FORCERELAY = auto()
    DOWNLOAD = auto()
    NOBAN = auto()
    MEMPOOL = auto()
    ADDR = auto()


_WITHOUT_TXS: Final = frozenset((ConnectionType.BLOCK_RELAY_ONLY, ConnectionType.FEELER))
_NEEDS_SERVICES: Final = frozenset(
    (ConnectionType.OUTBOUND_FULL_RELAY, ConnectionType.BLOCK_RELAY_ONLY, ConnectionType.ADDR_FETCH)
)


class _Wire(Enum):
    UNDECIDED = auto()
    V1 = auto()
    V2 = auto()


@dataclass(slots=True)
class LocalNode:
    """What this node says of itself to every peer, and how it treats them all."""

    message_start: bytes
    services: Services
    user_agent: str
    entropy: Entropy
    relay_txs: bool = True
    v2_transport: bool = True
    handshake_timeout_s: int = 60
    height: int = 0
    """Of the active chain, kept up to date: peers choose by it."""
    near_tip: bool = False
    """Whether a peer without old blocks is good enough (Core: ApproximateBestBlockDepth below 144)."""
    send_buffer: int = DEFAULT_SEND_BUFFER
    """`-maxsendbuffer`: a peer that has not read this many bytes is not served until it has."""
    log: Callable[[str], None] = lambda text: None
    capture: Capture | None = None
    """`-capturemessages`."""
    nonces: set[bytes] = field(default_factory=set)
    """Of the connections we dialled: one coming back in a `version` is our own."""


class Peer:
    """The state of one connection."""

    def __init__(
        self,
        peer_id: int,
        local: LocalNode,
        kind: ConnectionType,
        address: NetAddress,
        now: int,
        *,
        permissions: Permission = Permission.NONE,
        use_v2: bool = True,
        address_name: str = "",
        bind_name: str = "",
    ) -> None:
        self.id = peer_id
        self.local = local
        self.kind = kind
        self.address = address
        self.address_name = address_name or str(address)
        self.bind_name = bind_name
        self.permissions = permissions
        self.connected_at = now
        self.disconnect_reason: str | None = None
        # their side
        self.version: Version | None = None
        self.is_established = False
        self.wtxid_relay = False
        self.wants_addrv2 = False
        self.time_offset = 0
        self.our_address: NetAddress | None = None
        """Under which it sees us, as it says."""
        # counters
        self.bytes_sent = 0
        self.bytes_received = 0
        self.sent_per_message: Counter[str] = Counter()
        self.received_per_message: Counter[str] = Counter()
        self.last_send = 0
        self.last_receive = 0
        # keep-alive
        self.ping_nonce = 0
        self.ping_sent_at_ms: int | None = None
        self.ping_requested = False
        self.last_ping_ms: int | None = None
        self.min_ping_ms: int | None = None
        self._next_ping = now
        # transport
        self._out: list[bytes] = []
        self._out_size = 0
        self.socket_backlog = 0
        """Bytes that were taken and that the socket has not sent yet; the socket's owner keeps it."""
        self._waiting: list[tuple[str, bytes]] = []
        self._nonce = local.entropy.bytes(8)
        self._deframer = Deframer(local.message_start, lambda text: local.log(f"{text}, peer={peer_id}"))
        self._prefix = b""
        self._v2: V2Transport | None = None
        self._wire = _Wire.UNDECIDED
        if kind is ConnectionType.INBOUND:
            if not local.v2_transport:
                self._wire = _Wire.V1
        else:
            local.nonces.add(self._nonce)
            if use_v2 and local.v2_transport:
                self._start_v2(initiating=True)
            else:
                self._wire = _Wire.V1
            self._send_version(now)

    # -- what it is --

    @property
    def is_inbound(self) -> bool:
        return self.kind is ConnectionType.INBOUND

    @property
    def services(self) -> Services:
        return Services(self.version.services) if self.version else Services.NONE

    @property
    def relays_txs(self) -> bool:
        """Whether the other side wants transactions and this kind of connection carries them."""
        return self.version is not None and self.version.relay and self.kind not in _WITHOUT_TXS

    @property
    def protocol(self) -> int:
        """What both sides speak; 0 before their `version`."""
        return min(PROTOCOL_VERSION, self.version.protocol) if self.version is not None else 0

    @property
    def transport_name(self) -> str:
        """As `getpeerinfo.transport_protocol_type` writes it."""
        return {_Wire.UNDECIDED: "detecting", _Wire.V1: "v1", _Wire.V2: "v2"}[self._wire]

    @property
    def session_id(self) -> bytes | None:
        """BIP 324 session id; None on the old transport."""
        return self._v2.session_id if self._v2 else None

    @property
    def may_retry_with_v1(self) -> bool:
        """Whether we offered the new transport and the other side never answered it."""
        return self._wire is _Wire.V2 and not self.is_inbound and self.bytes_received == 0

    def is_ending(self) -> bool:
        """Whether the connection is to be closed."""
        return self.disconnect_reason is not None

    def disconnect(self, reason: str) -> None:
        """Ask the owner of the socket to close it. The first reason stays."""
        if self.disconnect_reason is None:
            self.disconnect_reason = reason

    def closed(self) -> None:
        """The socket is gone."""
        self.local.nonces.discard(self._nonce)
        if self.local.capture is not None:
            self.local.capture.peer_gone(self.address)

    # -- bytes out --

    @property
    def output_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._out_size + self.socket_backlog

    @property
    def is_congested(self) -> bool:
        """Whether it reads so slowly that its next request must wait."""
        return self.output_size >= self.local.send_buffer

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def take_output(self) -> bytes:
        """What must go out now, once."""
        out, self._out, self._out_size = b"".join(self._out), [], 0
        return out

    def send(self, command: str, payload: bytes = b"", now: int = 0) -> None:
        """Queue a message. During the encrypted handshake it waits until keys are there."""
        if self.disconnect_reason is not None:
            return
        if self.local.capture is not None:
            self.local.capture.write(self.address, command, payload, is_incoming=False)
        self._queue(command, payload, now)

    def _queue(self, command: str, payload: bytes, now: int) -> None:
        if self._v2 is not None and not self._v2.can_send:
            self._waiting.append((command, payload))
            return
        frame = (
            self._v2.encode(command, payload)
            if self._v2 is not None
            else encode_frame(self.local.message_start, command, payload)
        )
        self._write(frame)
        self.sent_per_message[command] += len(frame)
        if now:
            self.last_send = now

    def _write(self, data: bytes) -> None:
        if data:
            self._out.append(data)
            self._out_size += len(data)
            self.bytes_sent += len(data)

    def _send_version(self, now: int) -> None:
        local = self.local
        receiver = bytes(8) + (self.address.to_v1() if self._may_be_told else bytes(18))
        sender = int(local.services).to_bytes(8, "little") + bytes(18)
        relay = local.relay_txs and self.kind not in _WITHOUT_TXS
        version = Version(
            PROTOCOL_VERSION,
            int(local.services),
            now,
            receiver,
            sender,
            self._nonce,
            local.user_agent,
            local.height,
            relay,
        )
        self.send("version", version.encode(), now)

    @property
    def _may_be_told(self) -> bool:
        """Whether the other side hears under which address we see it: that of a private network says nothing."""
        return self.address.is_routable and self.address.network in {Network.IPV4, Network.IPV6}

    # -- bytes in --

    def feed(self, data: bytes, now: int) -> Iterator[Message]:
        """The messages that `data` completes; give each to `take` before asking for the next.

        Whatever is wrong with the stream ends the connection: see `disconnect_reason`. Nothing that comes after
        that counts.
        """
        if self.is_ending():
            return
        self.bytes_received += len(data)
        self.last_receive = now
        try:
            for message in self._decode(data, now):
                name = message.command if message.command in _COMMANDS else "*other*"
                self.received_per_message[name] += len(message.payload) + _MESSAGE_OVERHEAD
                yield message
                if self.is_ending():
                    return
        except FramingError as error:
            self.disconnect(str(error))

    def _decode(self, data: bytes, now: int) -> Iterator[Message]:
        if self._wire is _Wire.UNDECIDED:
            self._prefix += data
            v1 = self.local.message_start + b"version\0\0\0\0\0"
            if self._prefix[:V1_PREFIX_SIZE] == v1[: len(self._prefix)]:
                if len(self._prefix) < V1_PREFIX_SIZE:
                    return
                assert looks_like_v1(self.local.message_start, self._prefix)
                self._wire = _Wire.V1
            else:
                self._start_v2(initiating=False)
            data, self._prefix = self._prefix, b""
        if self._v2 is None:
            yield from self._deframer.feed(data)
            return
        try:
            for message in self._v2.feed(data):
                self._flush_handshake(now)
                yield message
        finally:
            self._flush_handshake(now)

    def _flush_handshake(self, now: int) -> None:
        """Send what the encrypted handshake answers, and what has waited for its keys."""
        assert self._v2 is not None
        self._write(self._v2.pending())
        if self._waiting and self._v2.can_send:
            waiting, self._waiting = self._waiting, []
            for command, payload in waiting:
                self._queue(command, payload, now)

    def _start_v2(self, *, initiating: bool) -> None:
        entropy = self.local.entropy
        self._wire = _Wire.V2
        self._v2 = V2Transport(
            self.local.message_start,
            initiating=initiating,
            secret=entropy.bytes(32),
            key_entropy=entropy.bytes(32),
            garbage=entropy.bytes(entropy.below(MAX_GARBAGE + 1)),
        )
        self._write(self._v2.handshake())

    # -- handshake and keep-alive --

    def take(self, message: Message, now: int, now_ms: int) -> bool:
        """Whether the message was this connection's own business (or came at the wrong time)."""
        if self.local.capture is not None:
            self.local.capture.write(self.address, message.command, message.payload, is_incoming=True)
        try:
            return self._take(message, now, now_ms)
        except DecodeError as error:
            if message.command == "version":
                self.disconnect(f"version message does not parse: {error}")
            return True

    def _take(self, message: Message, now: int, now_ms: int) -> bool:
        match message.command:
            case "version":
                self._on_version(message.payload, now)
            case _ if self.version is None:
                self.local.log(
                    f'non-version message before version handshake. Message "{message.command}" '
                    f"from peer={self.id}"
                )
            case "verack":
                self.is_established = True
            case "wtxidrelay" | "sendaddrv2" | "sendtxrcncl":
                self._on_feature(message.command)
            case _ if not self.is_established:
                self.local.log(f'Unsupported message "{message.command}" prior to verack from peer={self.id}')
            case "ping":
                if self.protocol > BIP31_PROTOCOL:
                    self.send("pong", Ping.decode(message.payload).encode(), now)
            case "pong":
                self._on_pong(message.payload, now_ms)
            case _:
                return False
        return True

    def _on_feature(self, command: str) -> None:
        assert self.version is not None
        if command == "sendtxrcncl":
            return  # we do not offer it, so it means nothing
        if self.is_established:
            self.disconnect(f"{command} received after verack")
        elif command == "wtxidrelay":
            self.wtxid_relay = self.version.protocol >= WTXID_RELAY_PROTOCOL
        elif command == "sendaddrv2":
            self.wants_addrv2 = True

    def _on_version(self, payload: bytes, now: int) -> None:
        if self.version is not None:
            self.local.log(f"redundant version message from peer={self.id}")
            return
        version = Version.decode(payload)
        if self.is_inbound and version.nonce in self.local.nonces:
            self.disconnect("connected to self")
            return
        if self.kind in _NEEDS_SERVICES and not self._offers_enough(version.services):
            expected = int(Services.WITNESS | Services.NETWORK)
            self.disconnect(
                f"does not offer the expected services ({version.services:08x} offered, {expected:08x} expected)"
            )
            return
        if version.protocol < MIN_PEER_PROTOCOL:
            self.disconnect(f"using obsolete version {version.protocol}")
            return
        self.version = version
        self.our_address = seen_address(version.receiver)
        self.time_offset = version.time - now
        if self.is_inbound:
            self._send_version(now)
        if version.protocol >= WTXID_RELAY_PROTOCOL:
            self.send("wtxidrelay", b"", now)
            self.send("sendaddrv2", b"", now)
        self.send("verack", b"", now)

    def _offers_enough(self, services: int) -> bool:
        """Core: HasAllDesirableServiceFlags."""
        blocks = Services.NETWORK | (Services.NETWORK_LIMITED if self.local.near_tip else Services.NONE)
        return bool(services & Services.WITNESS and services & blocks)

    def _on_pong(self, payload: bytes, now_ms: int) -> None:
        if self.ping_sent_at_ms is None or len(payload) < 8:
            return
        nonce = Ping.decode(payload).nonce
        if nonce != self.ping_nonce:
            if nonce == 0:
                self.ping_sent_at_ms = None  # a buggy peer that answers with zero
            return
        took = max(0, now_ms - self.ping_sent_at_ms)
        self.last_ping_ms = took
        self.min_ping_ms = took if self.min_ping_ms is None else min(self.min_ping_ms, took)
        self.ping_sent_at_ms = None

    def tick(self, now: int, now_ms: int) -> None:
        """Pings and time limits; call about once a second."""
        if not self.is_established:
            if now - self.connected_at > self.local.handshake_timeout_s:
                self.disconnect("version handshake timeout")
            return
        if self.ping_sent_at_ms is not None and now_ms - self.ping_sent_at_ms > TIMEOUT_S * 1000:
            self.disconnect(f"ping timeout: {(now_ms - self.ping_sent_at_ms) / 1000:f}s")
            return
        if now - max(self.last_receive, self.connected_at) > TIMEOUT_S:
            self.disconnect(f"socket receive timeout: {now - self.last_receive}s")
            return
        if self.ping_sent_at_ms is None and (self.ping_requested or now >= self._next_ping):
            self.ping_requested = False
            self._next_ping = now + PING_INTERVAL_S
            self.ping_nonce = int.from_bytes(self.local.entropy.bytes(8), "little") or 1
            self.ping_sent_at_ms = now_ms
            self.send("ping", Ping(self.ping_nonce).encode(), now)
