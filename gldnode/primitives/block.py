"""Blocks and headers in Bitcoin's format."""

from collections.abc import Sequence
from struct import Struct as Packer
from typing import Final

import msgspec

from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader, compact_size
from gldnode.primitives.hashes import BlockHash, sha256d
from gldnode.primitives.tx import WITNESS_SCALE_FACTOR, Tx, read_tx

__all__ = ["HEADER_SIZE", "Block", "BlockHeader", "make_block", "make_header", "parse_block", "parse_header"]

HEADER_SIZE: Final = 80
_HEADER = Packer("<i32s32sIII")


class BlockHeader(msgspec.Struct, frozen=True, gc=False):
    """The 80 bytes that proof of work covers."""

    version: int
    """Signed 32 bits."""
    prev_hash: BlockHash
    merkle_root: bytes
    time: int
    """Unix seconds, unsigned 32 bits."""
    bits: int
    """The target in compact form."""
    nonce: int
    hash: BlockHash

    def serialize(self) -> bytes:
        return _HEADER.pack(self.version, self.prev_hash, self.merkle_root, self.time, self.bits, self.nonce)


class Block(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A block: header and transactions, with the bytes it came in."""

    header: BlockHeader
    txs: tuple[Tx, ...]
    raw: bytes

    @property
    def hash(self) -> BlockHash:
        return self.header.hash

    @property
    def total_size(self) -> int:
        """Bytes with witness."""
        return len(self.raw)

    @property
    def base_size(self) -> int:
        """Bytes without witness."""
        return HEADER_SIZE + len(compact_size(len(self.txs))) + sum(tx.base_size for tx in self.txs)

    @property
    def weight(self) -> int:
        """BIP 141."""
        return self.base_size * (WITNESS_SCALE_FACTOR - 1) + len(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.header.hash)

    def __repr__(self) -> str:
        return f"Block({self.header.hash[::-1].hex()})"


def make_header(
    version: int, prev_hash: bytes, merkle_root: bytes, time: int, bits: int, nonce: int
) -> BlockHeader:
    """A header of these fields, hashed."""
    block_hash = BlockHash(sha256d(_HEADER.pack(version, prev_hash, merkle_root, time, bits, nonce)))
    return BlockHeader(version, BlockHash(prev_hash), merkle_root, time, bits, nonce, block_hash)


def parse_header(data: bytes) -> BlockHeader:
    """The header that is exactly these 80 bytes. Raises DecodeError."""
    if len(data) != HEADER_SIZE:
        raise DecodeError(f"a block header has {HEADER_SIZE} bytes, not {len(data)}")
    version, prev_hash, merkle_root, time, bits, nonce = _HEADER.unpack(data)
    return BlockHeader(version, prev_hash, merkle_root, time, bits, nonce, BlockHash(sha256d(data)))


def make_block(header: BlockHeader, txs: Sequence[Tx]) -> Block:
    raw = b"".join((header.serialize(), compact_size(len(txs)), *(tx.raw for tx in txs)))
    return Block(header, tuple(txs), raw)


def parse_block(data: bytes, *, allow_witness: bool = True) -> Block:
    """The block that is exactly `data`. Raises DecodeError."""
    header = parse_header(data[:HEADER_SIZE])
    reader = Reader(data, HEADER_SIZE)
    count = reader.compact_size()
    if count * 10 > reader.remaining:
        raise DecodeError("block ends early")
    pos = reader.pos
    txs = []
    for _ in range(count):
        tx, pos = read_tx(data, pos, allow_witness=allow_witness)
        txs.append(tx)
    if pos != len(data):
        raise DecodeError(f"{len(data) - pos} bytes left over")
    return Block(header, tuple(txs), data)
