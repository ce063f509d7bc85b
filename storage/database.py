"""The transactional seam: `await database.transact(fn)`, for payment and wallet records.

How the embedded engine works: `transact` runs `fn` at once, on the event loop, on top of everything gathered
before it, so transactions follow one another and never conflict. What they write gathers in one group, which
a worker thread writes with one sync while the next group gathers. A transaction has happened when its group
is on disk; then its `transact` returns. If the write fails, every `transact` of that group, and of the one
that was gathered on top of it, raises CommitFailed, and nothing of either remains.

`transact_together` is for what comes in crowds: the functions of one turn of the loop run at its end, one behind
the other, and find each other's code and data in the processor's caches.

`transact_in_turns` is for work of more than some milliseconds: its function is a generator, and the loop goes on
between its pieces. The transactions that come meanwhile stand in line and run behind it, in their order.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from itertools import islice
from types import CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, Self, TypeVar, final

from storage.documents import DocumentReader
from storage.errors import CommitFailed, GuardFailed, StorageError
from storage.jsondocs import encode_json
from storage.kv import KV, Snapshot, WriteBatch, key_range
from storage.overlay import Overlay, merged
from storage.records import encode_record
from storage.turns import Pieces, in_turns
from storage.writer import Writer

__all__ = ["ABSENT", "Absent", "Database", "ReadSnapshot", "Txn"]

T = TypeVar("T")

ATTEMPTS: Final = 3
_PREPARED_HERE: Final = 2000
"""Keys of a group that the loop hands to the engine itself, in less than a millisecond; the writer larger ones."""


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""For `require`: the key has no value."""


