"""Peers: getpeerinfo, addnode, bans and what else concerns connections. Field names and texts are Core's."""

from importlib.metadata import version as package_version
from typing import Any, Final

from gldnode.errors import DecodeError
from gldnode.networking import Networking
from gldnode.p2p.bans import Ban, parse_subnet
from gldnode.p2p.manager import PeerManager
from gldnode.p2p.messages import Services, TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from gldnode.p2p.peer import PROTOCOL_VERSION, ConnectionType, Peer, Permission
from gldnode.p2p.state import PeerState
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import block_hash, boolean, num, text
from gldnode.rpc.registry import MethodGroup

__all__ = ["methods", "test_methods"]

methods = MethodGroup("Network")
test_methods = MethodGroup("Network")
"""For the regtest networks."""

CORE_VERSION: Final = 310000
DISABLED: Final = "Error: Peer-to-peer functionality missing or disabled"
MAX_BAN_UNTIL: Final = (1 << 63) - 1
_SERVICE_NAMES: Final = {
    Services.NETWORK: "NETWORK",
    Services.BLOOM: "BLOOM",
    Services.WITNESS: "WITNESS",
    Services.COMPACT_FILTERS: "COMPACT_FILTERS",
    Services.NETWORK_LIMITED: "NETWORK_LIMITED",
    Services.P2P_V2: "P2P_V2",
}
_PERMISSION_NAMES: Final = {
    Permission.BLOOMFILTER: "bloomfilter",
    Permission.NOBAN: "noban",
    Permission.FORCERELAY: "forcerelay",
    Permission.RELAY: "relay",
    Permission.MEMPOOL: "mempool",
    Permission.DOWNLOAD: "download",
    Permission.ADDR: "addr",
}
_NETWORK_NAMES: Final = ("ipv4", "ipv6", "onion", "i2p", "cjdns")


def _networking(ctx: RpcContext) -> Networking:
    return ctx.services.require(Networking, RpcCode.CLIENT_P2P_DISABLED, DISABLED)


def _manager(ctx: RpcContext) -> PeerManager:
    return _networking(ctx).manager


def service_names(services: int) -> list[str]:
    """Names of the known service bits; an unknown one is UNKNOWN[2^n]."""
    names = []
    for bit in range(64):
        if services >> bit & 1:
            known = _SERVICE_NAMES.get(Services(1 << bit)) if 1 << bit in set(Services) else None
            names.append(known or f"UNKNOWN[2^{bit}]")
    return names


def _network_of(address: NetAddress) -> str:
    if address.network in {Network.IPV4, Network.IPV6} and not address.is_routable:
        return "not_publicly_routable"
    return address.network.rpc_name


@methods.method(
    "getconnectioncount",
    "Returns the number of connections to other nodes.",
    returns="n    (numeric) The connection count",
)
async def getconnectioncount(ctx: RpcContext) -> int:
    return sum(_manager(ctx).connection_count)


@methods.method(
    "ping",
    "Requests that a ping be sent to all other nodes, to measure ping time.\n\n"
    "Results are provided in getpeerinfo, pingtime and pingwait fields are decimal seconds.",
    returns="null    (json null)",
)
async def ping(ctx: RpcContext) -> None:
    for peer in _manager(ctx).peers():
        peer.ping_requested = True


@methods.method(
    "getpeerinfo",
    "Returns data about each connected network peer as a json array of objects.",
    returns="[ {...}, ... ]    (json array) One object per peer",
)
async def getpeerinfo(ctx: RpcContext) -> list[dict[str, Any]]:
    networking = _networking(ctx)
    states = networking.processing.peers
    now_ms = ctx.node.clock.now_ms()
    return [
        _peer_info(networking, peer, states.get(peer.id), now_ms)
        for peer in sorted(networking.manager.peers(), key=lambda peer: peer.id)
    ]


