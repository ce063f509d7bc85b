"""Which transaction has spent an output (`-txospenderindex`).

| key | value |
|---|---|
| `s` outpoint (36 bytes) | height (u32), input's index (u32), txid of the spender |
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from gldnode.events import BlockConnected, BlockDisconnected
from gldnode.indexes.base import Index
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import OutPoint
from storage.keys import u32
from storage.kv import WriteBatch

__all__ = ["Spender", "TxoSpenderIndex"]

_ROW = Struct(">II32s")


@dataclass(frozen=True, slots=True)
class Spender:
    """The input that spent an output."""

    txid: Txid
    vin: int
    block_hash: BlockHash
    height: int


class TxoSpenderIndex(Index):
    """outpoint → confirmed spender."""

    name: ClassVar[str] = "txospenderindex"
    folder: ClassVar[str] = "txospenderindex"

    def find(self, prevout: OutPoint) -> Spender | None:
        """Who spent the output in a block of the active chain; None when it is unspent or unknown."""
        with self._kv.snapshot() as moment:
            row = moment.get(b"s" + prevout)
            if row is None:
                return None
            height, vin, txid = _ROW.unpack(row)
            block_hash = moment.get(b"h" + u32(height))
        assert block_hash is not None, "txospenderindex: a row without its block"
        return Spender(Txid(txid), vin, BlockHash(block_hash), height)

    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        for tx in step.block.txs[1:]:
            for vin, txin in enumerate(tx.inputs):
                batch.put(b"s" + txin.prevout, _ROW.pack(step.height, vin, tx.txid))

    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        for tx in step.block.txs[1:]:
            for txin in tx.inputs:
                batch.delete(b"s" + txin.prevout)
