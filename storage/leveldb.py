"""The engine on disk: LevelDB. The only module that imports plyvel.

Two things here are not plain delegation:

* Iteration goes through plyvel's raw iterator. The comfortable one leaves out the entry at the very start of
  a reversed range, and takes a block that cannot be read for the end of the data.
* After a write has failed, LevelDB does not know how much of it is in its log, and would append behind a torn
  record. So the next write first opens the database again, once the disk takes data, and puts back what the
  failed write may have changed. Other threads read meanwhile: each shows in `_inside` that it is in plyvel,
  since closing under a running read would crash the process. Snapshots and iterations of before end (Unavailable).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock, get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import plyvel

from storage.errors import DatabaseCorrupt, DatabaseLocked, StorageError, Unavailable
from storage.kv import KV, WRITE_BUFFER, WriteBatch, key_range
from storage.prefix import PrefixKV
from storage.tornlog import cut_torn_log

__all__ = ["LevelKV"]

_MIB = 1 << 20
OPEN_TABLES: Final = 1000
"""Core's number where tables are mapped into memory and cost no file handles. Of a million invoices there are some
hundred, and one that is opened anew for a single row costs several times the row."""
_PLYVEL_ERRORS = (plyvel.Error, RuntimeError)  # RuntimeError: the handle is closed


class _Closed:
    """Stands where there is no handle."""

    closed = True

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("closed")


_CLOSED = _Closed()
_TRY_EVERY_S = 1.0


class _Prepared(NamedTuple):
    """A batch in the memory of LevelDB, for one handle."""

    handle: Any
    native: Any
    sync: bool


def _native(handle: Any, ops: dict[bytes, bytes | None], sync: bool) -> Any:
    """plyvel's batch of these changes."""
    native = handle.write_batch(sync=sync)
    put, delete = native.put, native.delete
    try:
        for key, value in ops.items():
            if value is None:
                delete(key)
            else:
                put(key, value)
    except TypeError:  # plyvel takes no subclass of bytes
        exact = {_exact(key): None if value is None else _exact(value) for key, value in ops.items()}
        return _native(handle, exact, sync)
    return native


def _exact(data: bytes) -> bytes:
    return data if type(data) is bytes else bytes(memoryview(data))


