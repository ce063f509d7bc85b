"""The engine in memory: for tests and for nodes that keep nothing."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import repeat
from threading import RLock
from types import TracebackType
from typing import Self

from storage.errors import StorageError
from storage.kv import KV, WriteBatch, key_range
from storage.prefix import PrefixKV

__all__ = ["MemoryKV"]

_FEW = 64


class _State:
    """A dictionary and, from the first iteration on, its keys in order."""

    __slots__ = ("keys", "values")

    def __init__(self, values: dict[bytes, bytes], keys: list[bytes] | None) -> None:
        self.values = values
        self.keys = keys

    def apply(self, ops: dict[bytes, bytes | None]) -> None:
        values = self.values
        if len(ops) > _FEW:
            self.keys = None
        keys = self.keys
        for key, value in ops.items():
            if value is None:
                if values.pop(key, None) is not None and keys is not None:
                    del keys[bisect_left(keys, key)]
            else:
                if keys is not None and key not in values:
                    insort(keys, key)
                values[key] = value

    def iterate(
        self, start: bytes | None, stop: bytes | None, reverse: bool, keys_only: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self.keys
        if keys is None:
            keys = self.keys = sorted(self.values)
        low = 0 if start is None else bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        found = keys[low:high]
        if reverse:
            found.reverse()
        values: Iterable[bytes] = repeat(b"") if keys_only else [self.values[key] for key in found]
        return iter(list(zip(found, values, strict=False)))

    def copy(self) -> "_State":
        return _State(dict(self.values), None if self.keys is None else list(self.keys))


class _MemorySnapshot:
    """One moment of a `MemoryKV`."""

    def __init__(self, state: _State) -> None:
        self._state: _State | None = state

    def get(self, key: bytes) -> bytes | None:
        return self._open().values.get(key)

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
        return self._open().iterate(low, high, reverse, keys_only)

    def _open(self) -> _State:
        if self._state is None:
            raise StorageError("the snapshot is closed")
        return self._state

    def close(self) -> None:
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryKV:
    """A `KV` that forgets everything when it is closed."""

    def __init__(self, content: dict[bytes, bytes] | None = None) -> None:
        self._state = _State(dict(content or {}), None)
        self._shared = False  # a snapshot holds the state: the next write copies it first
        self._lock = RLock()
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            self._check_open()
            return self._state.values.get(key)

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
        with self._lock:
            self._check_open()
            return self._state.iterate(low, high, reverse, keys_only)

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        """Nothing to do."""

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        with self._lock:
            self._check_open()
            if self._shared:
                self._state = self._state.copy()
                self._shared = False
            self._state.apply(batch.ops)

    def snapshot(self) -> _MemorySnapshot:
        with self._lock:
            self._check_open()
            self._shared = True
            return _MemorySnapshot(self._state)

    def prefixed(self, prefix: bytes) -> KV:
        return PrefixKV(self, prefix)

    def approximate_size(self) -> int:
        with self._lock:
            return sum(len(key) + len(value) for key, value in self._state.values.items())

    def content(self) -> dict[bytes, bytes]:
        """A copy of everything, for comparing in tests."""
        with self._lock:
            return dict(self._state.values)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the database is closed")
