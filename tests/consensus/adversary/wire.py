"""A peer that hands blocks to a daemon over its P2P port, and what the daemon's log says of them."""

import socket

from gldnode.p2p.framing import Deframer, encode_frame
from gldnode.params import BTC_REGTEST
from tests.consensus.adversary.workshop import NOW
from tests.support.daemon import DaemonProcess
from tests.support.wire import version_message

__all__ = ["WireTarget"]


class WireTarget:
    """One version 1 connection; the daemon must have been told not to hang up on this address."""

    def __init__(self, daemon: DaemonProcess, port: int) -> None:
        self.daemon = daemon
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._deframer = Deframer(BTC_REGTEST.message_start)
        self._pings = 0
        self._send("version", version_message(time=NOW))
        self._wait_for("verack")
        self._send("verack")

    def _send(self, command: str, payload: bytes = b"") -> None:
        self._socket.sendall(encode_frame(BTC_REGTEST.message_start, command, payload))

    def _wait_for(self, command: str, payload: bytes | None = None) -> None:
        while True:
            data = self._socket.recv(65536)
            assert data, "the daemon hung up"
            for message in self._deframer.feed(data):
                if message.command == command and (payload is None or message.payload == payload):
                    return

    def give(self, raw: bytes) -> str:
        """Send a block; what was logged until the daemon had dealt with it."""
        seen = len(self.daemon.log_text)
        self._pings += 1
        nonce = self._pings.to_bytes(8, "little")
        self._send("block", raw)
        self._send("ping", nonce)
        self._wait_for("pong", nonce)
        return self.daemon.log_text[seen:]

    def close(self) -> None:
        self._socket.close()
