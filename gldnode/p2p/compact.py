"""Compact blocks, BIP 152 version 2: a block as short ids of transactions that the other side has already."""

from collections.abc import Iterable
from typing import Final

from gldnode.p2p.messages import CompactBlock
from gldnode.primitives.block import Block, BlockHeader, make_block
from gldnode.primitives.hashes import sha256
from gldnode.primitives.siphash import siphash
from gldnode.primitives.tx import Tx

__all__ = ["COMPACT_VERSION", "PartialBlock", "ShortIdCollision", "make_compact", "short_id_key"]

COMPACT_VERSION: Final = 2
_SHORT_ID_MASK: Final = (1 << 48) - 1


class ShortIdCollision(Exception):
    """Two transactions of the block share a short id: ask for the whole block."""


def short_id_key(header: BlockHeader, nonce: int) -> tuple[int, int]:
    """The SipHash key of one compact block."""
    digest = sha256(header.serialize() + nonce.to_bytes(8, "little"))
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def short_id(key: tuple[int, int], wtxid: bytes) -> bytes:
    return (siphash(*key, wtxid) & _SHORT_ID_MASK).to_bytes(6, "little")


def make_compact(block: Block, nonce: int) -> CompactBlock:
    """`block` with its coinbase whole and the rest as short ids."""
    key = short_id_key(block.header, nonce)
    return CompactBlock(
        block.header, nonce, [short_id(key, tx.wtxid) for tx in block.txs[1:]], [(0, block.txs[0])]
    )


class PartialBlock:
    """A compact block that is being completed."""

    def __init__(self, compact: CompactBlock) -> None:
        """Raises ShortIdCollision."""
        total = len(compact.short_ids) + len(compact.prefilled)
        self.header = compact.header
        self._txs: list[Tx | None] = [None] * total
        for index, tx in compact.prefilled:
            self._txs[index] = tx
        self._key = short_id_key(compact.header, compact.nonce)
        self._places: dict[bytes, int] = {}
        empty = (index for index, tx in enumerate(self._txs) if tx is None)
        for index, name in zip(empty, compact.short_ids, strict=True):
            if name in self._places:
                raise ShortIdCollision
            self._places[name] = index
        self._collided: set[bytes] = set()

    def fill(self, txs: Iterable[Tx]) -> None:
        """Put in what we have. Two different transactions for one place: the place stays empty."""
        places = self._places
        for tx in txs:
            name = short_id(self._key, tx.wtxid)
            index = places.get(name)
            if index is None or name in self._collided:
                continue
            there = self._txs[index]
            if there is None:
                self._txs[index] = tx
            elif there.wtxid != tx.wtxid:
                self._txs[index] = None
                self._collided.add(name)

    @property
    def missing(self) -> list[int]:
        """Indexes to ask for."""
        return [index for index, tx in enumerate(self._txs) if tx is None]

    def complete(self, txs: Iterable[Tx]) -> Block | None:
        """The block with the asked-for transactions put in; None when their number is wrong."""
        rest = iter(txs)
        done: list[Tx] = []
        for tx in self._txs:
            taken = tx if tx is not None else next(rest, None)
            if taken is None:
                return None
            done.append(taken)
        if next(rest, None) is not None:
            return None
        return make_block(self.header, done)
