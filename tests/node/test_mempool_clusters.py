"""Clusters and chunks: what is mined together, and in which order."""

from collections.abc import Sequence

from gldnode.mempool.clusters import Chunk, adjusted_weight, chunks_of, cluster_of, clusters_of
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx
from tests.support.pool import PoolLab


def chunks(lab: PoolLab, tx: Tx) -> Sequence[Chunk]:
    entry = lab.pool.get(tx.txid)
    assert entry is not None
    return chunks_of(cluster_of(entry, lab.pool.get), 20)


def ids(found: Sequence[Chunk]) -> list[list[Txid]]:
    return [[entry.txid for entry in chunk.entries] for chunk in found]


def test_a_lonely_transaction_is_its_own_chunk() -> None:
    lab = PoolLab()
    tx = lab.add(fee=700)
    (chunk,) = chunks(lab, tx)
    assert (chunk.fee, chunk.weight, ids([chunk])) == (700, tx.weight, [[tx.txid]])


def test_a_child_that_pays_for_its_parent_is_mined_with_it_and_one_that_does_not_later() -> None:
    lab = PoolLab()
    parent = lab.add(fee=200)
    generous = lab.add(parent.outpoint(0), fee=5_000)
    assert ids(chunks(lab, parent)) == [[parent.txid, generous.txid]]
    dear = lab.add(fee=5_000)
    cheap = lab.add(dear.outpoint(0), fee=200)
    assert ids(chunks(lab, cheap)) == [[dear.txid], [cheap.txid]]


def test_two_children_pay_for_a_parent_together() -> None:
    lab = PoolLab()
    parent = lab.tx(lab.fund(), fee=200, outputs=2)
    lab.accept(parent)
    first = lab.add(parent.outpoint(0), fee=3_000)
    second = lab.add(parent.outpoint(1), fee=3_000)
    (chunk,) = chunks(lab, second)
    assert chunk.entries[0].txid == parent.txid
    assert {entry.txid for entry in chunk.entries[1:]} == {first.txid, second.txid}


def test_feerates_never_rise_and_parents_come_first_whatever_hangs_together() -> None:
    lab = PoolLab()
    tops = [lab.tx(lab.fund(), fee=150 + 97 * n, outputs=3) for n in range(4)]
    for tx in tops:
        lab.accept(tx)
    for n in range(3):
        lab.accept(lab.tx(tops[n].outpoint(0), tops[n + 1].outpoint(1), fee=[9_000, 300, 4_000][n]))
    found = chunks(lab, tops[0])
    assert sum(len(chunk.entries) for chunk in found) == 7
    rates = [chunk.fee / chunk.weight for chunk in found]
    assert rates == sorted(rates, reverse=True)
    seen: set[Txid] = set()
    for chunk in found:
        assert chunk.fee == sum(entry.modified_fee for entry in chunk.entries)
        assert chunk.weight == sum(adjusted_weight(entry, 20) for entry in chunk.entries)
        for entry in chunk.entries:
            assert entry.parents <= seen
            seen.add(entry.txid)


def test_each_cluster_is_found_once() -> None:
    lab = PoolLab()
    parent = lab.add()
    lab.add(parent.outpoint(0))
    lab.add()
    assert sorted(len(one) for one in clusters_of(lab.pool.entries(), lab.pool.get)) == [1, 2]


def test_chunks_follow_a_change_of_a_fee() -> None:
    lab = PoolLab()
    parent = lab.add(fee=5_000)
    child = lab.add(parent.outpoint(0), fee=200)
    assert len(chunks(lab, parent)) == 2
    assert chunks(lab, child) is chunks(lab, parent)
    lab.pool.prioritise(child.txid, 50_000)
    assert [chunk.fee for chunk in chunks(lab, parent)] == [55_200]
