"""Blocks and undo data in append-only files, in Core's framing.

`blkNNNNN.dat`: message start (4) | size (u32) | block.
`revNNNNN.dat`: message start | size | undo | checksum: the double SHA-256 of the parent's hash and the undo.
A position is that of the bytes behind the size.
Nothing is durable before `sync`. What a crash left half-written behind the last indexed block stays as a gap.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct as Packer
from typing import Final, Protocol

from gldnode.errors import DecodeError, NodeError
from gldnode.primitives.block import HEADER_SIZE, Block, parse_block
from gldnode.primitives.hashes import sha256d
from storage.errors import StorageError

__all__ = ["BlockFileDamaged", "BlockFiles", "DiskFiles", "Files", "MemoryFiles", "scan_blocks"]

_FRAME = Packer("<4sI")
FRAME_SIZE: Final = _FRAME.size
_CHECKSUM_SIZE: Final = 32
_MAX_OPEN: Final = 32
_SCAN_WINDOW: Final = 4_096
MAX_STORED_BLOCK: Final = 4_000_000 + FRAME_SIZE


class BlockFileDamaged(NodeError):
    """Stored bytes are not what was written."""


class Files(Protocol):
    """Named append-only files."""

    def append(self, name: str, data: bytes) -> int:
        """Where `data` begins in the file. Raises OSError; then the file is as before."""
        ...

    def read(self, name: str, pos: int, count: int) -> bytes:
        """At most `count` bytes; fewer at the end, none where there is no file. Raises OSError."""
        ...

    def size(self, name: str) -> int:
        """0 where there is no file."""
        ...

    def sync(self) -> None:
        """Make everything appended durable. Raises OSError."""
        ...

    def delete(self, name: str) -> None: ...

    def names(self) -> list[str]: ...

    def close(self) -> None: ...


class MemoryFiles:
    """Files that are gone when the process ends."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def append(self, name: str, data: bytes) -> int:
        content = self.files.setdefault(name, bytearray())
        pos = len(content)
        content += data
        return pos

    def read(self, name: str, pos: int, count: int) -> bytes:
        return bytes(self.files.get(name, b"")[pos : pos + count])

    def size(self, name: str) -> int:
        return len(self.files.get(name, b""))

    def sync(self) -> None:
        """Nothing survives anyway."""

    def delete(self, name: str) -> None:
        self.files.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self.files)

    def close(self) -> None:
        """Nothing to release."""


class _Reader:
    """A file open for reading; closed with the last reference, so never under someone's read."""

    __slots__ = ("handle",)

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self.handle)


