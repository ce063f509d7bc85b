"""From configuration to a running peer manager."""

import logging
from dataclasses import dataclass
from enum import Flag, auto
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gldnode.config import Config, ConfigError
from gldnode.errors import DecodeError
from gldnode.indexes import BlockFilterIndex
from gldnode.node import Node
from gldnode.p2p.addrman import AddressManager
from gldnode.p2p.asmap import AsMap, NetGroups
from gldnode.p2p.bans import BanList, parse_subnet
from gldnode.p2p.capture import Capture
from gldnode.p2p.filterservice import FilterService
from gldnode.p2p.localaddress import AddressOrigin
from gldnode.p2p.manager import PeerManager
from gldnode.p2p.messages import Services
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from gldnode.p2p.options import P2POptions
from gldnode.p2p.peer import LocalNode, Permission
from gldnode.p2p.processing import Processing
from gldnode.p2p.proxy import socks5_dialer
from gldnode.p2p.torcontrol import TorControl
from gldnode.params import ChainParams
from gldnode.primitives.tx import Tx

__all__ = ["Networking", "p2p_options", "user_agent"]

log = logging.getLogger(__name__)
net_log = logging.getLogger("gldnode.p2p")

TOR_SOCKS_PORT: Final = 9050
TOR_CONTROL_PORT: Final = 9051
_PERMISSIONS: Final = {
    "bloomfilter": Permission.BLOOMFILTER,
    "bloom": Permission.BLOOMFILTER,
    "relay": Permission.RELAY,
    "forcerelay": Permission.FORCERELAY | Permission.RELAY,
    "noban": Permission.NOBAN | Permission.DOWNLOAD,
    "mempool": Permission.MEMPOOL,
    "download": Permission.DOWNLOAD,
    "addr": Permission.ADDR,
    "all": ~Permission.NONE,
}
_NETWORKS: Final = {
    "ipv4": Network.IPV4,
    "ipv6": Network.IPV6,
    "onion": Network.TORV3,
    "tor": Network.TORV3,
    "i2p": Network.I2P,
    "cjdns": Network.CJDNS,
}


def user_agent(config: Config, *, core_version: str = "31.0.0") -> str:
    """BIP 14. On networks where Bitcoin's tools must recognise the node it begins as Core's does."""
    comments = config.get_all("uacomment")
    for comment in comments:
        if any(char not in _SAFE for char in comment):
            raise ConfigError(f"User Agent comment ({comment[:80]}) contains unsafe characters.")
    comment = f"({'; '.join(comments)})" if comments else ""
    own = f"GoldCoin:{version('gldnode')}{comment}/"
    agent = f"/Satoshi:{core_version}{comment}/{own}" if config.get_bool("btc-compat") else f"/{own}"
    if len(agent) > 256:
        raise ConfigError(
            f"Total length of network version string ({len(agent)}) exceeds maximum length (256). "
            "Reduce the number or size of uacomments."
        )
    return agent


_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;-_?@")


class _Direction(Flag):
    IN = auto()
    OUT = auto()


def _permissions(config: Config, text: str, key: str) -> tuple[Permission, _Direction, str]:
    """(granted, to whom, the rest) of `perm,perm@rest`; without `@` the usual set."""
    names, at, rest = text.rpartition("@")
    if not at:
        granted = Permission.NOBAN | Permission.DOWNLOAD | Permission.MEMPOOL
        if config.get_bool("whitelistrelay", True):
            granted |= Permission.RELAY
        if config.get_bool("whitelistforcerelay"):
            granted |= Permission.FORCERELAY
        return granted, _Direction.IN, text
    granted, direction = Permission.NONE, _Direction(0)
    for name in names.split(","):
        if name == "in":
            direction |= _Direction.IN
        elif name == "out":
            if key == "whitebind":
                raise ConfigError('whitebind may only be used for incoming connections ("out" was passed)')
            direction |= _Direction.OUT
        elif name in _PERMISSIONS:
            granted |= _PERMISSIONS[name]
        elif name:
            raise ConfigError(f"Invalid P2P permission: '{name[:80]}'")
    if not rest:
        raise ConfigError(f"Cannot resolve -{key} address: '{text[:80]}'")
    return granted, direction or _Direction.IN, rest


def _bind(text: str, key: str, default_port: int) -> tuple[str, int]:
    host, port = text, default_port
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port_text = rest[1:] if rest.startswith(":") else ""
    else:
        host, _, port_text = text.partition(":") if text.count(":") == 1 else (text, "", "")
    port_text = port_text.partition("=")[0]
    if port_text:
        if not port_text.isdigit() or not 0 <= int(port_text) <= 65535:
            raise ConfigError(f"Invalid port specified in -{key}: '{text[:80]}'")
        port = int(port_text)
    try:
        known = parse_host(host, port)
    except DecodeError:
        known = None
    if known is None and host != "localhost":
        raise ConfigError(f"Cannot resolve -{key} address: '{text[:80]}'")
    return host, port


