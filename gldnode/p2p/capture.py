"""Every message of every peer in files, for those who look into what nodes say to each other (`-capturemessages`).

Core's format, which its contrib/message-capture tools read: in a folder for each peer a file of what came and one
of what went, each a row of

    time        8 bytes, microseconds since 1970, when the message was processed
    command     12 bytes, zero padded
    length      4 bytes
    payload

Integers are little-endian.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gldnode.clock import Clock
from gldnode.p2p.netaddress import NetAddress

__all__ = ["Capture"]


class Capture:
    """Writes below one folder. Any thread."""

    def __init__(self, folder: Path, clock: Clock, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._last = 0
        self._files: dict[tuple[NetAddress, bool], BinaryIO] = {}
        self._is_broken = False

    def write(self, address: NetAddress, command: str, payload: bytes, *, is_incoming: bool) -> None:
        """Append a message. A disk that takes no more ends the capture, not the node."""
        with self._lock:
            if self._is_broken:
                return
            # The clock has milliseconds; what comes within one keeps its order.
            self._last = max(self._clock.now_ms() * 1000, self._last + 1)
            head = self._last.to_bytes(8, "little") + command.encode("ascii").ljust(12, b"\0")
            try:
                file = self._file(address, is_incoming=is_incoming)
                file.write(head + len(payload).to_bytes(4, "little") + payload)
                file.flush()
            except OSError as error:
                self._is_broken = True
                self._log(f"messages are not captured any more: {error}")

    def _file(self, address: NetAddress, *, is_incoming: bool) -> BinaryIO:
        file = self._files.get((address, is_incoming))
        if file is None:
            folder = self._folder / str(address).replace(":", "_")
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / ("msgs_recv.dat" if is_incoming else "msgs_sent.dat")).open("ab")
            self._files[address, is_incoming] = file
        return file

    def peer_gone(self, address: NetAddress) -> None:
        """Close its files."""
        with self._lock:
            for is_incoming in (True, False):
                file = self._files.pop((address, is_incoming), None)
                if file is not None:
                    file.close()
