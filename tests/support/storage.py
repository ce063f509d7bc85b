"""The engines under test, and a model that they are compared with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database import Txn
from storage.kv import KV
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from tests.support.storage_faults import FaultKV

__all__ = ["ENGINES", "add_one", "model_iterate", "open_engine"]


def add_one(txn: Txn) -> int:
    """A transaction that gives its number."""
    count = int(txn.get(b"count") or b"0") + 1
    txn.put(b"count", b"%d" % count)
    return count


def _memory(_: Path) -> KV:
    return MemoryKV()


def _fault(_: Path) -> KV:
    return FaultKV()


def _level(folder: Path) -> KV:
    # A small buffer, so that a test's few writes reach tables and compactions too.
    return LevelKV.open(folder / "kv", write_buffer_bytes=64 << 10, cache_bytes=64 << 10)


def _level_view(folder: Path) -> KV:
    return _level(folder).prefixed(b"\x01view").prefixed(b"\xff")


ENGINES: dict[str, Callable[[Path], KV]] = {
    "memory": _memory,
    "fault": _fault,
    "leveldb": _level,
    "view of leveldb": _level_view,
}


@contextmanager
def open_engine(name: str) -> Iterator[KV]:
    """A fresh database of the engine `name`, for the length of the `with`."""
    with TemporaryDirectory() as folder:
        kv = ENGINES[name](Path(folder))
        try:
            yield kv
        finally:
            kv.close()


def model_iterate(
    content: dict[bytes, bytes],
    *,
    prefix: bytes | None = None,
    start: bytes | None = None,
    stop: bytes | None = None,
    reverse: bool = False,
    keys_only: bool = False,
) -> list[tuple[bytes, bytes]]:
    """What `iterate` must give over a database with this content."""
    return [
        (key, b"" if keys_only else content[key])
        for key in sorted(content, reverse=reverse)
        if (prefix is None or key.startswith(prefix))
        and (start is None or key >= start)
        and (stop is None or key < stop)
    ]
