"""Compact block filters, BIP 157 and 158, type basic (`-blockfilterindex`).

| key | value |
|---|---|
| `m` block hash | filter hash, filter header |
| `f` block hash | the filter, as `cfilter` and `getblockfilter` have it |

Rows of blocks that were left stay: a filter belongs to its block, whatever chain that is on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from gldnode.events import BlockConnected, BlockDisconnected
from gldnode.indexes.base import Index, undo_of
from gldnode.indexes.gcs import encode_gcs, matches_any
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo
from gldnode.primitives.hashes import ZERO_HASH, BlockHash, sha256d
from storage.kv import WriteBatch

__all__ = ["BlockFilter", "BlockFilterIndex", "basic_filter", "basic_filter_matches"]

_OP_RETURN = 0x6A


@dataclass(frozen=True, slots=True)
class BlockFilter:
    """A block's basic filter, as it travels."""

    block_hash: BlockHash
    data: bytes
    hash: bytes
    header: bytes
    """Hash of `hash` and the header of the block before, wire order."""


def basic_filter(block: Block, undo: BlockUndo) -> bytes:
    """All output scripts that the block makes or spends, but empty ones and new OP_RETURN ones."""
    scripts = {output.script_pubkey for tx in block.txs for output in tx.outputs}
    scripts = {script for script in scripts if script and script[0] != _OP_RETURN}
    scripts.update(coin.script_pubkey for coins in undo for coin in coins)
    scripts.discard(b"")
    return encode_gcs(scripts, block.hash[:16])


def basic_filter_matches(data: bytes, block_hash: BlockHash, scripts: Iterable[bytes]) -> bool:
    """Whether the block may touch one of `scripts`. Raises DecodeError."""
    return matches_any(data, block_hash[:16], scripts)


class BlockFilterIndex(Index):
    """block hash → basic filter and its header."""

    name: ClassVar[str] = "basic block filter index"
    folder: ClassVar[str] = "blockfilter-basic"
    needs_undo: ClassVar[bool] = True

    def find(self, block_hash: BlockHash) -> BlockFilter | None:
        """The block's filter, None for a block that the index has not come to."""
        data, row = self._kv.get(b"f" + block_hash), self._kv.get(b"m" + block_hash)
        return None if data is None or row is None else BlockFilter(block_hash, data, row[:32], row[32:])

    def filter_hash(self, block_hash: BlockHash) -> bytes | None:
        """For `cfheaders`, without reading the filter."""
        row = self._kv.get(b"m" + block_hash)
        return None if row is None else row[:32]

    def header(self, block_hash: BlockHash) -> bytes | None:
        """For `cfheaders` and `cfcheckpt`, without reading the filter."""
        row = self._kv.get(b"m" + block_hash)
        return None if row is None else row[32:]

    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        before = ZERO_HASH
        if step.height > 0:
            row = self.pending(batch, b"m" + step.block.header.prev_hash)
            assert row is not None, "blockfilterindex: no filter header of the block before"
            before = row[32:]
        data = basic_filter(step.block, undo_of(step))
        filter_hash = sha256d(data)
        batch.put(b"f" + step.hash, data)
        batch.put(b"m" + step.hash, filter_hash + sha256d(filter_hash + before))

    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        pass
