"""From configuration to a running peer manager."""

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gldnode.config import Config, ConfigError
from gldnode.errors import DecodeError
from gldnode.node import Node
from gldnode.p2p.addrman import AddressManager
from gldnode.p2p.bans import BanList, parse_subnet
from gldnode.p2p.manager import P2POptions, PeerManager
from gldnode.p2p.messages import Services
from gldnode.p2p.netaddress import Network, parse_host
from gldnode.p2p.peer import LocalNode, Permission
from gldnode.p2p.processing import Processing
from gldnode.p2p.proxy import socks5_dialer
from gldnode.params import ChainParams
from gldnode.primitives.tx import Tx

__all__ = ["Networking", "p2p_options", "user_agent"]

log = logging.getLogger(__name__)
net_log = logging.getLogger("gldnode.p2p")

_IMPLICIT: Final = Permission.NOBAN | Permission.RELAY | Permission.MEMPOOL | Permission.DOWNLOAD
_PERMISSIONS: Final = {
    "bloomfilter": Permission.BLOOMFILTER,
    "bloom": Permission.BLOOMFILTER,
    "relay": Permission.RELAY,
    "forcerelay": Permission.FORCERELAY | Permission.RELAY,
    "noban": Permission.NOBAN | Permission.DOWNLOAD,
    "mempool": Permission.MEMPOOL,
    "download": Permission.DOWNLOAD,
    "addr": Permission.ADDR,
    "all": Permission.BLOOMFILTER | Permission.FORCERELAY | Permission.ADDR | _IMPLICIT,
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


def _permissions(text: str, key: str) -> tuple[Permission, str]:
    """(granted, the rest) of `perm,perm@rest`; without `@` the usual set."""
    names, at, rest = text.rpartition("@")
    if not at:
        return _IMPLICIT, text
    granted = Permission.NONE
    for name in names.split(","):
        if name in {"in", "out", ""}:
            continue
        if name not in _PERMISSIONS:
            raise ConfigError(f"Invalid P2P permission: '{name[:80]}'")
        granted |= _PERMISSIONS[name]
    if not rest:
        raise ConfigError(f"Cannot resolve -{key} address: '{text[:80]}'")
    return granted, rest


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
    for value in config.get_all("bind"):
        binds.append((*_bind(value.removesuffix("=onion"), "bind", port), Permission.NONE))
    for value in config.get_all("whitebind"):
        granted, where = _permissions(value, "whitebind")
        binds.append((*_bind(where, "whitebind", port), granted))
    listen = config.get_bool("listen", not connect or bool(binds))
    if binds and not listen:
        raise ConfigError("Cannot set -bind or -whitebind together with -listen=0")
    if not binds:
        # The regtest networks are for this machine; elsewhere a node serves everybody.
        binds = [("127.0.0.1", port, Permission.NONE)] if params.is_regtest else [("", port, Permission.NONE)]
    whitelist = []
    for value in config.get_all("whitelist"):
        granted, subnet = _permissions(value, "whitelist")
        try:
            whitelist.append((granted, parse_subnet(subnet)))
        except DecodeError:
            raise ConfigError(f"Invalid netmask specified in -whitelist: '{value[:80]}'") from None
    options = P2POptions(
        listen=listen,
        bind=binds,
        connect=connect,
        add_nodes=config.get_all("addnode"),
        seed_nodes=config.get_all("seednode"),
        dns_seed=config.get_bool("dnsseed", not connect),
        max_connections=config.get_int("maxconnections", 125, least=0),
        only_networks=_only_networks(config),
        whitelist=whitelist,
        peers_file=config.data_dir / "peers.json",
        max_upload_bytes=config.get_int("maxuploadtarget", 0, least=0) << 20,
    )
    for key, networks in (
        ("proxy", (Network.IPV4, Network.IPV6, Network.TORV3)),
        ("onion", (Network.TORV3,)),
    ):
        proxy = config.get(key)
        if proxy and proxy != "0":
            host, proxy_port = _bind(proxy, key, 9050)
            for network in networks:
                options.proxies[network] = socks5_dialer(host, proxy_port)
            options.proxy_name = options.proxy_name or f"{host}:{proxy_port}"
    return options


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
    async def start(cls, node: Node, config: Config) -> "Networking":
        """Listen and connect. Raises ConfigError, OSError when a port is taken."""
        options = p2p_options(config, node.params)
        services = Services.NETWORK | Services.WITNESS | Services.NETWORK_LIMITED
        if config.get_int("prune", 0):
            services &= ~Services.NETWORK
        v2 = config.get_bool("v2transport", True)
        local = LocalNode(
            node.params.message_start,
            services | (Services.P2P_V2 if v2 else Services.NONE),
            user_agent(config),
            node.entropy,
            relay_txs=not config.get_bool("blocksonly"),
            v2_transport=v2,
            handshake_timeout_s=config.get_int("peertimeout", 60, least=1),
            height=node.chainstate.tip.height,
        )
        processing = Processing(
            node.chainstate,
            node.pool,
            node.clock,
            node.entropy,
            log=net_log.debug,
            relay_txs=local.relay_txs,
            bloom_allowed=False,
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
            AddressManager.load(peers_file, node.entropy, node.clock.now()),
            BanList(config.data_dir / "banlist.json"),
            log.info,
        )
        manager.network_active = config.get_bool("networkactive", True)
        await manager.start()
        networking = cls(processing, manager, local)
        node.set_relay(networking.relay)
        return networking

    def relay(self, tx: Tx) -> None:
        """Announce a transaction of the mempool to the peers that do not know it."""
        self.manager.background(lambda: self.processing.txs.queue_for_all(tx))

    async def stop(self) -> None:
        await self.manager.stop()
