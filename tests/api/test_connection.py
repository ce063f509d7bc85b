"""Connections as clients use them: kept, pipelined, closed, old, and left in the middle of a request.

The stub of the RPC answers `/wallet/<handler>/…` by the handler of that name.
"""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from api.app import SiteOptions
from api.server import Limits
from gldnode.rpc.answer import JsonAnswer
from tests.support.http import Running, StubHost, Wire, parse_answer, running_sites

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAST = "Connection: close\r\n"
LARGE = 1_000_000
begun = asyncio.Event()
"""A request waits."""
commons: list[asyncio.Future[bytes]] = []
"""What `shared` waits for."""


async def plain(request: web.Request) -> web.StreamResponse:
    """Answered in its first step, where the body came with the headers."""
    body = request.content.read_nowait() if request.content.is_eof() else await request.read()
    return JsonAnswer(msgspec.json.encode({"path": request.path, "bytes": len(body)}))


async def waits(request: web.Request) -> web.StreamResponse:
    """Waits, under a time limit that begins in the first step."""
    begun.set()
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        await asyncio.sleep(0.02)
    return await plain(request)


async def late(request: web.Request) -> web.StreamResponse:
    """Waits longer than its time limit lets it."""
    try:
        async with asyncio.timeout(0.02):
            await asyncio.Event().wait()
    except TimeoutError:
        await asyncio.sleep(0)
        return JsonAnswer(b'"late"')
    raise AssertionError


async def at_once(request: web.Request) -> web.StreamResponse:
    """Has no time to wait at all."""
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return await plain(request)
    raise AssertionError


async def again(request: web.Request) -> web.StreamResponse:
    """Waits, then longer than its time limit lets it, and once more."""
    await asyncio.sleep(0.005)
    begun.set()
    answer = await late(request)
    await asyncio.sleep(0.005)
    return answer


async def shared(request: web.Request) -> web.StreamResponse:
    """Waits for what others wait for too."""
    begun.set()
    return JsonAnswer(await commons[0])


