"""What an operator takes for granted about the chain: `-assumevalid`, `-minimumchainwork`, `-checkpoint`."""

from typing import Final

from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex
from gldnode.chain.options import ChainOptions
from gldnode.consensus.pow import block_work
from gldnode.errors import Reject, RejectKind
from gldnode.params import ChainParams
from gldnode.primitives.hashes import ZERO_HASH

__all__ = ["Assumptions"]

_ASSUMED_AGE_S: Final = 60 * 60 * 24 * 7 * 2
"""Blocks younger than two weeks of work are verified whatever `-assumevalid` says."""


class Assumptions:
    """The network's own, or what the options put in their place."""

    def __init__(self, params: ChainParams, options: ChainOptions, index: BlockIndex) -> None:
        self._params = params
        self._index = index
        self.minimum_work = (
            params.minimum_chain_work if options.minimum_chain_work is None else options.minimum_chain_work
        )
        assumed = params.assume_valid if options.assume_valid is None else options.assume_valid
        self._assumed = None if assumed == ZERO_HASH else assumed
        own = params.checkpoints if options.checkpoints else ()
        self._checkpoints = dict(own) | dict(options.extra_checkpoints)

    def needs_scripts(self, entry: BlockEntry) -> bool:
        """Whether a block's scripts are verified: not so far below the assumed-valid one (Core: ConnectBlock)."""
        if self._assumed is None:
            return True
        assumed = self._index.get(self._assumed)
        best = self._index.best_header
        if (
            assumed is None
            or not entry.is_ancestor_of(assumed)
            or not entry.is_ancestor_of(best)
            or best.chain_work < self.minimum_work
        ):
            return True
        age = (best.chain_work - entry.chain_work) * self._params.block_interval_s // block_work(best.bits)
        return age <= _ASSUMED_AGE_S

    @property
    def last_checkpoint(self) -> int:
        """Height of the highest checkpoint whose header is known; -1 for none. No chain may fork off below it."""
        known = (height for height, block_hash in self._checkpoints.items() if self._index.get(block_hash))
        return max(known, default=-1)

    def check_checkpoint(self, block_hash: bytes, height: int) -> None:
        """Raises Reject where another block is the checkpoint of this height."""
        if self._checkpoints.get(height, block_hash) != block_hash:
            raise Reject("checkpoint mismatch", f"at height {height}", RejectKind.HEADER)

    def contradicted(self) -> list[BlockEntry]:
        """Known blocks in a checkpoint's place, for one that was set after they came."""
        if not self._checkpoints:
            return []
        return [
            entry
            for entry in self._index.entries.values()
            if self._checkpoints.get(entry.height, entry.hash) != entry.hash and not entry.is_failed
        ]
