"""What anyone may ask about the chain, from any thread, without waiting for validation."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from gldnode.chain import entry as flags
from gldnode.chain.activate import read_body, read_undo
from gldnode.chain.active import ActiveChain
from gldnode.chain.assumed import Assumptions
from gldnode.chain.blockfiles import BlockFileDamaged, BlockFiles
from gldnode.chain.coins import CoinsCache
from gldnode.chain.entry import BlockEntry
from gldnode.chain.follow import steps_after
from gldnode.chain.index import BlockIndex
from gldnode.chain.layout import PRUNED_KEY
from gldnode.chain.options import ChainOptions, ChainTip
from gldnode.chain.space import DiskSpace
from gldnode.chain.tips import chain_tips, strongest_rival
from gldnode.clock import Clock
from gldnode.events import ChainStep, Cursor, Rival, Tip
from gldnode.params import ChainParams
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo, Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint

__all__ = ["ChainReader"]

T = TypeVar("T")


class ChainReader:
    """The reading half of `Chainstate`."""

    params: ChainParams
    options: ChainOptions
    clock: Clock
    durable_height: int
    """Followers are shown the active chain up to here."""
    _index: BlockIndex
    _store: BlockFiles
    _coins: CoinsCache
    _active: ActiveChain
    _assumptions: Assumptions
    _space: DiskSpace
    _ibd_over: bool

    @property
    def tip(self) -> Tip:
        return self._active.tip

    @property
    def tip_entry(self) -> BlockEntry:
        return self._active.tip_entry

    @property
    def best_header(self) -> BlockEntry:
        """The header with most work whose chain has not failed; its body may not be here."""
        return self._index.best_header

    @property
    def minimum_chain_work(self) -> int:
        return self._assumptions.minimum_work

    @property
    def is_initial_block_download(self) -> bool:
        """Until the tip has enough work and is recent; then never again (Core: IsInitialBlockDownload)."""
        if not self._ibd_over:
            tip = self._active.tip
            self._ibd_over = (
                tip.chain_work >= self.minimum_chain_work
                and tip.time >= self.clock.now() - self.options.max_tip_age_s
            )
        return not self._ibd_over

    def entry(self, block_hash: bytes) -> BlockEntry | None:
        """A known header's entry."""
        return self._index.get(block_hash)

    def entry_at(self, height: int) -> BlockEntry | None:
        """The active chain's block at `height`; None above the tip or below 0."""
        return self._active.at(height)

    def next_in_chain(self, entry: BlockEntry) -> BlockEntry | None:
        """What follows `entry` on the active chain; None for the tip and for a stale block."""
        return self._active.after(entry)

    def is_active(self, entry: BlockEntry) -> bool:
        return self._active.contains(entry)

    def entries(self) -> Collection[BlockEntry]:
        """All known headers."""
        return list(self._index.entries.values())

    def chain_tips(self) -> list[ChainTip]:
        """`getchaintips`: every branch's end, the highest first."""
        return chain_tips(self._index, self._active)

    def rival(self) -> Rival | None:
        """The strongest branch within one block's work of the tip; None where nothing competes. Any thread."""
        return strongest_rival(self._index, self._active)

    def block_hash(self, height: int) -> BlockHash | None:
        entry = self._active.at(height)
        return None if entry is None else entry.hash

    def height_of(self, block_hash: bytes) -> int | None:
        """Height of an active-chain block, None for an unknown or stale one."""
        entry = self._index.get(block_hash)
        return entry.height if entry is not None and self._active.contains(entry) else None

    def header(self, block_hash: bytes) -> bytes | None:
        entry = self._index.get(block_hash)
        return None if entry is None else entry.header_bytes

    def read_block(self, block_hash: bytes) -> Block | None:
        """A stored block; None when unknown or pruned. Raises BlockFileDamaged, StorageError."""
        entry = self._index.get(block_hash)
        return None if entry is None else self._body_of(entry)

    def read_block_bytes(self, block_hash: bytes) -> bytes | None:
        """A stored block's bytes; None when unknown or pruned."""
        entry = self._index.get(block_hash)
        if entry is None or not entry.has_data:
            return None
        return self._store.read_block(entry.file, entry.data_pos)

    block_bytes = read_block_bytes

    def read_block_part(self, block_hash: bytes, offset: int, count: int) -> bytes | None:
        """`count` bytes of a stored block from `offset` on; None when unknown or pruned."""
        entry = self._index.get(block_hash)
        if entry is None or not entry.has_data:
            return None
        return self._store.read_part(entry.file, entry.data_pos, offset, count)

    def read_undo(self, block_hash: bytes) -> BlockUndo | None:
        """The coins that a connected block spent; () for genesis, None when not stored."""
        entry = self._index.get(block_hash)
        return None if entry is None else self._undo_of(entry)

    def coin(self, prevout: OutPoint) -> Coin | None:
        """The unspent confirmed output, without regard to the mempool."""
        return self._coins.get(prevout)

    def locator(self, entry: BlockEntry | None = None) -> list[BlockHash]:
        """Hashes from `entry` (the tip) back to genesis with growing gaps."""
        return self._active.locator(entry)

    def find_fork(self, locator: Sequence[bytes]) -> BlockEntry:
        """The highest active block that the locator names; genesis when none."""
        known = (self._index.get(block_hash) for block_hash in locator)
        return self._active.find_fork([entry for entry in known if entry is not None])

    def steps_after(
        self, cursor: Cursor, limit: int, max_bytes: int = 32_000_000, with_undo: bool = False
    ) -> list[ChainStep]:
        """What follows the cursor: durable connects in order, or disconnects back to the active chain.

        Raises UnknownCursor, BlockUnavailable.
        """
        return steps_after(
            cursor,
            find=self._index.get,
            active=self._active,
            durable_height=lambda: self.durable_height,
            body=self._body_of,
            undo=self._undo_of if with_undo else lambda entry: None,
            limit=limit,
            max_bytes=max_bytes,
        )

    def has_blocks_after(self, cursor: Cursor) -> bool:
        """Whether `steps_after` can lead from here to the tip: False where blocks on the way have been pruned.

        True for a cursor whose block is not known.
        """
        entry, pruned = self._index.get(cursor.hash), self.prune_height
        if entry is None or pruned is None:
            return True
        fork = self._active.fork_with(entry)
        while entry is not fork:
            if not entry.has_data or entry.prev is None:
                return False
            entry = entry.prev
        following = (self._active.at(height) for height in range(fork.height + 1, pruned))
        return all(block is None or block.has_data for block in following)

    def _body_of(self, entry: BlockEntry) -> Block | None:
        return _unless_pruned(entry, flags.HAVE_DATA, lambda: read_body(self._store, entry))

    def _undo_of(self, entry: BlockEntry) -> BlockUndo | None:
        if entry.height == 0:
            return ()
        return _unless_pruned(entry, flags.HAVE_UNDO, lambda: read_undo(self._store, entry))

    @property
    def size_on_disk(self) -> int:
        """Bytes of blocks and undo data."""
        return self._store.total_size()

    @property
    def warnings(self) -> list[str]:
        """What the operator should see to."""
        warning = self._space.warning
        return [] if warning is None else [warning]

    @property
    def prune_height(self) -> int | None:
        """The lowest height from which all blocks are stored; None while nothing has been pruned."""
        stored = self._index.read_flag(PRUNED_KEY)
        return None if stored is None else int.from_bytes(stored, "little")


def _unless_pruned(entry: BlockEntry, stored: int, read: Callable[[], T]) -> T | None:
    """What `read` gives, None where the entry's files are gone, even if only since a moment."""
    if not entry.status & stored:
        return None
    try:
        return read()
    except BlockFileDamaged:
        if entry.status & stored:
            raise
        return None