@final
class Txn(DocumentReader):
    """What a transaction's function reads and writes through. Reads see the transaction's own writes."""

    __slots__ = ("_kv", "_layers", "_own", "_read", "_sorted_at", "_tags", "memo")

    def __init__(self, kv: KV, layers: tuple[Overlay, ...]) -> None:
        self._kv = kv
        self._layers = layers  # newest first
        self._own: dict[bytes, bytes | None] = {}
        self._read: dict[bytes, bytes | None] = {}
        """What the engine below gave: nothing changes there while the function runs."""
        self.memo: dict[object, Any] = {}
        """For what the functions of this transaction want to work out once."""
        # Own keys by their first byte, brought up to date by `iterate`: a large transaction that looks at a few
        # rows again and again must not walk everything it has written each time.
        self._tags: dict[bytes, list[bytes]] = {}
        self._sorted_at = 0

    def _own_keys(self, prefix: bytes | None) -> Iterable[bytes]:
        """Keys of this transaction's writes that may begin with `prefix`."""
        if not prefix:
            return self._own
        # A dictionary keeps the order in which keys came: the new ones are its last.
        for key in islice(reversed(self._own), len(self._own) - self._sorted_at):
            self._tags.setdefault(key[:1], []).append(key)
        self._sorted_at = len(self._own)
        return self._tags.get(prefix[:1], ())

    def get(self, key: bytes) -> bytes | None:
        if key in self._own:
            return self._own[key]
        for layer in self._layers:
            if key in layer.ops:
                return layer.ops[key]
        if key in self._read:
            return self._read[key]
        value = self._read[key] = self._kv.get(key)
        return value

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        low, high = key_range(prefix, start, stop)
        changes: dict[bytes, bytes | None] = {}
        for layer in reversed(self._layers):
            changes.update(layer.changes(low, high))
        changes.update(
            (key, self._own[key])
            for key in self._own_keys(prefix)
            if (low is None or key >= low) and (high is None or key < high)
        )
        below = self._kv.iterate(start=low, stop=high, reverse=reverse, keys_only=keys_only)
        if not changes:
            return below
        if keys_only:
            changes = {key: None if value is None else b"" for key, value in changes.items()}
        return merged(below, changes, sorted(changes, reverse=reverse), reverse)

    def require(self, key: bytes, value: bytes | Absent) -> None:
        """Guard: go on only while `key` has exactly this value, or none for `ABSENT`. Raises GuardFailed.

        Leave the error alone: `transact` runs the function again, on what the database holds by then, and
        raises GuardFailed to its caller when the third run fails too.
        """
        if self.get(key) != (None if value is ABSENT else value):
            raise GuardFailed(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._own[key] = value

    def delete(self, key: bytes) -> None:
        self._own[key] = None

    def put_json(self, key: bytes, document: object) -> None:
        """Store a document: a msgspec struct, dataclass or plain value, as JSON."""
        self._own[key] = encode_json(document)

    def put_record(self, key: bytes, record: object) -> None:
        """Store a record: a msgspec struct, dataclass or plain value, as msgpack."""
        self._own[key] = encode_record(record)

    @property
    def changes(self) -> dict[bytes, bytes | None]:
        """What the function has written so far; None is deleted."""
        return self._own


@final
class ReadSnapshot(DocumentReader):
    """Reads of what was durable at one moment. Close it, use `with`, or let it go."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        return self._snapshot.get(key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._snapshot.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, keys_only=keys_only)

    def close(self) -> None:
        self._snapshot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._snapshot.close()


class _Group:
    """Transactions that one write makes durable together."""

    __slots__ = ("error", "outcomes", "overlay", "sync")

    def __init__(self) -> None:
        self.overlay = Overlay()
        self.sync = False
        self.error: BaseException | None = None
        """What its write ended with."""
        self.outcomes: list[tuple[asyncio.Future[Any], Any]] = []
        """Of its transactions: what their callers wait for, and what they then get."""

    def settle(self, error: BaseException | None) -> None:
        for outcome, result in self.outcomes:
            if outcome.done():
                continue  # its caller was cancelled
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(_failure(error))


def _failure(error: BaseException) -> CommitFailed:
    failure = CommitFailed(f"the transaction was not written: {error}")
    failure.__cause__ = error
    return failure


class _Line:
    """A transaction in turns, and who came while it was under way; first come, first served."""

    __slots__ = ("length", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


class Database:
    """Transactions over a `KV`, which it owns. `transact` belongs to one event loop; `reader` to any thread."""

    def __init__(self, kv: KV, *, name: str = "database") -> None:
        self._kv = kv
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._gathering: _Group | None = None
        self._writing: _Group | None = None
        self._line: _Line | None = None
        """None while nobody stands in it: then a transaction runs at once."""
        self._crowd: list[tuple[Callable[[Txn], Any], asyncio.Future[Any]]] = []
        """Transactions that run together at the end of this turn of the loop."""
        self._closed = False

    @property
    def kv(self) -> KV:
        """The engine below, for schema checks before the first transaction."""
        return self._kv

    @property
    def name(self) -> str:
        return self._name

    async def transact(self, fn: Callable[[Txn], T], *, sync: bool = True) -> T:
        """Run `fn(txn)` as one transaction and return its result once it is durable.

        `fn` may run more than once and must change nothing but the transaction. Its exceptions come out as
        they are, and then nothing is written. With sync=False the transaction may be lost in a power cut,
        but never without those after it: for cursors that moved and nothing else.
        Raises CommitFailed when the group could not be written. A caller that is cancelled while it waits
        does not know: the transaction may be written all the same.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        outcome: asyncio.Future[T] = loop.create_future()
        if self._line is None:
            self._join(*self._run(fn), sync, outcome)
        else:
            async with self._in_line():
                self._join(*self._run(fn), sync, outcome)
        return await outcome

    async def transact_together(self, fn: Callable[[Txn], T]) -> T:
        """`transact` for what may come in crowds: a little later, and cheaper.

        A caller that is cancelled before the end of the turn leaves nothing behind.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        if self._line is not None:
            return await self.transact(fn)
        outcome: asyncio.Future[T] = loop.create_future()
        self._crowd.append((fn, outcome))
        if len(self._crowd) == 1:
            loop.call_soon(self._run_crowd)
        return await outcome

    async def transact_in_turns(
        self, fn: Callable[[Txn], Pieces[T]], *, sync: Callable[[T], bool] = lambda result: True
    ) -> T:
        """`transact` for long work: `fn` gives pieces (a generator), and between them the loop serves others.

        It is one transaction all the same. Those that come while it is under way run behind it; readers see what
        is durable, and nothing of it. A caller that is cancelled before the last piece leaves nothing behind.
        `sync` decides by the result. Raises CommitFailed also where the write of something that it has read fails
        meanwhile, and Unavailable where the engine opens its files again under it.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        outcome: asyncio.Future[T] = loop.create_future()
        async with self._in_line():
            result, changes = await self._run_in_turns(fn)
            # The last piece, and this, are one step: what the pieces have read is still true.
            self._join(result, changes, sync(result), outcome)
        return await outcome

    def transact_blocking(self, fn: Callable[[Txn], T], *, sync: bool = True) -> T:
        """`transact` for where no loop runs: start-up, tools, tests. Writes in the calling thread."""
        if self._is_busy:
            raise StorageError(f"{self._name}: transactions of the event loop are under way")
        result, changes = self._run(fn)
        if changes:
            self._kv.write(WriteBatch(changes), sync=sync)
        return result

    def reader(self) -> ReadSnapshot:
        """What is durable now, to read from at leisure, in any thread."""
        return ReadSnapshot(self._kv.snapshot())

    def close(self) -> None:
        """Write what is gathered, then close the engine. Transactions under way have their result afterwards."""
        if self._closed:
            return
        self._closed = True
        self._drain()
        self._kv.close()

    @asynccontextmanager
    async def _in_line(self) -> AsyncIterator[None]:
        """The caller's turn. Whoever comes before the line is empty again goes to its end."""
        line = self._line
        if line is None:
            self._run_crowd()  # it came first
            line = self._line = _Line()
        line.length += 1
        try:
            async with line.lock:
                yield
        finally:
            line.length -= 1
            if not line.length and self._line is line:
                self._line = None

    def _run_crowd(self) -> None:
        crowd, self._crowd = self._crowd, []
        for fn, outcome in crowd:
            if outcome.done():
                continue  # its caller was cancelled
            try:
                result, changes = self._run(fn)
            except StopIteration as error:  # no future takes it; out of a coroutine it comes as this, too
                outcome.set_exception(RuntimeError(f"a transaction's function raised {error!r}"))
            except Exception as error:
                outcome.set_exception(error)
            else:
                self._join(result, changes, True, outcome)
        self._start_write()  # whoever is ready in this turn has joined

    def _join(
        self, result: T, changes: dict[bytes, bytes | None], sync: bool, outcome: "asyncio.Future[T]"
    ) -> None:
        """Gather what a transaction has written. Its outcome is `result` once that is durable."""
        loop, group = self._loop, self._gathering
        assert loop is not None
        if changes:
            if group is None:
                group = self._gathering = _Group()
                if self._writing is None:
                    # Not now: transactions of tasks that are ready in this turn of the loop join the group.
                    loop.call_soon(self._start_write)
            group.overlay.absorb(changes)
            if sync:
                group.sync = True
        else:
            # Nothing to write, but what it read may still be on its way to the disk.
            group = group or self._writing
            if group is None:
                outcome.set_result(result)
                return
        group.outcomes.append((outcome, result))

    @property
    def _is_busy(self) -> bool:
        """Whether there are transactions of the event loop that have not come to their end."""
        return bool(self._gathering or self._writing or self._line or self._crowd)

    def _under_way(self) -> tuple[_Group, ...]:
        """What transactions see on top of the engine below, newest first."""
        return tuple(group for group in (self._gathering, self._writing) if group is not None)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self._name} is closed")

    def _run(self, fn: Callable[[Txn], T]) -> tuple[T, dict[bytes, bytes | None]]:
        self._check_open()
        layers = tuple(group.overlay for group in self._under_way())
        attempt = 1
        while True:
            txn = Txn(self._kv, layers)
            try:
                result = fn(txn)
            except GuardFailed:
                if attempt == ATTEMPTS:
                    raise
                attempt += 1
                continue
            if isinstance(result, (CoroutineType, GeneratorType)):
                result.close()
                raise TypeError(
                    "a transaction's function must not be a coroutine function, nor work in pieces here"
                )
            return result, txn.changes

    async def _run_in_turns(self, fn: Callable[[Txn], Pieces[T]]) -> tuple[T, dict[bytes, bytes | None]]:
        attempt = 1
        while True:
            self._check_open()
            # Nobody joins them before this is done. They may become durable meanwhile, and change nothing then.
            below = self._under_way()

            def check(below: tuple[_Group, ...] = below) -> None:
                self._check_open()
                for group in below:
                    if group.error is not None:
                        raise _failure(group.error)

            txn = Txn(self._kv, tuple(group.overlay for group in below))
            try:
                return await in_turns(fn(txn), check), txn.changes
            except GuardFailed:
                if attempt == ATTEMPTS:
                    raise
                attempt += 1

    def _start_write(self) -> None:
        group, loop = self._gathering, self._loop
        if group is None or self._writing is not None or loop is None:
            return
        self._gathering, self._writing = None, group
        batch = WriteBatch(group.overlay.ops)
        try:
            if self._writer is None:
                self._writer = Writer(self._kv, f"{self._name}-writer")
            if len(batch) <= _PREPARED_HERE:
                self._kv.prepare(batch, sync=group.sync)
        except Exception as error:  # it belongs to those who wait for the write
            group.error = error
            self._conclude(group)
            return

        def done(error: BaseException | None) -> None:
            group.error = error
            if not loop.is_closed():  # one that has ended meanwhile waits for nothing any more
                loop.call_soon_threadsafe(self._written, group)

        self._writer.submit(batch, group.sync, done)

    def _written(self, group: _Group) -> None:
        if self._writing is not group:
            return  # settled by `close`
        self._conclude(group)
        if self._gathering is not None and not self._closed:
            self._start_write()  # after a `close`, which may run in another thread, it has been seen to

    def _conclude(self, group: _Group) -> None:
        """Tell those who wait what became of the group, and of what was gathered on top of a failed one."""
        self._writing = None
        group.settle(group.error)
        if group.error is not None and self._gathering is not None:
            # It was computed from what the failed write should have made true.
            dependent, self._gathering = self._gathering, None
            dependent.error = group.error
            dependent.settle(group.error)

    def _drain(self) -> None:
        """Finish in this thread what is being written and what is gathered."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.finish()
        if self._writing is not None:
            self._conclude(self._writing)
        group, self._gathering = self._gathering, None
        if group is not None:
            try:
                self._kv.write(WriteBatch(group.overlay.ops), sync=group.sync)
            except StorageError as error:
                group.settle(error)
            else:
                group.settle(None)

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another loop: the one before must have ended (tests run one after another)."""
        if self._loop is not None and not self._loop.is_closed() and self._is_busy:
            raise StorageError(f"{self._name} is in use by another event loop")
        if self._writing is not None or self._gathering is not None:
            for group in (self._writing, self._gathering):
                if group is not None:
                    group.outcomes.clear()
            self._drain()
        self._line = None
        self._crowd.clear()
        self._loop = loop
