"""Block files that a power cut can shorten, for use beside `storage_faults.FaultKV`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.storage_faults import PowerSupply

__all__ = ["FaultFiles"]


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: int = 0
    boundaries: list[int] = field(default_factory=list)
    """Where unsynced appends ended."""


class FaultFiles:
    """`Files` in memory; each append, sync and delete is a write of the power supply."""

    def __init__(self, power: PowerSupply | None = None, content: dict[str, bytes] | None = None) -> None:
        self.power = power or PowerSupply()
        self.files = {name: _File(bytearray(data), len(data)) for name, data in (content or {}).items()}
        self._deleted: dict[str, bytes] = {}
        """Since the last sync: a power cut may bring them back."""
        self.full = False
        self.full_for = ""
        """Only files whose names begin so find the disk full."""

    def append(self, name: str, data: bytes) -> int:
        if self.full and name.startswith(self.full_for):
            raise OSError(28, "No space left on device")
        self.power.count_write()
        file = self.files.setdefault(name, _File())
        pos = len(file.content)
        file.content += data
        file.boundaries.append(len(file.content))
        return pos

    def read(self, name: str, pos: int, count: int) -> bytes:
        self.power.check()
        file = self.files.get(name)
        return bytes(file.content[pos : pos + count]) if file else b""

    def size(self, name: str) -> int:
        file = self.files.get(name)
        return len(file.content) if file else 0

    def sync(self) -> None:
        self.power.count_write()
        for file in self.files.values():
            file.synced = len(file.content)
            file.boundaries.clear()
        self._deleted.clear()

    def delete(self, name: str) -> None:
        self.power.count_write()
        file = self.files.pop(name, None)
        if file is not None:
            self._deleted[name] = bytes(file.content)

    def names(self) -> list[str]:
        return sorted(self.files)

    def close(self) -> None:
        """Nothing to release."""

    def survivors(self, power: PowerSupply | None = None) -> Iterator["FaultFiles"]:
        """What a power cut may leave: no unsynced byte, half of them (torn), blocks without undo, all, or even
        what was deleted."""
        seen = set()
        for keep, deleted in (
            (self._nothing, {}),
            (self._half, {}),
            (self._blocks_only, {}),
            (self._all, {}),
            (self._nothing, self._deleted),
        ):
            content = {name: bytes(file.content[: keep(name, file)]) for name, file in self.files.items()}
            content = deleted | content
            fingerprint = tuple(sorted((name, len(data)) for name, data in content.items()))
            if fingerprint not in seen:
                seen.add(fingerprint)
                yield FaultFiles(power, content)

    @staticmethod
    def _nothing(_: str, file: _File) -> int:
        return file.synced

    @staticmethod
    def _half(_: str, file: _File) -> int:
        return file.synced + (len(file.content) - file.synced) // 2

    @staticmethod
    def _blocks_only(name: str, file: _File) -> int:
        return len(file.content) if name.startswith("blk") else file.synced

    @staticmethod
    def _all(_: str, file: _File) -> int:
        return len(file.content)
