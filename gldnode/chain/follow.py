"""What followers are shown: the steps from a cursor to the durable tip. Any thread."""

from collections.abc import Callable

from gldnode.chain.active import ActiveChain
from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import BlockUnavailable
from gldnode.events import BlockConnected, BlockDisconnected, ChainStep, Cursor, UnknownCursor
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo

__all__ = ["steps_after"]


def steps_after(
    cursor: Cursor,
    *,
    find: Callable[[bytes], BlockEntry | None],
    active: ActiveChain,
    durable_height: Callable[[], int],
    body: Callable[[BlockEntry], Block | None],
    undo: Callable[[BlockEntry], BlockUndo | None],
    limit: int,
    max_bytes: int,
) -> list[ChainStep]:
    """At most `limit` steps of about `max_bytes`, at least one where there is one.

    A cursor on the active chain gets connects up to the durable height, one that was left gets disconnects
    back to the active chain and then connects. Raises UnknownCursor, BlockUnavailable for a pruned block.
    """
    entry = find(cursor.hash)
    if entry is None or not entry.n_tx:
        raise UnknownCursor(f"block {cursor.hash[::-1].hex()} at height {cursor.height} is not known")
    steps: list[ChainStep] = []
    size = 0
    while len(steps) < limit and size < max_bytes:
        step: ChainStep
        if not active.contains(entry):
            block = body(entry)
            if block is None:
                raise BlockUnavailable(f"block {entry.hash[::-1].hex()} was left and is not stored any more")
            step = BlockDisconnected(entry.hash, entry.height, block, entry.prev_hash, undo(entry))
            assert entry.prev is not None
            entry = entry.prev
        else:
            following = active.after(entry)
            if following is None or following.height > durable_height():
                break
            block = body(following)
            if block is None:
                raise BlockUnavailable(
                    f"block {following.hash[::-1].hex()} at height {following.height} is pruned"
                )
            step = BlockConnected(following.hash, following.height, block, entry.median_time_past, undo(following))
            entry = following
        steps.append(step)
        size += len(block.raw)
    return steps
