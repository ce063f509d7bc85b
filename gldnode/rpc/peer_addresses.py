"""The addresses of possible peers that the node knows."""

from typing import Any

from gldnode.errors import DecodeError
from gldnode.p2p.addrman import KnownAddress
from gldnode.p2p.messages import Services, TimedAddress
from gldnode.p2p.netaddress import Network, parse_host
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import boolean, num, text
from gldnode.rpc.peer_access import NETWORK_NAMES, manager_of
from gldnode.rpc.registry import MethodGroup

__all__ = ["methods", "test_methods"]

methods = MethodGroup("Network")
test_methods = MethodGroup("Network")
"""For the regtest networks."""


@methods.method(
    "getnodeaddresses",
    "Return known addresses, after filtering for quality and recency.",
    params=[
        num("count", "The maximum number of addresses to return; 0 returns all", default=1),
        text("network", "Return only addresses of the specified network: ipv4, ipv6, onion, i2p, cjdns"),
    ],
    returns="[ {...}, ... ]    (json array)",
    examples=["8", '4 "i2p"'],
)
async def getnodeaddresses(ctx: RpcContext, count: int, network: str | None) -> list[dict[str, Any]]:
    if count < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Address count out of range")
    wanted = None
    if network is not None:
        names = {kind.rpc_name: kind for kind in Network if kind is not Network.TORV2}
        if network not in names:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Network not recognized: {network[:80]}")
        wanted = names[network]
    found = manager_of(ctx).addresses.sample(count, 0, ctx.node.clock.now(), wanted)
    return [
        {
            "time": item.time,
            "services": item.services,
            "address": item.address.host,
            "port": item.address.port,
            "network": item.address.network.rpc_name,
        }
        for item in found
    ]


@methods.method(
    "getaddrmaninfo",
    "Provides information about the node's address manager: addresses in the new and tried tables per network.",
    returns="{...}    (json object)",
)
async def getaddrmaninfo(ctx: RpcContext) -> dict[str, Any]:
    counts = manager_of(ctx).addresses.counts()
    rows = {name: [0, 0] for name in NETWORK_NAMES}
    for network, (new, tried) in counts.items():
        rows[network.rpc_name][0] += new
        rows[network.rpc_name][1] += tried
    rows["all_networks"] = [sum(row[0] for row in rows.values()), sum(row[1] for row in rows.values())]
    return {name: {"new": new, "tried": tried, "total": new + tried} for name, (new, tried) in rows.items()}


@methods.method(
    "getrawaddrman",
    "EXPERIMENTAL warning: this call may be changed in future releases.\n\n"
    "Returns information on all address manager entries for the new and tried tables.",
    returns='{"new":{"bucket/position":{"address":"str","port":n,"network":"str","services":n,"time":n,'
    '"source":"str","source_network":"str"},...},"tried":{...}}',
    hidden=True,
)
async def getrawaddrman(ctx: RpcContext) -> dict[str, Any]:
    new, tried = manager_of(ctx).addresses.places()
    return {"new": _table_json(new), "tried": _table_json(tried)}


def _table_json(table: dict[tuple[int, int], KnownAddress]) -> dict[str, Any]:
    return {
        f"{bucket}/{position}": {
            "address": known.address.host,
            "port": known.address.port,
            "network": known.address.network.rpc_name,
            "services": known.services,
            "time": known.time,
            "source": known.source.host,
            "source_network": known.source.network.rpc_name,
        }
        for (bucket, position), known in sorted(table.items())
    }


@test_methods.method(
    "addpeeraddress",
    "Add the address of a potential peer to an address manager table. This RPC is for testing only.",
    params=[
        text("address", "The IP address of the peer", required=True),
        num("port", "The port of the peer", required=True),
        boolean("tried", "If true, attempt to add the peer to the tried addresses table", default=False),
    ],
    returns="{...}    (json object) success",
    hidden=True,
)
async def addpeeraddress(ctx: RpcContext, address: str, port: int, tried: bool) -> dict[str, Any]:
    manager = manager_of(ctx)
    try:
        found = parse_host(address, port)
    except DecodeError:
        found = None
    if found is None:
        raise RpcError(RpcCode.CLIENT_INVALID_IP_OR_SUBNET, "Invalid IP address")
    now = ctx.node.clock.now()
    offered = int(Services.NETWORK | Services.WITNESS)
    if not manager.addresses.add([TimedAddress(now, offered, found)], found, now):
        return {"success": False, "error": "failed-adding-to-new"}
    if tried:
        manager.addresses.succeeded(found, now)
        known = manager.addresses.get(found)
        if known is None or not known.tried:
            return {"success": False, "error": "failed-adding-to-tried"}
    return {"success": True}
