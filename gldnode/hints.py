"""Hints to followers: bounded queues that forget everything, and say so, when their reader is too slow."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from gldnode.events import Hint, HintsLost

__all__ = ["BoundedHints", "HintsClosed"]

MAX_HINTS: Final = 20_000


class HintsClosed(Exception):
    """The queue was closed; there will be no more hints."""


class BoundedHints:
    """One follower's queue. Everything in the event loop's thread."""

    def __init__(self, name: str, limit: int = MAX_HINTS) -> None:
        self.name = name
        self._limit = limit
        self._waiting: deque[Hint] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def push(self, hints: Iterable[Hint]) -> None:
        """Add hints; on overflow all that wait are replaced by one `HintsLost`."""
        if self._closed:
            return
        for hint in hints:
            if len(self._waiting) >= self._limit:
                self._waiting.clear()
                self._waiting.append(HintsLost())
            self._waiting.append(hint)
        if self._waiting:
            self._ready.set()

    async def get(self) -> Hint:
        """The next hint. Raises HintsClosed after `close`."""
        while not self._waiting:
            if self._closed:
                raise HintsClosed(self.name)
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        self._closed = True
        self._waiting.clear()
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[Hint]:
        while True:
            try:
                hint = await self.get()
            except HintsClosed:
                return
            yield hint
