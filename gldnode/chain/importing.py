"""Taking in the blocks of a file that another node wrote (`-loadblock`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gldnode.chain.blockfiles import scan_blocks
from gldnode.chain.chainstate import Chainstate
from gldnode.errors import Reject
from gldnode.primitives.block import Block

__all__ = ["import_steps"]

_BLOCKS_AT_ONCE: Final = 100
_MAX_WAITING_BYTES: Final = 64_000_000


def import_steps(chain: Chainstate, path: Path) -> Iterator[tuple[int, int]]:
    """Offer every block of the file to the chain; yields now and then how many were read and taken so far.

    Blocks may stand before their parents, as long as not too many do. Validation thread, step by step.
    Raises OSError, DiskSpaceLow, StorageError.
    """
    read = taken = 0
    waiting: dict[bytes, list[Block]] = {}
    waiting_bytes = 0
    with path.open("rb") as file:

        def window(pos: int, count: int) -> bytes:
            file.seek(pos)
            return file.read(count)

        for _, block in scan_blocks(window, path.stat().st_size, chain.params.message_start):
            read += 1
            if block.hash != chain.params.genesis.hash and chain.entry(block.header.prev_hash) is None:
                if waiting_bytes < _MAX_WAITING_BYTES:
                    waiting.setdefault(block.header.prev_hash, []).append(block)
                    waiting_bytes += len(block.raw)
                continue
            todo = [block]
            while todo:
                offered = todo.pop()
                try:
                    taken += chain.accept_block(offered).is_new
                except Reject:
                    continue
                children = waiting.pop(offered.hash, [])
                waiting_bytes -= sum(len(child.raw) for child in children)
                todo += children
            if read % _BLOCKS_AT_ONCE == 0:
                yield read, taken
    yield read, taken
