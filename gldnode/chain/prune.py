"""Deleting old block files (`-prune`, `pruneblockchain`)."""

from collections.abc import Callable
from typing import Final

from gldnode.chain import entry as flags
from gldnode.chain.active import ActiveChain
from gldnode.chain.blockfiles import BlockFiles
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex
from gldnode.chain.layout import PRUNED_KEY

__all__ = ["MIN_BLOCKS_TO_KEEP", "Pruner"]

MIN_BLOCKS_TO_KEEP: Final = 288
_MIB: Final = 1 << 20


class Pruner:
    """Deletes whole files, never one with a block that a follower or a reorganisation may ask for."""

    def __init__(
        self,
        index: BlockIndex,
        store: BlockFiles,
        active: ActiveChain,
        *,
        flush: Callable[[], None],
        floor: Callable[[], int],
        target_mib: int,
    ) -> None:
        """`floor` tells the lowest height whose block a follower still needs; `target_mib` is `-prune`, where
        0 and 1 prune nothing by themselves."""
        self._index = index
        self._store = store
        self._active = active
        self._flush = flush
        self._floor = floor
        self._target = target_mib * _MIB if target_mib > 1 else None
        self._looked_at = 0  # the block file that was begun when `when_full` last looked

    def to_height(self, height: int) -> int:
        """Delete the files whose blocks are all at or below `height`, as far as followers allow.

        Returns the height of the last pruned block, -1 when nothing could be.
        """
        last = min(height, self._last_allowed())
        return self._delete(lambda highest, _: highest <= last)

    def when_full(self) -> int:
        """Keep the files below the target, looking when a new one has been begun; -1 when nothing was deleted."""
        if self._target is None or self._store.current == self._looked_at:
            return -1
        self._looked_at = self._store.current
        target, last = self._target, self._last_allowed()
        return self._delete(lambda highest, total: highest <= last and total > target)

    def _last_allowed(self) -> int:
        return min(self._active.height - MIN_BLOCKS_TO_KEEP, self._floor() - 1)

    def _delete(self, may_go: Callable[[int, int], bool]) -> int:
        """Delete the files that may go; the height of the last pruned block, -1 when none was.

        `may_go` is asked with the highest height in a file and the bytes of all files that are left. The index
        forgets the blocks before the files are deleted, and the coins are flushed before that, so that they need
        none of them.
        """
        index, store = self._index, self._store
        by_file: dict[int, list[BlockEntry]] = {}
        for entry in index.entries.values():
            if entry.has_data or entry.has_undo:
                by_file.setdefault(entry.file, []).append(entry)
        total = store.total_size()
        gone: list[int] = []
        pruned = -1
        for file in store.numbers():
            entries = by_file.get(file, ())
            highest = max((entry.height for entry in entries), default=-1)  # -1: left over by a crash
            if file == store.current or not may_go(highest, total):
                continue
            gone.append(file)
            total -= store.file_size(file)
            pruned = max(pruned, highest)
        if not gone:
            return -1
        self._flush()
        for file in gone:
            for entry in by_file.get(file, ()):
                entry.status &= ~(flags.HAVE_DATA | flags.HAVE_UNDO)
                index.touch(entry)
        known = index.read_flag(PRUNED_KEY)
        below = max(pruned + 1, 0 if known is None else int.from_bytes(known, "little"))
        index.commit(self._active.tip.hash, pruned_below=below)
        for file in gone:
            store.delete(file)
        return pruned
