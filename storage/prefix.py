"""A part of a database seen as a whole one."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from storage.errors import StorageError
from storage.kv import KV, KVReader, Snapshot, WriteBatch

__all__ = ["PrefixKV"]


def _iterate(
    reader: KVReader,
    view: bytes,
    prefix: bytes | None,
    start: bytes | None,
    stop: bytes | None,
    reverse: bool,
    keys_only: bool,
) -> Iterator[tuple[bytes, bytes]]:
    found = reader.iterate(
        prefix=view + prefix if prefix else view,
        start=None if start is None else view + start,
        stop=None if stop is None else view + stop,
        reverse=reverse,
        keys_only=keys_only,
    )
    length = len(view)
    return ((key[length:], value) for key, value in found)


class _PrefixSnapshot:
    """One moment of a view."""

    def __init__(self, inner: Snapshot, prefix: bytes) -> None:
        self._inner = inner
        self._prefix = prefix

    def get(self, key: bytes) -> bytes | None:
        return self._inner.get(self._prefix + key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _iterate(self._inner, self._prefix, prefix, start, stop, reverse, keys_only)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PrefixKV:
    """The keys of `inner` that begin with `prefix`, without it."""

    def __init__(self, inner: KV, prefix: bytes) -> None:
        self._inner = inner
        self._prefix = prefix
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        return self._open().get(self._prefix + key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _iterate(self._open(), self._prefix, prefix, start, stop, reverse, keys_only)

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        """Nothing to do."""

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        moved = WriteBatch()
        moved.ops = {self._prefix + key: value for key, value in batch.ops.items()}
        self._open().write(moved, sync=sync)

    def snapshot(self) -> _PrefixSnapshot:
        return _PrefixSnapshot(self._open().snapshot(), self._prefix)

    def prefixed(self, prefix: bytes) -> KV:
        return PrefixKV(self._open(), self._prefix + prefix)

    def approximate_size(self) -> int:
        return sum(len(key) + len(value) for key, value in self._open().iterate(prefix=self._prefix))

    def close(self) -> None:
        self._closed = True

    def _open(self) -> KV:
        if self._closed:
            raise StorageError("the database is closed")
        return self._inner
