"""What the operator may choose about connections (Core's flags), and how an outbound one is opened."""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from gldnode.p2p.asmap import NetGroups
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.peer import Permission

__all__ = ["DEFAULT_MAX_CONNECTIONS", "Dialer", "P2POptions", "dial_directly", "permissions_of"]

DEFAULT_MAX_CONNECTIONS: Final = 125


class Dialer(Protocol):
    """How an outbound connection is opened: directly, or through a proxy."""

    async def __call__(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


async def dial_directly(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, port)


@dataclass(slots=True)
class P2POptions:
    """Core's flags about connections."""

    listen: bool = True
    bind: Sequence[tuple[str, int, Permission]] = ()
    """Host, port and what `-whitebind` grants; empty: all addresses at the network's port."""
    onion_bind: Sequence[tuple[str, int]] = ()
    """Where the Tor daemon delivers the onion service's visitors (`-bind=addr=onion`)."""
    connect: Sequence[str] = ()
    """`-connect`: only these; the single value "0" means no automatic connections."""
    add_nodes: Sequence[str] = ()
    seed_nodes: Sequence[str] = ()
    dns_seed: bool = True
    dns_seeds: Sequence[str] = ()
    """`-dnsseedhost`, beside those of the network."""
    force_dns_seed: bool = False
    dns: bool = True
    """Whether names may be looked up."""
    discover: bool = True
    external: Sequence[NetAddress] = ()
    """`-externalip`."""
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    connect_timeout_s: float = 5.0
    only_networks: frozenset[Network] = frozenset()
    whitelist: Sequence[tuple[Permission, str]] = ()
    """(what is granted, subnet) to those who connect to us."""
    whitelist_out: Sequence[tuple[Permission, str]] = ()
    """The same for those that we connect to (`out@`)."""
    peers_file: Path | None = None
    anchors_file: Path | None = None
    max_upload_bytes: int = 0
    """`-maxuploadtarget` a day, 0: no limit."""
    proxies: dict[Network, Dialer] = field(default_factory=dict)
    proxy_names: dict[Network, str] = field(default_factory=dict)
    """host:port of `-proxy` and `-onion`, for `getnetworkinfo`."""
    name_proxy: Dialer | None = None
    """Resolves names where `-proxy` is set, so that a look-up does not tell who we are."""
    tor_control: tuple[str, int] | None = None
    """`-torcontrol`, where an onion service is wanted (`-listenonion`)."""
    tor_password: str = ""
    onion_key_file: Path | None = None
    groups: NetGroups = field(default_factory=NetGroups)
    """`-asmap`."""


def permissions_of(address: NetAddress, granting: Sequence[tuple[Permission, str]]) -> Permission:
    """What `-whitelist` grants to that address."""
    granted = Permission.NONE
    if address.network not in {Network.IPV4, Network.IPV6}:
        return granted
    ip = ipaddress.ip_address(address.raw)
    for permission, subnet in granting:
        net = ipaddress.ip_network(subnet, strict=False)
        if ip.version == net.version and ip in net:
            granted |= permission
    return granted