def p2p_options(config: Config, params: ChainParams) -> P2POptions:
    """Raises ConfigError."""
    connect = tuple(value for value in config.get_all("connect") if value)
    if config.is_set("connect") and not connect:
        connect = ("0",)
    port = config.get_int("port", params.p2p_port, least=0, most=65535)
    binds: list[tuple[str, int, Permission]] = []
    onion_binds: list[tuple[str, int]] = []
    for value in config.get_all("bind"):
        if value.endswith("=onion"):
            onion_binds.append(_bind(value.removesuffix("=onion"), "bind", port + 1))
        else:
            binds.append((*_bind(value, "bind", port), Permission.NONE))
    for value in config.get_all("whitebind"):
        granted, _, where = _permissions(config, value, "whitebind")
        binds.append((*_bind(where, "whitebind", port), granted))
    listen = config.get_bool("listen", not connect or bool(binds))
    if binds and not listen:
        raise ConfigError("Cannot set -bind or -whitebind together with -listen=0")
    if not listen and config.get_bool("listenonion"):
        raise ConfigError("Cannot set -listen=0 together with -listenonion=1")
    if not binds:
        # The regtest networks are for this machine; elsewhere a node serves everybody.
        binds = [("127.0.0.1", port, Permission.NONE)] if params.is_regtest else [("", port, Permission.NONE)]
    external = [_external(value, port) for value in config.get_all("externalip")]
    options = P2POptions(
        listen=listen,
        bind=binds,
        onion_bind=onion_binds,
        connect=connect,
        add_nodes=config.get_all("addnode"),
        seed_nodes=config.get_all("seednode"),
        dns_seed=config.get_bool("dnsseed", not connect),
        dns_seeds=config.get_all("dnsseedhost"),
        force_dns_seed=config.get_bool("forcednsseed"),
        dns=config.get_bool("dns", True),
        discover=config.get_bool("discover", listen and not external and not config.is_set("proxy")),
        external=external,
        max_connections=config.get_int("maxconnections", 125, least=0),
        connect_timeout_s=config.get_int("timeout", 5_000, least=1) / 1000,
        only_networks=_only_networks(config),
        peers_file=config.data_dir / "peers.json",
        anchors_file=config.data_dir / "anchors.json",
        max_upload_bytes=config.get_int("maxuploadtarget", 0, least=0) << 20,
    )
    _set_whitelists(config, options)
    _set_proxies(config, options)
    _set_tor(config, options)
    options.groups = _net_groups(config)
    return options


def _net_groups(config: Config) -> NetGroups:
    """`-asmap`. Raises ConfigError."""
    value = config.get("asmap")
    if value is None or value == "0":
        log.info("Using /16 prefix for IP bucketing")
        return NetGroups()
    if value in ("", "1"):
        raise ConfigError("Embedded asmap data not available: name a file (-asmap=<file>)")
    path = config.data_dir / Path(value).expanduser()
    try:
        asmap = AsMap.load(path)
    except OSError:
        raise ConfigError(f'Could not find asmap file "{path}"') from None
    except DecodeError as error:
        raise ConfigError(f'Could not parse asmap file "{path}": {error}') from None
    log.info("Using asmap version %s for IP bucketing", asmap.version)
    return NetGroups(asmap)


def _external(value: str, port: int) -> NetAddress:
    try:
        address = parse_host(*_bind(value, "externalip", port))
    except (ConfigError, DecodeError):
        address = None
    if address is None:
        raise ConfigError(f"Cannot resolve -externalip address: '{value[:80]}'")
    return address


def _set_whitelists(config: Config, options: P2POptions) -> None:
    inbound, outbound = [], []
    for value in config.get_all("whitelist"):
        granted, direction, subnet = _permissions(config, value, "whitelist")
        try:
            row = (granted, parse_subnet(subnet))
        except DecodeError:
            raise ConfigError(f"Invalid netmask specified in -whitelist: '{value[:80]}'") from None
        if direction & _Direction.IN:
            inbound.append(row)
        if direction & _Direction.OUT:
            outbound.append(row)
    options.whitelist, options.whitelist_out = inbound, outbound


def _set_proxies(config: Config, options: P2POptions) -> None:
    for key, networks in (("proxy", (Network.IPV4, Network.IPV6, Network.TORV3)), ("onion", (Network.TORV3,))):
        proxy = config.get(key)
        if not proxy:
            continue
        if proxy == "0":
            for network in networks:
                options.proxies.pop(network, None)
            continue
        host, port = _bind(proxy, key, TOR_SOCKS_PORT)
        dialer = socks5_dialer(host, port)
        for network in networks:
            options.proxies[network] = dialer
            options.proxy_names[network] = f"{host}:{port}"
        if key == "proxy":
            options.name_proxy = dialer
    unreachable = {Network.TORV3} - set(options.proxies)
    if options.only_networks == {Network.TORV3} and unreachable and not config.get_bool("listenonion", True):
        raise ConfigError(
            "Outbound connections restricted to Tor (-onlynet=onion) but the proxy for reaching the Tor network "
            "is not provided: none of -proxy, -onion or -listenonion is given"
        )


