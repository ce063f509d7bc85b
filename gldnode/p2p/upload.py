"""`-maxuploadtarget`: how much may still be sent today."""

from typing import Final

from gldnode.clock import Clock

__all__ = ["UploadTarget"]

WINDOW_S: Final = 86_400
BLOCK_BYTES: Final = 4_000_000


class UploadTarget:
    """Counts a day's bytes. A target of 0 is none."""

    def __init__(self, target_bytes: int, block_interval_s: int, clock: Clock) -> None:
        self.target_bytes = target_bytes
        self._reserve = BLOCK_BYTES * (WINDOW_S // block_interval_s)
        self._clock = clock
        self._start = 0
        self._sent = 0

    def sent(self, count: int) -> None:
        now = self._clock.now()
        if not self._start or now - self._start >= WINDOW_S:
            self._start, self._sent = now, 0
        self._sent += count

    def _used(self) -> int:
        return self._sent if self._start and self._clock.now() - self._start < WINDOW_S else 0

    @property
    def bytes_left(self) -> int:
        return max(0, self.target_bytes - self._used()) if self.target_bytes else 0

    @property
    def is_reached(self) -> bool:
        return bool(self.target_bytes) and not self.bytes_left

    @property
    def serves_history(self) -> bool:
        """Old blocks go out only while new ones will still fit (Core: a block's size for each interval left)."""
        if not self.target_bytes:
            return True
        reserve = self._reserve * self.seconds_left // WINDOW_S
        return self.bytes_left > reserve

    @property
    def seconds_left(self) -> int:
        """Of the present day of counting."""
        if not self.target_bytes:
            return 0
        if not self._start:
            return WINDOW_S
        return max(0, self._start + WINDOW_S - self._clock.now())
