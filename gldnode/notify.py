"""Commands that the operator wants run when something happens: -blocknotify and its siblings."""

import asyncio
import logging
import shlex
from collections.abc import Mapping
from typing import Final

from gldnode.config import Config

__all__ = ["Notifier"]

log = logging.getLogger(__name__)
MAX_RUNNING: Final = 16


class Notifier:
    """Runs shell commands beside the node. Values are quoted before they go into a command."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._running: set[asyncio.Task[None]] = set()

    def notify(self, key: str, values: Mapping[str, str] | None = None) -> None:
        """Start the commands of `-key=…`, each `%x` replaced by values["x"]. Returns at once."""
        for command in self._config.get_all(key):
            if not command or command == "0":
                continue
            if len(self._running) >= MAX_RUNNING:
                log.warning("-%s: %d commands still run, this one is left out", key, len(self._running))
                return
            task = asyncio.get_running_loop().create_task(
                _run(key, _fill(command, values or {})), name=f"{key} command"
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def finish(self, timeout_s: float = 10) -> None:
        """Wait for running commands, a bounded time."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
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
