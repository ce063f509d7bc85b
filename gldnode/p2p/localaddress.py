"""Under which addresses others may reach us: given by the operator, found on the interfaces, made by Tor."""

import socket
from dataclasses import dataclass
from enum import IntEnum

from gldnode.entropy import Entropy
from gldnode.p2p.netaddress import NetAddress, Network, parse_host

__all__ = ["AddressOrigin", "LocalAddresses", "interface_addresses"]


class AddressOrigin(IntEnum):
    """How sure we are of an address; the surest is told first."""

    INTERFACE = 1
    BIND = 2
    MANUAL = 4


@dataclass(slots=True)
class _Local:
    address: NetAddress
    score: int


class LocalAddresses:
    """Our own addresses with their scores (`getnetworkinfo.localaddresses`)."""

    def __init__(self) -> None:
        self._all: dict[tuple[Network, bytes], _Local] = {}

    def add(self, address: NetAddress, origin: AddressOrigin) -> bool:
        """Whether it is one that others can reach."""
        if not address.is_routable and origin is not AddressOrigin.MANUAL:
            return False
        key = (address.network, address.raw)
        there = self._all.get(key)
        if there is None or there.score < origin:
            self._all[key] = _Local(address, int(origin))
        else:
            there.score += 1
        return True

    def to_tell(
        self, other: NetAddress, told: NetAddress | None, *, is_inbound: bool, port: int, entropy: Entropy
    ) -> NetAddress | None:
        """What to tell `other` of ourselves (Core: GetLocalAddrForPeer); `told` is where it says to see us.

        It may know better, behind a router that neither of us sees: believed now and then, the more rarely the
        better founded ours is. Of its port we learn something only where it dialled us.
        """
        ours = self.best_for(other)
        if told is not None and told.is_routable and other.is_routable:
            is_known = ours is not None and ours.is_routable
            is_sure = ours is not None and self.score(ours) > AddressOrigin.MANUAL
            if not is_known or entropy.below(8 if is_sure else 2) == 0:
                own_port = ours.port if ours is not None else port
                return told if is_inbound else NetAddress(told.network, told.raw, own_port)
        return ours if ours is not None and ours.is_routable else None

    def seen(self, address: NetAddress) -> None:
        """A peer reached us there."""
        there = self._all.get((address.network, address.raw))
        if there is not None:
            there.score += 1

    def score(self, address: NetAddress) -> int:
        there = self._all.get((address.network, address.raw))
        return there.score if there is not None else 0

    def remove(self, address: NetAddress) -> None:
        self._all.pop((address.network, address.raw), None)

    def is_ours(self, address: NetAddress) -> bool:
        there = self._all.get((address.network, address.raw))
        return there is not None and there.address.port == address.port

    def rows(self) -> list[tuple[NetAddress, int]]:
        return [(local.address, local.score) for local in list(self._all.values())]

    def best_for(self, other: NetAddress) -> NetAddress | None:
        """The one to tell `other`: of its own network where there is one. A Tor address is told to Tor only."""
        candidates = [local for local in list(self._all.values()) if _may_tell(local.address, other)]
        same = [local for local in candidates if local.address.network is other.network]
        best = max(same or candidates, key=lambda local: local.score, default=None)
        return None if best is None else best.address


def _may_tell(ours: NetAddress, other: NetAddress) -> bool:
    private = {Network.TORV3, Network.I2P}
    if ours.network in private or other.network in private:
        return ours.network is other.network
    return True


def interface_addresses(port: int) -> list[NetAddress]:
    """Public addresses of this machine's own name (`-discover`)."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    addresses = {parse_host(str(row[4][0]), port) for row in found}
    return [address for address in addresses if address is not None and address.is_routable]
