"""What a long piece of work on the chain tells, and how it is told to stop."""

from collections.abc import Callable

from gldnode.errors import NodeError

__all__ = ["Interrupted", "Progress", "no_progress"]

Progress = Callable[[str, int, int], None]
"""Called often with what is being done, how much of it is done, and of how much. Raises Interrupted to stop it."""


class Interrupted(NodeError):
    """The work was asked to stop before it was complete; what was done is kept."""


def no_progress(what: str, done: int, total: int) -> None:
    """For those whom it does not interest."""