class LevelKV:
    """A `KV` in a folder of its own, opened by one process at a time."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self._write_lock = Lock()
        self._inside: dict[int, bool] = {}
        self._undo: dict[bytes, bytes | None] | None = None
        """Set after a failed write: what its keys held before."""
        self._try_at = 0.0
        """When a reader may try to recover, at the earliest."""
        self._handle: Any = _CLOSED
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        cache_bytes: int = 8 * _MIB,
        write_buffer_bytes: int = WRITE_BUFFER,
        max_open_files: int = OPEN_TABLES,
        bloom_bits: int = 10,
        compress: bool = True,
        create: bool = True,
    ) -> "LevelKV":
        """The database in the folder `path`, made with its parents unless `create` is off.

        Raises DatabaseLocked when a process has it open, DatabaseCorrupt when it is damaged.
        """
        kv = cls(
            path,
            {
                "create_if_missing": create,
                "paranoid_checks": True,
                "lru_cache_size": cache_bytes,
                "write_buffer_size": write_buffer_bytes,
                "max_open_files": max_open_files,
                "bloom_filter_bits": bloom_bits,
                "compression": "snappy" if compress else None,
            },
        )
        kv._open()
        return kv

    @property
    def path(self) -> Path:
        return self._path

    def get(self, key: bytes) -> bytes | None:
        inside, thread = self._inside, get_ident()
        inside[thread] = True
        try:
            value: bytes | None = self._handle.get(key, verify_checksums=True)
        except _PLYVEL_ERRORS as error:
            raise self._translate(error) from error
        except TypeError:  # plyvel takes no subclass of bytes
            value = self._handle.get(bytes(memoryview(key)), verify_checksums=True)
        finally:
            inside[thread] = False
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
        handle = self._handle
        return self._iterate(handle, handle, low, high, reverse, keys_only)

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        try:
            batch.prepared = _Prepared(self._handle, _native(self._handle, batch.ops, sync), sync)
        except _PLYVEL_ERRORS:
            batch.prepared = None  # closed, or opened again just now: `write` sees to it

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        with self._write_lock:
            if self._undo is not None:
                self._recover()
            inside, thread = self._inside, get_ident()
            inside[thread] = True
            try:
                self._write(batch.ops, sync, batch.prepared)
            except plyvel.Error as error:
                self._undo = self._present(batch.ops)
                raise self._translate(error) from error
            except RuntimeError as error:
                raise self._translate(error) from error
            finally:
                inside[thread] = False

    def snapshot(self) -> "_LevelSnapshot":
        inside, thread = self._inside, get_ident()
        inside[thread] = True
        try:
            return _LevelSnapshot(self, self._handle)
        except _PLYVEL_ERRORS as error:
            raise self._translate(error) from error
        finally:
            inside[thread] = False

    def prefixed(self, prefix: bytes) -> KV:
        return PrefixKV(self, prefix)

    def approximate_size(self) -> int:
        """Bytes of the tables on disk; what is still in the log does not count."""
        try:
            size: int = self._handle.approximate_size(b"", b"\xff" * 32)
        except _PLYVEL_ERRORS as error:
            raise self._translate(error) from error
        return size

    def approximate_range_size(self, start: bytes, stop: bytes) -> int:
        """Bytes of the tables on disk whose keys are in [start, stop)."""
        try:
            size: int = self._handle.approximate_size(start, stop)
        except _PLYVEL_ERRORS as error:
            raise self._translate(error) from error
        return size

    def compact(self) -> None:
        """Rewrite the tables without what has been deleted. Slow."""
        with self._write_lock:
            try:
                self._handle.compact_range()
            except _PLYVEL_ERRORS as error:
                raise self._translate(error) from error

    def close(self) -> None:
        with self._write_lock:
            self._closed = True
            self._release()

    def _open(self) -> None:
        try:
            if self._options["create_if_missing"]:
                self._path.mkdir(parents=True, exist_ok=True)
            try:
                self._handle = plyvel.DB(str(self._path), **self._options)
            except plyvel.Error as error:
                # Locked is not damaged: only whoever holds the lock may touch the log.
                if b"LOCK" in error.args[0] or not cut_torn_log(self._path):
                    raise
                self._handle = plyvel.DB(str(self._path), **self._options)
        except (plyvel.Error, OSError) as error:
            raise self._translate(error) from error

    def _write(self, ops: dict[bytes, bytes | None], sync: bool, ready: object = None) -> None:
        if isinstance(ready, _Prepared) and ready.handle is self._handle and ready.sync is sync:
            ready.native.write()
        else:
            _native(self._handle, ops, sync).write()

    def _present(self, keys: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        try:
            return {key: self._handle.get(bytes(memoryview(key))) for key in keys}
        except plyvel.Error:
            return {}

    def _release(self) -> None:
        """Close the handle once no other thread is inside it."""
        handle, self._handle = self._handle, _CLOSED
        if handle.closed:
            return
        me, pause = get_ident(), Event()
        for thread in list(self._inside):
            # Once seen outside is enough: whoever enters from now on finds no handle.
            while self._inside[thread] and thread != me:
                pause.wait(0.0005)
        handle.close()

    def _recover(self) -> None:
        """Open again after a failed write, as it was before that."""
        assert self._undo is not None
        if self._closed:
            raise StorageError(f"the database {self._path} is closed")
        self._check_disk()
        self._release()
        self._open()
        try:
            if self._undo:
                self._write(self._undo, True)
        except plyvel.Error as error:
            raise self._translate(error) from error
        self._undo = None

    def _try_again(self) -> None:
        """Recover where the writer's attempt has failed: whoever reads before he writes would never come to it."""
        now = monotonic()
        if self._handle is not _CLOSED or now < self._try_at or not self._write_lock.acquire(blocking=False):
            return
        try:
            self._try_at = now + _TRY_EVERY_S
            if self._undo is not None:
                self._recover()
        except StorageError:
            pass  # the next reader will see
        finally:
            self._write_lock.release()

    def _check_disk(self) -> None:
        """Raise unless the disk takes what opening may write: reads go on from the old handle meanwhile."""
        probe = self._path / "probe.tmp"
        try:
            try:
                with probe.open("wb") as file:
                    file.write(bytes(min(self._options["write_buffer_size"], 8 * _MIB)))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"the database {self._path} takes no writes: {error.strerror}. "
                "It goes on by itself once the disk has room and can be written"
            ) from error

    def _iterate(
        self,
        source: Any,
        handle: Any,
        low: bytes | None,
        high: bytes | None,
        reverse: bool,
        keys_only: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries of [low, high) from `source`: `handle`, or a snapshot of it."""
        inside, thread = self._inside, get_ident()
        inside[thread] = True
        try:
            if handle is not self._handle:
                raise RuntimeError("closed")
            cursor = source.raw_iterator(verify_checksums=True)
            if reverse:
                _seek_last_below(cursor, high)
            elif low is None:
                cursor.seek_to_first()
            else:
                cursor.seek(bytes(memoryview(low)))
        except _PLYVEL_ERRORS as error:
            raise self._translate(error) from error
        finally:
            inside[thread] = False
        return self._entries(cursor, handle, low, high, reverse, keys_only)

    def _entries(
        self,
        cursor: Any,
        handle: Any,
        low: bytes | None,
        high: bytes | None,
        reverse: bool,
        keys_only: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        inside = self._inside
        valid, read_key, read_value = cursor.valid, cursor.key, cursor.value
        advance = cursor.prev if reverse else cursor.next
        fresh = True
        try:
            while True:
                thread = get_ident()
                inside[thread] = True
                try:
                    if handle is not self._handle:
                        raise RuntimeError("closed")
                    if fresh:
                        fresh = False
                    else:
                        advance()
                    if not valid():
                        return
                    key = read_key()
                    if (low is not None and key < low) if reverse else (high is not None and key >= high):
                        return
                    value = b"" if keys_only else read_value()
                except _PLYVEL_ERRORS as error:
                    raise self._translate(error) from error
                finally:
                    inside[thread] = False
                yield key, value
        finally:
            self._close_cursor(cursor, handle)

    def _close_cursor(self, cursor: Any, handle: Any) -> None:
        thread = get_ident()
        self._inside[thread] = True
        try:
            if handle is self._handle:
                cursor.close()
        finally:
            self._inside[thread] = False

    def _translate(self, error: Exception) -> StorageError:
        """Our error for one of plyvel's, naming the folder and what to do."""
        first = error.args[0] if error.args else ""
        message = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(error)
        path = self._path
        if "LOCK" in message:
            return DatabaseLocked(
                f"cannot lock {path / 'LOCK'}: another process has this database open. "
                "Is a node already running on this data folder? Stop it, or give this one another folder. "
                f"({message})"
            )
        if isinstance(error, plyvel.CorruptionError) or "Corruption" in message:
            return DatabaseCorrupt(f"the database {path} is damaged: {message}")
        if isinstance(error, RuntimeError):
            if self._closed:
                return StorageError(f"the database {path} is closed")
            self._try_again()
            return Unavailable(f"the database {path} was closed, to be opened again after a failed write")
        return StorageError(f"the database {path} failed: {message}")


class _LevelSnapshot:
    """One moment of a `LevelKV`."""

    def __init__(self, kv: LevelKV, handle: Any) -> None:
        self._kv = kv
        self._handle = handle
        self._native = handle.snapshot()

    def get(self, key: bytes) -> bytes | None:
        kv = self._kv
        inside, thread = kv._inside, get_ident()
        inside[thread] = True
        try:
            if self._handle is not kv._handle:
                raise RuntimeError("closed")
            value: bytes | None = self._native.get(key, verify_checksums=True)
        except _PLYVEL_ERRORS as error:
            raise kv._translate(error) from error
        except TypeError:
            value = self._native.get(bytes(memoryview(key)), verify_checksums=True)
        finally:
            inside[thread] = False
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
        return self._kv._iterate(self._native, self._handle, low, high, reverse, keys_only)

    def close(self) -> None:
        kv = self._kv
        inside, thread = kv._inside, get_ident()
        inside[thread] = True
        try:
            if self._handle is kv._handle:
                self._native.close()
        finally:
            inside[thread] = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _seek_last_below(cursor: Any, high: bytes | None) -> None:
    """Put `cursor` on the last entry whose key is less than `high`."""
    if high is None:
        cursor.seek_to_last()
        return
    cursor.seek(bytes(memoryview(high)))
    if cursor.valid():
        cursor.prev()
    else:
        cursor.seek_to_last()
