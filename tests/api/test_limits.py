"""Slow, broken and too many: what a connection may hold."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.app import SiteOptions
from api.server import Limits
from tests.support.http import Running, StubHost, parse_answer, running_sites

LIMITS = Limits(header_timeout_s=0.3, body_timeout_s=0.3, per_address=4, per_local_address=4)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Running]:
    async with running_sites(StubHost(), options=SiteOptions(limits=LIMITS)) as running:
        yield running


async def test_slow_headers_end_in_a_timeout(node: Running) -> None:
    data = await node.wire.exchange(b"GET /health HTTP/1.1\r\n", b"Host: local", pause_s=0.05)
    answer = parse_answer(data)
    assert (answer.status, answer.code) == (408, "request-timeout")


async def test_a_silent_connection_is_closed(node: Running) -> None:
    assert parse_answer(await node.wire.exchange()).status == 408


async def test_slow_headers_of_a_second_request_end_too(node: Running) -> None:
    first = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    data = await node.wire.exchange(first, b"GET /hea", pause_s=0.05)
    assert data.count(b"HTTP/1.1 ") == 2
    assert b"408" in data


async def test_a_kept_connection_may_wait_longer_than_headers(node: Running) -> None:
    first = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    data = await node.wire.exchange(first, last, pause_s=0.5)
    assert data.count(b"HTTP/1.1 200") == 2


async def test_slow_bodies_end_in_a_timeout(node: Running) -> None:
    head = (
        b"POST /api/btngpay/pay HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    answer = parse_answer(await node.wire.exchange(head))
    assert (answer.status, answer.code) == (408, "request-timeout")


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_the_parser_refuses_gets_our_json(node: Running, request_: bytes) -> None:
    answer = parse_answer(await node.wire.exchange(request_))
    assert answer.status == 400
    assert answer.json.keys() >= {"code", "message"}
    assert "Traceback" not in answer.text


async def test_a_body_that_breaks_on_its_way_is_refused_at_once() -> None:
    head = b"POST /api/btngpay/pay HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    async with running_sites(StubHost()) as running:
        for broken in (b"zzzzzz", b"cde\r\nzz\r\n"):
            answer = parse_answer(await running.wire.exchange(head, broken, pause_s=0.05))
            assert answer.status == 400


async def test_garbage_behind_a_request_under_way_does_not_spoil_it(node: Running) -> None:
    asked = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n"
    data = await node.wire.exchange(asked + b"ab", b"c", b"NONSENSE\r\n\r\n", pause_s=0.05)
    assert data.startswith(b"HTTP/1.1 200")
    assert data.count(b"HTTP/1.") == 2


async def test_an_unknown_expectation_is_refused(node: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = parse_answer(await node.wire.exchange(head))
    assert answer.status == 417
    assert answer.json.keys() >= {"code", "message"}


async def test_an_address_has_only_so_many_connections(node: Running) -> None:
    address = node.sites.addresses[0]
    held = [await asyncio.open_connection(*address) for _ in range(4)]
    await asyncio.sleep(0.05)
    answer = parse_answer(await node.wire.exchange())
    assert (answer.status, answer.code) == (429, "too-many-connections")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert (await node.browser.get("/health")).status == 200


async def test_an_rpc_body_may_be_large(node: Running) -> None:
    answer = await node.browser.post("/", raw=b"x" * (3 << 20))
    assert (answer.status, answer.json["bytes"]) == (200, 3 << 20)


async def test_a_large_body_is_refused_before_it_is_read(node: Running) -> None:
    head = b"POST /api/btngpay/pay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    answer = parse_answer(await node.wire.exchange(head + b"x" * 100))
    assert (answer.status, answer.code) == (413, "body-too-large")
