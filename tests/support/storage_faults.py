"""A `KV` whose power can fail, whose disk can fill, and whose reads can break.

A database that loses power keeps all batches up to the last synced one and some of the unsynced ones behind
it, oldest first; a torn batch counts as lost, since LevelDB's log has a checksum over each.

    power = PowerSupply()
    kv = FaultKV(power)
    power.cut_before(write=7)            # the 7th write of any of its databases never happens
    ... run until PowerCut ...
    for survivor in kv.survivors():      # every state that the disk may be in
        ... open again with `survivor` and compare ...

`Database(FaultKV())` works like any other. Without a `cut_before`, `kv.crash_points()` and `kv.state_at(point)`
enumerate after the fact every state that a power cut at any moment of the run could have left.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import RLock

from storage.errors import StorageError
from storage.kv import KV, Snapshot, WriteBatch
from storage.memory import MemoryKV
from storage.prefix import PrefixKV

__all__ = ["CrashPoint", "FaultKV", "PowerCut", "PowerSupply", "SlowKV", "until"]

Ops = dict[bytes, bytes | None]


class PowerCut(StorageError):
    """The machine has no power: nothing that is asked of it happens."""


class PowerSupply:
    """What several databases share: their writes are numbered together, from 1, and end together."""

    def __init__(self) -> None:
        self.writes = 0
        self.is_cut = False
        self._cut_at: int | None = None
        self._lock = RLock()

    def cut_before(self, write: int) -> None:
        """Fail instead of making the write with this number, counted from the beginning of the run."""
        self._cut_at = write

    def cut(self) -> None:
        """Now."""
        self.is_cut = True

    def check(self) -> None:
        if self.is_cut:
            raise PowerCut("power cut")

    def count_write(self) -> int:
        with self._lock:
            self.check()
            if self._cut_at is not None and self.writes + 1 >= self._cut_at:
                self.is_cut = True
                self.check()
            self.writes += 1
            return self.writes


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A power cut after this database's first `written` writes, of which `kept` reached the disk."""

    written: int
    kept: int


class FaultKV:
    """A `KV` in memory that remembers what a power cut would leave of it."""

    def __init__(self, power: PowerSupply | None = None, content: dict[bytes, bytes] | None = None) -> None:
        self.power = power or PowerSupply()
        self.history: list[tuple[Ops, bool]] = []
        """Every batch since the beginning, with whether it was synced."""
        self.reads = 0
        self._first = dict(content or {})
        self._now = MemoryKV(self._first)
        self._write_faults: dict[int, StorageError] = {}
        self._full = False
        self._read_faults_from: int | None = None
        self._lock = RLock()

    @property
    def writes(self) -> int:
        """How many writes this database has made."""
        return len(self.history)

    @property
    def synced(self) -> int:
        """How many of them are sure to survive."""
        return _synced(self.history)

    # faults

    def fail_write(self, number: int, error: StorageError | None = None) -> None:
        """The write that would be this database's `number`-th (from 1) raises once, and changes nothing."""
        self._write_faults[number] = error or StorageError("No space left on device")

    def fill_disk(self, full: bool = True) -> None:
        """Every write raises until the disk has room again."""
        self._full = full

    def fail_reads(self, after: int = 0) -> None:
        """Every read but the next `after` ones raises, until `heal`."""
        self._read_faults_from = self.reads + after

    def heal(self) -> None:
        self._full = False
        self._read_faults_from = None
        self._write_faults.clear()

    # what a power cut leaves

    def survivors(self, power: PowerSupply | None = None) -> Iterator["FaultKV"]:
        """Every state that a power cut now may leave, most lost first."""
        for kept in range(self.synced, self.writes + 1):
            yield self.state_at(CrashPoint(self.writes, kept), power)

    def crash_points(self) -> Iterator[CrashPoint]:
        """Every distinct outcome of a power cut at any moment of the run so far."""
        for written in range(self.writes + 1):
            for kept in range(_synced(self.history[:written]), written + 1):
                yield CrashPoint(written, kept)

    def state_at(self, point: CrashPoint, power: PowerSupply | None = None) -> "FaultKV":
        """The database as it is found after that power cut, on a new power supply."""
        content = MemoryKV(self._first)
        for ops, _ in self.history[: point.kept]:
            content.write(_batch(ops), sync=True)
        return FaultKV(power, content.content())

    def content(self) -> dict[bytes, bytes]:
        """A copy of everything, faults or not."""
        return self._now.content()

    # KV

    def get(self, key: bytes) -> bytes | None:
        self._count_read()
        return self._now.get(key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        self._count_read()
        return self._now.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, keys_only=keys_only)

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        """Nothing to do."""

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        with self._lock:
            fault = self._write_faults.pop(self.writes + 1, None)
            if fault is not None:
                raise fault
            if self._full:
                raise StorageError("No space left on device")
            self.power.count_write()
            self._now.write(batch, sync=sync)
            self.history.append((dict(batch.ops), sync))

    def snapshot(self) -> Snapshot:
        self._count_read()
        return self._now.snapshot()

    def prefixed(self, prefix: bytes) -> KV:
        return PrefixKV(self, prefix)

    def approximate_size(self) -> int:
        return self._now.approximate_size()

    def close(self) -> None:
        self._now.close()

    def _count_read(self) -> None:
        self.power.check()
        if self._read_faults_from is not None and self.reads >= self._read_faults_from:
            raise StorageError("Input/output error")
        self.reads += 1


def _synced(history: list[tuple[Ops, bool]]) -> int:
    return max((number for number, (_, sync) in enumerate(history, 1) if sync), default=0)


def _batch(ops: Ops) -> WriteBatch:
    batch = WriteBatch()
    batch.ops = ops
    return batch


class SlowKV(FaultKV):
    """Writes wait until the test lets them through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.started = threading.Event()

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        self.started.set()
        assert self.gate.wait(20)
        super().write(batch, sync=sync)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (a thread changes it)
            await asyncio.sleep(0.001)
