"""How long the event loop keeps others waiting while it does something."""

import asyncio
from time import perf_counter
from types import TracebackType
from typing import Final, Self

__all__ = ["Heartbeat"]

EVERY_S: Final = 0.001


class Heartbeat:
    """A task that asks for a turn of the running loop every millisecond, as somebody with a request would."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        """That it had to wait for one."""
        self._task: asyncio.Task[None] | None = None

    async def _beat(self) -> None:
        while True:
            wanted = perf_counter() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.longest_s = max(self.longest_s, perf_counter() - wanted)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat(), name="heartbeat")
        await asyncio.sleep(EVERY_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        await asyncio.sleep(EVERY_S)  # a beat that was due meanwhile counts
        self._task.cancel()
