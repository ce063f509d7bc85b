"""Time. The only module that asks the operating system for it; everything else takes `now` or a `Clock`."""

import time
from typing import Protocol

__all__ = ["Clock", "MockableClock", "SystemClock"]


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> int:
        """Unix seconds."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> int:
        return int(time.time())

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class MockableClock:
    """A clock that `setmocktime` can stop at a moment (regtest networks); 0 lets it run again."""

    def __init__(self, inner: Clock | None = None) -> None:
        self._inner: Clock = inner or SystemClock()
        self._mock = 0

    def set_mock_time(self, unix_s: int) -> None:
        self._mock = unix_s

    @property
    def mock_time(self) -> int:
        """Unix seconds set by `set_mock_time`, 0 when the clock runs."""
        return self._mock

    def now(self) -> int:
        return self._mock or self._inner.now()

    def now_ms(self) -> int:
        return self._mock * 1000 or self._inner.now_ms()

    def monotonic(self) -> float:
        return self._inner.monotonic()
