"""Commands that the operator wants run when something happens: -blocknotify and its siblings."""

import asyncio
import contextlib
import logging
import shlex
from collections import deque
from collections.abc import Mapping
from typing import Final

from gldnode.config import Config

__all__ = ["Notifier"]

log = logging.getLogger(__name__)
MAX_RUNNING: Final = 16
MAX_WAITING: Final = 10_000


class Notifier:
    """Runs shell commands beside the node. Values are quoted before they go into a command."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[str, str]] = deque()
        """Keys and commands that are to run when others have ended, in order."""

    def notify(self, key: str, values: Mapping[str, str] | None = None) -> None:
        """Run the commands of `-key=…`, each `%x` replaced by values["x"]. Returns at once."""
        for command in self._config.get_all(key):
            if not command or command == "0":
                continue
            if len(self._waiting) >= MAX_WAITING:
                log.warning("-%s: %d commands wait already, this one is left out", key, len(self._waiting))
                return
            self._waiting.append((key, _fill(command, values or {})))
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < MAX_RUNNING:
            key, command = self._waiting.popleft()
            task = asyncio.get_running_loop().create_task(_run(key, command), name=f"{key} command")
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def finish(self, timeout_s: float = 10) -> None:
        """Wait for commands, a bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._running:
                    await asyncio.wait(self._running)
        self._waiting.clear()
        for task in list(self._running):
            task.cancel()


def _fill(command: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        command = command.replace(f"%{name}", value if value.isalnum() else shlex.quote(value))
    return command


async def _run(key: str, command: str) -> None:
    try:
        process = await asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        status = await process.wait()
    except OSError as error:
        log.error("-%s: %s", key, error)
        return
    if status:
        log.error("runCommand error: system(%s) returned %d", command, status)
