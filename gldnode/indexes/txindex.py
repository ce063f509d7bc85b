"""Where every confirmed transaction is (`-txindex`).

| key | value |
|---|---|
| `t` txid | height (u32), offset in the block's bytes (u32), size (u32) |

The genesis block's transaction is left out, as Core does: its output is no coin.
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from gldnode.events import BlockConnected, BlockDisconnected
from gldnode.indexes.base import Index
from gldnode.primitives.block import HEADER_SIZE
from gldnode.primitives.codec import compact_size
from gldnode.primitives.hashes import BlockHash, Txid
from storage.keys import u32
from storage.kv import WriteBatch

__all__ = ["TxIndex", "TxLocation"]

_ROW = Struct(">III")


@dataclass(frozen=True, slots=True)
class TxLocation:
    """A transaction's place in a block."""

    block_hash: BlockHash
    height: int
    offset: int
    """Of its first byte in the serialised block."""
    size: int


class TxIndex(Index):
    """txid → block and position."""

    name: ClassVar[str] = "txindex"
    folder: ClassVar[str] = "txindex"

    def find(self, txid: Txid) -> TxLocation | None:
        """Where the transaction is, None when no block of the active chain has it."""
        with self._kv.snapshot() as moment:
            row = moment.get(b"t" + txid)
            if row is None:
                return None
            height, offset, size = _ROW.unpack(row)
            block_hash = moment.get(b"h" + u32(height))
        assert block_hash is not None, "txindex: a row without its block"
        return TxLocation(BlockHash(block_hash), height, offset, size)

    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        if step.height == 0:
            return
        offset = HEADER_SIZE + len(compact_size(len(step.block.txs)))
        for tx in step.block.txs:
            size = len(tx.raw)
            batch.put(b"t" + tx.txid, _ROW.pack(step.height, offset, size))
            offset += size

    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        for tx in step.block.txs:
            batch.delete(b"t" + tx.txid)
