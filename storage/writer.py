"""The thread that writes a database's groups, one after another."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

from storage.kv import KV, WriteBatch

__all__ = ["Writer"]

Done = Callable[[BaseException | None], None]
Job = tuple[WriteBatch, bool, Done]


class Writer:
    """Leaner than an executor: at one creation at a time its futures cost as much as the write."""

    def __init__(self, kv: KV, name: str) -> None:
        self._kv = kv
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # A daemon: what it has not written when the process ends has not been promised to anyone.
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, batch: WriteBatch, sync: bool, done: Done) -> None:
        """Write `batch`; then `done(error)` is called in the writer's thread, with None for success."""
        self._jobs.put((batch, sync, done))

    def finish(self) -> None:
        """Return once everything that was submitted is written and told of. No more may be submitted."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, sync, done = job
            try:
                self._kv.write(batch, sync=sync)
            except BaseException as error:  # whatever it is belongs to those who wait for the write
                done(error)
            else:
                done(None)