def _peer_info(networking: Networking, peer: Peer, state: PeerState | None, now_ms: int) -> dict[str, Any]:
    version = peer.version
    info: dict[str, Any] = {
        "id": peer.id,
        "addr": peer.address_name,
        "addrbind": peer.bind_name,
        "network": _network_of(peer.address),
        "services": f"{version.services if version else 0:016x}",
        "servicesnames": service_names(version.services if version else 0),
        "relaytxes": peer.relays_txs,
        "last_inv_sequence": state.last_inv_sequence if state else 0,
        "inv_to_send": len(state.tx_queue) if state else 0,
        "lastsend": peer.last_send,
        "lastrecv": peer.last_receive,
        "last_transaction": state.last_tx_at if state else 0,
        "last_block": state.last_block_at if state else 0,
        "bytessent": peer.bytes_sent,
        "bytesrecv": peer.bytes_received,
        "conntime": peer.connected_at,
        "timeoffset": peer.time_offset,
    }
    if peer.last_ping_ms is not None and peer.min_ping_ms is not None:
        info["pingtime"] = peer.last_ping_ms / 1000
        info["minping"] = peer.min_ping_ms / 1000
    if peer.ping_sent_at_ms is not None:
        info["pingwait"] = max(0, now_ms - peer.ping_sent_at_ms) / 1000
    info |= {
        "version": version.protocol if version else 0,
        "subver": version.subversion if version else "",
        "inbound": peer.is_inbound,
        "bip152_hb_to": bool(state and state.we_want_high_bandwidth),
        "bip152_hb_from": bool(state and state.wants_high_bandwidth),
        "startingheight": version.start_height if version else -1,
        "presynced_headers": state.low_work.presync_height if state and state.low_work else -1,
        "synced_headers": state.best_known.height if state and state.best_known else -1,
        "synced_blocks": networking.processing.common_height(state) if state else -1,
        "inflight": [flight.entry.height for flight in list(state.in_flight.values())] if state else [],
        "addr_relay_enabled": bool(state and state.relays_addresses),
        "addr_processed": state.addresses_processed if state else 0,
        "addr_rate_limited": state.addresses_rate_limited if state else 0,
        "permissions": [name for flag, name in _PERMISSION_NAMES.items() if peer.permissions & flag],
        "minfeefilter": amount(state.fee_filter if state else 0),
        "bytessent_per_msg": dict(sorted(peer.sent_per_message.items())),
        "bytesrecv_per_msg": dict(sorted(peer.received_per_message.items())),
        "connection_type": str(peer.kind),
        "transport_protocol_type": peer.transport_name,
        "session_id": peer.session_id.hex() if peer.session_id else "",
    }
    return info


@methods.method(
    "getnettotals",
    "Returns information about network traffic, including bytes in, bytes out, and current system time.",
    returns="{...}    (json object)",
)
async def getnettotals(ctx: RpcContext) -> dict[str, Any]:
    manager = _manager(ctx)
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
        "networks": [_network_state(name, networking) for name in _NETWORK_NAMES],
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
    "addnode",
    "Attempts to add or remove a node from the addnode list, or try a connection to a node once.",
    params=[
        text("node", "The address of the peer to connect to", required=True),
        text("command", "'add', 'remove' or 'onetry'", required=True),
        boolean("v2transport", "Attempt to connect using BIP324 v2 transport protocol"),
    ],
    returns="null    (json null)",
    examples=['"192.168.0.6:4653" "onetry"'],
)
async def addnode(ctx: RpcContext, node: str, command: str, v2transport: bool | None) -> None:
    manager = _manager(ctx)
    if command not in {"add", "remove", "onetry"}:
        raise RpcError(RpcCode.MISC_ERROR, 'addnode "node" "command" ( v2transport )')
    if v2transport and not manager.local.v2_transport:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, "Error: v2transport requested but not enabled (see -v2transport)"
        )
    _check_target(manager, node)
    if command == "onetry":
        await manager.outbound.dial_name(node, ConnectionType.MANUAL, use_v2=v2transport is not False)
    elif command == "add":
        if node in manager.outbound.added_nodes:
            raise RpcError(RpcCode.CLIENT_NODE_ALREADY_ADDED, "Error: Node already added")
        manager.outbound.added_nodes.append(node)
    elif node in manager.outbound.added_nodes:
        manager.outbound.added_nodes.remove(node)
    else:
        raise RpcError(
            RpcCode.CLIENT_NODE_NOT_ADDED,
            "Error: Node could not be removed. It has not been added previously.",
        )


def _check_target(manager: PeerManager, node: str) -> None:
    try:
        host, port = manager.outbound.split_target(node)
        parse_host(host, port)
    except (ValueError, DecodeError):
        raise RpcError(RpcCode.CLIENT_INVALID_IP_OR_SUBNET, f"Error: Invalid node address: {node[:80]}") from None
    if not host or not 0 < port <= 65535:
        raise RpcError(RpcCode.CLIENT_INVALID_IP_OR_SUBNET, f"Error: Invalid node address: {node[:80]}")


@methods.method(
    "disconnectnode",
    "Immediately disconnects from the specified peer node.\n\n"
    "Strictly one out of 'address' and 'nodeid' can be provided to identify the node.",
    params=[
        text("address", "The IP address/port of the node"),
        num("nodeid", "The node ID (see getpeerinfo for node IDs)"),
    ],
    returns="null    (json null)",
    examples=['"192.168.0.6:4653"', '"" 1'],
)
async def disconnectnode(ctx: RpcContext, address: str | None, nodeid: int | None) -> None:
    manager = _manager(ctx)
    if address and nodeid is None:
        done = manager.disconnect(address=address)
    elif nodeid is not None and not address:
        done = manager.disconnect(peer_id=nodeid)
    else:
        raise RpcError(RpcCode.INVALID_PARAMS, "Only one of address and nodeid should be provided.")
    if not done:
        raise RpcError(RpcCode.CLIENT_NODE_NOT_CONNECTED, "Node not found in connected nodes")


