"""Load over real HTTP: kept connections on raw sockets, so that the client costs little beside the server.

Run it on uvloop, for the same reason.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Client", "Load", "ask", "bare_echo", "percentile_ms", "request_bytes", "run_load"]

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load."""

    per_second: float
    p50_ms: float
    p99_ms: float


def request_bytes(method: str, path: str, key: str = "", body: bytes = b"", headers: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
    if key:
        head += f"Authorization: token {key}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line[:15].lower() == b"content-length:"), 0)
    return int(lines[0].split()[1]), await reader.readexactly(length) if length else b""


async def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await _answer(reader)
    writer.close()
    return answer


class Client(asyncio.Protocol):
    """One connection: sends the next request when an answer is complete. Any status but 200 ends the run."""

    def __init__(self, make: Callable[[], bytes | None], times: list[float]) -> None:
        self._make = make
        self._times = times
        self._missing = -1
        self._sent = 0.0
        self._transport: Any = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Set when `make` had no further request, or by what went wrong."""

    @classmethod
    async def connect(cls, port: int, make: Callable[[], bytes | None], times: list[float]) -> "Client":
        """A client that has begun."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(make, times), "127.0.0.1", port)
        return client

    def stop(self) -> None:
        """Break off. Raises what has gone wrong before."""
        if self.done.done():
            self.done.result()
        self.done.cancel()
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"the connection ended: {error}"))

    def _send(self) -> None:
        request = self._make()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._missing = -1
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            head, _, body = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(SystemExit(f"the server answered {data[:300]!r}"))
                self._transport.abort()
                return
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            self._missing = length - len(body)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._times.append(time.perf_counter() - self._sent)
            self._send()


async def run_load(port: int, connections: int, seconds: float, make: Callable[[int], bytes]) -> Load:
    """`make(n)` is the n-th request. Any status but 200 ends the run."""
    times: list[float] = []
    number = 0
    begun = time.perf_counter()
    end = begun + seconds

    def following() -> bytes | None:
        nonlocal number
        number += 1
        return make(number) if time.perf_counter() < end else None

    clients = [await Client.connect(port, following, times) for _ in range(connections)]
    await asyncio.gather(*(client.done for client in clients))
    elapsed = time.perf_counter() - begun
    times.sort()
    return Load(len(times) / elapsed, percentile_ms(times, 50), percentile_ms(times, 99))


def percentile_ms(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


@contextmanager
def bare_echo(*, uvloop: bool = False) -> Iterator[int]:
    """The port of a bare echo server in another process, on asyncio's own loop (as aiohttp comes) or on uvloop."""
    command = [sys.executable, "-m", "scripts.benchmarks.echo", *(["uvloop"] if uvloop else [])]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
