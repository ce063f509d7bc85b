"""Version 3 transactions (BIP 431), sibling eviction, and ephemeral dust."""

import pytest

from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from tests.support.pool import ANYONE, PoolLab

P2A = bytes.fromhex("51024e73")


@pytest.fixture
def lab() -> PoolLab:
    return PoolLab()


def name(tx: Tx) -> str:
    return f"tx {tx.txid[::-1].hex()} (wtxid={tx.wtxid[::-1].hex()})"


def violation(lab: PoolLab, tx: Tx) -> str:
    reject = lab.reject(tx)
    assert reject.reason == "TRUC-violation"
    return reject.detail


def test_versions_do_not_mix_among_the_unconfirmed(lab: PoolLab) -> None:
    three, two = lab.add(version=3), lab.add()
    child = lab.tx(three.outpoint(0))
    assert violation(lab, child) == f"non-version=3 {name(child)} cannot spend from version=3 {name(three)}"
    child = lab.tx(two.outpoint(0), version=3)
    assert violation(lab, child) == f"version=3 {name(child)} cannot spend from non-version=3 {name(two)}"
    lab.mine()
    assert lab.reason(lab.tx(three.outpoint(0))) == ""


def test_sizes_are_small(lab: PoolLab) -> None:
    big = lab.tx(version=3, pad=9_950, fee=20_000)
    assert violation(lab, big) == f"version=3 {name(big)} is too big: {big.vsize} > 10000 virtual bytes"
    parent = lab.add(version=3, pad=9_000, fee=20_000)
    child = lab.tx(parent.outpoint(0), version=3, pad=1_000, fee=20_000)
    assert violation(lab, child) == f"version=3 child {name(child)} is too big: {child.vsize} > 1000 virtual bytes"
    assert lab.reason(lab.tx(parent.outpoint(0), version=3)) == ""


def test_one_parent_at_most_and_no_grandparent(lab: PoolLab) -> None:
    parents = [lab.add(version=3), lab.add(version=3)]
    both = lab.tx(*(tx.outpoint(0) for tx in parents), version=3)
    assert violation(lab, both) == f"{name(both)} would have too many ancestors"
    child = lab.add(parents[0].outpoint(0), version=3)
    grandchild = lab.tx(child.outpoint(0), version=3)
    assert violation(lab, grandchild) == f"{name(grandchild)} would have too many ancestors"


def test_a_second_child_may_evict_the_first_by_paying_more(lab: PoolLab) -> None:
    parent = lab.add(version=3, outputs=2)
    first = lab.add(parent.outpoint(0), version=3, fee=2_000)
    reject = lab.reject(lab.tx(parent.outpoint(1), version=3, fee=2_005))
    assert reject.reason == "insufficient fee (including sibling eviction)"
    second = lab.tx(parent.outpoint(1), version=3, fee=4_000)
    assert [tx.txid for tx in lab.accept(second).replaced] == [first.txid]
    assert set(lab.pool.txids()) == {parent.txid, second.txid}
    lab.pool.check()


def test_a_child_is_replaced_by_conflict_as_ever(lab: PoolLab) -> None:
    parent = lab.add(version=3)
    lab.add(parent.outpoint(0), version=3, fee=2_000)
    assert lab.reason(lab.tx(parent.outpoint(0), version=3, fee=4_000)) == ""


def test_in_a_package_too(lab: PoolLab) -> None:
    parent = lab.tx(version=3, fee=0)
    child = lab.tx(parent.outpoint(0), version=3, fee=5_000, known=[parent])
    result = lab.pool.submit_package([parent, child])
    assert result.message == "success"
    parent = lab.tx(version=3, fee=0)
    child = lab.tx(parent.outpoint(0), fee=5_000, known=[parent])
    result = lab.pool.submit_package([parent, child])
    assert result.message == "TRUC-violation"
    assert parent.txid not in lab.pool


def test_a_version_3_parent_may_pay_nothing_with_its_child(lab: PoolLab) -> None:
    for version, message in ((2, "transaction failed"), (3, "success")):
        parent = lab.tx(version=version, fee=0)
        child = lab.tx(parent.outpoint(0), version=version, fee=5_000, known=[parent])
        assert lab.pool.submit_package([parent, child]).message == message


def ephemeral_parent(lab: PoolLab, fee: int = 0) -> Tx:
    return lab.tx(version=3, fee=fee, extra=[TxOut(0, P2A)])


def test_ephemeral_dust_comes_with_a_child_that_spends_it(lab: PoolLab) -> None:
    parent = ephemeral_parent(lab)
    spends_it = lab.tx(parent.outpoint(0), version=3, fee=5_000, known=[parent])
    result = lab.pool.submit_package([parent, spends_it])
    assert result.message == "unspent-dust"
    reject = result.results[spends_it.wtxid].reject
    assert reject is not None
    assert reject.reason == "missing-ephemeral-spends"
    both = lab.tx(parent.outpoint(0), version=3, fee=5_000, known=[parent])
    both = make_tx(3, [both.inputs[0], TxIn(parent.outpoint(1), b"", 0)], both.outputs)
    result = lab.pool.submit_package([parent, both])
    assert result.message == "success", result
    assert lab.pool.get(parent.txid) is not None
    other = lab.tx(parent.outpoint(0), version=3, fee=90_000)
    assert lab.reason(other) == "missing-ephemeral-spends"
    lab.pool.check()


def test_dust_with_a_fee_is_refused(lab: PoolLab) -> None:
    assert lab.reason(ephemeral_parent(lab, fee=1)) == "dust"
    tx = ephemeral_parent(lab)
    lab.pool.prioritise(tx.txid, 10_000)
    assert lab.reason(tx) == "dust"


def test_ordinary_outputs_of_the_anchor_kind_are_spent_without_a_witness(lab: PoolLab) -> None:
    parent = lab.tx(scripts=[P2A, ANYONE])
    lab.accept(parent)
    tx = make_tx(2, [TxIn(parent.outpoint(0), b"", 0)], [TxOut(parent.outputs[0].amount - 1_000, ANYONE)])
    assert lab.reason(tx) == ""