@methods.method(
    "getaddednodeinfo",
    "Returns information about the given added node, or all added nodes (onetry addnodes are not listed here).",
    params=[text("node", "If provided, return information about this specific node, otherwise all")],
    returns="[ {...}, ... ]    (json array)",
)
async def getaddednodeinfo(ctx: RpcContext, node: str | None) -> list[dict[str, Any]]:
    manager = _manager(ctx)
    if node is not None and node not in manager.outbound.added_nodes:
        raise RpcError(RpcCode.CLIENT_NODE_NOT_ADDED, "Error: Node has not been added.")
    peers = {peer.address_name: peer for peer in manager.peers()}
    rows = []
    for added in manager.outbound.added_nodes if node is None else [node]:
        peer = peers.get(added)
        rows.append(
            {
                "addednode": added,
                "connected": peer is not None,
                "addresses": [
                    {"address": str(peer.address), "connected": "inbound" if peer.is_inbound else "outbound"}
                ]
                if peer
                else [],
            }
        )
    return rows


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
    found = _manager(ctx).addresses.sample(count, 0, ctx.node.clock.now(), wanted)
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
    counts = _manager(ctx).addresses.counts()
    rows = {name: [0, 0] for name in _NETWORK_NAMES}
    for network, (new, tried) in counts.items():
        rows[network.rpc_name][0] += new
        rows[network.rpc_name][1] += tried
    rows["all_networks"] = [sum(row[0] for row in rows.values()), sum(row[1] for row in rows.values())]
    return {name: {"new": new, "tried": tried, "total": new + tried} for name, (new, tried) in rows.items()}


@methods.method(
    "setnetworkactive",
    "Disable/enable all p2p network activity.",
    params=[boolean("state", "true to enable networking, false to disable", required=True)],
    returns="true|false    (boolean) The value that was passed in",
)
async def setnetworkactive(ctx: RpcContext, state: bool) -> bool:
    _manager(ctx).set_network_active(state)
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
    manager = _manager(ctx)
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

    return [row(ban) for ban in sorted(_manager(ctx).bans.all(now), key=lambda ban: ban.address)]


@methods.method("clearbanned", "Clear all banned IPs.", returns="null    (json null)")
async def clearbanned(ctx: RpcContext) -> None:
    _manager(ctx).bans.clear()


@methods.method(
    "getblockfrompeer",
    "Attempt to fetch block from a given peer.\n\nWe must have the header for this block.",
    params=[
        block_hash("blockhash", "The block hash to try to fetch", required=True),
        num("peer_id", "The peer to fetch it from (see getpeerinfo for peer IDs)", required=True),
    ],
    returns="{}    (json object) empty",
)
async def getblockfrompeer(ctx: RpcContext, blockhash: bytes, peer_id: int) -> dict[str, Any]:
    networking = _networking(ctx)
    chain = ctx.node.chainstate
    entry = chain.entry(blockhash)
    if entry is None:
        raise RpcError(RpcCode.MISC_ERROR, "Block header missing")
    if entry.has_data:
        raise RpcError(RpcCode.MISC_ERROR, "Block already downloaded")
    if networking.processing.peers.get(peer_id) is None:
        raise RpcError(RpcCode.MISC_ERROR, "Peer does not exist")

    def ask() -> None:
        state = networking.processing.peers.get(peer_id)
        if state is not None:
            networking.processing.blocks.ask_for_block(state, entry)

    await networking.manager.work(ask)
    return {}


@test_methods.method(
    "addconnection",
    "Open an outbound connection to a specified node. This RPC is for testing only.",
    params=[
        text("address", "The IP address and port to attempt connecting to", required=True),
        text(
            "connection_type",
            'Type of connection to open ("outbound-full-relay", "block-relay-only", "addr-fetch" or "feeler")',
            required=True,
        ),
        boolean("v2transport", "Attempt to connect using BIP324 v2 transport protocol", default=False),
    ],
    returns="{...}    (json object) address and connection_type",
    hidden=True,
)
async def addconnection(ctx: RpcContext, address: str, connection_type: str, v2transport: bool) -> dict[str, Any]:
    manager = _manager(ctx)
    allowed = {"outbound-full-relay", "block-relay-only", "addr-fetch", "feeler"}
    if connection_type not in allowed:
        raise RpcError(
            RpcCode.INVALID_PARAMS,
            'Only "outbound-full-relay", "block-relay-only", "addr-fetch" or "feeler" are accepted.',
        )
    _check_target(manager, address)
    kind = ConnectionType(connection_type)
    if not manager.outbound.has_room(kind) or not await manager.outbound.dial_name(
        address, kind, use_v2=v2transport
    ):
        raise RpcError(
            RpcCode.CLIENT_NODE_CAPACITY_REACHED, "Error: Already at capacity for specified connection type."
        )
    return {"address": address, "connection_type": connection_type}


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
    manager = _manager(ctx)
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
