"""The payment server as a shop meets it: a real daemon over real HTTP, beside bare aiohttp and bare plyvel."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from gldnode.address import script_to_address
from gldnode.bip32 import ExtendedKey
from gldnode.params import BTC_REGTEST, REGTEST, ChainParams
from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import TxIn, TxOut, make_tx, parse_tx
from scripts.benchmarks import shopfill
from scripts.benchmarks.chaindata import read_blocks
from scripts.benchmarks.httpload import Load, ask, bare_echo, percentile_ms, request_bytes, run_load
from scripts.benchmarks.limits import plyvel_synced_writes
from scripts.benchmarks.report import Figure
from tests.support.daemon import DaemonProcess
from tests.support.host import ANYONE

__all__ = ["run"]

CONCURRENCY = (1, 8, 64)
EMPTY_BLOCKS = 1000
BODY = {"amount": "1.5", "currency": "GLD", "metadata": {"orderId": "bench"}}


class Shop:
    """A daemon with a store and a key that may do everything."""

    def __init__(self, daemon: DaemonProcess, params: ChainParams) -> None:
        self.daemon = daemon
        self.params = params
        xpub = ExtendedKey.from_seed(b"benchmark of the shop").to_public().to_text(params)
        self.store_id: str = daemon.call("createstore", "bench", xpub)["storeId"]
        self.key: str = daemon.call("createapikey", "bench")["apiKey"]

    def creation(self, number: int) -> bytes:
        body = json.dumps({**BODY, "currency": self.params.unit, "metadata": {"orderId": f"order-{number}"}})
        return request_bytes("POST", f"/api/v1/stores/{self.store_id}/invoices", self.key, body.encode())

    async def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else b""
        status, answer = await ask(self.daemon.port, request_bytes(method, path, self.key, data))
        if status != 200:
            raise SystemExit(f"{method} {path} answered {status}: {answer[:200]!r}")
        return json.loads(answer)


def run(quick: bool) -> list[Figure]:
    """Creations and reads, webhooks, blocks, lists, restart, disk."""
    seconds = 2.0 if quick else 6.0
    with tempfile.TemporaryDirectory(prefix="gld-bench-") as folder:
        base = Path(folder)
        # As in an installation: the daemon's modules are compiled once, not at every start.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(base / "bytecode")
        figures = uvloop.run(_http(base / "shop", seconds, 100 if quick else 400))
        figures += uvloop.run(_beside_blocks(base / "blocks", 40 if quick else 200))
        figures += uvloop.run(shopfill.block_figures(base, 100_000 if quick else 1_000_000))
        figures += uvloop.run(_long_history(base / "history", 100_000 if quick else 1_000_000))
    return figures


async def _http(base: Path, seconds: float, payments: int) -> list[Figure]:
    synced = plyvel_synced_writes(1.0, folder=base.parent)
    sync_ms = 1000 / synced
    figures = [Figure("one synced write of plyvel", sync_ms, "ms")]
    with bare_echo() as port:
        post = request_bytes("POST", "/", body=json.dumps(BODY).encode())
        bare = {count: await run_load(port, count, seconds / 2, lambda _: post) for count in CONCURRENCY}
    with bare_echo(uvloop=True) as port:
        faster = await run_load(port, CONCURRENCY[-1], seconds / 2, lambda _: post)
    figures.append(Figure("bare aiohttp POST on uvloop, 64 at once", faster.per_second, "1/s"))
    with DaemonProcess(base) as daemon:
        shop = Shop(daemon, REGTEST)
        for count in CONCURRENCY:
            made = await run_load(daemon.port, count, seconds, shop.creation)
            figures += _load_figures(f"invoices created, {count} at once", made, bare[count])
        invoice = await shop.api("POST", f"/api/v1/stores/{shop.store_id}/invoices", BODY)
        read = request_bytes("GET", f"/api/v1/stores/{shop.store_id}/invoices/{invoice['id']}", shop.key)
        for count in (1, 64):
            got = await run_load(daemon.port, count, seconds / 2, lambda _: read)
            figures += _load_figures(f"invoices read, {count} at once", got, bare[count])
        figures += await _webhooks(shop, payments, sync_ms)
        figures.append(Figure("memory of the daemon (RSS)", _rss_mib(daemon.pid), "MiB"))
    return figures


def _load_figures(name: str, load: Load, bare: Load) -> list[Figure]:
    return [
        Figure(name, load.per_second, "1/s", "bare aiohttp POST", bare.per_second),
        Figure(f"{name}, p50", load.p50_ms, "ms", "bare aiohttp p50", bare.p50_ms),
        Figure(f"{name}, p99", load.p99_ms, "ms", "bare aiohttp p99", bare.p99_ms),
    ]


def _rss_mib(pid: int) -> float:
    line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def _webhooks(shop: Shop, payments: int, sync_ms: float) -> list[Figure]:
    """From sendrawtransaction to the webhook's arrival, one payment after another."""
    arrived: dict[str, asyncio.Future[float]] = {}

    async def take(request: web.Request) -> web.Response:
        event = await request.json()
        if event["type"] == "InvoiceReceivedPayment":
            arrived[event["invoiceId"]].set_result(time.perf_counter())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    await shop.api("POST", f"/api/v1/stores/{shop.store_id}/webhooks", {"url": f"http://127.0.0.1:{port}/hook"})
    coins = await _coins(shop.daemon, payments)
    call = shop.daemon.call
    loop = asyncio.get_running_loop()
    sent, told = [], []
    for prevout, amount in coins:
        invoice = await shop.api("POST", f"/api/v1/stores/{shop.store_id}/invoices", {**BODY, "amount": "0.01"})
        address = invoice["addresses"]["GLD-CHAIN"]
        script = bytes.fromhex(call("validateaddress", address)["scriptPubKey"])
        tx = make_tx(2, [TxIn(prevout, b"", 0xFFFFFFFF, (b"\x51",))], [TxOut(amount - 1000, script)])
        arrived[invoice["id"]] = loop.create_future()
        begun = time.perf_counter()
        await asyncio.to_thread(call, "sendrawtransaction", tx.raw.hex())
        accepted = time.perf_counter()
        end = await asyncio.wait_for(arrived[invoice["id"]], 20)
        sent.append(end - begun)
        told.append(max(0.0, end - accepted))
    await runner.cleanup()
    sent.sort()
    told.sort()
    return [
        Figure("sendrawtransaction → webhook, p50", percentile_ms(sent, 50), "ms"),
        Figure("sendrawtransaction → webhook, p99", percentile_ms(sent, 99), "ms"),
        Figure("accepted payment → webhook, p50", percentile_ms(told, 50), "ms", "synced write", sync_ms),
        Figure(
            "accepted payment → webhook, p99", percentile_ms(told, 99), "ms", "ten synced writes", 10 * sync_ms
        ),
    ]


