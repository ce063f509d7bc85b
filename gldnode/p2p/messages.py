"""The messages of the peer-to-peer protocol, each with `encode` and `decode`.

Every decoder bounds its counts before it builds anything and raises DecodeError for bytes that do not parse.
Bytes behind a complete message are ignored where Core ignores them (`version`, `ping`, …).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Self

from gldnode.errors import DecodeError
from gldnode.p2p.netaddress import SIZES, NetAddress, Network
from gldnode.primitives.block import HEADER_SIZE, BlockHeader, parse_header
from gldnode.primitives.codec import Reader, compact_size, var_bytes
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import Tx, read_tx

__all__ = [
    "MAX_ADDRS",
    "MAX_HEADERS",
    "MAX_INV",
    "MAX_LOCATOR",
    "Addr",
    "AddrV2",
    "BlockTxn",
    "CompactBlock",
    "FeeFilter",
    "GetBlockTxn",
    "Headers",
    "InvItem",
    "InvType",
    "Inventory",
    "Locator",
    "Ping",
    "SendCompact",
    "Services",
    "TimedAddress",
    "Version",
    "count_of",
]

MAX_INV: Final = 50_000
MAX_HEADERS: Final = 2_000
MAX_LOCATOR: Final = 101
MAX_ADDRS: Final = 1_000
_MAX_SUBVERSION: Final = 256


def count_of(payload: bytes) -> int:
    """How many items a list says it has, for the log. Raises DecodeError."""
    return Reader(payload).compact_size((1 << 64) - 1)


class Services(IntFlag):
    """What a node offers (BIP 14 service bits)."""

    NONE = 0
    NETWORK = 1 << 0
    BLOOM = 1 << 2
    WITNESS = 1 << 3
    COMPACT_FILTERS = 1 << 6
    NETWORK_LIMITED = 1 << 10
    P2P_V2 = 1 << 11


class InvType(IntEnum):
    """What an inventory item names; the witness flag is bit 30."""

    TX = 1
    BLOCK = 2
    FILTERED_BLOCK = 3
    COMPACT_BLOCK = 4
    WTX = 5
    WITNESS_TX = 0x40000001
    WITNESS_BLOCK = 0x40000002


@dataclass(frozen=True, slots=True)
class Version:
    """The first message of each side."""

    protocol: int
    services: int
    time: int
    receiver: bytes
    """26 bytes: services and old-form address of the other side."""
    sender: bytes
    nonce: bytes
    """8 bytes; our own coming back means that we have dialled ourselves."""
    subversion: str
    start_height: int
    relay: bool

    def encode(self) -> bytes:
        return b"".join(
            (
                self.protocol.to_bytes(4, "little", signed=True),
                self.services.to_bytes(8, "little"),
                self.time.to_bytes(8, "little", signed=True),
                self.receiver,
                self.sender,
                self.nonce,
                var_bytes(self.subversion.encode()),
                self.start_height.to_bytes(4, "little", signed=True),
                bytes((self.relay,)),
            )
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        protocol, services, time = reader.i32(), reader.u64(), reader.i64()
        receiver = reader.take(26)
        sender, nonce = bytes(26), bytes(8)
        subversion, start_height, relay = "", -1, True
        if reader.remaining:  # each later field came with a later protocol version
            sender, nonce = reader.take(26), reader.take(8)
        if reader.remaining:
            raw = reader.var_bytes(_MAX_SUBVERSION)
            subversion = "".join(chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in raw)
        if reader.remaining:
            start_height = reader.i32()
        if reader.remaining:
            relay = reader.u8() != 0
        return cls(protocol, services, time, receiver, sender, nonce, subversion, start_height, relay)


@dataclass(frozen=True, slots=True)
class Ping:
    """`ping` and `pong`: the nonce comes back."""

    nonce: int

    def encode(self) -> bytes:
        return self.nonce.to_bytes(8, "little")

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(Reader(payload).u64())


@dataclass(frozen=True, slots=True)
class InvItem:
    """One thing that can be asked for."""

    type: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Inventory:
    """`inv`, `getdata`, `notfound`."""

    items: Sequence[InvItem]

    def encode(self) -> bytes:
        return compact_size(len(self.items)) + b"".join(
            item.type.to_bytes(4, "little") + item.hash for item in self.items
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        count = reader.compact_size(MAX_INV)
        if count * 36 > reader.remaining:
            raise DecodeError("inventory ends early")
        return cls([InvItem(reader.u32(), reader.take(32)) for _ in range(count)])


@dataclass(frozen=True, slots=True)
class Locator:
    """`getheaders` and `getblocks`: where the asker is, newest first, and where to stop."""

    hashes: Sequence[BlockHash]
    stop: bytes
    protocol: int = 70016

    def encode(self) -> bytes:
        return b"".join(
            (self.protocol.to_bytes(4, "little"), compact_size(len(self.hashes)), *self.hashes, self.stop)
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        protocol = reader.u32()
        count = reader.compact_size(MAX_LOCATOR)
        hashes = [BlockHash(reader.take(32)) for _ in range(count)]
        return cls(hashes, reader.take(32), protocol)


@dataclass(frozen=True, slots=True)
class Headers:
    """`headers`: at most 2,000, each followed by a transaction count that means nothing."""

    headers: Sequence[BlockHeader]

    def encode(self) -> bytes:
        return compact_size(len(self.headers)) + b"".join(header.serialize() + b"\0" for header in self.headers)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        count = reader.compact_size(MAX_HEADERS)
        if count * (HEADER_SIZE + 1) > reader.remaining:
            raise DecodeError("headers end early")
        headers = []
        for _ in range(count):
            headers.append(parse_header(reader.take(HEADER_SIZE)))
            reader.compact_size()
        return cls(headers)


@dataclass(frozen=True, slots=True)
class FeeFilter:
    """`feefilter`, BIP 133: announce nothing below this feerate (base units per 1,000 virtual bytes)."""

    feerate_per_kvb: int

    def encode(self) -> bytes:
        return self.feerate_per_kvb.to_bytes(8, "little", signed=True)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        return cls(Reader(payload).i64())


@dataclass(frozen=True, slots=True)
class SendCompact:
    """`sendcmpct`, BIP 152."""

    high_bandwidth: bool
    version: int

    def encode(self) -> bytes:
        return bytes((self.high_bandwidth,)) + self.version.to_bytes(8, "little")

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        return cls(reader.u8() == 1, reader.u64())


@dataclass(frozen=True, slots=True)
class TimedAddress:
    """An address somebody gossiped, and when it was last heard of (Unix seconds)."""

    time: int
    services: int
    address: NetAddress


@dataclass(frozen=True, slots=True)
class Addr:
    """`addr`, the old form: IPv4 and IPv6 only."""

    addresses: Sequence[TimedAddress]

    def encode(self) -> bytes:
        return compact_size(len(self.addresses)) + b"".join(
            item.time.to_bytes(4, "little") + item.services.to_bytes(8, "little") + item.address.to_v1()
            for item in self.addresses
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        count = reader.compact_size(MAX_ADDRS)
        if count * 30 > reader.remaining:
            raise DecodeError("addresses end early")
        return cls(
            [TimedAddress(reader.u32(), reader.u64(), NetAddress.from_v1(reader.take(18))) for _ in range(count)]
        )


@dataclass(frozen=True, slots=True)
class AddrV2:
    """`addrv2`, BIP 155. Unknown networks are skipped; a known one with a wrong length is a DecodeError."""

    addresses: Sequence[TimedAddress]

    def encode(self) -> bytes:
        return compact_size(len(self.addresses)) + b"".join(
            b"".join(
                (
                    item.time.to_bytes(4, "little"),
                    compact_size(item.services),
                    bytes((item.address.network,)),
                    var_bytes(item.address.raw),
                    item.address.port.to_bytes(2, "big"),
                )
            )
            for item in self.addresses
        )

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        count = reader.compact_size(MAX_ADDRS)
        found = []
        for _ in range(count):
            time, services = reader.u32(), reader.compact_size((1 << 64) - 1)
            network_id, raw, port = reader.u8(), reader.var_bytes(512), reader.u16_be()
            try:
                network = Network(network_id)
            except ValueError:
                continue
            if len(raw) != SIZES[network]:
                raise DecodeError(f"{network.name} address of {len(raw)} bytes")
            if network is Network.TORV2:
                continue
            found.append(TimedAddress(time, services, NetAddress(network, raw, port)))
        return cls(found)


@dataclass(frozen=True, slots=True)
class CompactBlock:
    """`cmpctblock`, BIP 152 version 2: short ids of wtxids, and some transactions whole."""

    header: BlockHeader
    nonce: int
    short_ids: Sequence[bytes]
    """6 bytes each."""
    prefilled: Sequence[tuple[int, Tx]]
    """(index in the block, transaction), ascending."""

    def encode(self) -> bytes:
        parts = [self.header.serialize(), self.nonce.to_bytes(8, "little"), compact_size(len(self.short_ids))]
        parts += self.short_ids
        parts.append(compact_size(len(self.prefilled)))
        last = -1
        for index, tx in self.prefilled:
            parts += (compact_size(index - last - 1), tx.raw)
            last = index
        return b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        header = parse_header(reader.take(HEADER_SIZE))
        nonce = reader.u64()
        count = reader.compact_size()
        if count * 6 > reader.remaining:
            raise DecodeError("short ids end early")
        short_ids = [reader.take(6) for _ in range(count)]
        prefilled: list[tuple[int, Tx]] = []
        last = -1
        for _ in range(reader.compact_size()):
            last += 1 + reader.compact_size(0xFFFF)
            tx, reader.pos = read_tx(payload, reader.pos)
            prefilled.append((last, tx))
        total = len(short_ids) + len(prefilled)
        if total > 0xFFFF or (prefilled and prefilled[-1][0] >= total):
            raise DecodeError("compact block index out of range")
        return cls(header, nonce, short_ids, prefilled)


@dataclass(frozen=True, slots=True)
class GetBlockTxn:
    """`getblocktxn`: the transactions of a compact block that the asker lacks."""

    block_hash: BlockHash
    indexes: Sequence[int]

    def encode(self) -> bytes:
        parts = [self.block_hash, compact_size(len(self.indexes))]
        last = -1
        for index in self.indexes:
            parts.append(compact_size(index - last - 1))
            last = index
        return b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        block_hash = BlockHash(reader.take(32))
        count = reader.compact_size()
        if count > reader.remaining:
            raise DecodeError("indexes end early")
        indexes, last = [], -1
        for _ in range(count):
            last += 1 + reader.compact_size(0xFFFF)
            if last > 0xFFFF:
                raise DecodeError("index out of range")
            indexes.append(last)
        return cls(block_hash, indexes)


@dataclass(frozen=True, slots=True)
class BlockTxn:
    """`blocktxn`: the answer, in the order asked."""

    block_hash: BlockHash
    txs: Sequence[Tx]

    def encode(self) -> bytes:
        return b"".join((self.block_hash, compact_size(len(self.txs)), *(tx.raw for tx in self.txs)))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        reader = Reader(payload)
        block_hash = BlockHash(reader.take(32))
        count = reader.compact_size()
        if count * 10 > reader.remaining:
            raise DecodeError("transactions end early")
        txs = []
        for _ in range(count):
            tx, reader.pos = read_tx(payload, reader.pos)
            txs.append(tx)
        return cls(block_hash, txs)
