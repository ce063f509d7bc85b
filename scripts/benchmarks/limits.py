"""Physical limits: what libsecp256k1, plyvel and bare aiohttp do on this machine, right now."""

import asyncio
import hashlib
import shutil
import tempfile
import threading
import time
from pathlib import Path

import aiohttp
import plyvel
from aiohttp import web
from coincurve import PrivateKey
from coincurve._libsecp256k1 import ffi, lib

__all__ = ["aiohttp_post_rate", "libsecp256k1_rate", "plyvel_synced_writes"]


def _verify_loop(context: object, cases: list[tuple[bytes, bytes, bytes]], seconds: float) -> int:
    pubkey, signature = ffi.new("secp256k1_pubkey *"), ffi.new("secp256k1_ecdsa_signature *")
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for der, digest, key in cases:
            assert lib.secp256k1_ec_pubkey_parse(context, pubkey, key, len(key))
            assert lib.secp256k1_ecdsa_signature_parse_der(context, signature, der, len(der))
            assert lib.secp256k1_ecdsa_verify(context, signature, digest, pubkey)
        done += len(cases)
    return done


def libsecp256k1_rate(threads: int = 1, seconds: float = 1.5) -> float:
    """Parse and verify of ECDSA signatures a second, bare calls from `threads` threads."""
    context = lib.secp256k1_context_create(lib.SECP256K1_CONTEXT_NONE)
    cases = []
    for i in range(100):
        key = PrivateKey(hashlib.sha256(b"bench %d" % i).digest())
        digest = hashlib.sha256(b"message %d" % i).digest()
        cases.append((key.sign(digest, hasher=None), digest, key.public_key.format(True)))
    counts = [0] * threads

    def work(slot: int) -> None:
        counts[slot] = _verify_loop(context, cases, seconds)

    workers = [threading.Thread(target=work, args=(slot,)) for slot in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begun)


def plyvel_synced_writes(seconds: float = 1.0, batch: int = 1, folder: Path | None = None) -> float:
    """Records a second in synced batches of `batch`, 200 bytes each."""
    path = Path(tempfile.mkdtemp(prefix="gld-bench-", dir=folder))
    db = plyvel.DB(str(path), create_if_missing=True)
    try:
        done, end = 0, time.perf_counter() + seconds
        begun = time.perf_counter()
        while time.perf_counter() < end:
            with db.write_batch(sync=True) as group:
                for i in range(batch):
                    group.put(b"%016d" % (done + i), bytes(200))
            done += batch
        return done / (time.perf_counter() - begun)
    finally:
        db.close()
        shutil.rmtree(path)


async def aiohttp_post_rate(connections: int, seconds: float = 2.0) -> float:
    """JSON POSTs a second that a bare aiohttp echo server answers over loopback, client in the same process."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    app = web.Application()
    app.router.add_post("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    body = {"merchant": "x" * 40, "amount": "1.5", "memo": "bench"}
    done = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        end = time.perf_counter() + seconds

        async def client() -> None:
            nonlocal done
            while time.perf_counter() < end:
                async with session.post(f"http://{host}:{port}/", json=body) as answer:
                    await answer.read()
                done += 1

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(connections)))
        elapsed = time.perf_counter() - begun
    await runner.cleanup()
    return done / elapsed
