"""What a person at a terminal sees while the node starts and runs: a line that moves, then where to find it."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["Display", "QuietDisplay", "TerminalDisplay"]


class QuietDisplay:
    """Shows nothing: no terminal, or the log goes there."""

    def stage(self, text: str) -> None:
        """What the node is doing."""

    def ready(self, facts: Sequence[tuple[str, str]]) -> None:
        """Start-up is complete."""

    def chain(self, height: int, headers: int, mempool: int, peers: int) -> None:
        """The node's state, called every second."""

    def headers(self, height: int, expected: int, *, is_presync: bool, blocks: int, peers: int) -> None:
        """Instead of `chain` while headers come in; `is_presync`: they are only counted so far."""

    def close(self) -> None:
        """Give the terminal back."""


class TerminalDisplay(QuietDisplay):
    """A progress line at the bottom of a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=False, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=2,
        )
        self._task = self._progress.add_task("Starting", total=None, note="")
        self._progress.start()

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=escape(text))

    def ready(self, facts: Sequence[tuple[str, str]]) -> None:
        width = max((len(name) for name, _ in facts), default=0)
        for name, value in facts:
            self._progress.console.print(f"[bold]{escape(name):<{width}}[/]  {escape(value)}")

    def chain(self, height: int, headers: int, mempool: int, peers: int) -> None:
        self._progress.update(
            self._task,
            description="Synchronizing blocks" if headers > height else "Running (Ctrl-C stops)",
            completed=height,
            total=max(headers, height),
            note=f"mempool {mempool}, peers {peers}",
        )

    def headers(self, height: int, expected: int, *, is_presync: bool, blocks: int, peers: int) -> None:
        what = "Pre-synchronizing" if is_presync else "Synchronizing"
        self._progress.update(
            self._task,
            description=f"{what} headers (~{100 * height / max(1, expected):.1f} %)",
            completed=height,
            total=expected,
            note=f"blocks {blocks}, peers {peers}",
        )

    def refresh(self) -> None:
        """Draw now what is drawn twice a second otherwise."""
        self._progress.refresh()

    def close(self) -> None:
        self._progress.stop()


Display = QuietDisplay
