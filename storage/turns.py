"""Long work on the event loop, in pieces: between them everybody else is served."""

import asyncio
from collections.abc import Callable, Generator
from time import monotonic
from typing import Final, TypeVar

__all__ = ["Pieces", "at_once", "in_turns"]

T = TypeVar("T")

Pieces = Generator[None, None, T]
"""Work that yields wherever it may pause; a piece between two yields takes a fraction of a millisecond."""

TURN_S: Final = 0.002
"""How long the pieces go on before the loop has its turn. A request needs some turns of the loop for an answer."""
LONG_TURN_S: Final = 0.01
"""At most. A busy loop gives the work as long as it took for the others: half of the time, so that it ends."""


def at_once(pieces: Pieces[T]) -> T:
    """The work's result, without a pause."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_turns(pieces: Pieces[T], check: Callable[[], None] | None = None) -> T:
    """The work's result. Work that is done within one turn never pauses.

    `check` is called after each pause and may end the work by raising. Whatever ends it closes `pieces`.
    """
    until = monotonic() + TURN_S
    try:
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                result: T = end.value
                return result
            left_at = monotonic()
            if left_at < until:
                continue
            await asyncio.sleep(0)
            if check is not None:
                check()
            now = monotonic()
            until = now + min(max(TURN_S, now - left_at), LONG_TURN_S)
    finally:
        pieces.close()
