"""The synchronous seam: ordered byte keys and values, written in atomic batches.

Chain and indexes are written against `KV`; `leveldb` is the engine on disk, `memory` the one for tests,
and both pass one conformance suite (tests/storage/test_conformance.py). Any method may be called from any thread.
Failures raise `StorageError`.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Final, Protocol, Self

__all__ = ["KV", "WRITE_BUFFER", "KVReader", "Snapshot", "WriteBatch", "key_range", "prefix_end"]

WRITE_BUFFER: Final = 4 << 20
"""Bytes that gather in memory (and in a log that the next start reads) before the engine makes a table of them."""


class WriteBatch:
    """Changes that are made together or not at all. Of several changes to one key the last one counts."""

    __slots__ = ("ops", "prepared")

    def __init__(self, ops: dict[bytes, bytes | None] | None = None) -> None:
        self.ops: dict[bytes, bytes | None] = {} if ops is None else ops
        """What each key becomes; None deletes it."""
        self.prepared: object = None
        """What the engine made of it in `prepare`."""

    def put(self, key: bytes, value: bytes) -> None:
        self.ops[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key`; one that is not there is no error."""
        self.ops[key] = None

    def clear(self) -> None:
        self.ops.clear()

    def __len__(self) -> int:
        """How many keys are changed."""
        return len(self.ops)


class KVReader(Protocol):
    """Reads."""

    def get(self, key: bytes) -> bytes | None: ...

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in byte order, as they were at the call.

        Keys k with start <= k < stop that begin with `prefix`; all three are whole keys and may be combined.
        With `keys_only` the values are empty.
        """
        ...


class Snapshot(KVReader, Protocol):
    """Reads of one moment, whatever is written meanwhile. Close it, or leave it to the `with` statement."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class KV(KVReader, Protocol):
    """An ordered map of bytes to bytes."""

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        """Do now what a `write` of this batch, which must not change any more, can do without the disk.

        A thread that writes then hardly needs the interpreter, and takes no turns with the others in it.
        """
        ...

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Make the changes of `batch`, all or none; with `sync` they and all earlier ones survive a power cut.

        A crash may lose unsynced batches, the newest first.
        """
        ...

    def snapshot(self) -> Snapshot: ...

    def prefixed(self, prefix: bytes) -> "KV":
        """The keys that begin with `prefix`, seen without it. Closing the view leaves this one open."""
        ...

    def approximate_size(self) -> int:
        """Bytes used, roughly."""
        ...

    def close(self) -> None:
        """Release the files. A second call does nothing; any other use afterwards raises StorageError."""
        ...


def prefix_end(prefix: bytes) -> bytes | None:
    """The least key behind all keys that begin with `prefix`; None where no key can be."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


def key_range(prefix: bytes | None, start: bytes | None, stop: bytes | None) -> tuple[bytes | None, bytes | None]:
    """The bounds of `iterate` as one half-open interval; None is unbounded."""
    if prefix:
        end = prefix_end(prefix)
        start = prefix if start is None else max(start, prefix)
        if end is not None:
            stop = end if stop is None else min(stop, end)
    return start, stop
