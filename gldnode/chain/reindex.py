"""Building the index and the coins anew (`-reindex`, `-reindex-chainstate`), and taking in blocks from files.

A reindex empties index and coins, enters every block of the block files, and leaves the rest to the ordinary
start, which connects them. A flag in the index says how far it has come: 0 while things are being emptied, then
one more than the number of the file that is next; so it goes on where it was cut.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gldnode.chain.blockfiles import BlockFiles
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex, wipe
from gldnode.chain.layout import BEST_BLOCK_KEY, COIN_PREFIX, ENTRY_PREFIX, PRUNED_KEY, REINDEX_KEY, TIP_KEY
from gldnode.chain.progress import Progress
from gldnode.consensus.check_block import check_block, contextual_check_block
from gldnode.errors import Reject, RejectKind
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, BlockHeader
from storage.kv import KV, WriteBatch

__all__ = ["reindex", "wipe_for_rebuild"]

_EMPTYING: Final = 0


def wipe_for_rebuild(
    index_kv: KV, coins_kv: KV, *, reindex: bool, reindex_chainstate: bool, progress: Progress
) -> bool:
    """Empty what is to be built anew; whether the block files are to be read.

    The next start sees a crash on the way: by the flag, or the missing tip of the coins.
    """
    stage = index_kv.get(REINDEX_KEY)
    begin = reindex or (stage is not None and _number(stage) == _EMPTYING)
    if begin:
        _set_stage(index_kv, _EMPTYING)
        wipe(index_kv, [TIP_KEY, ENTRY_PREFIX, PRUNED_KEY])
    if begin or reindex_chainstate or coins_kv.get(BEST_BLOCK_KEY) is None:
        wipe(
            coins_kv, [BEST_BLOCK_KEY, COIN_PREFIX], lambda done: progress("Emptying the coins database", done, 0)
        )
    return begin or stage is not None


def reindex(
    kv: KV,
    store: BlockFiles,
    index: BlockIndex,
    params: ChainParams,
    accept_header: Callable[[BlockHeader], BlockEntry],
    progress: Progress,
    *,
    pruning: bool,
) -> None:
    """Enter every stored block that keeps the rules, file by file. Blocks may stand before their parents.

    With `pruning` files that do not follow on from the first are deleted: the chain is fetched again anyway.
    Raises Interrupted, StorageError.
    """
    stage = kv.get(REINDEX_KEY)
    first = 0 if stage is None else max(_number(stage) - 1, 0)
    if first == 0:
        store.delete_undo()  # all of it is written again
        if pruning:
            store.delete_behind_gap()
        _set_stage(kv, first + 1)
    numbers = store.numbers()
    sizes = [store.block_file_size(number) for number in numbers]
    total, done = max(sum(sizes), 1), 0
    waiting: dict[bytes, list[tuple[int, int]]] = {}
    for number, size in zip(numbers, sizes, strict=True):
        if number >= first:
            what = f"Reindexing block file blk{number:05d}.dat"
            for pos, block in store.scan(number):
                progress(what, done + pos, total)
                _enter_with_children(block, number, pos, store, index, params, accept_header, waiting)
            index.commit(index.recorded_tip or params.genesis.hash)
            earliest = min((file for places in waiting.values() for file, _ in places), default=number + 1)
            _set_stage(kv, earliest + 1)
        done += size
    batch = WriteBatch()
    batch.delete(REINDEX_KEY)
    kv.write(batch, sync=True)


def _enter_with_children(
    block: Block,
    file: int,
    pos: int,
    store: BlockFiles,
    index: BlockIndex,
    params: ChainParams,
    accept_header: Callable[[BlockHeader], BlockEntry],
    waiting: dict[bytes, list[tuple[int, int]]],
) -> None:
    """Enter it, and those that have waited for it; or let it wait for its parent."""
    todo: list[tuple[int, int, Block]] = [(file, pos, block)]
    for at_file, at_pos, found in _drain(todo):
        prev_hash = found.header.prev_hash
        if found.hash != params.genesis.hash and index.get(prev_hash) is None:
            waiting.setdefault(prev_hash, []).append((at_file, at_pos))
        elif _enter(found, at_file, at_pos, index, params, accept_header):
            children: Iterable[tuple[int, int]] = waiting.pop(found.hash, ())
            todo.extend((f, p, store.read_parsed(f, p)) for f, p in children)


def _drain(todo: list[tuple[int, int, Block]]) -> Iterator[tuple[int, int, Block]]:
    while todo:
        yield todo.pop()


def _enter(
    block: Block,
    file: int,
    pos: int,
    index: BlockIndex,
    params: ChainParams,
    accept_header: Callable[[BlockHeader], BlockEntry],
) -> bool:
    known = index.get(block.hash)
    if known is not None and known.has_data:
        return False
    try:
        check_block(block, params)
        entry = accept_header(block.header)
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


def _set_stage(kv: KV, stage: int) -> None:
    batch = WriteBatch()
    batch.put(REINDEX_KEY, stage.to_bytes(4, "little"))
    kv.write(batch, sync=True)


def _number(stage: bytes) -> int:
    return int.from_bytes(stage, "little")
