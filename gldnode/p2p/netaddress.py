"""Network addresses of peers: IPv4, IPv6, Tor v3, I2P and CJDNS, in the forms of `addr` and BIP 155 `addrv2`."""

import base64
import hashlib
import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gldnode.errors import DecodeError

__all__ = ["NetAddress", "Network", "parse_host", "seen_address"]

_MAPPED: Final = bytes(10) + b"\xff\xff"
_TRANSLATED: Final = (bytes.fromhex("0064ff9b") + bytes(8), bytes(8) + b"\xff\xff\0\0")
_6TO4: Final = bytes.fromhex("2002")
_TEREDO: Final = bytes.fromhex("20010000")
_DOCUMENTATION: Final = bytes.fromhex("20010db8")
_HURRICANE: Final = bytes.fromhex("20010470")


class Network(IntEnum):
    """BIP 155 network ids."""

    IPV4 = 1
    IPV6 = 2
    TORV2 = 3
    TORV3 = 4
    I2P = 5
    CJDNS = 6

    @property
    def rpc_name(self) -> str:
        """As `getnodeaddresses` and `-onlynet` write it."""
        return {
            Network.IPV4: "ipv4",
            Network.IPV6: "ipv6",
            Network.TORV2: "onion",
            Network.TORV3: "onion",
            Network.I2P: "i2p",
            Network.CJDNS: "cjdns",
        }[self]


SIZES: Final = {
    Network.IPV4: 4,
    Network.IPV6: 16,
    Network.TORV2: 10,
    Network.TORV3: 32,
    Network.I2P: 32,
    Network.CJDNS: 16,
}


def _onion_text(key: bytes) -> str:
    checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + checksum + b"\x03").decode().lower() + ".onion"


@dataclass(frozen=True, slots=True)
class NetAddress:
    """A peer's address and port."""

    network: Network
    raw: bytes
    """The network's own bytes (4 for IPv4, 32 for Tor v3 …)."""
    port: int

    @property
    def host(self) -> str:
        """Text without the port, as `connect` takes it."""
        match self.network:
            case Network.IPV4:
                return str(ipaddress.IPv4Address(self.raw))
            case Network.IPV6 | Network.CJDNS:
                return str(ipaddress.IPv6Address(self.raw))
            case Network.TORV3:
                return _onion_text(self.raw)
            case Network.TORV2:
                return base64.b32encode(self.raw).decode().lower() + ".onion"
            case Network.I2P:
                return base64.b32encode(self.raw).decode().lower().rstrip("=") + ".b32.i2p"

    def __str__(self) -> str:
        host = self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def is_routable(self) -> bool:
        """Whether it is an address on the public network (Core: IsRoutable); loopback and private ones are not."""
        match self.network:
            case Network.IPV4:
                return ipaddress.IPv4Address(self.raw).is_global
            case Network.IPV6:
                return ipaddress.IPv6Address(self.raw).is_global
            case Network.CJDNS:
                return self.raw[0] == 0xFC
            case Network.TORV2:
                return False
            case _:
                return True

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's loopback (Core: IsLocal)."""
        match self.network:
            case Network.IPV4:
                return self.raw[0] in {0, 127}
            case Network.IPV6:
                return self.raw == bytes(15) + b"\x01"
            case _:
                return False

    @property
    def linked_ipv4(self) -> bytes | None:
        """The IPv4 address that it is, or that an IPv6 one is a tunnel or a translation of; None for others."""
        if self.network is Network.IPV4:
            return self.raw
        if self.network is not Network.IPV6:
            return None
        if self.raw.startswith(_TRANSLATED):  # RFC 6052, RFC 6145
            return self.raw[12:]
        if self.raw.startswith(_6TO4):  # RFC 3964
            return self.raw[2:6]
        if self.raw.startswith(_TEREDO):  # RFC 4380
            return bytes(byte ^ 0xFF for byte in self.raw[12:])
        return None

    @property
    def group(self) -> bytes:
        """Addresses of one group are likely one operator's: IPv4 /16, IPv6 /32, 4 bits of a Tor or I2P key.

        As Core's GetGroup does without a map of autonomous systems (`NetGroups`).
        """
        prefix = bytes((self.network,))
        linked = self.linked_ipv4
        if linked is not None:
            return bytes((Network.IPV4,)) + linked[:2]
        match self.network:
            case Network.IPV6 if self.raw.startswith(_HURRICANE):  # gives everybody a /48 of its own /32
                return prefix + self.raw[:4] + bytes((self.raw[4] | 0x0F,))
            case Network.IPV6:
                return prefix + self.raw[:4]
            case Network.CJDNS:
                return prefix + bytes((self.raw[0], self.raw[1] & 0xF0))
            case _:
                return prefix + bytes((self.raw[0] & 0xF0,))

    def to_v1(self) -> bytes:
        """The 18 bytes of the old form; networks that it cannot hold become all zero."""
        match self.network:
            case Network.IPV4:
                ip = _MAPPED + self.raw
            case Network.IPV6:
                ip = self.raw
            case _:
                ip = bytes(16)
        return ip + self.port.to_bytes(2, "big")

    @classmethod
    def from_v1(cls, data: bytes) -> "NetAddress":
        """From 16 address bytes and a big-endian port."""
        if len(data) != 18:
            raise DecodeError("an old-form address has 18 bytes")
        ip, port = data[:16], int.from_bytes(data[16:], "big")
        if ip.startswith(_MAPPED):
            return cls(Network.IPV4, ip[12:], port)
        return cls(Network.IPV6, ip, port)


def seen_address(field: bytes) -> NetAddress | None:
    """The address in 26 bytes of `version` (services, address); None for one that cannot be anybody's."""
    address = NetAddress.from_v1(field[8:])
    empty = not any(address.raw) or address.raw == b"\xff\xff\xff\xff"
    example = address.network is Network.IPV6 and address.raw.startswith(_DOCUMENTATION)
    return None if empty or example else address


def parse_host(text: str, port: int) -> NetAddress | None:
    """The address that `text` is, None for a name that needs a look-up. Raises DecodeError for a bad onion."""
    lowered = text.lower().rstrip(".")
    if lowered.endswith(".onion"):
        try:
            raw = base64.b32decode(lowered[:-6].upper())
        except ValueError:
            raise DecodeError(f"not an onion address: {text[:80]}") from None
        if len(raw) != 35 or _onion_text(raw[:32]) != lowered:
            raise DecodeError(f"not a version 3 onion address: {text[:80]}")
        return NetAddress(Network.TORV3, raw[:32], port)
    if lowered.endswith(".b32.i2p"):
        try:
            raw = base64.b32decode(lowered[:-8].upper() + "====")
        except ValueError:
            raise DecodeError(f"not an I2P address: {text[:80]}") from None
        if len(raw) != 32:
            raise DecodeError(f"not an I2P address: {text[:80]}")
        return NetAddress(Network.I2P, raw, port)
    try:
        ip = ipaddress.ip_address(lowered.split("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    network = Network.IPV4 if ip.version == 4 else Network.IPV6
    return NetAddress(network, ip.packed, port)
