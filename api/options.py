"""Where the sites listen and whom they believe, from the node's configuration.

Keys: rpcbind, rpcport, rpcallowip, publicbind, externalurl, allowhost, trustedproxy, ratelimit,
maxconnectionsperaddress, btcmethodids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from api.guard import LOOPBACK, GuardOptions, IPNetwork, host_name, parse_networks
from api.ratelimit import Rate
from api.server import Limits
from gldnode.ports import NodeHost

__all__ = ["OptionsError", "SiteOptions"]

Bind = tuple[str, int]
_DEFAULT_RATE = Rate(600, 60, 300)


class OptionsError(ValueError):
    """An option that cannot be meant; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What `build_sites` needs to know."""

    binds: tuple[Bind, ...] = (("127.0.0.1", 0),)
    """Addresses of the default site; port 0 takes a free one."""
    optional_binds: tuple[Bind, ...] = ()
    """Also listened at where the machine has them (IPv6 loopback)."""
    public_binds: tuple[Bind, ...] = ()
    guard: GuardOptions = field(default_factory=GuardOptions)
    limits: Limits = field(default_factory=Limits)
    base_url: str = "http://127.0.0.1:8080"
    """Where absolute links begin, without a slash at the end."""
    anonymous_rate: Rate = _DEFAULT_RATE
    coin_aliases: tuple[str, ...] = ()
    """Coins' names taken for the chain's own in payment method ids."""

    @classmethod
    def from_host(cls, host: NodeHost) -> "SiteOptions":
        """Raises OptionsError."""
        port = _port(host.option("rpcport") or str(host.params.http_port), "-rpcport")
        allowed = parse_list(host.options("rpcallowip"), "-rpcallowip")
        # Core's rule: an address to listen at without one to allow would answer nobody, so it is not used.
        named = [parse_bind(text, port, "-rpcbind") for text in host.options("rpcbind")] if allowed else []
        binds = tuple(named) or (("127.0.0.1", port),)
        public = tuple(parse_bind(text, None, "-publicbind") for text in host.options("publicbind"))
        external, external_host = _external_url(host.option("externalurl"))
        hosts = frozenset(_host(text) for text in host.options("allowhost")) | external_host
        rate = host.option("ratelimit")
        per_address = host.option("maxconnectionsperaddress")
        limits = Limits()
        if per_address is not None:
            limits = replace(limits, per_address=_port(per_address, "-maxconnectionsperaddress"))
        return cls(
            binds=binds,
            optional_binds=() if named else (("::1", port),),
            public_binds=public,
            guard=GuardOptions(
                hosts=hosts,
                external_url=external,
                trusted_proxies=parse_list(host.options("trustedproxy"), "-trustedproxy"),
                rpc_allowed=LOOPBACK + allowed,
            ),
            limits=limits,
            base_url=external or f"http://{_bracketed(binds[0][0])}:{port}",
            coin_aliases=("BTC",) if host.option("btcmethodids") not in (None, "0") else (),
            anonymous_rate=_rate(rate) if rate is not None else _DEFAULT_RATE,
        )


def parse_bind(text: str, default_port: int | None, option: str) -> Bind:
    """An address such as 127.0.0.1, 127.0.0.1:8080, [::1]:8080 or localhost:8080."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or (not port and default_port is None):
        raise OptionsError(f"{option} must be an address and a port such as 127.0.0.1:8081, not '{text}'")
    return host, _port(port, option) if port else default_port or 0


def parse_list(texts: Sequence[str], option: str) -> tuple[IPNetwork, ...]:
    try:
        return parse_networks(texts)
    except ValueError as error:
        raise OptionsError(f"{option}: {error}") from error


def _external_url(text: str | None) -> tuple[str | None, frozenset[str]]:
    if not text:
        return None, frozenset()
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise OptionsError(f"-externalurl must be an address such as https://pay.example.com, not '{text}'")
    return text.rstrip("/"), frozenset((parts.hostname.lower(),))


def _host(text: str) -> str:
    name = host_name(text)
    if name is None:
        raise OptionsError(f"-allowhost must be a host name, not '{text}'")
    return name


def _rate(text: str) -> Rate:
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise OptionsError(f"-ratelimit: {error}") from error


def _port(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise OptionsError(f"{option} must be a number below 65536, not '{text}'")
    return int(text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