class DiskFiles:
    """Files of one folder. Reads from any thread: they use positions, not a shared cursor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[str, _Reader] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._handles: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._unsynced: set[str] = set()
        self._folder_changed = False

    def _open(self, name: str, *, create: bool) -> int | None:
        handle = self._handles.get(name)
        if handle is not None:
            return handle
        path = self._folder / name
        existed = path.exists()
        if not existed and not create:
            return None
        if not existed:
            self._readers.pop(name, None)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._folder_changed = self._folder_changed or not existed
        self._sizes[name] = os.fstat(handle).st_size
        self._handles[name] = handle
        return handle

    def append(self, name: str, data: bytes) -> int:
        if len(self._handles) >= _MAX_OPEN and name not in self._handles:
            self._close_idle()
        handle = self._open(name, create=True)
        assert handle is not None
        pos = self._sizes[name]
        self._unsynced.add(name)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(handle, data[written:] if written else data, pos + written)
        except OSError:
            os.ftruncate(handle, pos)
            raise
        self._sizes[name] = pos + len(data)
        return pos

    def read(self, name: str, pos: int, count: int) -> bytes:
        reader = self._readers.get(name)
        if reader is None:
            try:
                reader = _Reader(str(self._folder / name))
            except FileNotFoundError:
                return b""
            if len(self._readers) >= _MAX_OPEN:
                self._readers.clear()
            self._readers[name] = reader
        return os.pread(reader.handle, count, pos)

    def size(self, name: str) -> int:
        known = self._sizes.get(name)
        if known is not None:
            return known
        path = self._folder / name
        return path.stat().st_size if path.exists() else 0

    def sync(self) -> None:
        for name in sorted(self._unsynced):
            os.fsync(self._handles[name])
        self._unsynced.clear()
        if self._folder_changed:
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            self._folder_changed = False

    def delete(self, name: str) -> None:
        handle = self._handles.pop(name, None)
        self._readers.pop(name, None)
        self._sizes.pop(name, None)
        self._unsynced.discard(name)
        if handle is not None:
            os.close(handle)
        (self._folder / name).unlink(missing_ok=True)
        self._folder_changed = True

    def names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.is_file())

    def _close_idle(self) -> None:
        for name in [name for name in self._handles if name not in self._unsynced]:
            os.close(self._handles.pop(name))
            del self._sizes[name]

    def close(self) -> None:
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
        self._readers.clear()


_BLOCK_NAME: Final = re.compile(r"blk([0-9]{5,})\.dat")
_UNDO_NAME: Final = re.compile(r"rev[0-9]{5,}\.dat")


class BlockFiles:
    """Where the bodies of blocks and their undo data are."""

    def __init__(self, files: Files, message_start: bytes, max_file_bytes: int) -> None:
        self._files = files
        self._magic = message_start
        self._max = max_file_bytes
        self._current = max(self.numbers(), default=0)

    def numbers(self) -> list[int]:
        """The block files that there are."""
        found = (_BLOCK_NAME.fullmatch(name) for name in self._files.names())
        return sorted(int(match[1]) for match in found if match)

    @property
    def current(self) -> int:
        """The file that the next block goes to."""
        return self._current

    def write_block(self, raw: bytes) -> tuple[int, int]:
        """File and position of the stored block. Raises OSError."""
        size = self._files.size(_blk(self._current))
        if size and size + len(raw) + FRAME_SIZE > self._max:
            self._current += 1
        pos = self._files.append(_blk(self._current), _FRAME.pack(self._magic, len(raw)) + raw)
        return self._current, pos + FRAME_SIZE

    def write_undo(self, file: int, data: bytes, prev_hash: bytes) -> int:
        """Position of the undo data in the rev file of the same number as the block's. Raises OSError."""
        framed = b"".join((_FRAME.pack(self._magic, len(data)), data, sha256d(prev_hash + data)))
        return self._files.append(_rev(file), framed) + FRAME_SIZE

    def read_block(self, file: int, pos: int) -> bytes:
        """Raises BlockFileDamaged where there is no block at the position, StorageError."""
        return self._read(_blk(file), pos, self._size_at(_blk(file), pos))

    def read_part(self, file: int, pos: int, offset: int, count: int) -> bytes:
        """`count` bytes of the block at `pos`, from `offset` on. Raises BlockFileDamaged, StorageError."""
        data = self._read(_blk(file), pos + offset, count)
        if len(data) < count:
            raise BlockFileDamaged(f"{_blk(file)}: nothing stored at {pos + offset}")
        return data

    def read_parsed(self, file: int, pos: int) -> Block:
        """Raises BlockFileDamaged, StorageError."""
        try:
            return parse_block(self.read_block(file, pos))
        except DecodeError as error:
            raise BlockFileDamaged(f"{_blk(file)} at {pos}: {error}") from None

    def read_undo(self, file: int, pos: int, prev_hash: bytes) -> bytes:
        """Raises BlockFileDamaged where the checksum does not fit, StorageError."""
        size = self._size_at(_rev(file), pos)
        data = self._read(_rev(file), pos, size + _CHECKSUM_SIZE)
        if sha256d(prev_hash + data[:size]) != data[size:]:
            raise BlockFileDamaged(f"{_rev(file)} at {pos}: wrong checksum")
        return data[:size]

    def _size_at(self, name: str, pos: int) -> int:
        frame = self._read(name, pos - FRAME_SIZE, FRAME_SIZE)
        if len(frame) == FRAME_SIZE:
            magic, size = _FRAME.unpack(frame)
            if magic == self._magic and pos + size <= self._files.size(name):
                return int(size)
        raise BlockFileDamaged(f"{name}: nothing stored at {pos}")

    def scan(self, file: int) -> Iterator[tuple[int, Block]]:
        """Position and content of every block in a file, in order of the file (-reindex)."""
        name = _blk(file)
        return scan_blocks(lambda pos, count: self._read(name, pos, count), self._files.size(name), self._magic)

    def file_size(self, file: int) -> int:
        """Bytes of the block file and its undo file."""
        return self._files.size(_blk(file)) + self._files.size(_rev(file))

    def total_size(self) -> int:
        return sum(self.file_size(file) for file in self.numbers())

    def block_file_size(self, file: int) -> int:
        return self._files.size(_blk(file))

    def delete(self, file: int) -> None:
        """Delete a block file and its undo file. Raises StorageError; then either may be left."""
        self._delete(_blk(file))
        self._delete(_rev(file))

    def _delete(self, name: str) -> None:
        try:
            self._files.delete(name)
        except OSError as error:
            raise StorageError(f"{name} could not be deleted: {error}") from error

    def delete_undo(self) -> None:
        """Delete all undo data, for it is about to be written anew."""
        for name in self._files.names():
            if _UNDO_NAME.fullmatch(name):
                self._delete(name)

    def delete_behind_gap(self) -> None:
        """Delete the block files whose numbers do not follow on from 0 (Core: CleanupBlockRevFiles)."""
        for expected, number in enumerate(self.numbers()):
            if number != expected:
                self.delete(number)
        self._current = max(self.numbers(), default=0)

    def sync(self) -> None:
        """Make everything written durable. Raises StorageError."""
        try:
            self._files.sync()
        except OSError as error:
            raise StorageError(f"block files could not be synced: {error}") from error

    def close(self) -> None:
        self._files.close()

    def _read(self, name: str, pos: int, count: int) -> bytes:
        try:
            return self._files.read(name, pos, count)
        except OSError as error:
            raise StorageError(f"{name} could not be read: {error}") from error


def scan_blocks(read: Callable[[int, int], bytes], end: int, magic: bytes) -> Iterator[tuple[int, Block]]:
    """Position and content of every framed block in `end` bytes, which `read(position, count)` gives.

    Skips what does not parse: a torn tail, or a gap.
    """
    pos = 0
    while pos + FRAME_SIZE + HEADER_SIZE <= end:
        window = read(pos, _SCAN_WINDOW)
        found = window.find(magic)
        if found < 0:
            pos += max(1, len(window) - 3)
            continue
        start = pos + found + FRAME_SIZE
        frame = read(start - FRAME_SIZE, FRAME_SIZE)
        size = int.from_bytes(frame[4:8], "little") if len(frame) == FRAME_SIZE else 0
        pos = start - FRAME_SIZE + 1
        if HEADER_SIZE < size <= MAX_STORED_BLOCK and start + size <= end:
            try:
                block = parse_block(read(start, size))
            except DecodeError:
                continue
            pos = start + size
            yield start, block


def _blk(file: int) -> str:
    return f"blk{file:05d}.dat"


def _rev(file: int) -> str:
    return f"rev{file:05d}.dat"
