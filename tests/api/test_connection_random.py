"""Many connections at once, each a random sequence of requests: pipelined, cut anywhere, left at any moment.

Who stays gets every answer, in order and whole; who leaves leaves nothing behind.
"""

import asyncio
import logging
import random
import re
from dataclasses import dataclass

import msgspec
import pytest
from aiohttp import web

from api.app import SiteOptions
from api.server import Limits
from gldnode.rpc.answer import JsonAnswer
from tests.support.campaign import campaign, campaign_seed
from tests.support.http import StubHost, running_sites

_LARGE = 150_000
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.IGNORECASE | re.MULTILINE)
_CALM = SiteOptions(limits=Limits(header_timeout_s=60, per_local_address=10_000, total=10_000))


async def _say(request: web.Request, more: str = "") -> web.StreamResponse:
    body = request.content.read_nowait() if request.content.is_eof() else await request.read()
    return JsonAnswer(msgspec.json.encode([request.path, sum(body), more]))


async def plain(request: web.Request) -> web.StreamResponse:
    return await _say(request)


async def waits(request: web.Request) -> web.StreamResponse:
    async with asyncio.timeout(60):
        await asyncio.sleep(random.choice((0, 0, 0.001, 0.003)))
    return await _say(request)


async def late(request: web.Request) -> web.StreamResponse:
    try:
        async with asyncio.timeout(random.choice((-1, 0, 0.001))):
            await asyncio.Event().wait()
    except TimeoutError:
        await asyncio.sleep(0)
    return await _say(request)


async def often(request: web.Request) -> web.StreamResponse:
    """Waits several times, for as long as its time limits let it."""
    for _ in range(3):
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(random.choice((0, 0.0005, 0.001, 0.002)))
        except TimeoutError:
            pass
    return await _say(request)


async def large(request: web.Request) -> web.StreamResponse:
    return await _say(request, "x" * _LARGE)


async def headed(request: web.Request) -> web.StreamResponse:
    answer = await _say(request)
    answer.headers["X-More"] = "1"
    return answer


async def grouped(request: web.Request) -> web.StreamResponse:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(asyncio.sleep(0))
    return await _say(request)


async def fails(request: web.Request) -> web.StreamResponse:
    raise ZeroDivisionError("never told")


_HANDLERS = {one.__name__: one for one in (plain, waits, late, often, large, headed, grouped, fails)}


async def _by_name(request: web.Request) -> web.StreamResponse:
    return await _HANDLERS[request.path.split("/")[2]](request)


@dataclass(frozen=True)
class _Asked:
    name: str
    path: str
    data: bytes
    total: int
    """Sum of the body's bytes."""
    head_only: bool = False

    def is_answered_by(self, status: int, body: bytes) -> bool:
        if self.name == "fails":
            return status == 500 and b"never told" not in body and b"Traceback" not in body
        more = "x" * _LARGE if self.name == "large" else ""
        return (status, body) == (
            200,
            b"" if self.head_only else msgspec.json.encode([self.path, self.total, more]),
        )


def _asked(rng: random.Random, number: int, last: bool) -> _Asked:
    name = rng.choice(sorted(_HANDLERS))
    path = f"/wallet/{name}/{number}"
    body = rng.randbytes(rng.choice((0, 1, 10, 100, 2000, 70_000))) if rng.random() < 0.7 else b""
    head_only = name != "fails" and rng.random() < 0.1
    version = "1.0" if rng.random() < 0.1 else "1.1"
    lines = [f"{'HEAD' if head_only else 'POST'} {path} HTTP/{version}", "Host: localhost"]
    if last:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    elif not body and rng.random() < 0.1:
        lines += ["Connection: Upgrade", "Upgrade: websocket"]
    if head_only:
        body = b""
    elif version == "1.1" and body and rng.random() < 0.3:
        cut = rng.randrange(len(body))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
        return _Asked(name, path, ("\r\n".join(lines) + "\r\n\r\n").encode() + sent, sum(body))
    lines.append(f"Content-Length: {len(body)}")
    return _Asked(name, path, ("\r\n".join(lines) + "\r\n\r\n").encode() + body, sum(body), head_only)


