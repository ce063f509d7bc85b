"""The chain: header tree, active chain, coins. Writes in the validation thread only; reads from any thread.

Order of durability: bodies and undo data are synced before the index batch that names them (`commit`), and that
before the coins that are as of it (`flush`). So a crash loses at most the last uncommitted blocks, and `open`
rolls the coins forward from blocks that are stored already.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Final

from gldnode.chain import entry as flags
from gldnode.chain.activate import Activator
from gldnode.chain.active import ActiveChain
from gldnode.chain.blockfiles import BlockFiles, DiskFiles, Files, MemoryFiles
from gldnode.chain.coins import CoinsCache
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex, IndexDamaged, wipe
from gldnode.chain.layout import (
    BEST_BLOCK_KEY,
    CHAINSTATE_SCHEMA,
    COIN_PREFIX,
    ENTRY_PREFIX,
    INDEX_SCHEMA,
    PRUNED_KEY,
    REINDEX_KEY,
    TIP_KEY,
)
from gldnode.chain.options import (
    AcceptResult,
    AcceptStatus,
    BlockUnavailable,
    ChainOptions,
    DiskSpaceLow,
)
from gldnode.chain.prune import prune_files
from gldnode.chain.reader import ChainReader
from gldnode.chain.reindex import scan_block_files
from gldnode.chain.utxostats import CoinStats, HashKind, coin_stats
from gldnode.chain.verify import verify_chain
from gldnode.clock import Clock
from gldnode.consensus.check_block import (
    check_block,
    check_header,
    contextual_check_block,
    contextual_check_header,
)
from gldnode.consensus.connect import BlockDelta, connect_block
from gldnode.consensus.deployments import with_activation_heights
from gldnode.consensus.pow import block_work
from gldnode.errors import Reject, RejectKind
from gldnode.events import ChainStep, Tip
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, BlockHeader
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import ZERO_HASH
from gldnode.primitives.tx import OutPoint
from storage.kv import KV, WriteBatch
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from storage.schema import ensure_schema

__all__ = ["Chainstate", "StepListener"]

StepListener = Callable[[ChainStep], None]

MIN_BLOCKS_TO_KEEP: Final = 288
_MIB: Final = 1 << 20
_COMMIT_BLOCKS: Final = 256
_COMMIT_BYTES: Final = 32 * _MIB
_COMMIT_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 3_600.0
_DISK_CHECK_SECONDS: Final = 1.0
_ASSUMED_AGE_S: Final = 60 * 60 * 24 * 7 * 2
"""Blocks younger than two weeks of work are verified whatever `-assumevalid` says."""


class Chainstate(ChainReader):
    """One network's chain. Made by `open`; `close` flushes."""

    def __init__(
        self,
        params: ChainParams,
        index_kv: KV,
        coins_kv: KV,
        files: Files,
        options: ChainOptions,
        clock: Clock,
        folder: Path | None = None,
    ) -> None:
        """Over given storage, rolled forward to its best tip; `open` is the usual way.

        Raises NodeError, StorageError.
        """
        self.params = params = with_activation_heights(params, options.test_activation_heights)
        self.options = options
        self.clock = clock
        self.stop_requested = False
        """`-stopatheight` has been reached."""
        self.prune_floor: Callable[[], int] = lambda: 1 << 31
        """The lowest height whose block a follower still needs; set by the node."""
        self._folder = folder
        self._minimum_work = (
            params.minimum_chain_work if options.minimum_chain_work is None else options.minimum_chain_work
        )
        assumed = params.assume_valid if options.assume_valid is None else options.assume_valid
        self._assumed = None if assumed == ZERO_HASH else assumed
        self._ibd_over = False
        self._uncommitted_blocks = 0
        self._uncommitted_bytes = 0
        self._pruned_at = 0  # the block file that was begun when `-prune` last looked
        now = clock.monotonic()
        self._committed_at = self._flushed_at = now
        self._disk_checked_at = now - _DISK_CHECK_SECONDS
        ensure_schema(index_kv, INDEX_SCHEMA)
        ensure_schema(coins_kv, CHAINSTATE_SCHEMA)
        reindex = options.reindex or index_kv.get(REINDEX_KEY) is not None
        _wipe_for_rebuild(index_kv, coins_kv, index=reindex, coins=reindex or options.reindex_chainstate)
        self._pool: Executor | None = (
            ThreadPoolExecutor(options.script_threads, "scripts") if options.script_threads > 1 else None
        )
        self._index = BlockIndex(params, index_kv)
        self._store = BlockFiles(files, params.message_start, options.max_block_file_bytes)
        self._coins = CoinsCache(coins_kv, options.dbcache_mib * _MIB)
        self._active = ActiveChain(self._index.genesis)
        self._activator = Activator(
            params,
            self._index,
            self._store,
            self._coins,
            self._active,
            needs_scripts=self._needs_scripts,
            commit=self._commit_with_tip,
            connected=self._after_connect,
            pool=self._pool,
        )
        self.script_cache = self._activator.script_cache
        self.durable_height = 0
        """Followers are shown the active chain up to here."""
        self._start(reindex)

    @classmethod
    def open(cls, params: ChainParams, data_dir: Path | None, options: ChainOptions, clock: Clock) -> "Chainstate":
        """The chain stored in `data_dir` (the network's folder), rolled forward to its best tip; None: in memory.

        Raises NodeError, StorageError (a folder in use: DatabaseLocked).
        """
        if data_dir is None:
            return cls(params, MemoryKV(), MemoryKV(), MemoryFiles(), options, clock)
        blocks = data_dir / "blocks"
        blocks.mkdir(parents=True, exist_ok=True)
        index_kv = LevelKV.open(blocks / "index")
        try:
            coins_kv = LevelKV.open(data_dir / "chainstate")
            try:
                return cls(params, index_kv, coins_kv, DiskFiles(blocks), options, clock, data_dir)
            except BaseException:
                coins_kv.close()
                raise
        except BaseException:
            index_kv.close()
            raise

    def _start(self, reindex: bool) -> None:
        index, active, activator = self._index, self._active, self._activator
        if reindex:
            self._reindex()
        self._store_genesis()
        flushed = self._coins.flushed_block
        if flushed is not None:
            entry = index.get(flushed)
            if entry is None:
                raise IndexDamaged(
                    "the coins are as of a block that the index does not know: use -reindex-chainstate"
                )
            active.set_tip(entry)
        recorded = None if index.recorded_tip is None else index.get(index.recorded_tip)
        if recorded is not None and recorded is not active.tip_entry and not recorded.is_failed:
            # Followers may have seen it: only a decision may take it away, not a crash.
            activator.roll_to(recorded, trust_scripts=not self.options.reindex_chainstate)
        index.prune_candidates(active.tip_entry)
        activator.activate_best()
        self.commit()
        if self.options.check_level and not reindex and active.height:
            self.verify(self.options.check_level, self.options.check_blocks)

    def _store_genesis(self) -> None:
        genesis = self._index.genesis
        if not genesis.n_tx:
            block = self.params.genesis
            file, pos = self._store.write_block(block.raw)
            self._index.body_stored(genesis, len(block.txs), file, pos)
            genesis.raise_validity(flags.VALID_SCRIPTS)

    def close(self) -> None:
        """Flush and release everything. Coins that a failure left between two tips are not written."""
        try:
            if not self._activator.between:
                self.flush()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
            self._coins.close()
            self._index.close()
            self._store.close()

    # -- writes, validation thread --

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
        contextual_check_header(
            header, prev, self.params, self.clock.now(), last_checkpoint=self._last_checkpoint()
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
        self._check_disk_space()
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
            raise DiskSpaceLow(f"the block could not be stored: {error}") from error
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
            and entry.chain_work >= self._minimum_work
        )

    def _activate(self) -> None:
        self._activator.activate_best()
        if self._commit_is_due():
            self.commit()
        if self._coins.is_full or self.clock.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
            self.flush()
        if self.options.prune_mib > 1 and self._store.current != self._pruned_at:
            self._pruned_at = self._store.current
            self.prune_automatically()

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
            block.header, prev, self.params, self.clock.now(), last_checkpoint=self._last_checkpoint()
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
        return verify_chain(self.params, self._active, self._store, self._coins, self._activator, level, depth)

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
        last = min(height, self._active.height - MIN_BLOCKS_TO_KEEP, self.prune_floor() - 1)
        return prune_files(
            self._index, self._store, self._active.tip, self.flush, lambda highest, _: highest <= last
        )

    def prune_automatically(self) -> int:
        """Keep the block files below `-prune`; -1 when nothing was deleted."""
        target = self.options.prune_mib
        if target <= 1:
            return -1
        last = min(self._active.height - MIN_BLOCKS_TO_KEEP, self.prune_floor() - 1)
        return prune_files(
            self._index,
            self._store,
            self._active.tip,
            self.flush,
            lambda highest, total: highest <= last and total > target * _MIB,
        )

    # -- inside --

    def _needs_scripts(self, entry: BlockEntry) -> bool:
        """Whether a block's scripts are verified: not so far below the assumed-valid one (Core: ConnectBlock)."""
        if self._assumed is None:
            return True
        assumed = self._index.get(self._assumed)
        best = self._index.best_header
        if (
            assumed is None
            or not entry.is_ancestor_of(assumed)
            or not entry.is_ancestor_of(best)
            or best.chain_work < self._minimum_work
        ):
            return True
        age = (best.chain_work - entry.chain_work) * self.params.block_interval_s // block_work(best.bits)
        return age <= _ASSUMED_AGE_S

    def _last_checkpoint(self) -> int:
        """Height of the highest checkpoint whose header is known; -1 for none."""
        if not self.options.checkpoints:
            return -1
        known = (height for height, block_hash in self.params.checkpoints if self._index.get(block_hash))
        return max(known, default=-1)

    def _check_disk_space(self) -> None:
        if self._folder is None or not self.options.min_disk_free_mib:
            return
        now = self.clock.monotonic()
        if now - self._disk_checked_at < _DISK_CHECK_SECONDS:
            return
        free = shutil.disk_usage(self._folder).free
        if free < self.options.min_disk_free_mib * _MIB:
            raise DiskSpaceLow(
                f"Disk space is too low! {free // _MIB} MiB free in {self._folder}, "
                f"-mindiskfree is {self.options.min_disk_free_mib} MiB"
            )
        self._disk_checked_at = now

    def _reindex(self) -> None:
        """Fill the emptied index from the block files, then let the best chain be connected."""
        scan_block_files(self._store, self._index, self.params, self.accept_header)
        self._store_genesis()
        self._index.prune_candidates(self._index.genesis)
        self._activator.activate_best()
        self.flush()
        self._index.write_flag(REINDEX_KEY, None)


def _wipe_for_rebuild(index_kv: KV, coins_kv: KV, *, index: bool, coins: bool) -> None:
    """Empty what is to be built anew. The next start sees a crash on the way: by the flag, or the missing tip."""
    if index:
        flag = WriteBatch()
        flag.put(REINDEX_KEY, b"1")
        index_kv.write(flag, sync=True)
        wipe(index_kv, [TIP_KEY, ENTRY_PREFIX, PRUNED_KEY])
    if coins or coins_kv.get(BEST_BLOCK_KEY) is None:
        wipe(coins_kv, [BEST_BLOCK_KEY, COIN_PREFIX])
