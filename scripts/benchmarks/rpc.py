"""JSON-RPC requests per second beside bare aiohttp, and how long a request waits while blocks are connected.

Server and client are processes of their own; the client is the same for both servers: 64 kept connections, each
with one request under way, written and read as bytes.
"""

import asyncio
import base64
import json
import multiprocessing
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from scripts.benchmarks.chaindata import read_blocks
from scripts.benchmarks.httpload import Client
from scripts.benchmarks.report import Figure
from tests.support.daemon import DaemonProcess

__all__ = ["run"]

EMPTY = 1000
CONNECTIONS = 64
WARM_UP_S = 0.5


def _post(port: int, auth: str, body: bytes) -> bytes:
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {auth}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> list[float]:
    latencies: list[float] = []
    share = max(1, len(requests) // connections)
    clients = []
    for number in range(connections):
        own = requests[number * share : (number + 1) * share] or requests
        clients.append(await Client.connect(port, cycle(own).__next__, latencies))
    await asyncio.sleep(WARM_UP_S)
    latencies.clear()
    await asyncio.sleep(seconds)
    taken = list(latencies)
    for client in clients:
        client.stop()
    return taken


def _rate(port: int, auth: str, bodies: Sequence[bytes], seconds: float) -> float:
    requests = [_post(port, auth, body) for body in bodies]
    return len(uvloop.run(_load(port, requests, CONNECTIONS, seconds))) / seconds


def _serve_bare(pipe: Connection, sizes: Sequence[int]) -> None:
    """The limit: JSON POSTs answered by aiohttp with nothing behind it; answer `id` has sizes[id] characters."""
    results = ["0" * size for size in sizes]

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"result": results[asked["id"]], "error": None, "id": asked["id"]})

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await runner.cleanup()

    uvloop.run(serve())


def _bare_rate(bodies: Sequence[bytes], sizes: Sequence[int], seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_bare, args=(theirs, list(sizes)))
    process.start()
    try:
        return _rate(ours.recv(), "eDp5", bodies, seconds)
    finally:
        ours.send(None)
        process.join(10)


def _call(method: str, *params: Any, number: int = 0) -> bytes:
    return json.dumps({"jsonrpc": "1.0", "id": number, "method": method, "params": params}).encode()


def _prepare(folder: Path, blocks: Sequence[bytes]) -> list[str]:
    """A data folder with these blocks; their transactions' ids."""
    (folder / "btc-regtest").mkdir(parents=True)
    skip = ChainOptions(assume_valid=parse_block(blocks[-1]).hash)
    chain = Chainstate.open(BTC_REGTEST, folder / "btc-regtest", skip, SystemClock())
    ids = []
    for raw in blocks:
        block = parse_block(raw)
        chain.accept_block(block, requested=True)
        ids += [tx.txid[::-1].hex() for tx in block.txs]
    chain.close()
    return ids


class _Feeder:
    """A peer that sends blocks one after another, each when the one before is connected."""

    def __init__(self, port: int, blocks: Sequence[bytes]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._blocks = blocks
        self.seconds = 0.0
        address = (9).to_bytes(8, "little") + bytes(18)
        payload = (
            (70016).to_bytes(4, "little") + (9).to_bytes(8, "little") + int(time.time()).to_bytes(8, "little")
        )
        self._send(b"version", payload + address * 2 + b"benchmrk" + b"\x01/" + bytes(4) + b"\x01")
        self._until(b"version")
        self._send(b"verack", b"")
        self._until(b"verack")

    def run(self) -> None:
        begun = time.perf_counter()
        for number, raw in enumerate(self._blocks):
            self._send(b"block", raw)
            self._send(b"ping", number.to_bytes(8, "little"))
            while self._until(b"pong") != number.to_bytes(8, "little"):
                pass
        self.seconds = time.perf_counter() - begun
        self._socket.close()

    def _send(self, command: bytes, payload: bytes) -> None:
        check = sha256(sha256(payload).digest()).digest()[:4]
        head = BTC_REGTEST.message_start + command.ljust(12, b"\0") + len(payload).to_bytes(4, "little") + check
        self._socket.sendall(head + payload)

    def _until(self, command: bytes) -> bytes:
        while True:
            head = self._read(24)
            payload = self._read(int.from_bytes(head[16:20], "little"))
            if head[4:16].rstrip(b"\0") == command:
                return payload

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise SystemExit("the node hung up")
            data += more
        return bytes(data)


def _beside_blocks(
    daemon: DaemonProcess, p2p_port: int, auth: str, blocks: Sequence[bytes]
) -> tuple[float, float]:
    """(p99 of getblockcount in seconds, blocks per second) while a peer brings blocks."""
    feeder = _Feeder(p2p_port, blocks)
    latencies: list[float] = []

    async def ask() -> None:
        request = _post(daemon.port, auth, _call("getblockcount"))
        client = await Client.connect(daemon.port, lambda: request, latencies)
        await asyncio.to_thread(feeder.run)
        client.stop()

    uvloop.run(ask())
    latencies.sort()
    return latencies[len(latencies) * 99 // 100], len(blocks) / feeder.seconds


def run(quick: bool) -> list[Figure]:
    """getblockcount and getrawtransaction at 64 connections; getblockcount beside full blocks."""
    blocks = read_blocks()
    known = EMPTY + (10 if quick else 60)
    coming = blocks[known : known + (10 if quick else 100)]
    seconds = 1.5 if quick else 5.0
    folder = Path(tempfile.mkdtemp(prefix="gld-bench-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        p2p_port = probe.getsockname()[1]
    flags = ("-txindex", "-listen=1", f"-port={p2p_port}", "-bind=127.0.0.1", "-nopayments")
    daemon = DaemonProcess(folder, *flags, network="btc-regtest")
    try:
        ids = _prepare(folder, blocks[:known])
        daemon.start()
        while not daemon.call("getindexinfo")["txindex"]["synced"]:
            time.sleep(0.2)
        auth = base64.b64encode(daemon.cookie().encode()).decode()
        chosen = random.Random(21).sample(ids, min(2000, len(ids)))
        asked = [_call("getrawtransaction", txid, number=number) for number, txid in enumerate(chosen)]
        counts = [_call("getblockcount")]
        sizes = [len(daemon.call("getrawtransaction", txid)) for txid in chosen]
        bare_small, bare_large = _bare_rate(counts, [4], seconds), _bare_rate(asked, sizes, seconds)
        figures = [
            Figure("getblockcount, 64 connections", _rate(daemon.port, auth, counts, seconds), "1/s"),
            Figure("getrawtransaction, 64 connections", _rate(daemon.port, auth, asked, seconds), "1/s"),
        ]
        figures = [
            Figure(one.name, one.value, one.unit, "bare aiohttp JSON POST", limit)
            for one, limit in zip(figures, (bare_small, bare_large), strict=True)
        ]
        p99, rate = _beside_blocks(daemon, p2p_port, auth, coming)
        figures.append(Figure(f"p99 of getblockcount beside {len(coming)} full blocks", p99 * 1000, "ms"))
        figures.append(Figure("full blocks connected meanwhile", rate, "1/s"))
        return figures
    finally:
        daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)
