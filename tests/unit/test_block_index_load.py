"""Loading the header tree from its records gives the tree that was stored."""

import random

import pytest

from gldnode.chain.entry import BlockEntry, skip_height
from gldnode.chain.index import BlockIndex, IndexDamaged
from gldnode.chain.layout import ENTRY_PREFIX
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import make_header
from storage.kv import WriteBatch
from storage.memory import MemoryKV


def _tree(kv: MemoryKV, seed: int, size: int) -> BlockIndex:
    """A tree with forks at random places, mostly near the tip."""
    rng = random.Random(seed)
    index = BlockIndex(BTC_REGTEST, kv)
    entries = [index.genesis]
    for number in range(size):
        recent = rng.random() < 0.9
        prev = entries[-1] if rng.random() < 0.7 else rng.choice(entries[-12:] if recent else entries)
        time = prev.time + rng.randrange(1, 1200)
        bits = rng.choice([0x207FFFFF, 0x1F00FFFF])
        entry = index.add(make_header(4, prev.hash, number.to_bytes(32, "little"), time, bits, number), prev)
        if rng.random() < 0.95:
            index.body_stored(entry, 1 + number % 5, number % 3, number * 300)
        entries.append(entry)
    index.commit(index.best_header.hash)
    return index


def _described(entry: BlockEntry) -> tuple[object, ...]:
    return (
        entry.header_bytes,
        entry.height,
        entry.time,
        entry.bits,
        entry.chain_work,
        None if entry.prev is None else entry.prev.hash,
        None if entry.skip is None else entry.skip.hash,
        (entry.status, entry.n_tx, entry.chain_tx, entry.file, entry.data_pos, entry.undo_pos, entry.sequence),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_loaded_tree_is_the_stored_one(seed: int) -> None:
    kv = MemoryKV()
    stored = _tree(kv, seed, 400)
    loaded = BlockIndex(BTC_REGTEST, kv)
    assert {key: _described(entry) for key, entry in loaded.entries.items()} == {
        key: _described(entry) for key, entry in stored.entries.items()
    }
    for entry in loaded.entries.values():
        if entry.prev is not None:
            assert entry.skip is entry.prev.ancestor(skip_height(entry.height))
    assert loaded.best_header.chain_work == stored.best_header.chain_work
    assert loaded.recorded_tip == stored.recorded_tip


def test_a_record_without_its_parent_is_damage() -> None:
    kv = MemoryKV()
    index = _tree(kv, 1, 50)
    parent = next(entry for entry in index.entries.values() if entry.height == 3)
    batch = WriteBatch()
    batch.delete(ENTRY_PREFIX + parent.hash)
    kv.write(batch, sync=True)
    with pytest.raises(IndexDamaged, match="parent"):
        BlockIndex(BTC_REGTEST, kv)


def test_a_record_with_another_header_is_damage() -> None:
    kv = MemoryKV()
    index = _tree(kv, 2, 50)
    entry = next(entry for entry in index.entries.values() if entry.height == 5)
    record = bytearray(kv.get(ENTRY_PREFIX + entry.hash) or b"")
    record[40] ^= 1  # in the merkle root
    batch = WriteBatch()
    batch.put(ENTRY_PREFIX + entry.hash, bytes(record))
    kv.write(batch, sync=True)
    with pytest.raises(IndexDamaged, match="key"):
        BlockIndex(BTC_REGTEST, kv)
