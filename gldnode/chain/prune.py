"""Deleting old block files (`-prune`)."""

from collections.abc import Callable

from gldnode.chain import entry as flags
from gldnode.chain.blockfiles import BlockFiles
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex
from gldnode.chain.layout import PRUNED_KEY
from gldnode.events import Tip

__all__ = ["prune_files"]


def prune_files(
    index: BlockIndex,
    store: BlockFiles,
    tip: Tip,
    flush: Callable[[], None],
    may_go: Callable[[int, int], bool],
) -> int:
    """Delete the files that may go; the height of the last pruned block, -1 when none was.

    `may_go` is asked with the highest height in a file and the bytes of all files that are left. The index forgets
    the blocks before the files are deleted, and the coins are flushed before that, so that they need none of them.
    """
    by_file: dict[int, list[BlockEntry]] = {}
    for entry in index.entries.values():
        if entry.has_data or entry.has_undo:
            by_file.setdefault(entry.file, []).append(entry)
    total = store.total_size()
    gone: list[int] = []
    pruned = -1
    for file in sorted(by_file):
        highest = max(entry.height for entry in by_file[file])
        if file == store.current or not may_go(highest, total):
            continue
        gone.append(file)
        total -= store.file_size(file)
        pruned = max(pruned, highest)
    if not gone:
        return -1
    flush()
    for file in gone:
        for entry in by_file[file]:
            entry.status &= ~(flags.HAVE_DATA | flags.HAVE_UNDO)
            index.touch(entry)
    index.commit(tip.hash)
    index.write_flag(PRUNED_KEY, (pruned + 1).to_bytes(4, "little"))
    for file in gone:
        store.delete(file)
    return pruned
