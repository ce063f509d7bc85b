"""The end of LevelDB's log after a power cut.

A file system may leave zeros or old bytes where the last, unsynced writes should be. With paranoid checks
LevelDB takes that for damage and refuses to open. Here the newest log is read as LevelDB reads it: when nothing
intact stands behind its first broken record, that record is where the power went, and the log is cut there.
What was synced stands before it. Damage with intact records behind it is left for LevelDB to report.

Format: blocks of 32 KiB; in them records of crc32c (masked), length (u16), type, data; all little-endian.
"""

import logging
import os
from pathlib import Path
from typing import Final

__all__ = ["cut_torn_log", "end_of_intact_records"]

log = logging.getLogger(__name__)

_BLOCK: Final = 32_768
_HEADER: Final = 7
_FULL, _LAST = 1, 4


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F63B78 if byte & 1 else byte >> 1
        table.append(byte)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _record_end(data: bytes, at: int) -> int | None:
    """The position behind the intact record at `at`, None where there is none."""
    room = min(_BLOCK - at % _BLOCK, len(data) - at)
    if room < _HEADER:
        return None
    length = int.from_bytes(data[at + 4 : at + 6], "little")
    end = at + _HEADER + length
    if length + _HEADER > room or not _FULL <= data[at + 6] <= _LAST:
        return None
    crc = int.from_bytes(data[at : at + 4], "little")
    return end if _masked_crc32c(data[at + 6 : end]) == crc else None


def end_of_intact_records(data: bytes) -> int | None:
    """Where a log is to be cut so that only whole writes remain; None when it is whole or damaged further up."""
    at = whole = 0
    while at < len(data):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK
            continue
        end = _record_end(data, at)
        if end is None:
            return None if _is_intact_behind(data, at) else whole
        if data[at + 6] in (_FULL, _LAST):
            whole = end
        at = end
    return None


def _is_intact_behind(data: bytes, broken: int) -> bool:
    """Whether an intact record follows the broken one: by its length, or at the beginning of a later block."""
    following = broken + _HEADER + int.from_bytes(data[broken + 4 : broken + 6], "little")
    same_block = following // _BLOCK == broken // _BLOCK
    if same_block and following > broken + _HEADER and _record_end(data, following) is not None:
        return True
    blocks = range(broken - broken % _BLOCK + _BLOCK, len(data), _BLOCK)
    return any(_record_end(data, at) is not None for at in blocks)


def cut_torn_log(folder: Path) -> bool:
    """Cut the torn end off the newest log of the closed database in `folder`; False where there is none.

    The bytes that are cut off stay beside it, with the ending `.torn`.
    """
    logs = sorted(folder.glob("[0-9]*.log"), key=lambda path: int(path.stem))
    if not logs:
        return False
    newest = logs[-1]
    data = newest.read_bytes()
    end = end_of_intact_records(data)
    if end is None:
        return False
    newest.with_suffix(".torn").write_bytes(data[end:])
    with newest.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    log.warning(
        "%s ends in a torn write of a power cut: %d bytes behind the last whole one were set aside",
        newest,
        len(data) - end,
    )
    return True
