"""The node: chain and mempool with the one thread that writes them, and what plug-ins are given (ports.NodeHost).

Everything that changes chain or mempool runs through `run_in_validation`. After each such piece of work the node
tells followers what moved: first the chain makes it durable, then those who wait in `next_steps` wake, then the
hints go out. Queries never come here: they read the frozen tip, immutable entries and the databases themselves.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.chain.progress import Interrupted, Progress, no_progress
from gldnode.clock import MockableClock
from gldnode.config import Config
from gldnode.entropy import Entropy, SystemEntropy
from gldnode.errors import Reject
from gldnode.events import ChainStep, Cursor, Hint, Rival, Tip, TipChanged
from gldnode.hints import BoundedHints
from gldnode.mempool.core import MempoolEvent
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.params import ChainParams
from gldnode.ports import MempoolView
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import OutPoint, Tx
from storage.database import Database
from storage.errors import StorageError
from storage.kv import KV, WRITE_BUFFER
from storage.leveldb import LevelKV
from storage.memory import MemoryKV

__all__ = ["Node", "NodeChainView", "NodeStopped"]

log = logging.getLogger(__name__)
T = TypeVar("T")

SWITCH_INTERVAL_S: Final = 0.0005
"""p99 of a request beside block connection fell from 24 to 3 ms with it."""
MAX_STEP_BYTES: Final = 32_000_000


class NodeStopped(Exception):
    """The node is stopping: no more work is taken."""


class NodeChainView:
    """`ports.ChainView` over the chainstate."""

    def __init__(self, chainstate: Chainstate) -> None:
        self._chain = chainstate

    @property
    def tip(self) -> Tip:
        return self._chain.tip

    @property
    def is_initial_block_download(self) -> bool:
        return self._chain.is_initial_block_download

    def block_hash(self, height: int) -> BlockHash | None:
        entry = self._chain.entry_at(height)
        return None if entry is None else entry.hash

    def height_of(self, block_hash: BlockHash) -> int | None:
        entry = self._chain.entry(block_hash)
        return None if entry is None or not self._chain.is_active(entry) else entry.height

    def rival(self) -> Rival | None:
        return self._chain.rival()

    def header(self, block_hash: BlockHash) -> bytes | None:
        entry = self._chain.entry(block_hash)
        return None if entry is None else entry.header_bytes

    def block_bytes(self, block_hash: BlockHash) -> bytes | None:
        return self._chain.read_block_bytes(block_hash)

    def has_blocks_after(self, cursor: Cursor) -> bool:
        return self._chain.has_blocks_after(cursor)

    def coin(self, prevout: OutPoint) -> Coin | None:
        return self._chain.coin(prevout)


class Node:
    """One network's node. `start` before use, `stop` at the end; both from the event loop."""

    def __init__(
        self,
        params: ChainParams,
        config: Config,
        *,
        clock: MockableClock | None = None,
        entropy: Entropy | None = None,
        in_memory: bool = False,
        reader_threads: int = 4,
    ) -> None:
        if sys.flags.optimize:
            raise RuntimeError("the node does not run under python -O: its asserts guard the coin set")
        self._params = params
        self.config = config
        self.clock = clock or MockableClock()
        self._entropy = entropy or SystemEntropy()
        self._in_memory = in_memory
        self._validation = ThreadPoolExecutor(1, thread_name_prefix="validation")
        self._readers = ThreadPoolExecutor(reader_threads, thread_name_prefix="reader")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._chainstate: Chainstate | None = None
        self._pool: Mempool | None = None
        self._chain_view: NodeChainView | None = None
        self._pending = 0  # pieces of validation work given and not begun
        self._pending_lock = threading.Lock()
        self._undurable = False  # the tip moved and was not committed yet
        self._moved = False  # the present piece of work moved the tip
        self._hints: list[Hint] = []  # gathered by the present piece of work
        self._queues: list[BoundedHints] = []
        self._changed = asyncio.Event()  # replaced at each change: whoever waits holds the old one
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened: list[KV | Database] = []
        self._step_listeners: list[Callable[[ChainStep], None]] = []
        self._event_listeners: list[Callable[[MempoolEvent], None]] = []
        self._relay: Callable[[Tx], None] | None = None
        self._cursors: dict[asyncio.Task[Any], int] = {}  # of the tasks that ask for steps: their heights
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._stopping = False
        self._interrupted = False
        self.stop_requested = asyncio.Event()
        self.failure: str | None = None
        """Why the node stopped by itself; None while it is well."""

    # --- parts ---

    @property
    def params(self) -> ChainParams:
        return self._params

    @property
    def entropy(self) -> Entropy:
        return self._entropy

    @property
    def chainstate(self) -> Chainstate:
        assert self._chainstate is not None, "the node has not started"
        return self._chainstate

    @property
    def pool(self) -> Mempool:
        assert self._pool is not None, "the node has not started"
        return self._pool

    @property
    def chain(self) -> NodeChainView:
        assert self._chain_view is not None, "the node has not started"
        return self._chain_view

    @property
    def mempool(self) -> MempoolView:
        return self.pool

    @property
    def data_dir(self) -> Path:
        """The network's folder."""
        return self.config.data_dir

    @property
    def payments_dir(self) -> Path:
        named = self.config.get("paymentsdir")
        if named:
            return Path(named).expanduser().absolute()
        return self.config.base_dir / "payments" / self._params.name

    def option(self, name: str) -> str | None:
        return self.config.get(name)

    def options(self, name: str) -> Sequence[str]:
        return self.config.get_all(name)

    # --- life ---

    async def start(
        self,
        chain_options: ChainOptions,
        mempool_options: MempoolOptions,
        progress: Progress = no_progress,
    ) -> None:
        """Open the chain (rolling it forward, rebuilding it where asked) and an empty mempool.

        `progress` is called in the validation thread. Raises Interrupted after `request_stop`, StorageError,
        DatabaseLocked among them.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._loop = asyncio.get_running_loop()
        folder = None if self._in_memory else self.data_dir

        def tell(what: str, done: int, total: int) -> None:
            if self._interrupted:
                raise Interrupted("interrupted while starting; the next start goes on from here")
            progress(what, done, total)

        def open_chain() -> None:
            chainstate = Chainstate.open(self._params, folder, chain_options, self.clock, tell)
            pool = Mempool(chainstate, mempool_options, self.clock)
            chainstate.add_listener(self._on_step)
            pool.on_event(self._on_mempool_event)
            self._chainstate, self._pool = chainstate, pool
            self._chain_view = NodeChainView(chainstate)
            chainstate.prune_floor = self._lowest_cursor

        await self._loop.run_in_executor(self._validation, open_chain)

    async def stop(self) -> None:
        """End tasks and queues, flush and close everything. Safe after a failed start."""
        self._stopping = True
        self._interrupt()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        for queue in self._queues:
            queue.close()
        loop = asyncio.get_running_loop()
        for closer in reversed(self._closers):
            await closer()

        def close_chain() -> None:  # behind an opening that is still under way
            if self._chainstate is not None:
                self._chainstate.close()

        try:
            await loop.run_in_executor(self._validation, close_chain)
        finally:
            await loop.run_in_executor(None, self._close_rest)

    def _close_rest(self) -> None:
        self._validation.shutdown()
        self._readers.shutdown(cancel_futures=True)
        for opened in reversed(self._opened):
            opened.close()

    def add_closer(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await `closer` when the node's tasks have ended, before databases are closed."""
        self._closers.append(closer)

    def request_stop(self) -> None:
        """Ask the composition root to stop the process, cleanly. Many blocks' work ends behind the present one."""
        self._interrupt()
        self.stop_requested.set()

    def _interrupt(self) -> None:
        self._interrupted = True
        if self._chainstate is not None:
            self._chainstate.interrupt()

    def fail(self, reason: str) -> None:
        """Stop because going on would be worse. Any thread."""
        if self.failure is None:
            self.failure = reason
            log.critical("Stopping: %s", reason)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.stop_requested.set)

    # --- the validation thread ---

    async def run_in_validation(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread that may write chain and mempool; its result, or what it raised.

        A failed assert or StorageError there stops the node. A caller that is cancelled does not stop the work.
        """
        if self._stopping:
            raise NodeStopped("the node is stopping")
        with self._pending_lock:
            self._pending += 1
        assert self._loop is not None, "the node has not started"
        return await self._loop.run_in_executor(self._validation, self._validate, work)

    def _validate(self, work: Callable[[], T]) -> T:
        with self._pending_lock:
            self._pending -= 1
        try:
            try:
                return work()
            finally:
                self._after_work()
        except (AssertionError, StorageError, MemoryError) as error:
            log.exception("in the validation thread")
            self.fail(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            raise

    def _after_work(self) -> None:
        """Bring the mempool up to date, make the chain's move durable, tell everyone.

        While more work waits the chain groups its commits by itself; whoever waits for steps is woken again
        when the last piece has been made durable.
        """
        if self._moved:
            self.pool.finish_reorg()
        moved, self._moved = self._moved, False
        with self._pending_lock:
            idle = self._pending == 0
        if idle:
            self.chainstate.commit()
        wake = moved or (idle and self._undurable)
        self._undurable = (self._undurable or moved) and not idle
        hints, self._hints = self._hints, []
        if moved:
            hints.append(TipChanged(self.chainstate.tip))
        loop = self._loop
        if (wake or hints) and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._publish, wake, hints)

    def _on_step(self, step: ChainStep) -> None:
        self._moved = True
        self.pool.apply(step)
        for listener in self._step_listeners:
            listener(step)

    def _on_mempool_event(self, event: MempoolEvent) -> None:
        self._hints.append(event)
        for listener in self._event_listeners:
            listener(event)

    def add_step_listener(self, listener: Callable[[ChainStep], None]) -> None:
        """Call `listener` in the validation thread after each connect and disconnect, behind the mempool."""
        self._step_listeners.append(listener)

    def add_mempool_listener(self, listener: Callable[[MempoolEvent], None]) -> None:
        """Call `listener` in the validation thread at each mempool event."""
        self._event_listeners.append(listener)

    def _publish(self, moved: bool, hints: list[Hint]) -> None:
        if moved:
            self.wake_waiters()
        self._queues = [queue for queue in self._queues if not queue.is_closed]
        for queue in self._queues:
            queue.push(hints)

    def wake_waiters(self) -> None:
        """Let everyone in `next_steps` and `wait_change` look again. Event loop only."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @property
    def change(self) -> asyncio.Event:
        """Set when the tip moves. Take it, look at the tip, then await it."""
        return self._changed

    async def run_in_reader(self, work: Callable[[], T]) -> T:
        """Run a longer read in the small reader pool."""
        if self._stopping:
            raise NodeStopped("the node is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    # --- what plug-ins use ---

    def open_kv(self, path: Path) -> KV:
        """A database of the caller's own; the node closes it after everything else."""
        kv: KV = MemoryKV() if self._in_memory else LevelKV.open(path)
        self._opened.append(kv)
        return kv

    def open_database(self, path: Path, *, write_buffer_bytes: int = WRITE_BUFFER) -> Database:
        size = write_buffer_bytes
        kv: KV = MemoryKV() if self._in_memory else LevelKV.open(path, write_buffer_bytes=size)
        database = Database(kv, name=path.name)
        self._opened.append(database)
        return database

    async def next_steps(self, cursor: Cursor, limit: int, *, with_undo: bool = False) -> Sequence[ChainStep]:
        """What follows `cursor`; waits for it. Raises UnknownCursor."""
        self._note_cursor(cursor)
        while True:
            changed = self._changed
            steps = await self.run_in_reader(
                lambda: self.chainstate.steps_after(cursor, limit, MAX_STEP_BYTES, with_undo)
            )
            if steps:
                return steps
            await changed.wait()

    def _note_cursor(self, cursor: Cursor) -> None:
        """Remember where the asking task stands: pruning keeps what it has not seen."""
        task = asyncio.current_task()
        if task is None:
            return
        if task not in self._cursors:
            task.add_done_callback(self._forget_cursor)
        self._cursors[task] = cursor.height

    def _forget_cursor(self, task: "asyncio.Task[Any]") -> None:
        self._cursors.pop(task, None)

    def _lowest_cursor(self) -> int:
        return min(list(self._cursors.values()), default=1 << 31)

    async def wait_caught_up(self, cursor: Cursor) -> bool:
        """Whether the cursor is at a tip that is not known to be behind the network."""
        chainstate = self.chainstate
        tip = chainstate.tip
        if cursor.hash != tip.hash or chainstate.best_header.chain_work > tip.chain_work:
            return False
        return self._params.is_regtest or not chainstate.is_initial_block_download

    def hints(self, name: str) -> BoundedHints:
        queue = BoundedHints(name)
        self._queues.append(queue)
        return queue

    def set_relay(self, relay: Callable[[Tx], None] | None) -> None:
        """How to announce a transaction to peers; None: there are none."""
        self._relay = relay

    def relay(self, tx: Tx) -> None:
        """Announce again a transaction that is in the mempool; a new one is announced by itself."""
        if self._relay is not None:
            self._relay(tx)

    async def submit(self, tx: Tx) -> Txid:
        """Offer a transaction to the mempool and relay it. Raises Reject; one already there is a success."""

        def offer() -> bool:
            """Whether it is new here."""
            is_new = True
            try:
                self.pool.accept(tx)
            except Reject as reject:
                if reject.reason not in ("txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool"):
                    raise
                is_new = False
            self.pool.set_unbroadcast(tx.txid)
            return is_new

        if not await self.run_in_validation(offer):
            self.relay(tx)  # a new one has been queued for the peers by the mempool's event
        return tx.txid

    async def rebroadcast(self, tx: Tx) -> None:
        try:
            await self.submit(tx)
        except Reject as reject:
            log.debug("rebroadcast of %s: %s", tx.txid[::-1].hex(), reject)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task of the node's: its failure stops the node, its stop cancels it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._stopping:
            return
        error = task.exception()
        if error is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)
            self.fail(f"task {task.get_name()} failed: {type(error).__name__}: {error}")
