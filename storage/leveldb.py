"""The engine on disk: LevelDB. The only module that imports plyvel."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import plyvel

from storage.errors import DatabaseCorrupt, DatabaseLocked, StorageError
from storage.kv import KV, WriteBatch, key_range
from storage.prefix import PrefixKV

__all__ = ["LevelKV"]

_MIB = 1 << 20


class _Reader:
    """Reads of a plyvel database or snapshot."""

    def __init__(self, handle: Any, path: Path) -> None:
        self._handle = handle
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._handle.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise _translate(error, self._path) from error
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
        if low is not None and high is not None and low >= high:
            return iter(())
        try:
            found = self._handle.iterator(
                start=low, stop=high, reverse=reverse, include_value=not keys_only, verify_checksums=True
            )
        except (plyvel.Error, RuntimeError) as error:
            raise _translate(error, self._path) from error
        return _Pairs(zip(found, repeat(b""), strict=False) if keys_only else found, self._path)


class _Pairs:
    """An iterator whose failures are StorageErrors."""

    __slots__ = ("_next", "_path")

    def __init__(self, found: Iterator[tuple[bytes, bytes]], path: Path) -> None:
        self._next = found.__next__
        self._path = path

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        try:
            return self._next()
        except (plyvel.Error, RuntimeError) as error:
            raise _translate(error, self._path) from error


class _LevelSnapshot(_Reader):
    """One moment of a `LevelKV`."""

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LevelKV(_Reader):
    """A `KV` in a folder of its own, opened by one process at a time.

    After a write has failed every further one is refused until the database is opened again: LevelDB does
    not know how much of the failed record has reached its log, and would append behind a torn one.
    """

    def __init__(self, handle: Any, path: Path) -> None:
        super().__init__(handle, path)
        self._failure: str | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        cache_bytes: int = 8 * _MIB,
        write_buffer_bytes: int = 4 * _MIB,
        max_open_files: int = 64,
        bloom_bits: int = 10,
        compress: bool = True,
        create: bool = True,
    ) -> "LevelKV":
        """The database in the folder `path`, made with its parents unless `create` is off.

        Raises DatabaseLocked when a process has it open, DatabaseCorrupt when it is damaged.
        """
        try:
            if create:
                path.mkdir(parents=True, exist_ok=True)
            handle = plyvel.DB(
                str(path),
                create_if_missing=create,
                paranoid_checks=True,
                lru_cache_size=cache_bytes,
                write_buffer_size=write_buffer_bytes,
                max_open_files=max_open_files,
                bloom_filter_bits=bloom_bits,
                compression="snappy" if compress else None,
            )
        except (plyvel.Error, OSError) as error:
            raise _translate(error, path) from error
        return cls(handle, path)

    @property
    def path(self) -> Path:
        return self._path

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        if self._failure is not None:
            raise StorageError(
                f"the database {self._path} takes no more writes until it is opened again, "
                f"since one has failed: {self._failure}"
            )
        try:
            native = self._handle.write_batch(sync=sync)
            put, delete = native.put, native.delete
            for key, value in batch.ops.items():
                if value is None:
                    delete(key)
                else:
                    put(key, value)
            native.write()
        except (plyvel.Error, RuntimeError) as error:
            failure = _translate(error, self._path)
            if not self._handle.closed:
                self._failure = str(error)
            raise failure from error

    def snapshot(self) -> _LevelSnapshot:
        try:
            return _LevelSnapshot(self._handle.snapshot(), self._path)
        except (plyvel.Error, RuntimeError) as error:
            raise _translate(error, self._path) from error

    def prefixed(self, prefix: bytes) -> KV:
        return PrefixKV(self, prefix)

    def approximate_size(self) -> int:
        """Bytes of the tables on disk; what is still in the log does not count."""
        try:
            size: int = self._handle.approximate_size(b"", b"\xff" * 32)
        except (plyvel.Error, RuntimeError) as error:
            raise _translate(error, self._path) from error
        return size

    def compact(self) -> None:
        """Rewrite the tables without what has been deleted. Slow."""
        self._handle.compact_range()

    def close(self) -> None:
        self._handle.close()


def _translate(error: Exception, path: Path) -> StorageError:
    """Our error for one of plyvel's, naming the folder and what to do."""
    message = str(error)
    if "LOCK" in message:
        return DatabaseLocked(
            f"cannot lock {path / 'LOCK'}: another process has this database open. "
            "Is a node already running on this data folder? Stop it, or give this one another folder. "
            f"({message})"
        )
    if isinstance(error, plyvel.CorruptionError) or "Corruption" in message:
        return DatabaseCorrupt(f"the database {path} is damaged: {message}")
    if isinstance(error, RuntimeError):
        return StorageError(f"the database {path} is closed")
    return StorageError(f"the database {path} failed: {message}")
