"""Running sites in the test's own loop, an HTTP client for them, and raw sockets for what no client sends."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from api.app import SiteOptions, Sites, build_sites
from gldnode.clock import Clock, SystemClock
from gldnode.params import REGTEST, ChainParams

__all__ = ["Answer", "Browser", "StubHost", "Wire", "echo_rpc", "running_sites"]


@dataclass
class StubTip:
    height: int = 7
    time: int = 1_800_000_000


@dataclass
class StubChain:
    tip: StubTip = field(default_factory=StubTip)
    is_initial_block_download: bool = False


class StubMempool:
    def txids(self) -> Sequence[bytes]:
        return ()


class StubHost:
    """As much of a NodeHost as the sites need without payments."""

    def __init__(self, options: Mapping[str, Sequence[str]] | None = None, params: ChainParams = REGTEST) -> None:
        self.params = params
        self.clock: Clock = SystemClock()
        self.chain = StubChain()
        self.mempool = StubMempool()
        self._options = options or {}

    def option(self, name: str) -> str | None:
        values = self._options.get(name)
        return values[-1] if values else None

    def options(self, name: str) -> Sequence[str]:
        return self._options.get(name, ())


async def echo_rpc(request: web.Request) -> web.StreamResponse:
    """Stands for the node's JSON-RPC."""
    body = await request.read()
    return web.json_response({"path": request.path, "method": request.method, "bytes": len(body)})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return str(self.json["code"])


class Browser:
    """A client of one site."""

    def __init__(self, session: aiohttp.ClientSession, base: str, key: str | None = None) -> None:
        self._session = session
        self.base = base
        self._key = key

    def with_key(self, key: str | None) -> "Browser":
        return Browser(self._session, self.base, key)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body` goes as JSON, `raw` as it is with a JSON content type."""
        sent = {"Authorization": f"token {self._key}"} if self._key else {}
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        payload = io.BytesIO(data) if data is not None and len(data) > 1_000_000 else data
        async with self._session.request(
            method, self.base + path, data=payload, headers=sent, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, (await response.read()).decode())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.send("POST", path, body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.send("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.send("DELETE", path, **options)


class Wire:
    """Bytes to a site and back."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    async def exchange(self, *parts: bytes, pause_s: float = 0.0, timeout_s: float = 5.0) -> bytes:
        """Send the parts with pauses between; everything until the other side closes, or the time is over."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(timeout_s):
                    return await reader.read()
            except TimeoutError as error:
                raise AssertionError("the connection was left open without an answer") from error
        except ConnectionError:
            return b""
        finally:
            writer.close()


def parse_answer(data: bytes) -> Answer:
    """The first HTTP answer in `data`."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), headers, body.decode())


@dataclass
class Running:
    """Sites that listen."""

    sites: Sites
    browser: Browser
    wire: Wire
    public: Browser | None


@asynccontextmanager
async def running_sites(
    host: Any, service: Any = None, options: SiteOptions | None = None, rpc: Any = echo_rpc
) -> AsyncIterator[Running]:
    """Both sites on free loopback ports."""
    sites = build_sites(host, rpc, service, options=options or SiteOptions())
    await sites.start()
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
            name, port = sites.addresses[0]
            public = [Browser(session, f"http://{host_}:{port_}") for host_, port_ in sites.public_addresses]
            yield Running(
                sites, Browser(session, f"http://{name}:{port}"), Wire((name, port)), public[0] if public else None
            )
    finally:
        await sites.stop()
