"""Whom we do not talk to: the operator's bans (in banlist.json) and addresses discouraged for their conduct."""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gldnode.errors import DecodeError
from gldnode.p2p.bounded import RecentSet
from gldnode.p2p.netaddress import NetAddress, Network

__all__ = ["Ban", "BanList", "parse_subnet"]

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
DEFAULT_BAN_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Ban:
    """One line of `listbanned`."""

    address: str
    created: int
    until: int


def parse_subnet(text: str) -> str:
    """The canonical text of an address or subnet (`setban`, `-whitelist`). Raises DecodeError."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        if text.endswith((".onion", ".b32.i2p")):
            return text
        raise DecodeError("Error: Invalid IP/Subnet") from None


class BanList:
    """Bans by subnet, with an end."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bans: dict[str, Ban] = {}
        self._discouraged: RecentSet[tuple[Network, bytes]] = RecentSet(25_000)
        if path is not None:
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["banned_nets"]
            for row in rows:
                subnet = parse_subnet(str(row["address"]))
                self._bans[subnet] = Ban(subnet, int(row["ban_created"]), int(row["banned_until"]))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, DecodeError):
            path.replace(path.with_suffix(".bad"))  # keep it for the operator, start with an empty one

    def _save(self) -> None:
        if self._path is None:
            return
        rows = [
            {"version": 1, "ban_created": ban.created, "banned_until": ban.until, "address": ban.address}
            for ban in self._bans.values()
        ]
        part = self._path.with_suffix(".new")
        part.write_text(json.dumps({"banned_nets": rows}, indent=2), encoding="utf-8")
        part.replace(self._path)

    def ban(self, subnet: str, now: int, until: int) -> bool:
        """Whether it was new or is longer now."""
        there = self._bans.get(subnet)
        if there is not None and there.until >= until:
            return False
        self._bans[subnet] = Ban(subnet, now, until)
        self._save()
        return True

    def unban(self, subnet: str) -> bool:
        if self._bans.pop(subnet, None) is None:
            return False
        self._save()
        return True

    def clear(self) -> None:
        self._bans.clear()
        self._save()

    def all(self, now: int) -> list[Ban]:
        """Those in force."""
        return [ban for ban in self._bans.values() if ban.until > now]

    def is_banned(self, address: NetAddress, now: int) -> bool:
        if not self._bans:
            return False
        if address.network not in {Network.IPV4, Network.IPV6}:
            ban = self._bans.get(address.host)
            return ban is not None and ban.until > now
        ip = ipaddress.ip_address(address.raw)
        return any(
            ban.until > now and ip.version == net.version and ip in net
            for ban in self._bans.values()
            if not ban.address.endswith((".onion", ".b32.i2p"))
            for net in (ipaddress.ip_network(ban.address),)
        )

    def discourage(self, address: NetAddress) -> None:
        """Remember bad conduct for a while: no outbound connection, first to be dropped inbound."""
        self._discouraged.add((address.network, address.raw))

    def is_discouraged(self, address: NetAddress) -> bool:
        return (address.network, address.raw) in self._discouraged