def _answers(asked: list[_Asked], data: bytes) -> list[tuple[int, bytes]]:
    """What came, as statuses and bodies. Raises AssertionError where a piece is missing."""
    found = []
    for one in asked:
        head, gap, data = data.partition(b"\r\n\r\n")
        match = _LENGTH.search(head + b"\r\n")
        assert gap, (one, head[:200])
        assert match, (one, head[:200])
        size = 0 if one.head_only else int(match[1])
        assert len(data) >= size, one
        found.append((int(head.split()[1]), data[:size]))
        data = data[size:]
    assert data == b""
    return found


async def _send(rng: random.Random, writer: asyncio.StreamWriter, data: bytes) -> None:
    while data:
        size = rng.choice((1, 20, 300, 5000, 100_000))
        writer.write(data[:size])
        data = data[size:]
        if len(data) > 5000:
            await writer.drain()
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice((0, 0, 0.001)))


async def _stays(rng: random.Random, address: tuple[str, int]) -> None:
    count = rng.randrange(1, 40)
    asked = [_asked(rng, number, number == count - 1) for number in range(count)]
    reader, writer = await asyncio.open_connection(*address)
    sending = asyncio.create_task(_send(rng, writer, b"".join(one.data for one in asked)))
    try:
        async with asyncio.timeout(60):
            data = await reader.read()
            await sending
    finally:
        sending.cancel()
        writer.close()
    for one, (status, body) in zip(asked, _answers(asked, data), strict=True):
        assert one.is_answered_by(status, body), (one.path, status, body[:200])


async def _leaves(rng: random.Random, address: tuple[str, int]) -> None:
    asked = [_asked(rng, number, False) for number in range(rng.randrange(1, 20))]
    data = b"".join(one.data for one in asked)
    _, writer = await asyncio.open_connection(*address)
    sending = asyncio.create_task(_send(rng, writer, data[: rng.randrange(len(data) + 1)]))
    await asyncio.sleep(rng.choice((0, 0.001, 0.005, 0.02)))
    if rng.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()
    await asyncio.gather(sending, return_exceptions=True)


async def test_who_stays_is_answered_in_order_and_who_leaves_leaves_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(campaign_seed("connections"))
    async with running_sites(StubHost(), options=_CALM, rpc=_by_name) as running:
        address = running.sites.addresses[0]
        with caplog.at_level(logging.WARNING):
            for _ in range(campaign(4, 200)):
                seeds = [rng.randrange(1 << 32) for _ in range(25)]
                async with asyncio.TaskGroup() as clients:
                    for seed in seeds:
                        own = random.Random(seed)
                        clients.create_task((_stays if own.random() < 0.6 else _leaves)(own, address))
        server = running.sites._default.server
        assert server is not None
        async with asyncio.timeout(30):
            while server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not [task for task in asyncio.all_tasks() if "LimitedProtocol" in repr(task.get_coro())]
        assert not server.open  # type: ignore[attr-defined]
    ours = [record for record in caplog.records if record.name.startswith(("api", "aiohttp"))]
    told = [record for record in ours if "never told" not in str(record.exc_info)]
    assert not told, [record.getMessage() for record in told]


async def test_sites_stop_soon_whatever_their_callers_do() -> None:
    rng = random.Random(campaign_seed("stopping sites"))
    for _ in range(campaign(2, 60)):
        async with running_sites(StubHost(), options=_CALM, rpc=_by_name) as running:
            address = running.sites.addresses[0]
            clients = [
                asyncio.create_task(_stays(random.Random(rng.randrange(1 << 32)), address)) for _ in range(10)
            ]
            await asyncio.sleep(rng.choice((0, 0.005, 0.03)))
            async with asyncio.timeout(5):  # 3 s for requests whose bodies have not come
                await running.sites.stop()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
