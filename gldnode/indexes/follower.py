"""Keeps the indexes at the node's tip, in the background."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gldnode.chain.options import BlockUnavailable
from gldnode.events import UnknownCursor
from gldnode.indexes.base import Index
from gldnode.ports import NodeHost
from storage.errors import DatabaseCorrupt, StorageError

__all__ = ["IndexFollower"]

log = logging.getLogger(__name__)

BATCH_BLOCKS: Final = 500
"""Blocks in one batch while catching up; the node bounds the bytes."""
RETRY_S: Final = 5.0
LOG_EVERY_S: Final = 30.0


class IndexFollower:
    """One task for each index; all write in one worker thread, so the loop and the validation thread go on."""

    def __init__(self, host: NodeHost, indexes: Sequence[Index], *, retry_s: float = RETRY_S) -> None:
        self._host = host
        self.indexes = tuple(indexes)
        self._retry_s = retry_s
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="indexes")
        self._moved = asyncio.Event()  # replaced at each move: whoever waits holds the old one

    def start(self) -> None:
        """Begin following. The node owns the tasks: they end with it."""
        for index in self.indexes:
            self._host.spawn(f"index {index.name}", self._follow(index))

    async def catch_up(self, index: Index, timeout_s: float = 30.0) -> bool:
        """Wait until the index has the block that is the tip now; False when that takes longer.

        For RPC calls that name a block which has just come (Core: BlockUntilSyncedToCurrentChain).
        """
        chain = self._host.chain
        tip = chain.tip
        if index.block_hash(tip.height) != tip.hash:
            try:
                async with asyncio.timeout(timeout_s):
                    moved = self._moved
                    while index.block_hash(tip.height) != tip.hash and chain.height_of(tip.hash) is not None:
                        await moved.wait()
                        moved = self._moved
            except TimeoutError:
                return False
        if not index.synced:  # its last batch is written, and its task has not said so yet
            self._look(index)
        return True

    async def _follow(self, index: Index) -> None:
        loop = asyncio.get_running_loop()
        host = self._host
        last_said = host.clock.monotonic()
        waiting_for: str | None = None
        self._look(index)
        while True:
            try:
                steps = await host.next_steps(index.best, BATCH_BLOCKS, with_undo=index.needs_undo)
                await loop.run_in_executor(self._worker, index.advance, steps)
            except UnknownCursor:
                problem = (
                    f"it stands at block {index.best.hash[::-1].hex()}, which the node does not know (yet). "
                    f"If this goes on, remove the folder indexes/{index.folder} to build it anew"
                )
            except BlockUnavailable as error:
                problem = f"{error}; -reindex fetches it again, or remove the option"
            except DatabaseCorrupt:
                raise
            except StorageError as error:
                problem = str(error)
            else:
                if waiting_for is not None:
                    log.info("%s goes on at height %d", index.name, index.best_height)
                    waiting_for = None
                self._look(index)
                now = host.clock.monotonic()
                if not index.synced and now - last_said >= LOG_EVERY_S:
                    last_said = now
                    log.info("%s: %.1f %%", index.name, 100 * index.progress(host.chain.tip.height))
                continue
            if problem != waiting_for:
                log.warning("%s waits: %s", index.name, problem)
                waiting_for = problem
            await asyncio.sleep(self._retry_s)

    def _look(self, index: Index) -> None:
        """Tell those who wait, and notice the tip."""
        if not index.synced and index.best.hash == self._host.chain.tip.hash:
            index.synced = True
            log.info("%s is synced at height %d", index.name, index.best_height)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def close(self) -> None:
        """Wait for the batch under way. After the tasks have ended, before the databases are closed."""
        self._worker.shutdown()