async def torn(request: web.Request) -> web.StreamResponse:
    """Fails behind the beginning of its answer."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"the beginning")
    raise ZeroDivisionError


async def large(request: web.Request) -> web.StreamResponse:
    return JsonAnswer(b'"' + b"x" * LARGE + b'"')


async def huge(request: web.Request) -> web.StreamResponse:
    return JsonAnswer(b"x" * LARGE * 10)


async def fails(request: web.Request) -> web.StreamResponse:
    raise ZeroDivisionError


HANDLERS = {
    handler.__name__: handler for handler in (plain, waits, late, again, at_once, shared, torn, large, huge, fails)
}


async def by_name(request: web.Request) -> web.StreamResponse:
    return await HANDLERS[request.path.split("/")[2]](request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Running]:
    async with running_sites(StubHost(), rpc=by_name) as running:
        yield running


def post(name: str, more: str = "", *, body: bytes = b"{}", version: str = "1.1") -> bytes:
    head = f"POST /wallet/{name} HTTP/{version}\r\nHost: localhost\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("name", ["plain", "waits"])
async def test_pipelined_requests_are_answered_in_their_order(node: Running, name: str) -> None:
    many = [post(f"{name}/{number}") for number in range(60)]
    data = await node.wire.exchange(b"".join([*many, post(f"{name}/last", LAST)]))
    places = [data.index(b'/%d"' % number) for number in range(60)]
    assert places == sorted(places)
    assert data.count(b"HTTP/1.1 200 OK") == 61
    assert data.index(b'/last"') > places[-1]


async def test_a_request_that_waits_keeps_those_behind_it_waiting(node: Running) -> None:
    data = await node.wire.exchange(post("waits/1"), post("plain/2"), post("plain/3", LAST))
    assert data.index(b"waits/1") < data.index(b"plain/2") < data.index(b"plain/3")


@pytest.mark.parametrize("name", ["plain", "waits"])
async def test_the_connection_ends_behind_its_last_request(node: Running, name: str) -> None:
    data = await node.wire.exchange(post(f"{name}/1", LAST))
    assert data.count(b"HTTP/1.1 200 OK") == 1
    assert parse_answer(data).headers["Connection"] == "close"


async def test_a_kept_connection_serves_one_request_after_the_other(node: Running) -> None:
    parts = [post("plain/1"), post("waits/2"), post("plain/3"), post("plain/4", LAST)]
    data = await node.wire.exchange(*parts, pause_s=0.05)
    assert data.count(b"HTTP/1.1 200 OK") == 4


async def test_a_body_in_pieces_is_waited_for(node: Running) -> None:
    whole = post("plain", LAST, body=b"x" * 1000)
    data = await node.wire.exchange(whole[:-900], whole[-900:-100], whole[-100:], pause_s=0.02)
    assert parse_answer(data).json["bytes"] == 1000


async def test_requests_whose_bodies_came_late_do_not_hold_up_those_that_follow(node: Running) -> None:
    late = [part for number in range(40) for part in (post(f"plain/{number}")[:-1], b"}")]
    behind = b"".join(post(f"waits/{number}") for number in range(50)) + post("plain/last", LAST)
    data = await node.wire.exchange(*late, behind, pause_s=0.001)
    assert data.count(b"HTTP/1.1 200 OK") == 91


async def test_http_1_0_closes_unless_it_is_asked_to_keep(node: Running) -> None:
    data = await node.wire.exchange(post("plain/1", version="1.0"))
    assert data.startswith(b"HTTP/1.0 200 OK")
    kept = post("plain/1", "Connection: keep-alive\r\n", version="1.0")
    data = await node.wire.exchange(kept, post("plain/2", version="1.0"))
    assert data.count(b"HTTP/1.0 200 OK") == 2
    assert parse_answer(data).headers["Connection"] == "keep-alive"


async def test_every_form_of_the_answer_has_the_same_headers(node: Running) -> None:
    last = parse_answer(await node.wire.exchange(post("plain/1", LAST))).headers
    kept = parse_answer(await node.wire.exchange(post("plain/1"), post("plain/2", LAST))).headers
    assert {name for name in last if name not in ("Connection", "Server")} == kept.keys()
    assert all(kept[name] == last[name] for name in kept.keys() - {"Date"})
    assert kept["X-Content-Type-Options"] == "nosniff"
    assert kept["Content-Type"] == "application/json"


async def test_a_head_answer_has_no_body(node: Running) -> None:
    request = b"HEAD /api/v1/health HTTP/1.1\r\nHost: localhost\r\n"
    data = await node.wire.exchange(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert data.count(b"HTTP/1.1 200 OK") == 2
    assert b"{" not in data
    assert b"Content-Length: 21" in data


async def test_a_large_answer_arrives_whole(node: Running) -> None:
    data = await node.wire.exchange(post("large") + post("large", LAST))
    assert data.count(b"x" * LARGE + b'"') == 2


@pytest.mark.parametrize("name", ["late", "again"])
async def test_a_time_limit_holds_in_whatever_step_it_begins(node: Running, name: str) -> None:
    data = await node.wire.exchange(post(name) + post(name, LAST))
    assert data.count(b'"late"') == 2


async def test_a_time_limit_that_is_over_in_the_first_step_is_the_requests_own(node: Running) -> None:
    data = await node.wire.exchange(post("at_once/1") + post("at_once/2", LAST))
    assert data.index(b"at_once/1") < data.index(b"at_once/2")
    assert data.count(b"HTTP/1.1 200 OK") == 2


async def test_nothing_follows_an_answer_that_was_torn(node: Running) -> None:
    data = await node.wire.exchange(post("torn") + post("plain"))
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.endswith(b"the beginning\r\n")


async def test_requests_behind_a_refused_upgrade_are_answered(node: Running) -> None:
    upgrade = post("plain/1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", body=b"")
    data = await node.wire.exchange(upgrade + post("plain/2") + post("plain/3", LAST))
    assert data.index(b"plain/1") < data.index(b"plain/2") < data.index(b"plain/3")


async def test_a_failing_handler_is_answered_and_the_connection_goes_on(node: Running) -> None:
    data = await node.wire.exchange(post("fails") + post("fails", LAST))
    assert data.count(b"HTTP/1.1 500 ") == 2
    assert b"ZeroDivisionError" not in data


async def test_what_a_request_waits_for_may_be_waited_for_by_others(node: Running) -> None:
    async def other() -> bytes:
        return await commons[0]

    commons[:] = [asyncio.get_running_loop().create_future()]
    tasks = [asyncio.create_task(other())]
    for _ in range(2):
        begun.clear()
        tasks.append(asyncio.create_task(node.wire.exchange(post("shared", LAST))))
        await begun.wait()
        tasks.append(asyncio.create_task(other()))
    _, gone = await asyncio.open_connection(*node.sites.addresses[0])
    begun.clear()
    gone.write(post("shared"))
    await begun.wait()
    gone.transport.abort()
    await asyncio.sleep(0.01)
    commons[0].set_result(b'"5"')
    assert [data[-3:] for data in await asyncio.gather(*tasks)] == [b'"5"'] * 5


@pytest.mark.parametrize("name", ["waits", "again"])
async def test_a_caller_that_goes_away_is_done_with(node: Running, name: str) -> None:
    address = node.sites.addresses[0]
    for _ in range(3):
        _, writer = await asyncio.open_connection(*address)
        writer.write(post(name))
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        for task in asyncio.all_tasks():
            if "LimitedProtocol" in repr(task.get_coro()):
                await asyncio.wait((task,))
    assert parse_answer(await node.wire.exchange(post("plain", LAST))).status == 200


async def test_a_slow_reader_does_not_fill_the_memory(node: Running) -> None:
    count = 40
    reader, writer = await asyncio.open_connection(*node.sites.addresses[0], limit=1 << 16)
    writer.write(post("large") * (count - 1) + post("large", LAST))
    await asyncio.sleep(0.1)
    server = node.sites._default.server
    assert server is not None
    held = [one.transport.get_write_buffer_size() for one in server.connections if one.transport is not None]
    assert 0 < max(held) < 4 * LARGE
    data = await reader.read()
    writer.close()
    assert data.count(b"HTTP/1.1 200 OK") == count


@pytest.mark.parametrize("count", [1, 40])
async def test_who_reads_nothing_of_the_answers_is_let_go(count: int) -> None:
    limits = Limits(read_timeout_s=0.1)
    async with running_sites(StubHost(), options=SiteOptions(limits=limits), rpc=by_name) as running:
        server = running.sites._default.server
        assert server is not None
        with socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(wire, running.sites.addresses[0])
            requests = (post("large") + b"".join([post("huge")] * 10)) * count
            await loop.sock_sendall(wire, requests + post("huge", LAST))
            async with asyncio.timeout(10):
                while server.requests_count == 0 or server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


async def test_who_reads_slowly_is_waited_for() -> None:
    limits = Limits(read_timeout_s=0.3)
    async with running_sites(StubHost(), options=SiteOptions(limits=limits), rpc=by_name) as running:
        reader, writer = await asyncio.open_connection(*running.sites.addresses[0], limit=1 << 16)
        writer.write(post("huge", LAST))
        received = 0
        while piece := await reader.read(1 << 20):
            received += len(piece)
            await asyncio.sleep(0.02)
        writer.close()
        assert received > 10 * LARGE


@pytest.mark.parametrize(("name", "answer"), [("waits", {"path": "/wallet/waits", "bytes": 2}), ("again", "late")])
async def test_a_request_under_way_is_answered_when_the_sites_stop(name: str, answer: object) -> None:
    async with running_sites(StubHost(), rpc=by_name) as running:
        begun.clear()
        asked = asyncio.create_task(Wire(running.sites.addresses[0]).exchange(post(name)))
        await begun.wait()
        await running.sites.stop()
        assert parse_answer(await asked).json == answer


async def test_a_request_that_cannot_even_be_made_leaves_nothing_behind() -> None:
    def cannot(*parts: object) -> web.Request:
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    try:
        async with running_sites(StubHost(), rpc=by_name) as running:
            server = running.sites._default.server
            assert server is not None
            server.request_factory = cannot
            assert await running.wire.exchange(post("plain")) == b""
            async with asyncio.timeout(5):
                while server.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        loop.set_exception_handler(None)


@pytest.mark.parametrize("path", ["/api/v1/stores/\xff/invoices", "/wallet/\xff", "/api/v1/stores/%ff/invoices"])
async def test_bytes_that_are_no_text_are_no_path(node: Running, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token x\r\n{LAST}\r\n"
    answer = parse_answer(await node.wire.exchange(request.encode("latin-1")))
    assert 400 <= answer.status < 600
    assert "internal-error" not in answer.text
