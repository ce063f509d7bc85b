"""ZeroMQ publishers (`-zmqpub…`), in Core's wire form: three frames, topic | payload | u32 LE counter.

topic     | payload                                                     | when
hashblock | block hash, display order                                   | a block became part of the active chain
rawblock  | the block with witness                                      | 〃
hashtx    | txid, display order                                         | a transaction entered the mempool, and
rawtx     | the transaction with witness                                | with each block connected, disconnected
sequence  | hash | `C` connected, `D` disconnected                      | blocks
          | txid | `A` added, `R` removed, then u64 LE mempool sequence | mempool; not for what a block confirmed

Every block of a reorganisation's new branch is published. During the initial block download nothing is. A slow
subscriber loses messages beyond the high water mark and sees it by the counter, one for each publisher.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from gldnode.config import Config, ConfigError
from gldnode.events import BlockConnected, ChainStep, MempoolTxAdded, MempoolTxRemoved, RemovalReason
from gldnode.mempool.core import MempoolEvent
from gldnode.primitives.tx import Tx

if TYPE_CHECKING:
    pass

__all__ = ["TOPICS", "Publication", "ZmqPublishers", "publications"]

log = logging.getLogger(__name__)

TOPICS: Final = ("hashblock", "hashtx", "rawblock", "rawtx", "sequence")
DEFAULT_HWM: Final = 1000
_U32 = Struct("<I")
_U64 = Struct("<Q")

Message = tuple[str, bytes]
"""Topic and payload."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One `-zmqpub<topic>=<address>`."""

    topic: str
    address: str
    hwm: int


def publications(config: Config) -> list[Publication]:
    """What the configuration asks to publish. Raises ConfigError."""
    wanted = []
    for topic in TOPICS:
        hwm = config.get_int(f"zmqpub{topic}hwm", DEFAULT_HWM, least=0)
        for address in config.get_all(f"zmqpub{topic}"):
            if address in ("", "0"):
                continue
            path = address.removeprefix("unix:")
            wanted.append(Publication(topic, address if path == address else f"ipc://{path}", hwm))
    return wanted


def step_messages(step: ChainStep) -> Iterator[Message]:
    """What is told about a step of the active chain."""
    connected = isinstance(step, BlockConnected)
    shown = step.hash[::-1]
    if connected:
        yield "hashblock", shown
        yield "rawblock", step.block.raw
    for tx in step.block.txs:
        yield from _tx_messages(tx)
    yield "sequence", shown + (b"C" if connected else b"D")


def mempool_messages(event: MempoolEvent) -> Iterator[Message]:
    """What is told about a mempool event."""
    if isinstance(event, MempoolTxAdded):
        yield from _tx_messages(event.tx)
        yield "sequence", event.tx.txid[::-1] + b"A" + _U64.pack(event.sequence)
    elif isinstance(event, MempoolTxRemoved) and event.reason is not RemovalReason.BLOCK:
        yield "sequence", event.tx.txid[::-1] + b"R" + _U64.pack(event.sequence)


def _tx_messages(tx: Tx) -> Iterator[Message]:
    yield "hashtx", tx.txid[::-1]
    yield "rawtx", tx.raw


class ZmqPublishers:
    """The bound sockets. `on_step` and `on_mempool_event` are called in one thread; sending there never blocks."""

    def __init__(self, wanted: Sequence[Publication], is_downloading: Callable[[], bool]) -> None:
        """Bind. Raises ConfigError where pyzmq is missing or an address cannot be bound."""
        try:
            import zmq
        except ImportError:
            raise ConfigError(
                "-zmqpub… needs the package pyzmq: install it, or install gldnode[zmq], or leave the option out."
            ) from None
        self.publications = tuple(wanted)
        self._is_downloading = is_downloading
        self._noblock = zmq.DONTWAIT
        self._failed: type[Exception] = zmq.ZMQError
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._counters = [0] * len(self.publications)
        for one in self.publications:
            if one.address in self._sockets:
                continue
            socket = self._context.socket(zmq.PUB)
            socket.setsockopt(zmq.SNDHWM, one.hwm)
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            socket.setsockopt(zmq.LINGER, 0)
            if "[" in one.address:
                socket.setsockopt(zmq.IPV6, 1)
            self._sockets[one.address] = socket
            try:
                socket.bind(one.address)
            except zmq.ZMQError as error:
                self.close()
                raise ConfigError(f"Unable to bind -zmqpub{one.topic}={one.address[:200]}: {error}") from None
            log.info("zmq: publishing on %s", one.address)

    def on_step(self, step: ChainStep) -> None:
        if not self._is_downloading():
            self._publish(step_messages(step))

    def on_mempool_event(self, event: MempoolEvent) -> None:
        self._publish(mempool_messages(event))

    def _publish(self, messages: Iterator[Message]) -> None:
        for topic, payload in messages:
            for number, one in enumerate(self.publications):
                if one.topic == topic:
                    frames = [topic.encode(), payload, _U32.pack(self._counters[number])]
                    self._counters[number] = (self._counters[number] + 1) & 0xFFFFFFFF
                    try:
                        self._sockets[one.address].send_multipart(frames, self._noblock)
                    except self._failed as error:  # a notification is no reason to stop validating
                        log.error("zmq: %s on %s: %s", topic, one.address, error)

    def close(self) -> None:
        """Close the sockets; no event may follow."""
        for socket in self._sockets.values():
            socket.close()
        self._context.term()
