"""Waking those who wait for a change, in this process. A hint only: whoever wakes reads the database."""

import asyncio

__all__ = ["Bell"]


class Bell:
    """Rings for everybody who waits at that moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next_ring(self) -> asyncio.Event:
        """Set at the next ring. Take it, read, then await it: nothing between is missed."""
        return self._event

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, ring: asyncio.Event, timeout_s: float) -> bool:
        """Whether it rang in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await ring.wait()
        except TimeoutError:
            return False
        return True
