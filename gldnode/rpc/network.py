"""The network as a whole: getnetworkinfo, traffic, on and off, bans. Field names and texts are Core's."""

from importlib.metadata import version as package_version
from typing import Any, Final

from gldnode.errors import DecodeError
from gldnode.networking import Networking
from gldnode.p2p.bans import Ban, parse_subnet
from gldnode.p2p.netaddress import Network
from gldnode.p2p.peer import PROTOCOL_VERSION
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import boolean, num, text
from gldnode.rpc.peer_access import NETWORK_NAMES, manager_of, service_names
from gldnode.rpc.registry import MethodGroup

__all__ = ["methods"]

methods = MethodGroup("Network")

CORE_VERSION: Final = 310000
MAX_BAN_UNTIL: Final = (1 << 63) - 1


@methods.method(
    "getnettotals",
    "Returns information about network traffic, including bytes in, bytes out, and current system time.",
    returns="{...}    (json object)",
)
async def getnettotals(ctx: RpcContext) -> dict[str, Any]:
    manager = manager_of(ctx)
    return {
        "totalbytesrecv": manager.total_received,
        "totalbytessent": manager.total_sent,
        "timemillis": ctx.node.clock.now_ms(),
        "uploadtarget": {
            "timeframe": 86_400,
            "target": manager.options.max_upload_bytes,
            "target_reached": manager.upload.is_reached,
            "serve_historical_blocks": manager.upload.serves_history,
            "bytes_left_in_cycle": manager.upload.bytes_left,
            "time_left_in_cycle": manager.upload.seconds_left,
        },
    }


@methods.method(
    "getnetworkinfo",
    "Returns an object containing various state info regarding P2P networking.",
    returns="{...}    (json object)",
)
async def getnetworkinfo(ctx: RpcContext) -> dict[str, Any]:
    networking = ctx.services.get(Networking)
    compat = ctx.node.config.get_bool("btc-compat")
    info: dict[str, Any] = {
        "version": CORE_VERSION if compat else _own_version(),
        "subversion": networking.local.user_agent if networking else "",
        "protocolversion": PROTOCOL_VERSION,
    }
    services = int(networking.local.services) if networking else 0
    inbound, outbound = networking.manager.connection_count if networking else (0, 0)
    offsets = sorted(peer.time_offset for peer in networking.manager.peers()) if networking else []
    info |= {
        "localservices": f"{services:016x}",
        "localservicesnames": service_names(services),
        "localrelay": bool(networking and networking.local.relay_txs),
        "timeoffset": offsets[len(offsets) // 2] if offsets else 0,
        "networkactive": bool(networking and networking.manager.network_active),
        "connections": inbound + outbound,
        "connections_in": inbound,
        "connections_out": outbound,
        "networks": [_network_state(name, networking) for name in NETWORK_NAMES],
        "relayfee": amount(ctx.node.pool.options.min_relay_feerate),
        "incrementalfee": amount(ctx.node.pool.options.incremental_relay_feerate),
        "localaddresses": [
            {"address": address.host, "port": address.port, "score": score}
            for address, score in (networking.manager.local_addresses.rows() if networking else ())
        ],
        "warnings": networking.manager.warnings() if networking else [],
    }
    return info


def _own_version() -> int:
    major, minor, patch = (int(part) for part in package_version("gldnode").split(".")[:3])
    return major * 10_000 + minor * 100 + patch


def _network_state(name: str, networking: Networking | None) -> dict[str, Any]:
    kinds = [kind for kind in Network if kind.rpc_name == name and kind is not Network.TORV2]
    reachable = networking is not None and any(networking.manager.outbound.can_reach(kind) for kind in kinds)
    names = networking.manager.options.proxy_names if networking is not None else {}
    return {
        "name": name,
        "limited": not reachable,
        "reachable": reachable,
        "proxy": next((names[kind] for kind in kinds if kind in names), ""),
        "proxy_randomize_credentials": False,
    }


@methods.method(
    "setnetworkactive",
    "Disable/enable all p2p network activity.",
    params=[boolean("state", "true to enable networking, false to disable", required=True)],
    returns="true|false    (boolean) The value that was passed in",
)
async def setnetworkactive(ctx: RpcContext, state: bool) -> bool:
    manager_of(ctx).set_network_active(state)
    return state


@methods.method(
    "setban",
    "Attempts to add or remove an IP/Subnet from the banned list.",
    params=[
        text("subnet", "The IP/Subnet (see getpeerinfo for nodes IP) with an optional netmask", required=True),
        text("command", "'add' to add an IP/Subnet to the list, 'remove' to remove it", required=True),
        num("bantime", "Seconds of the ban, or until when if [absolute] is set; 0 means 24 hours", default=0),
        boolean("absolute", "If set, bantime is an absolute UNIX epoch time", default=False),
    ],
    returns="null    (json null)",
    examples=['"192.168.0.6" "add" 86400', '"192.168.0.0/24" "add"'],
)
async def setban(ctx: RpcContext, subnet: str, command: str, bantime: int, absolute: bool) -> None:
    manager = manager_of(ctx)
    if command not in {"add", "remove"}:
        raise RpcError(RpcCode.MISC_ERROR, 'setban "subnet" "command" ( bantime absolute )')
    try:
        canonical = parse_subnet(subnet)
    except DecodeError as error:
        raise RpcError(RpcCode.CLIENT_INVALID_IP_OR_SUBNET, str(error)) from None
    now = ctx.node.clock.now()
    if command == "remove":
        if not manager.bans.unban(canonical):
            raise RpcError(
                RpcCode.CLIENT_INVALID_IP_OR_SUBNET,
                "Error: Unban failed. Requested address/subnet was not previously manually banned.",
            )
        return
    if absolute and bantime < now:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Error: Absolute timestamp is in the past")
    seconds = bantime or ctx.node.config.get_int("bantime", 86_400)
    until = bantime if absolute else min(now + seconds, MAX_BAN_UNTIL)
    if any(ban.address == canonical for ban in manager.bans.all(now)):
        raise RpcError(RpcCode.CLIENT_NODE_ALREADY_ADDED, "Error: IP/Subnet already banned")
    manager.bans.ban(canonical, now, until)
    manager.disconnect_banned()


@methods.method(
    "listbanned",
    "List all manually banned IPs/Subnets.",
    returns="[ {...}, ... ]    (json array)",
)
async def listbanned(ctx: RpcContext) -> list[dict[str, Any]]:
    now = ctx.node.clock.now()

    def row(ban: Ban) -> dict[str, Any]:
        return {
            "address": ban.address,
            "ban_created": ban.created,
            "banned_until": ban.until,
            "ban_duration": ban.until - ban.created,
            "time_remaining": ban.until - now,
        }

    return [row(ban) for ban in sorted(manager_of(ctx).bans.all(now), key=lambda ban: ban.address)]


@methods.method("clearbanned", "Clear all banned IPs.", returns="null    (json null)")
async def clearbanned(ctx: RpcContext) -> None:
    manager_of(ctx).bans.clear()
