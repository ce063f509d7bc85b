"""Load over real HTTP: kept connections on raw sockets, so that the client costs little beside the server."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "ask", "bare_echo", "run_load"]

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


async def run_load(port: int, connections: int, seconds: float, make: Callable[[int], bytes]) -> Load:
    """`make(n)` is the n-th request. Any status but 200 ends the run."""
    times: list[float] = []
    number = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal number
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (begun := time.perf_counter()) < end:
            number += 1
            writer.write(make(number))
            status, body = await _answer(reader)
            if status != 200:
                raise SystemExit(f"the server answered {status}: {body[:200]!r}")
            times.append(time.perf_counter() - begun)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    elapsed = time.perf_counter() - begun
    times.sort()
    return Load(len(times) / elapsed, percentile_ms(times, 50), percentile_ms(times, 99))


def percentile_ms(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


@contextmanager
def bare_echo() -> Iterator[int]:
    """The port of a bare echo server in another process."""
    command = [sys.executable, "-m", "scripts.benchmarks.echo"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
