"""Who may ask what: `Host`, browsers at node routes, forwarding headers, addresses.

A page in a browser can send requests to loopback. Three checks keep it out: an unknown `Host` (DNS rebinding) is
answered 421; node routes refuse every request that a browser or a proxy made; keys stand before payment routes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web
from multidict import CIMultiDictProxy, istr

from api.errors import ApiError

__all__ = ["GuardOptions", "Zone", "check_host", "check_request", "client_address", "parse_networks"]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

LOOPBACK: tuple[IPNetwork, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_HOST = istr("Host")  # an istr is found without being lower-cased again
_ORIGIN = istr("Origin")
_SEC_FETCH_SITE = istr("Sec-Fetch-Site")
_FORWARDING = tuple(
    istr(name)
    for name in (
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Real-IP",
        "Via",
        "CF-Connecting-IP",
        "True-Client-IP",
    )
)


class Zone(Enum):
    """What stands behind a path, by how much a stranger could do with it."""

    NODE = "node"  # RPC, REST, metrics, event streams of the node: no browsers, no proxies, allowed addresses only
    PAYMENTS = "payments"  # guarded by keys; pages and shops in browsers welcome


@dataclass(frozen=True, slots=True, eq=False)
class GuardOptions:
    """Whom the sites believe. `hosts` are lower-case names without port. Equal by identity: keys of caches."""

    hosts: frozenset[str] = frozenset()
    external_url: str | None = None
    trusted_proxies: tuple[IPNetwork, ...] = ()
    rpc_allowed: tuple[IPNetwork, ...] = LOOPBACK


def parse_networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """Networks of texts such as "10.0.0.0/8" or "::1". Raises ValueError."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts)


def check_request(request: web.BaseRequest, zone: Zone, options: GuardOptions) -> None:
    """Raises ApiError where `request` may not reach `zone` at all."""
    check_host(request.headers, request.version >= (1, 1), options)
    if zone is Zone.NODE:
        _check_no_browser(request.headers)
        _check_no_proxy(request.headers)
        peer = peer_address(request)
        # One who has reset the connection behind his request has no address any more, and may be anybody.
        if peer is None or not _rpc_allowed(peer, options):
            raise ApiError(403, "address-not-allowed", "This address is not allowed here; see -rpcallowip.")


def check_host(headers: CIMultiDictProxy[str], required: bool, options: GuardOptions) -> None:
    """421 unless `Host` is an IP literal, `localhost`, the external URL's host or an allowed one.

    A name that an attacker points at our address would otherwise make us part of the attacker's origin.
    """
    named = headers.getall(_HOST, ())
    if not named and not required:  # HTTP/1.0: no browser speaks it
        return
    if len(named) != 1:
        raise ApiError(400, "bad-host", "A request needs exactly one Host header.")
    if _is_known_host(named[0], options):
        return
    if host_name(named[0]) is None:
        raise ApiError(400, "bad-host", "The Host header is not a host name.")
    raise ApiError(
        421, "unknown-host", "This server does not answer for that Host; see -externalurl and -allowhost."
    )


@lru_cache(maxsize=256)
def _is_known_host(value: str, options: GuardOptions) -> bool:
    name = host_name(value)
    return name is not None and (name in options.hosts or name == "localhost" or _is_ip_literal(name))


@lru_cache(maxsize=4096)
def _rpc_allowed(address: IPAddress, options: GuardOptions) -> bool:
    return _within(address, options.rpc_allowed)


@lru_cache(maxsize=256)
def host_name(value: str) -> str | None:
    """The lower-case name of a Host header without port and brackets, None where it is malformed."""
    value = value.strip().lower()
    if value.startswith("["):
        name, bracket, rest = value[1:].partition("]")
        if not bracket or not _is_port(rest) or not _is_ip_literal(name):
            return None
        return name
    name, colon, port = value.partition(":")
    if not name or (colon and not _is_port(":" + port)):
        return None
    return name


def peer_address(request: web.BaseRequest) -> IPAddress | None:
    """Address of the connected socket; None where the caller has closed it before it could be asked."""
    # The protocol's, which was asked once: uvloop's transport asks the kernel every time.
    return None if request.transport is None else parse_peer(request.protocol.peername)


def parse_peer(peer: object) -> IPAddress | None:
    """The address in a socket's peer name, mapped IPv4 written as IPv4."""
    return _parse_address(str(peer[0])) if isinstance(peer, tuple) and peer else None


def _as_address(text: str) -> IPAddress | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_parse_address = lru_cache(maxsize=4096)(_as_address)
"""Of sockets only: what strangers write into a header is not kept."""


def client_network(request: web.BaseRequest, trusted: Sequence[IPNetwork]) -> tuple[int, int] | None:
    """The client's address, of IPv6 the /64, as a key that is quick to look up."""
    if trusted:
        address = client_address(request, trusted)
        return None if address is None else _network_of(address)
    peer = request.protocol.peername if request.transport is not None else None
    return _peer_network(peer[0]) if isinstance(peer, tuple) and peer else None


@lru_cache(maxsize=4096)
def _peer_network(text: str) -> tuple[int, int] | None:
    address = _parse_address(text)
    return None if address is None else _network_of(address)


def _network_of(address: IPAddress) -> tuple[int, int]:
    return (4, int(address)) if isinstance(address, IPv4Address) else (6, int(address) >> 64)


def client_address(request: web.BaseRequest, trusted: Sequence[IPNetwork]) -> IPAddress | None:
    """Who asks: the socket's peer, or what trusted proxies say in X-Forwarded-For, read from the right."""
    address = peer_address(request)
    if address is None or not trusted or not _within(address, trusted):
        return address
    chain = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for text in reversed(chain):
        told = _as_address(text.strip())
        if told is None:
            break
        address = told
        if not _within(address, trusted):
            break
    return address


def is_secure(request: web.BaseRequest, options: GuardOptions) -> bool:
    """Whether the client's side of the connection is TLS, by the word of a trusted proxy only."""
    peer = peer_address(request)
    if peer is None or not _within(peer, options.trusted_proxies):
        return False
    return request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"


def is_direct_local(request: web.BaseRequest) -> bool:
    """A program on this machine asks: loopback peer, no browser, no proxy."""
    peer = peer_address(request)
    if peer is None or not _within(peer, LOOPBACK):
        return False
    try:
        _check_no_browser(request.headers)
        _check_no_proxy(request.headers)
    except ApiError:
        return False
    return True


def _check_no_browser(headers: CIMultiDictProxy[str]) -> None:
    site = headers.get(_SEC_FETCH_SITE)
    if _ORIGIN in headers or (site is not None and site.strip().lower() != "none"):
        raise ApiError(403, "browser-refused", "Node routes do not answer web pages.")


def _check_no_proxy(headers: CIMultiDictProxy[str]) -> None:
    for name in _FORWARDING:
        if name in headers:
            raise ApiError(
                403, "proxy-refused", "Node routes do not answer through a proxy; put it before -publicbind."
            )


def _within(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _is_ip_literal(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text == "" or (text.startswith(":") and text[1:].isascii() and (text[1:] == "" or text[1:].isdigit()))
