"""A peer as Core's functional test framework makes one: P2PInterface, in blocking form."""

import socket
import time
from collections.abc import Callable

from gldnode.primitives.codec import Reader
from gldnode.primitives.hashes import sha256d

__all__ = ["Peer", "inventory", "read_inventory", "wait_for"]

MAGIC = bytes.fromhex("fabfb5da")


def wait_for(condition: Callable[[], object], timeout_s: float = 40) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def inventory(*items: tuple[int, bytes]) -> bytes:
    """The payload of inv, getdata and notfound; hashes in wire order."""
    return bytes((len(items),)) + b"".join(kind.to_bytes(4, "little") + name for kind, name in items)


def read_inventory(payload: bytes) -> list[tuple[int, bytes]]:
    reader = Reader(payload)
    return [(reader.u32(), reader.take(32)) for _ in range(reader.compact_size())]


class Peer:
    """A connection with version 70017 and services NETWORK | WITNESS. A context manager."""

    def __init__(self, port: int, *, relay: bool = True) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        host, own_port = self._socket.getsockname()[:2]
        self.name = f"{host}:{own_port}"
        self.version = 0
        self.seen: list[str] = []
        """The names of all messages so far."""
        self._relay = relay
        self._data = b""

    def __enter__(self) -> "Peer":
        subver = b"/python-p2p-tester:0.0.3/"
        address = (9).to_bytes(8, "little") + bytes(10) + b"\xff\xff\x7f\x00\x00\x01" + bytes(2)
        self.send(
            "version",
            (70017).to_bytes(4, "little")
            + (9).to_bytes(8, "little")
            + int(time.time()).to_bytes(8, "little")
            + address
            + address
            + bytes(range(8))
            + bytes([len(subver)])
            + subver
            + (0).to_bytes(4, "little")
            + bytes([self._relay]),
        )
        self.version = int.from_bytes(self.wait_for("version")[:4], "little")
        self.send("wtxidrelay")
        self.send("verack")
        self.wait_for("verack")
        return self

    def __exit__(self, *args: object) -> None:
        self._socket.close()

    def send(self, command: str, payload: bytes = b"") -> None:
        head = MAGIC + command.encode().ljust(12, b"\0") + len(payload).to_bytes(4, "little")
        self._socket.sendall(head + sha256d(payload)[:4] + payload)

    def wait_for(self, command: str, timeout_s: float = 30) -> bytes:
        """The next message of this name; pings are answered."""
        payload = self.get(command, timeout_s)
        assert payload is not None, f"no {command} came, but {self.seen}"
        return payload

    def get(self, command: str, timeout_s: float) -> bytes | None:
        """The next message of this name; None when none comes in this time."""
        end = time.monotonic() + timeout_s
        while (message := self._next(end)) is not None:
            if message[0] == command:
                return message[1]
        return None

    def sync(self) -> list[str]:
        """Wait until the node has dealt with what was sent (sync_with_ping); what came meanwhile."""
        before = len(self.seen)
        nonce = time.monotonic_ns().to_bytes(8, "little")
        self.send("ping", nonce)
        while self.wait_for("pong") != nonce:
            pass
        return self.seen[before:-1]

    def is_hung_up(self, timeout_s: float = 10) -> bool:
        """Whether the node ends the connection."""
        try:
            self.get("", timeout_s)
        except (AssertionError, ConnectionError):
            return True
        return False

    def _next(self, end: float) -> tuple[str, bytes] | None:
        while True:
            if len(self._data) >= 24:
                assert self._data[:4] == MAGIC
                size = 24 + int.from_bytes(self._data[16:20], "little")
                if len(self._data) >= size:
                    break
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                return None
            assert more, "the node hung up"
            self._data += more
        name, payload = self._data[4:16].rstrip(b"\0").decode(), self._data[24:size]
        self._data = self._data[size:]
        self.seen.append(name)
        if name == "ping":
            self.send("pong", payload)
        return name, payload
