"""The active chain: which block is at which height. Replaced by the validation thread, read from any thread."""

from collections.abc import Sequence

from gldnode.chain.entry import BlockEntry, last_common_ancestor
from gldnode.events import Tip
from gldnode.primitives.hashes import BlockHash

__all__ = ["ActiveChain"]


class ActiveChain:
    """From genesis to the tip."""

    def __init__(self, genesis: BlockEntry) -> None:
        self._blocks = [genesis]
        self.tip_entry = genesis
        self.tip = _tip_of(genesis)

    def set_tip(self, entry: BlockEntry) -> None:
        """Make `entry` the tip; readers see the old chain or the new one, nothing between."""
        if entry.prev is self.tip_entry:
            self._blocks.append(entry)
        else:
            fork = self.fork_with(entry)
            path = []
            walk = entry
            while walk is not fork:
                path.append(walk)
                assert walk.prev is not None
                walk = walk.prev
            path.reverse()
            self._blocks = [*self._blocks[: fork.height + 1], *path]
        self.tip_entry = entry
        self.tip = _tip_of(entry)

    @property
    def height(self) -> int:
        return self.tip_entry.height

    def at(self, height: int) -> BlockEntry | None:
        """None above the tip or below 0."""
        blocks = self._blocks
        return blocks[height] if 0 <= height < len(blocks) else None

    def contains(self, entry: BlockEntry) -> bool:
        blocks = self._blocks
        return entry.height < len(blocks) and blocks[entry.height] is entry

    def after(self, entry: BlockEntry) -> BlockEntry | None:
        """What follows it; None for the tip and for a stale block."""
        return self.at(entry.height + 1) if self.contains(entry) else None

    def fork_with(self, entry: BlockEntry) -> BlockEntry:
        """The highest block of this chain that `entry` builds on."""
        return entry if self.contains(entry) else last_common_ancestor(entry, self.tip_entry)

    def locator(self, entry: BlockEntry | None = None) -> list[BlockHash]:
        """Hashes from `entry` (the tip) back to genesis: the last ten, then with doubling distance."""
        walk = entry or self.tip_entry
        hashes = []
        step = 1
        while True:
            hashes.append(walk.hash)
            if walk.height == 0:
                return hashes
            if len(hashes) > 10:
                step *= 2
            walk = walk.ancestor(max(walk.height - step, 0))

    def find_fork(self, locator: Sequence[BlockEntry]) -> BlockEntry:
        """The highest active block that the locator's known entries contain or build on; genesis when none."""
        for entry in locator:
            if self.contains(entry):
                return entry
            if self.tip_entry.is_ancestor_of(entry):
                return self.tip_entry
        return self._blocks[0]


def _tip_of(entry: BlockEntry) -> Tip:
    return Tip(entry.hash, entry.height, entry.time, entry.median_time_past, entry.chain_work)
