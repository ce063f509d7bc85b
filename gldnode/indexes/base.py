"""What every index has in common: a database of its own that follows the chain.

Keys of every index (the modules' docstrings have the rest):

| key | value |
|---|---|
| 00 `schema` | schema number, decimal digits |
| 00 `cursor` | hash and height (u32) of the last block that is in the index |
| `h` height | hash of the index's block at that height |

Rows and cursor are written in one batch, never synced: an index that has lost its last batches in a power cut
stands at an older cursor and goes on from there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from gldnode.events import BlockConnected, BlockDisconnected, ChainStep, Cursor
from gldnode.params import ChainParams
from gldnode.primitives.coin import BlockUndo
from gldnode.primitives.hashes import BlockHash
from storage.errors import DatabaseCorrupt
from storage.keys import u32
from storage.kv import KV, KVReader, WriteBatch
from storage.schema import ensure_schema

__all__ = ["Index", "open_index", "undo_of"]

_CURSOR_KEY = b"\x00cursor"

IndexT = TypeVar("IndexT", bound="Index")


class Index(ABC):
    """A derived database. `advance` in one thread at a time; everything else from any thread."""

    name: ClassVar[str]
    """As `getindexinfo` has it."""
    folder: ClassVar[str]
    """Below `indexes/`."""
    schema: ClassVar[int] = 1
    needs_undo: ClassVar[bool] = False
    """Whether its steps must carry the spent coins."""

    def __init__(self, kv: KV, params: ChainParams) -> None:
        ensure_schema(kv, self.schema)
        self._kv = kv
        self.params = params
        self.synced = False
        """Whether it has been at the node's tip since the start (Core: m_synced)."""
        stored = kv.get(_CURSOR_KEY)
        if stored is None:
            batch = WriteBatch()
            genesis = params.genesis
            self._best = self._connect(BlockConnected(genesis.hash, 0, genesis, 0, ()), batch)
            kv.write(batch, sync=False)
        else:
            if len(stored) != 36:
                raise DatabaseCorrupt(f"{self.name}: the cursor has {len(stored)} bytes")
            self._best = Cursor(BlockHash(stored[:32]), int.from_bytes(stored[32:], "big"))

    @property
    def best(self) -> Cursor:
        """The last block that is in the index."""
        return self._best

    @property
    def best_height(self) -> int:
        return self._best.height

    def progress(self, tip_height: int) -> float:
        """The share of the chain's blocks that are in the index, 0 to 1."""
        return min(1.0, (self._best.height + 1) / (tip_height + 1))

    def block_hash(self, height: int) -> BlockHash | None:
        """The index's block at `height`; while it catches up, not always the node's."""
        return _block_hash(self._kv, height)

    def advance(self, steps: Sequence[ChainStep]) -> None:
        """Take these steps, all or none."""
        batch, best = self.apply(steps)
        self._kv.write(batch, sync=False)
        self._best = best

    def apply(self, steps: Sequence[ChainStep]) -> tuple[WriteBatch, Cursor]:
        """What these steps, which must follow `best`, change; and where the index stands afterwards."""
        batch = WriteBatch()
        best = self._best
        for step in steps:
            if isinstance(step, BlockConnected):
                assert step.block.header.prev_hash == best.hash, f"{self.name}: a block that does not follow"
                best = self._connect(step, batch)
            else:
                assert step.hash == best.hash, f"{self.name}: disconnects a block that is not its last"
                best = self._disconnect(step, batch)
        return batch, best

    def _connect(self, step: BlockConnected, batch: WriteBatch) -> Cursor:
        self.connect(step, batch)
        batch.put(b"h" + u32(step.height), step.hash)
        return _move(batch, Cursor(step.hash, step.height))

    def _disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> Cursor:
        self.disconnect(step, batch)
        batch.delete(b"h" + u32(step.height))
        return _move(batch, Cursor(BlockHash(step.prev_hash), step.height - 1))

    @abstractmethod
    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        """Add a block's rows. The genesis block comes too, at height 0."""

    @abstractmethod
    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        """Take a block's rows away again."""

    def pending(self, batch: WriteBatch, key: bytes) -> bytes | None:
        """The value of `key` as it will be when `batch` is written."""
        return batch.ops[key] if key in batch.ops else self._kv.get(key)

    def close(self) -> None:
        self._kv.close()


def _move(batch: WriteBatch, cursor: Cursor) -> Cursor:
    batch.put(_CURSOR_KEY, cursor.hash + u32(cursor.height))
    return cursor


def _block_hash(reader: KVReader, height: int) -> BlockHash | None:
    stored = reader.get(b"h" + u32(height))
    return None if stored is None else BlockHash(stored)


def undo_of(step: ChainStep) -> BlockUndo:
    """The step's spent coins, which the index has asked for."""
    assert step.undo is not None, "the steps come without undo data"
    assert len(step.undo) == max(0, len(step.block.txs) - 1) or step.height == 0
    return step.undo


def open_index(
    kind: type[IndexT], indexes_dir: Path, open_kv: Callable[[Path], KV], params: ChainParams
) -> IndexT:
    """The index of that kind in its own folder, made at the genesis block where there is none."""
    return kind(open_kv(indexes_dir / kind.folder), params)
