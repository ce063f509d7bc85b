"""Orphans: bounded, found again by the outputs they wait for, and fair between peers."""

import pytest

from gldnode.mempool.orphans import EXPIRY_S, OrphanPool
from gldnode.params import REGTEST
from gldnode.primitives.block import make_block
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx, outpoint

SCRIPT = b"\x00\x14" + bytes(20)
NOW = 1_000


def orphan(*prevouts: OutPoint, amount: int = 1, size: int = 0) -> Tx:
    return make_tx(2, [TxIn(one, bytes(size), 0) for one in prevouts], [TxOut(amount, SCRIPT), TxOut(1, SCRIPT)])


def lone(number: int, size: int = 0) -> Tx:
    return orphan(outpoint(number.to_bytes(32, "little"), 0), size=size)


@pytest.fixture
def pool() -> OrphanPool:
    return OrphanPool(max_count=10, max_weight=400_000)


def test_children_are_found_by_their_parents_outputs(pool: OrphanPool) -> None:
    parent = lone(1)
    first, second = orphan(parent.outpoint(0)), orphan(parent.outpoint(1), parent.outpoint(0), amount=5)
    for tx in (first, second, lone(2)):
        assert pool.add(tx, peer=1, now=NOW)
    assert not pool.add(first, peer=2, now=NOW)
    assert {tx.wtxid for tx in pool.children_of(parent)} == {first.wtxid, second.wtxid}
    assert [tx.wtxid for tx in pool.children_from_peer(parent, 2)] == [first.wtxid]
    assert pool.get(first.wtxid) == first
    assert pool.peers_of(first.wtxid) == (1, 2)
    assert pool.missing_parents(second) == {parent.txid}
    assert pool.remove(first.wtxid)
    assert not pool.remove(first.wtxid)
    assert pool.children_of(parent) == [second]


def test_a_greedy_peer_pushes_out_only_its_own(pool: OrphanPool) -> None:
    modest = lone(0)
    pool.add(modest, peer=1, now=NOW)
    for number in range(1, 50):
        pool.add(lone(number), peer=2, now=NOW)
    assert len(pool) == 10
    assert modest.wtxid in pool
    assert lone(49).wtxid in pool


def test_weight_is_bounded_too(pool: OrphanPool) -> None:
    for number in range(20):
        pool.add(lone(number, size=20_000), peer=number, now=NOW)
    assert sum(tx.weight for tx in pool.txs()) <= 400_000
    assert not pool.add(lone(99, size=100_000), peer=1, now=NOW)


def test_orphans_expire_and_go_with_their_peer(pool: OrphanPool) -> None:
    pool.add(lone(1), peer=1, now=NOW)
    pool.add(lone(2), peer=2, now=NOW + 10)
    pool.add(lone(2), peer=1, now=NOW + 10)
    pool.remove_peer(1)
    assert [tx.wtxid for tx in pool.txs()] == [lone(2).wtxid]
    assert pool.expire(NOW + 10 + EXPIRY_S) == 1
    assert len(pool) == 0


def test_a_block_clears_what_it_holds_and_what_conflicts(pool: OrphanPool) -> None:
    held, rival, other = lone(1), orphan(lone(1).inputs[0].prevout, amount=9), lone(3)
    for tx in (held, rival, other):
        pool.add(tx, peer=1, now=NOW)
    pool.block_connected(make_block(REGTEST.genesis.header, [held]))
    assert pool.txs() == [other]


def test_an_orphan_pool_of_size_zero_keeps_nothing() -> None:
    assert not OrphanPool(max_count=0).add(lone(1), peer=1, now=NOW)
