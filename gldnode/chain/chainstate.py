"""The chain: header tree, active chain, coins. How it is opened, rebuilt and closed; see reader.py and writer.py.

Order of durability: bodies and undo data are synced before the index batch that names them (`commit`), and that
before the coins that are as of it (`flush`). So a crash loses at most the last uncommitted blocks, and `open`
rolls the coins forward from blocks that are stored already.
"""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gldnode.chain import entry as flags
from gldnode.chain.activate import Activator
from gldnode.chain.active import ActiveChain
from gldnode.chain.assumed import Assumptions
from gldnode.chain.blockfiles import BlockFiles, DiskFiles, Files, MemoryFiles
from gldnode.chain.coins import CoinsCache
from gldnode.chain.index import BlockIndex, IndexDamaged
from gldnode.chain.layout import (
    CHAINSTATE_SCHEMA,
    INDEX_SCHEMA,
)
from gldnode.chain.options import (
    ChainOptions,
)
from gldnode.chain.progress import Interrupted, Progress, no_progress
from gldnode.chain.prune import Pruner
from gldnode.chain.reindex import reindex, wipe_for_rebuild
from gldnode.chain.space import DiskSpace
from gldnode.chain.writer import ChainWriter, StepListener
from gldnode.clock import Clock
from gldnode.consensus.deployments import with_activation_heights
from gldnode.errors import NodeError
from gldnode.params import ChainParams
from storage.kv import KV
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from storage.schema import ensure_schema

__all__ = ["Chainstate", "StepListener"]

_MIB: Final = 1 << 20


class Chainstate(ChainWriter):
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
        progress: Progress = no_progress,
    ) -> None:
        """Over given storage, rolled forward to its best tip; `open` is the usual way.

        Raises NodeError (Interrupted where `progress` does), StorageError.
        """
        self.params = params = with_activation_heights(params, options.test_activation_heights)
        self.options = options
        self.clock = clock
        self.stop_requested = False
        """`-stopatheight` has been reached: no further block is connected."""
        self._interrupted = False
        self.prune_floor: Callable[[], int] = lambda: 1 << 31
        """The lowest height whose block a follower still needs; set by the node."""
        self.durable_height = 0
        """Followers are shown the active chain up to here."""
        self._ibd_over = False
        self._uncommitted_blocks = 0
        self._uncommitted_bytes = 0
        self._committed_at = self._flushed_at = clock.monotonic()
        self._progress = progress
        self._index_kv = index_kv
        ensure_schema(index_kv, INDEX_SCHEMA)
        ensure_schema(coins_kv, CHAINSTATE_SCHEMA)
        reindexing = wipe_for_rebuild(
            index_kv,
            coins_kv,
            reindex=options.reindex,
            reindex_chainstate=options.reindex_chainstate,
            progress=progress,
        )
        self._pool: Executor | None = (
            ThreadPoolExecutor(options.script_threads, "scripts") if options.script_threads > 1 else None
        )
        self._index = BlockIndex(params, index_kv, progress)
        self._assumptions = Assumptions(params, options, self._index)
        self._store = BlockFiles(files, params.message_start, options.max_block_file_bytes)
        self._space = DiskSpace(folder, options.min_disk_free_mib)
        self._coins = CoinsCache(coins_kv, options.dbcache_mib * _MIB)
        self._active = ActiveChain(self._index.genesis)
        self._pruner = Pruner(
            self._index,
            self._store,
            self._active,
            flush=self.flush,
            floor=lambda: self.prune_floor(),
            target_mib=options.prune_mib,
        )
        self._activator = Activator(
            params,
            self._index,
            self._store,
            self._coins,
            self._active,
            needs_scripts=self._assumptions.needs_scripts,
            commit=self._commit_with_tip,
            connected=self._after_connect,
            is_stopping=lambda: self.stop_requested or self._interrupted,
            space=self._space,
            pool=self._pool,
        )
        self.script_cache = self._activator.script_cache
        try:
            self._start(reindexing)
        except BaseException:
            self._release()
            raise
        self._progress = no_progress

    @classmethod
    def open(
        cls,
        params: ChainParams,
        data_dir: Path | None,
        options: ChainOptions,
        clock: Clock,
        progress: Progress = no_progress,
    ) -> "Chainstate":
        """The chain stored in `data_dir` (the network's folder), rolled forward to its best tip; None: in memory.

        `progress` is told of what takes long, and may stop it by raising Interrupted: the next `open` goes on
        from there. Raises NodeError, StorageError (a folder in use: DatabaseLocked).
        """
        if data_dir is None:
            return cls(params, MemoryKV(), MemoryKV(), MemoryFiles(), options, clock, None, progress)
        blocks = data_dir / "blocks"
        blocks.mkdir(parents=True, exist_ok=True)
        files = options.blocks_dir or blocks
        index_kv = LevelKV.open(blocks / "index")
        try:
            coins_kv = LevelKV.open(data_dir / "chainstate")
            try:
                return cls(params, index_kv, coins_kv, DiskFiles(files), options, clock, files, progress)
            except BaseException:
                coins_kv.close()
                raise
        except BaseException:
            index_kv.close()
            raise

    def _start(self, reindexing: bool) -> None:
        """Rebuild what is to be rebuilt, then bring coins and active chain to the best tip. Raises Interrupted."""
        index, active, activator, options = self._index, self._active, self._activator, self.options
        if reindexing:
            reindex(
                self._index_kv,
                self._store,
                index,
                self.params,
                self.accept_header,
                self._progress,
                pruning=options.prune_mib > 0,
            )
        elif self.prune_height is not None and not options.prune_mib:
            raise NodeError(
                "You need to rebuild the database using -reindex to go back to unpruned mode.  "
                "This will redownload the entire blockchain"
            )
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
            activator.roll_to(recorded, self._progress, trust_scripts=not options.reindex_chainstate)
        contradicted = self._assumptions.contradicted()
        for entry in contradicted:
            index.mark_failed(entry)
        if contradicted:
            index.rebuild_candidates()
        else:
            index.prune_candidates(active.tip_entry)
        try:
            activator.activate_best()
        except Interrupted:
            self.flush()
            raise
        self.commit()
        if options.check_level and not reindexing and active.height:
            self._verify(options.check_level, options.check_blocks)

    def _store_genesis(self) -> None:
        genesis = self._index.genesis
        if not genesis.n_tx:
            block = self.params.genesis
            file, pos = self._store.write_block(block.raw)
            self._index.body_stored(genesis, len(block.txs), file, pos)
        genesis.raise_validity(flags.VALID_SCRIPTS)

    def interrupt(self) -> None:
        """Connect no further block, not even in the middle of many: the node is stopping. Any thread."""
        self._interrupted = True

    def close(self) -> None:
        """Flush and release everything. Coins that a failure left between two tips are not written."""
        try:
            if not self._activator.between:
                self.flush()
        finally:
            self._release()

    def _release(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._coins.close()
        self._index.close()
        self._store.close()
