"""Rebuilding the index from the block files (`-reindex`)."""

from collections.abc import Callable

from gldnode.chain.blockfiles import BlockFiles
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex
from gldnode.consensus.check_block import check_block, contextual_check_block
from gldnode.errors import Reject, RejectKind
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, BlockHeader, parse_block

__all__ = ["scan_block_files"]


def scan_block_files(
    store: BlockFiles,
    index: BlockIndex,
    params: ChainParams,
    accept_header: Callable[[BlockHeader], BlockEntry],
) -> int:
    """Enter every stored block that keeps the rules; returns how many. Blocks may stand before their parents."""
    waiting: dict[bytes, list[tuple[int, int]]] = {}
    count = 0
    for file in store.numbers():
        for pos, block in store.scan(file):
            todo = [(file, pos, block)]
            while todo:
                at_file, at_pos, found = todo.pop()
                prev_hash = found.header.prev_hash
                if found.hash != params.genesis.hash and index.get(prev_hash) is None:
                    waiting.setdefault(prev_hash, []).append((at_file, at_pos))
                    continue
                if _enter(found, at_file, at_pos, index, params, accept_header):
                    count += 1
                    children = waiting.pop(found.hash, ())
                    todo.extend((f, p, parse_block(store.read_block(f, p))) for f, p in children)
    return count


def _enter(
    block: Block,
    file: int,
    pos: int,
    index: BlockIndex,
    params: ChainParams,
    accept_header: Callable[[BlockHeader], BlockEntry],
) -> bool:
    try:
        check_block(block, params)
        entry = accept_header(block.header)
        if entry.has_data:
            return False
        if entry.prev is not None:
            try:
                contextual_check_block(block, entry.prev, params)
            except Reject as error:
                if error.kind is not RejectKind.MUTATED:
                    index.mark_failed(entry)
                raise
    except Reject:
        return False
    index.body_stored(entry, len(block.txs), file, pos)
    return True
