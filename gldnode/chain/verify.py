"""Checking what is stored against the rules (`verifychain`, -checkblocks, -checklevel; Core: CVerifyDB)."""

from collections.abc import Sequence
from typing import Protocol

from gldnode.chain.activate import read_body, read_undo
from gldnode.chain.active import ActiveChain
from gldnode.chain.blockfiles import BlockFileDamaged, BlockFiles
from gldnode.chain.coins import CoinsCache
from gldnode.chain.entry import BlockEntry
from gldnode.chain.progress import Progress, no_progress
from gldnode.consensus.check_block import check_block
from gldnode.consensus.connect import BlockRules, CoinsChange, connect_block, disconnect_block
from gldnode.errors import NodeError, Reject
from gldnode.params import ChainParams
from gldnode.primitives.coin import Coin
from storage.errors import StorageError

__all__ = ["ChainDamaged", "verify_chain"]


class ChainDamaged(NodeError):
    """What is stored breaks the rules: rebuild it with -reindex."""


class RulesOf(Protocol):
    def rules(self, entry: BlockEntry, *, verify_scripts: bool = True) -> BlockRules: ...


class _Overlay:
    """The coins with changes that are thrown away."""

    def __init__(self, below: CoinsCache) -> None:
        self._below = below
        self.changes: dict[bytes, Coin | None] = {}

    def get(self, prevout: bytes, /) -> Coin | None:
        return self.changes[prevout] if prevout in self.changes else self._below.get(prevout)

    def apply(self, change: CoinsChange) -> bool:
        """Whether all that it spends was there and nothing that it makes."""
        clean = all(self.get(prevout) is not None for prevout in change.spent)
        for prevout in change.spent:
            self.changes[prevout] = None
        for key, coin in change.created.items():
            clean = clean and self.get(key) is None
            self.changes[key] = coin
        return clean


def verify_chain(
    params: ChainParams,
    active: ActiveChain,
    store: BlockFiles,
    coins: CoinsCache,
    rules_of: RulesOf,
    level: int,
    depth: int,
    progress: Progress = no_progress,
) -> bool:
    """Check the last `depth` blocks (0: all); False where some are pruned or too many for the memory.

    Level 0 reads them, 1 checks them, 2 their undo data, 3 takes them off the coins, 4 connects them again.
    Raises ChainDamaged, Interrupted.
    """
    height = active.height
    depth = height if depth <= 0 or depth > height else depth
    overlay = _Overlay(coins)
    complete = True
    good: list[BlockEntry] = []
    for number, entry in enumerate(_downwards(active, height, height - depth)):
        progress("Verifying blocks", number, depth)
        if not entry.has_data:
            return False
        try:
            block = read_body(store, entry)
            if level >= 1:
                check_block(block, params)
            if level >= 2:
                undo = read_undo(store, entry)
                if level >= 3 and complete:
                    if len(overlay.changes) * 500 > 450_000_000:
                        complete = False
                        continue
                    if not overlay.apply(disconnect_block(block, undo)):
                        raise ChainDamaged(f"Corrupted block database detected: coins do not fit {entry!r}")
                    good.append(entry)
        except Reject as error:
            raise ChainDamaged(f"Corrupted block database detected: {entry!r}: {error}") from None
        except (BlockFileDamaged, StorageError) as error:
            raise ChainDamaged(f"Corrupted block database detected: {error}") from error
    if level >= 4:
        _connect_again(good, store, overlay, rules_of, progress)
    return complete


def _downwards(active: ActiveChain, top: int, above: int) -> list[BlockEntry]:
    found = (active.at(height) for height in range(top, above, -1))
    return [entry for entry in found if entry is not None]


def _connect_again(
    disconnected: Sequence[BlockEntry],
    store: BlockFiles,
    overlay: _Overlay,
    rules_of: RulesOf,
    progress: Progress,
) -> None:
    for number, entry in enumerate(reversed(disconnected)):
        progress("Verifying blocks", number, len(disconnected))
        try:
            overlay.apply(connect_block(read_body(store, entry), overlay, rules_of.rules(entry)))
        except Reject as error:
            raise ChainDamaged(f"Corrupted block database detected: {entry!r} does not connect: {error}") from None
