"""What changes the chain: headers and blocks, decisions of the operator, pruning. Validation thread only."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

from gldnode.chain.activate import Activator
from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import (
    AcceptResult,
    AcceptStatus,
    BlockUnavailable,
    DiskSpaceLow,
)
from gldnode.chain.progress import Progress, no_progress
from gldnode.chain.prune import MIN_BLOCKS_TO_KEEP, Pruner
from gldnode.chain.reader import ChainReader
from gldnode.chain.utxostats import CoinStats, HashKind, coin_stats
from gldnode.chain.verify import verify_chain
from gldnode.consensus.check_block import (
    check_block,
    check_header,
    contextual_check_block,
    contextual_check_header,
)
from gldnode.consensus.connect import BlockDelta, connect_block
from gldnode.consensus.pow import block_work
from gldnode.errors import Reject, RejectKind
from gldnode.events import ChainStep, Tip
from gldnode.primitives.block import Block, BlockHeader
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import OutPoint

__all__ = ["ChainWriter", "StepListener"]

StepListener = Callable[[ChainStep], None]

_MIB: Final = 1 << 20
_COMMIT_BLOCKS: Final = 256
_COMMIT_BYTES: Final = 32 * _MIB
_COMMIT_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 3_600.0


class ChainWriter(ChainReader):
    """The writing half of `Chainstate`."""

    stop_requested: bool
    """`-stopatheight` has been reached: no further block is connected."""
    _activator: Activator
    _pruner: Pruner
    _progress: Progress
    _uncommitted_blocks: int
    _uncommitted_bytes: int
    _committed_at: float
    _flushed_at: float

    def add_listener(self, listener: StepListener) -> None:
        """Call `listener` with every step of the active chain, in order, in the validation thread."""
        self._activator.listeners.append(listener)

    def accept_header(self, header: BlockHeader) -> BlockEntry:
        """Check a header and put it into the tree; a known one is returned. Raises Reject."""
        known = self._index.get(header.hash)
        if known is not None:
            if known.is_failed:
                raise Reject("duplicate-invalid", "block was previously marked invalid", RejectKind.HEADER)
            return known
        check_header(header, self.params)
        prev = self._index.get(header.prev_hash)
        if prev is None:
            raise Reject("prev-blk-not-found", "", RejectKind.CONTEXT)
        if prev.is_failed:
            raise Reject("bad-prevblk", "", RejectKind.HEADER)
        self._assumptions.check_checkpoint(header.hash, prev.height + 1)
        contextual_check_header(
            header, prev, self.params, self.clock.now(), last_checkpoint=self._assumptions.last_checkpoint
        )
        return self._index.add(header, prev)

    def accept_headers(self, headers: Sequence[BlockHeader]) -> BlockEntry | None:
        """The last one's entry. Raises Reject at the first bad one; those before it stay."""
        entry = None
        for header in headers:
            entry = self.accept_header(header)
        return entry

    def accept_block(self, block: Block, *, requested: bool = True) -> AcceptResult:
        """Check, store, and go to the best chain.

        Raises Reject for a fault of this block (others that fail on the way are only marked), DiskSpaceLow.
        """
        self._space.check()
        sigops = check_block(block, self.params)
        entry = self.accept_header(block.header)
        if entry.has_data:
            self._activate()  # a full disk may have kept it from being connected
            return AcceptResult(AcceptStatus.DUPLICATE, entry)
        if not requested and not self._is_worth_storing(entry):
            return AcceptResult(AcceptStatus.IGNORED, entry)
        assert entry.prev is not None
        try:
            contextual_check_block(block, entry.prev, self.params)
        except Reject as error:
            if error.kind is not RejectKind.MUTATED:
                self._index.mark_failed(entry)
            raise
        try:
            file, pos = self._store.write_block(block.raw)
        except OSError as error:
            raise self._space.refused("The block", error) from error
        self._space.taken()
        self._index.body_stored(entry, len(block.txs), file, pos)
        self._activator.remember(block, sigops)
        self._uncommitted_bytes += len(block.raw)
        self._uncommitted_blocks += 1
        self._activate()
        verdict = self._activator.verdicts.get(entry.hash)
        self._activator.verdicts.clear()
        if verdict is not None:
            raise verdict
        status = AcceptStatus.CONNECTED if self._active.contains(entry) else AcceptStatus.SIDE
        return AcceptResult(status, entry)

    def _is_worth_storing(self, entry: BlockEntry) -> bool:
        """Whether a block that no one asked for is kept (Core: AcceptBlock)."""
        tip = self._active.tip_entry
        return (
            not entry.n_tx  # pruned, else
            and entry.chain_work >= tip.chain_work
            and entry.height <= tip.height + MIN_BLOCKS_TO_KEEP
            and entry.chain_work >= self.minimum_chain_work
        )

    def _activate(self) -> None:
        self._activator.activate_best()
        if self._commit_is_due():
            self.commit()
        if self._coins.is_full or self.clock.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
            self.flush()
        self._pruner.when_full()

    def retry(self) -> None:
        """Connect what a full disk has kept from being connected, if it takes more by now."""
        with suppress(DiskSpaceLow):
            self._space.check()
            self._activate()

    def _commit_is_due(self) -> bool:
        return (
            not self.is_initial_block_download
            or self._uncommitted_blocks >= _COMMIT_BLOCKS
            or self._uncommitted_bytes >= _COMMIT_BYTES
            or self.clock.monotonic() - self._committed_at >= _COMMIT_SECONDS
        )

    def _after_connect(self) -> None:
        """Keep memory bounded while many stored blocks are connected in one go."""
        if self._coins.is_full:
            self.flush()
        if self.options.stop_at_height and self._active.height >= self.options.stop_at_height:
            self.stop_requested = True
        if self._progress is not no_progress:
            self._progress("Connecting blocks", self._active.height, self._index.best_header.height)

    def commit(self) -> None:
        """Make what was accepted durable, so that followers see it.

        During initial block download blocks are grouped; call this when no block waits.
        """
        self._commit_with_tip(self._active.tip_entry)
        self.durable_height = self._active.height

    def _commit_with_tip(self, tip: BlockEntry) -> None:
        if self._index.has_changes or self._index.recorded_tip != tip.hash:
            self._store.sync()
            self._index.commit(tip.hash)
        # On a way to another branch followers are held at the fork until that one is the active chain.
        self.durable_height = min(self.durable_height, self._active.fork_with(tip).height)
        self._uncommitted_blocks = self._uncommitted_bytes = 0
        self._committed_at = self.clock.monotonic()

    def flush(self) -> None:
        """`commit`, and write the coins to disk."""
        self.commit()
        self._coins.flush(self._active.tip_entry.hash)
        self._flushed_at = self.clock.monotonic()

    def test_block_validity(
        self, block: Block, *, check_pow: bool = False, check_merkle_root: bool = True
    ) -> BlockDelta:
        """Whether `block` could be the next one; nothing is stored. Raises Reject (Core: TestBlockValidity)."""
        prev = self._active.tip_entry
        if block.header.prev_hash != prev.hash:
            raise Reject("inconclusive-not-best-prevblk", "", RejectKind.CONTEXT)
        if check_pow:
            check_header(block.header, self.params)
        contextual_check_header(
            block.header, prev, self.params, self.clock.now(), last_checkpoint=self._assumptions.last_checkpoint
        )
        sigops = check_block(block, self.params, check_pow=False, check_merkle=check_merkle_root)
        contextual_check_block(block, prev, self.params)
        entry = BlockEntry(block.header, prev, block_work(block.header.bits))
        return connect_block(block, self._coins, self._activator.rules(entry), sigops)

    def invalidate(self, block_hash: bytes) -> None:
        """`invalidateblock`: mark it and its descendants failed and leave them. Raises BlockUnavailable."""
        entry = self._known(block_hash)
        if entry.height == 0:
            raise BlockUnavailable("the genesis block cannot be invalidated")
        self._index.mark_failed(entry)
        self._index.rebuild_candidates()
        self._activate_and_commit()

    def reconsider(self, block_hash: bytes) -> None:
        """`reconsiderblock`: forget the failure marks of it, its ancestors and descendants.

        Raises BlockUnavailable.
        """
        self._index.clear_failed(self._known(block_hash))
        self._index.rebuild_candidates()
        self._activate_and_commit()

    def precious(self, block_hash: bytes) -> None:
        """`preciousblock`: prefer it to others of the same work. Raises BlockUnavailable."""
        entry = self._known(block_hash)
        if entry.chain_work < self._active.tip_entry.chain_work:
            return
        self._index.make_precious(entry)
        if entry.chain_tx and not entry.is_failed:
            self._index.candidates.add(entry)
        self._activate_and_commit()

    def _activate_and_commit(self) -> None:
        self._activator.activate_best()
        self._activator.verdicts.clear()
        self.commit()

    def _known(self, block_hash: bytes) -> BlockEntry:
        entry = self._index.get(block_hash)
        if entry is None:
            raise BlockUnavailable("Block not found")
        return entry

    def verify(self, level: int, depth: int) -> bool:
        """`verifychain`: check the last `depth` blocks (0: all) to `level` 0–4. Raises ChainDamaged.

        False where not all could be looked at.
        """
        return self._verify(level, depth)

    def _verify(self, level: int, depth: int) -> bool:
        return verify_chain(
            self.params, self._active, self._store, self._coins, self._activator, level, depth, self._progress
        )

    # -- the set of coins, flushed first --

    def coin_stats(self, kind: HashKind) -> CoinStats:
        """`gettxoutsetinfo`: the whole set as of the tip. Validation thread, for it flushes first."""
        self.flush()
        return coin_stats(self._coins, self._active.tip_entry, kind)

    def scan_coins(self) -> tuple[Tip, Iterator[tuple[OutPoint, Coin]]]:
        """Every coin as of the tip it names (`scantxoutset`), to read at leisure in any thread.

        Validation thread, for it flushes first.
        """
        self.flush()
        coins = self._coins.stored_coins()
        first = next(coins, None)  # the database's snapshot is taken at the first step
        return self._active.tip, iter(()) if first is None else chain((first,), coins)

    # -- pruning --

    def prune_to(self, height: int) -> int:
        """Delete block files whose blocks are all at or below `height`, as far as followers allow.

        Returns the height of the last pruned block, -1 when nothing could be.
        """
        return self._pruner.to_height(height)
