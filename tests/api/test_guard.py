"""Who is let in: Host, browsers, proxies, addresses, and which site has which paths."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network

import pytest
import pytest_asyncio
import uvloop
from aiohttp import web

from api.app import SiteOptions
from api.guard import GuardOptions, client_address, parse_networks
from gldnode.rpc.answer import JsonAnswer
from tests.support.http import Running, StubHost, parse_answer, running_sites

OPTIONS = SiteOptions(
    guard=GuardOptions(hosts=frozenset({"pay.example.com"}), trusted_proxies=()), public_binds=(("127.0.0.1", 0),)
)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Running]:
    async with running_sites(StubHost(), options=OPTIONS) as running:
        yield running


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "pay.example.com", "PAY.example.com:443"]
)
async def test_a_known_host_is_answered(node: Running, host: str) -> None:
    answer = await node.browser.get("/health", headers={"Host": host})
    assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8080", "localhost.", "0x7f.1"]
)
async def test_a_foreign_host_is_misdirected(node: Running, host: str) -> None:
    for path in ("/health", "/", "/api/v1/health", "/metrics"):
        answer = await node.browser.get(path, headers={"Host": host})
        assert (answer.status, answer.code) == (421, "unknown-host")


@pytest.mark.parametrize("host", ["[::1", "a:b:c", "localhost:8x", ""])
async def test_a_malformed_host_is_refused(node: Running, host: str) -> None:
    data = await node.wire.exchange(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert parse_answer(data).status == 400


async def test_two_hosts_or_none_are_refused(node: Running) -> None:
    for hosts in ("Host: localhost\r\nHost: evil.example\r\n", ""):
        data = await node.wire.exchange(f"GET /health HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        assert parse_answer(data).status == 400


BROWSER_HEADERS = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-origin"},
]
PROXY_HEADERS = [{"X-Forwarded-For": "1.2.3.4"}, {"Forwarded": "for=1.2.3.4"}, {"Via": "1.1 proxy"}]


@pytest.mark.parametrize("headers", BROWSER_HEADERS + PROXY_HEADERS)
async def test_node_routes_refuse_browsers_and_proxies(node: Running, headers: dict[str, str]) -> None:
    for path in ("/", "/wallet/shop", "/rest/chaininfo.json", "/events", "/metrics"):
        answer = await node.browser.post(path, {}, headers=headers)
        assert answer.status == 403
        assert answer.code in ("browser-refused", "proxy-refused")


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}])
async def test_programs_reach_the_rpc(node: Running, headers: dict[str, str]) -> None:
    for path in ("/", "/wallet/", "/wallet/my%20shop"):
        answer = await node.browser.post(path, {"method": "stop"}, headers=headers)
        assert answer.status == 200
        assert answer.json["bytes"] == 18


async def test_rpc_is_for_allowed_addresses_only() -> None:
    nobody = SiteOptions(guard=GuardOptions(rpc_allowed=(ip_network("10.0.0.0/8"),)))
    async with running_sites(StubHost(), options=nobody) as running:
        answer = await running.browser.post("/", {})
        assert (answer.status, answer.code) == (403, "address-not-allowed")
        assert (await running.browser.get("/health")).status == 200


@pytest.mark.parametrize("factory", [None, uvloop.new_event_loop])
def test_who_resets_the_connection_at_once_does_not_pass_for_an_allowed_address(
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    served: list[str] = []

    async def rpc(request: web.Request) -> web.StreamResponse:
        served.append(request.path)
        return JsonAnswer(b"1")

    def leave_at_once(address: tuple[str, int]) -> None:
        with socket.create_connection(address) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")

    async def run() -> None:
        nobody = SiteOptions(guard=GuardOptions(rpc_allowed=()))
        async with running_sites(StubHost(), options=nobody, rpc=rpc) as running:
            for _ in range(5):
                leave_at_once(running.sites.addresses[0])  # in this thread: reset before it is accepted
            await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
    assert served == []


async def test_a_preflight_needs_no_key(node: Running) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-evil\x01",
    }
    headers["Access-Control-Request-Headers"] = "authorization, content-type, x(evil)"
    answer = await node.browser.send("OPTIONS", "/api/v1/stores", headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


async def test_unknown_paths_and_methods_get_our_errors(node: Running) -> None:
    assert (await node.browser.get("/api/v1/nothing")).code == "not-found"
    assert (await node.browser.get("/nothing")).code == "not-found"
    answer = await node.browser.delete("/api/v1/health")
    assert (answer.status, answer.code) == (405, "method-not-allowed")
    assert "GET" in answer.headers["Allow"]
    answer = await node.browser.send("PROPFIND", "/api/v1/health")
    assert answer.status == 405


async def test_load_balancers_may_ask_with_head(node: Running) -> None:
    answer = await node.browser.send("HEAD", "/health")
    assert (answer.status, answer.text) == (200, "")


async def test_metrics_are_on_the_default_site(node: Running) -> None:
    answer = await node.browser.get("/metrics")
    assert answer.status == 200
    assert "gld_chain_height 7.0" in answer.text


async def test_documentation_names_no_other_host(node: Running) -> None:
    page = await node.browser.get("/docs")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    document = await node.browser.get("/api/docs.json")
    assert document.json["openapi"] == "3.1.0"
    assert (await node.browser.get("/static/style.css")).status == 200


async def test_the_public_site_has_the_payment_routes_only(node: Running) -> None:
    assert node.public is not None
    headers = {"X-Forwarded-For": "1.2.3.4", "Origin": "https://shop.example"}
    assert (await node.public.get("/health", headers=headers)).status == 200
    for path in ("/", "/wallet/shop", "/metrics", "/rest/chaininfo.json", "/events"):
        for sent in ({}, headers):
            answer = await node.public.post(path, {}, headers=sent)
            assert (answer.status, answer.code) == (404, "not-found")
    assert (await node.public.get("/health", headers={"Host": "evil.example"})).status == 421


@pytest.mark.parametrize(
    ("chain", "trusted", "client"),
    [
        ("9.9.9.9", "", "127.0.0.1"),
        ("9.9.9.9", "127.0.0.1", "9.9.9.9"),
        ("6.6.6.6, 9.9.9.9", "127.0.0.1", "9.9.9.9"),
        ("6.6.6.6, 9.9.9.9, 10.1.1.1", "127.0.0.1 10.0.0.0/8", "9.9.9.9"),
        ("::ffff:9.9.9.9", "127.0.0.1", "9.9.9.9"),  # as a proxy with one socket for both kinds says it
        ("6.6.6.6, ::ffff:10.1.1.1", "127.0.0.1 10.0.0.0/8", "6.6.6.6"),
        ("nonsense", "127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_the_client_is_who_a_trusted_proxy_says(chain: str, trusted: str, client: str) -> None:
    networks = parse_networks(trusted.split())
    seen: list[str] = []

    async def rpc(request: web.Request) -> web.StreamResponse:
        seen.append(str(client_address(_forwarded(request, chain), networks)))
        return web.Response()

    async with running_sites(StubHost(), rpc=rpc) as running:
        await running.browser.post("/", {})
    assert seen == [client]


def _forwarded(request: web.Request, chain: str) -> web.Request:
    """As if it had come with the header; the guard would not let it through."""
    headers = request.headers.copy()
    headers["X-Forwarded-For"] = chain
    return request.clone(headers=headers)
