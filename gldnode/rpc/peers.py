"""Connections: who is there, whom to connect to, what to fetch from whom. Field names and texts are Core's."""

from typing import Any, Final

from gldnode.errors import DecodeError
from gldnode.networking import Networking
from gldnode.p2p.manager import PeerManager
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from gldnode.p2p.peer import ConnectionType, Peer, Permission
from gldnode.p2p.state import PeerState
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import block_hash, boolean, num, text
from gldnode.rpc.peer_access import manager_of, networking_of, service_names
from gldnode.rpc.registry import MethodGroup

__all__ = ["methods", "test_methods"]

methods = MethodGroup("Network")
test_methods = MethodGroup("Network")
"""For the regtest networks."""

MAX_MESSAGE_TYPE: Final = 12
_PERMISSION_NAMES: Final = {
    Permission.BLOOMFILTER: "bloomfilter",
    Permission.NOBAN: "noban",
    Permission.FORCERELAY: "forcerelay",
    Permission.RELAY: "relay",
    Permission.MEMPOOL: "mempool",
    Permission.DOWNLOAD: "download",
    Permission.ADDR: "addr",
}


def _network_name(address: NetAddress) -> str:
    if address.network in {Network.IPV4, Network.IPV6} and not address.is_routable:
        return "not_publicly_routable"
    return address.network.rpc_name


@methods.method(
    "getconnectioncount",
    "Returns the number of connections to other nodes.",
    returns="n    (numeric) The connection count",
)
async def getconnectioncount(ctx: RpcContext) -> int:
    return sum(manager_of(ctx).connection_count)


@methods.method(
    "ping",
    "Requests that a ping be sent to all other nodes, to measure ping time.\n\n"
    "Results are provided in getpeerinfo, pingtime and pingwait fields are decimal seconds.",
    returns="null    (json null)",
)
async def ping(ctx: RpcContext) -> None:
    for peer in manager_of(ctx).peers():
        peer.ping_requested = True


@methods.method(
    "getpeerinfo",
    "Returns data about each connected network peer as a json array of objects.",
    returns="[ {...}, ... ]    (json array) One object per peer",
)
async def getpeerinfo(ctx: RpcContext) -> list[dict[str, Any]]:
    networking = networking_of(ctx)
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
        **({"addrlocal": str(peer.our_address)} if peer.our_address is not None else {}),
        "network": _network_name(peer.address),
        **({"mapped_as": asn} if (asn := networking.manager.options.groups.asn(peer.address)) else {}),
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
    manager = manager_of(ctx)
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
        manager.outbound.look_now()
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
    manager = manager_of(ctx)
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
    manager = manager_of(ctx)
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
    "getblockfrompeer",
    "Attempt to fetch block from a given peer.\n\nWe must have the header for this block.",
    params=[
        block_hash("blockhash", "The block hash to try to fetch", required=True),
        num("peer_id", "The peer to fetch it from (see getpeerinfo for peer IDs)", required=True),
    ],
    returns="{}    (json object) empty",
)
async def getblockfrompeer(ctx: RpcContext, blockhash: bytes, peer_id: int) -> dict[str, Any]:
    networking = networking_of(ctx)
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
    manager = manager_of(ctx)
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
    "sendmsgtopeer",
    "Send a p2p message to a peer specified by id.\nThe message type and body must be provided, the message "
    "header will be generated.\nThis RPC is for testing only.",
    params=[
        num("peer_id", "The peer to send the message to.", required=True),
        text("msg_type", "The message type (maximum length 12)", required=True),
        text("msg", "The serialized message body to send, in hex, without a message header", required=True),
    ],
    returns="{}    (json object) empty",
    examples=['0 "addr" "ffffff"'],
    hidden=True,
)
async def sendmsgtopeer(ctx: RpcContext, peer_id: int, msg_type: str, msg: str) -> dict[str, Any]:
    if len(msg_type) > MAX_MESSAGE_TYPE or not msg_type.isascii():
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Error: msg_type too long, max length is {MAX_MESSAGE_TYPE}")
    try:
        body = bytes.fromhex(msg)
    except ValueError:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Error parsing input for msg") from None
    networking = networking_of(ctx)

    def send() -> None:
        state = networking.processing.peers.get(peer_id)
        if state is None:
            raise RpcError(RpcCode.MISC_ERROR, "Error: Could not send message to peer")
        state.peer.send(msg_type, body, ctx.node.clock.now())

    await networking.manager.work(send)
    return {}