def _set_tor(config: Config, options: P2POptions) -> None:
    if not config.get_bool("listenonion") or not options.listen:
        return
    options.tor_control = _bind(config.get("torcontrol") or "127.0.0.1", "torcontrol", TOR_CONTROL_PORT)
    options.tor_password = config.get("torpassword") or ""
    options.onion_key_file = config.data_dir / "onion_v3_private_key"


def _only_networks(config: Config) -> frozenset[Network]:
    chosen = set()
    for name in config.get_all("onlynet"):
        if name.lower() not in _NETWORKS:
            raise ConfigError(f"Unknown network specified in -onlynet: '{name[:80]}'")
        chosen.add(_NETWORKS[name.lower()])
    return frozenset(chosen)


@dataclass(slots=True)
class Networking:
    """The running peer-to-peer part."""

    processing: Processing
    manager: PeerManager
    local: LocalNode

    @classmethod
    async def start(cls, node: Node, config: Config, filters: BlockFilterIndex | None = None) -> "Networking":
        """Listen and connect. Raises ConfigError, OSError when a port is taken."""
        options = p2p_options(config, node.params)
        serves_filters = filters is not None and config.get_bool("peerblockfilters")
        local = _local_node(node, config, serves_filters=serves_filters)
        processing = Processing(
            node.chainstate,
            node.pool,
            node.clock,
            node.entropy,
            log=net_log.debug,
            notice=net_log.info,
            relay_txs=local.relay_txs,
            services=local.services,
            filters=FilterService(node.chainstate, filters) if serves_filters and filters is not None else None,
        )
        peers_file: Path = config.data_dir / "peers.json"
        manager = PeerManager(
            node.params,
            options,
            local,
            processing,
            node.run_in_validation,
            node.clock,
            node.entropy,
            AddressManager.load(peers_file, node.entropy, node.clock.now(), options.groups),
            BanList(config.data_dir / "banlist.json"),
            log.info,
        )
        manager.network_active = config.get_bool("networkactive", True)
        await manager.start()
        networking = cls(processing, manager, local)
        networking._start_onion_service()
        node.set_relay(networking.relay)
        return networking

    def _start_onion_service(self) -> None:
        manager, options = self.manager, self.manager.options
        listening = options.onion_bind or manager.inbound.listening
        if options.tor_control is None or options.onion_key_file is None or not listening:
            return
        host, port = listening[0]

        def use_service(address: NetAddress) -> None:
            manager.local_addresses.add(address, AddressOrigin.MANUAL)

        def use_socks(proxy_host: str, proxy_port: int) -> None:
            if Network.TORV3 not in options.proxies:
                options.proxies[Network.TORV3] = socks5_dialer(proxy_host, proxy_port)
                options.proxy_names[Network.TORV3] = f"{proxy_host}:{proxy_port}"

        control = TorControl(
            options.tor_control,
            ("127.0.0.1" if host in {"0.0.0.0", "::", ""} else host, port),  # noqa: S104 - compared, not bound
            manager.params.p2p_port,
            options.onion_key_file,
            manager.entropy,
            password=options.tor_password,
            on_service=use_service,
            on_socks=use_socks,
            on_lost=manager.local_addresses.remove,
            log=logging.getLogger("gldnode.tor").info,
        )
        manager.run_task("p2p-tor", control.run())

    def relay(self, tx: Tx) -> None:
        """Announce a transaction of the mempool to the peers that do not know it."""
        self.manager.work_soon(lambda: self.processing.txs.queue_for_all(tx))

    async def stop(self) -> None:
        await self.manager.stop()


def _local_node(node: Node, config: Config, *, serves_filters: bool) -> LocalNode:
    services = Services.NETWORK | Services.WITNESS | Services.NETWORK_LIMITED
    if config.get_int("prune", 0):
        services &= ~Services.NETWORK
    if serves_filters:
        services |= Services.COMPACT_FILTERS
    v2 = config.get_bool("v2transport", True)
    return LocalNode(
        node.params.message_start,
        services | (Services.P2P_V2 if v2 else Services.NONE),
        user_agent(config),
        node.entropy,
        relay_txs=not config.get_bool("blocksonly"),
        v2_transport=v2,
        handshake_timeout_s=config.get_int("peertimeout", 60, least=1),
        height=node.chainstate.tip.height,
        send_buffer=1000 * config.get_int("maxsendbuffer", 1_000, least=1),
        log=net_log.debug,
        capture=_capture(node, config),
    )


def _capture(node: Node, config: Config) -> Capture | None:
    if not config.get_bool("capturemessages"):
        return None
    folder = config.data_dir / "message_capture"
    log.warning("Every message of every peer is written to %s", folder)
    return Capture(folder, node.clock, log.error)
