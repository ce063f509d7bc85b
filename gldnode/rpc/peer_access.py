"""What the methods about peers share: the running peer manager, and names that Core has for bits."""

from typing import Final

from gldnode.networking import Networking
from gldnode.p2p.manager import PeerManager
from gldnode.p2p.messages import Services
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode

__all__ = ["NETWORK_NAMES", "manager_of", "networking_of", "service_names"]

DISABLED: Final = "Error: Peer-to-peer functionality missing or disabled"
_SERVICE_NAMES: Final = {
    Services.NETWORK: "NETWORK",
    Services.BLOOM: "BLOOM",
    Services.WITNESS: "WITNESS",
    Services.COMPACT_FILTERS: "COMPACT_FILTERS",
    Services.NETWORK_LIMITED: "NETWORK_LIMITED",
    Services.P2P_V2: "P2P_V2",
}
NETWORK_NAMES: Final = ("ipv4", "ipv6", "onion", "i2p", "cjdns")


def networking_of(ctx: RpcContext) -> Networking:
    """What runs the connections. Raises RpcError -31 on a node without."""
    return ctx.services.require(Networking, RpcCode.CLIENT_P2P_DISABLED, DISABLED)


def manager_of(ctx: RpcContext) -> PeerManager:
    return networking_of(ctx).manager


def service_names(services: int) -> list[str]:
    """Names of the known service bits; an unknown one is UNKNOWN[2^n]."""
    names = []
    for bit in range(64):
        if services >> bit & 1:
            known = _SERVICE_NAMES.get(Services(1 << bit)) if 1 << bit in set(Services) else None
            names.append(known or f"UNKNOWN[2^{bit}]")
    return names
