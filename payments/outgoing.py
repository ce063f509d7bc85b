"""The one client for outgoing HTTP: webhooks, callbacks, rates.

Merchants choose the addresses, so nothing behind this machine's back may be reached through them. The check is
made on the address that the socket will connect to, at the moment it is made for it: names, numbers in any
spelling and several answers of a name server all come down to it. Private, loopback, link-local, metadata, mapped
and translated addresses are refused, and always this node's own ports. `-allowoutgoing=CIDR` is the operator's
exception; the regtest networks allow loopback. No redirects, no proxy of the environment, no cookies.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from gldnode.params import ChainParams
from gldnode.ports import NodeHost
from payments.errors import FieldProblem, ValidationError

__all__ = ["AddressGuard", "Answer", "OutgoingClient", "OutgoingError", "check_url"]

TIMEOUT_S: Final = 15
MAX_ANSWER: Final = 65_536
MAX_DOCUMENT: Final = 1 << 20
MAX_URL: Final = 2048
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class OutgoingError(OSError):
    """The request was not made, or not answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def check_url(url: str, params: ChainParams, path: str, *, allow_http: bool = False) -> str:
    """The URL, if it may be called at all: http or https, a host, no password. Raises ValidationError.

    Plain http is for the regtest networks, or where the caller allows it.
    """
    problem = _url_problem(url, allow_http or params.is_regtest)
    if problem is not None:
        raise ValidationError(FieldProblem(path, problem))
    return url


def _url_problem(url: str, allow_http: bool) -> str | None:
    if len(url) > MAX_URL or not url.isprintable() or " " in url:
        return "Invalid Url"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "Invalid Url"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "Invalid Url"
    if parts.username is not None or parts.password is not None:
        return "Invalid Url: a password does not belong in it"
    if parts.scheme == "http" and not allow_http:
        return "Invalid Url: https is needed"
    return None


class AddressGuard:
    """Decides which addresses may be connected to."""

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        allowed: Sequence[IPNetwork] = (),
        own_ports: frozenset[int] = frozenset(),
    ) -> None:
        self._allow_loopback = allow_loopback
        self._allowed = tuple(allowed)
        self._own_ports = own_ports

    @classmethod
    def from_host(cls, host: NodeHost) -> "AddressGuard":
        """As the node's configuration has it. Raises ValueError for a wrong -allowoutgoing."""
        allowed = [ipaddress.ip_network(text, strict=False) for text in host.options("allowoutgoing")]
        ports = {host.params.http_port, host.params.p2p_port}
        named = [host.option("rpcport"), host.option("port")]
        named += [
            text.rpartition(":")[2] for key in ("rpcbind", "publicbind", "bind") for text in host.options(key)
        ]
        ports.update(int(text) for text in named if text and text.isdecimal())
        return cls(allow_loopback=host.params.is_regtest, allowed=allowed, own_ports=frozenset(ports))

    def check(self, address: str, port: int) -> None:
        """Raises OutgoingError where this address must not be reached."""
        ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
        if port in self._own_ports and (ip.is_loopback or ip.is_unspecified or ip.is_private):
            raise OutgoingError(f"{ip} port {port} is this node")
        if any(ip.version == network.version and ip in network for network in self._allowed):
            return
        if ip.is_loopback and self._allow_loopback:
            return
        if not ip.is_global or ip.is_multicast or ip.is_reserved:
            raise OutgoingError(f"{ip} is not a public address")


def _plain(ip: IPAddress) -> IPAddress:
    """The IPv4 address inside a mapped, translated or tunnelled one."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64 or ip in _NAT64_LOCAL or (ip in _COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip if ip.teredo is None else ip.teredo[1]


class OutgoingClient:
    """Requests that pass the guard. `close` at the end."""

    def __init__(self, guard: AddressGuard, user_agent: str, timeout_s: float = TIMEOUT_S) -> None:
        self._guard = guard
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def _socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = addr_info
        self._guard.check(address[0], address[1])
        return socket.socket(family, kind, protocol)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise OutgoingError("the node is stopping")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=200, limit_per_host=16, socket_factory=self._socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trust_env=False,
                auto_decompress=False,
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            )
        return self._session

    async def post_json(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """POST a JSON body. Raises OutgoingError when there was no answer."""
        sent = {"Content-Type": "application/json", **headers}
        return await self._request("POST", url, body, sent, MAX_ANSWER)

    async def get_json(self, url: str) -> bytes:
        """A JSON document. Raises OutgoingError for anything but a 200 of bounded size."""
        answer = await self._request("GET", url, None, {"Accept": "application/json"}, MAX_DOCUMENT)
        if answer.status != 200:
            raise OutgoingError(f"HTTP status {answer.status}")
        if len(answer.body) >= MAX_DOCUMENT:
            raise OutgoingError("the answer is too large")
        return answer.body

    async def _request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], limit: int
    ) -> Answer:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._open().request(method, url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return Answer(response.status, await _read(response, limit))
        except TimeoutError:
            raise OutgoingError(f"no answer within {self._timeout_s:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp may raise ValueError (InvalidURL, bad header bytes) for what the other side or the URL is.
            raise OutgoingError(str(error) or type(error).__name__) from None

    async def close(self) -> None:
        """Ends it: no request is made any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most `limit` bytes of the body; the rest is not waited for."""
    read = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        read += chunk
        if len(read) >= limit:
            response.close()
            break
    return bytes(read[:limit])