async def _coins(daemon: DaemonProcess, count: int) -> list[tuple[Any, int]]:
    """Outputs of 0.02 that anyone may spend, confirmed."""
    address = script_to_address(ANYONE, REGTEST)
    hashes = daemon.call("generatetoaddress", 101, address)
    coinbase = parse_tx(bytes.fromhex(daemon.call("getblock", hashes[0], 2)["tx"][0]["hex"]))
    amount = COIN // 50
    rest = coinbase.outputs[0].amount - count * amount - 1_000_000
    outputs = [TxOut(amount, ANYONE) for _ in range(count)] + [TxOut(rest, ANYONE)]
    tx = make_tx(2, [TxIn(coinbase.outpoint(0), b"", 0xFFFFFFFF, (b"\x51",))], outputs)
    daemon.call("sendrawtransaction", tx.raw.hex(), 0)
    daemon.call("generatetoaddress", 1, address)
    return [(tx.outpoint(vout), amount) for vout in range(count)]


async def _beside_blocks(base: Path, blocks: int) -> list[Figure]:
    """Creations while the full blocks of the benchmark chain connect."""
    raws = read_blocks()
    with DaemonProcess(base, network="btc-regtest") as daemon:
        for raw in raws[:EMPTY_BLOCKS]:
            daemon.call("submitblock", raw.hex())
        shop = Shop(daemon, BTC_REGTEST)
        quiet = await run_load(daemon.port, 8, 2.0, shop.creation)
        full = raws[EMPTY_BLOCKS : EMPTY_BLOCKS + blocks]
        done = False

        def feed() -> float:
            nonlocal done
            begun = time.perf_counter()
            for raw in full:
                daemon.call("submitblock", raw.hex())
            done = True
            return time.perf_counter() - begun

        feeding = asyncio.create_task(asyncio.to_thread(feed))
        loads = []
        while not done:
            loads.append(await run_load(daemon.port, 8, 1.0, shop.creation))
        took = await feeding
    worst = max(loads[:-1] or loads, key=lambda load: load.p99_ms)
    mean = sum(load.per_second for load in loads) / len(loads)
    return [
        Figure(
            f"created, 8 at once, while {len(full)} full blocks connect", mean, "1/s", "quiet", quiet.per_second
        ),
        Figure("… p99 of the worst second", worst.p99_ms, "ms", "quiet p99", quiet.p99_ms),
        Figure("… full blocks connected beside it", len(full) / took, "1/s"),
    ]


async def _long_history(base: Path, count: int) -> list[Figure]:
    """A shop with many invoices: restart, and pages of the list."""
    daemon = DaemonProcess(base)
    with daemon:
        shop = Shop(daemon, REGTEST)
        # Long open, so that they do not all expire while the pages are read.
        lasting = {**BODY, "checkout": {"expirationMinutes": 10_000}}
        await shop.api("POST", f"/api/v1/stores/{shop.store_id}/invoices", lasting)
        daemon.stop()
        begun = time.perf_counter()
        daemon.start()
        empty_s = time.perf_counter() - begun
        daemon.stop()
        rows = shopfill.fill_folder(base / "payments" / "regtest" / "db", shop.store_id, count)
        begun = time.perf_counter()
        daemon.start()
        full_s = time.perf_counter() - begun
        path = f"/api/v1/stores/{shop.store_id}/invoices?take=50"
        first = await _timed(lambda: shop.api("GET", path))
        place = rows[len(rows) // 2]
        far = await _timed(lambda: shop.api("GET", f"{path}&cursor={place}"))
        rss = _rss_mib(daemon.pid)
    return [
        Figure(f"start with {count:,} invoices", full_s, "s", "start with one", empty_s),
        Figure(f"first page of 50 of {count:,}, median", first, "ms"),
        Figure(f"page {len(rows) // 100:,} by cursor, median", far, "ms"),
        Figure("memory of that daemon (RSS)", rss, "MiB"),
    ]


async def _timed(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(25):
        begun = time.perf_counter()
        await work()
        times.append(time.perf_counter() - begun)
    return percentile_ms(sorted(times), 50)
