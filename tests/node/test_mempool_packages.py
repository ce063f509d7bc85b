"""Packages: `testmempoolaccept` of several, `submitpackage` with a child that pays for its parents."""

import pytest

from gldnode.errors import Reject
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.packages import PackageError, check_package, is_child_with_parents
from gldnode.mempool.results import PackageResult
from gldnode.primitives.tx import Tx, with_witnesses
from tests.support.pool import PoolLab


@pytest.fixture
def lab() -> PoolLab:
    return PoolLab()


def family(lab: PoolLab, *parent_fees: int, child_fee: int = 20_000, version: int = 2) -> list[Tx]:
    """Parents that pay so much, and a child of all of them."""
    parents = [lab.tx(fee=fee, version=version) for fee in parent_fees]
    child = lab.tx(*(tx.outpoint(0) for tx in parents), fee=child_fee, known=parents, version=version)
    return [*parents, child]


def reason_of(result: PackageResult, tx: Tx) -> str:
    reject = result.results[tx.wtxid].reject
    return reject.reason if reject is not None else ""


def package_reason(txs: list[Tx]) -> str:
    try:
        check_package(txs)
    except PackageError as error:
        return error.reason
    return ""


def test_a_package_is_sorted_consistent_and_not_too_large(lab: PoolLab) -> None:
    parent, child = family(lab, 1_000)
    assert package_reason([parent, child]) == ""
    assert package_reason([child, parent]) == "package-not-sorted"
    assert package_reason([parent, parent]) == "package-contains-duplicates"
    rival = lab.tx(parent.inputs[0].prevout, fee=5)
    assert package_reason([parent, rival]) == "conflict-in-package"
    many = [lab.tx(lab_prevout, fee=fee) for lab_prevout in [lab.fund()] for fee in range(26)]
    assert package_reason(many) == "package-too-many-transactions"
    large = [lab.tx(pad=51_000) for _ in range(2)]
    assert package_reason(large) == "package-too-large"


def test_shape_of_a_child_with_its_parents(lab: PoolLab) -> None:
    txs = family(lab, 1_000, 1_000)
    assert is_child_with_parents(txs)
    assert not is_child_with_parents(txs[:2])
    assert not is_child_with_parents(txs[2:])
    result = lab.pool.submit_package([lab.tx(), lab.tx()])
    assert result.message == "package-not-child-with-parents"
    assert all(line.package_not_validated for line in result.results.values())


def test_a_child_pays_for_a_parent_below_the_pools_minimum(lab: PoolLab) -> None:
    lab = PoolLab(MempoolOptions(max_mempool_bytes=40_000), blocks=140)
    while not lab.removed():
        lab.reason(lab.tx(fee=5_000))
    poor, rich = family(lab, 100, child_fee=200_000)
    assert lab.reason(poor) == "mempool min fee not met"
    result = lab.pool.submit_package([poor, rich])
    assert result.message == "success"
    line = result.results[poor.wtxid].accepted
    assert line is not None
    assert line.effective_includes == (poor.wtxid, rich.wtxid)
    assert line.effective_feerate_per_kvb == 200_100 * 1_000 // (poor.vsize + rich.vsize)
    assert {poor.txid, rich.txid} <= set(lab.pool.txids())
    lab.pool.check()


def test_a_parent_below_the_relay_fee_stays_out_even_so(lab: PoolLab) -> None:
    poor, rich = family(lab, 1)
    result = lab.pool.submit_package([poor, rich])
    assert result.message == "transaction failed"
    assert reason_of(result, poor) == "min relay fee not met"
    assert reason_of(result, rich) == "bad-txns-inputs-missingorspent"
    assert len(lab.pool) == 0


def test_a_child_that_pays_too_little_fails_for_the_package(lab: PoolLab) -> None:
    parent, child = family(lab, 0, child_fee=15, version=3)
    result = lab.pool.submit_package([parent, child])
    assert result.message == "transaction failed"
    assert reason_of(result, child) == "min relay fee not met"
    assert len(lab.pool) == 0


def test_parents_that_pay_for_themselves_come_in_alone(lab: PoolLab) -> None:
    txs = family(lab, 1_000, 2_000)
    result = lab.pool.submit_package(txs)
    assert result.message == "success"
    for tx in txs:
        line = result.results[tx.wtxid].accepted
        assert line is not None
        assert line.effective_includes == (tx.wtxid,)
    assert len(lab.pool) == 3


def test_what_is_here_already_is_told(lab: PoolLab) -> None:
    parent, child = family(lab, 1_000)
    lab.accept(parent)
    other = with_witnesses(parent, [(b"", b"\x51")])
    result = lab.pool.submit_package([parent, child])
    assert result.results[parent.wtxid].in_mempool is not None
    result = lab.pool.submit_package([other, child])
    assert result.results[other.wtxid].other_wtxid == parent.wtxid
    assert result.results[child.wtxid].in_mempool is not None
    assert result.message == "success"


def test_an_invalid_member_ends_the_package(lab: PoolLab) -> None:
    parent, child = family(lab, 1_000)
    bad = with_witnesses(parent, [(b"\x00",)])
    result = lab.pool.submit_package([bad, child])
    assert result.message == "transaction failed"
    assert reason_of(result, bad).startswith("mempool-script-verify-flag-failed")
    assert result.results[child.wtxid].package_not_validated
    assert len(lab.pool) == 0


def test_one_transaction_is_a_package(lab: PoolLab) -> None:
    tx = lab.tx()
    assert lab.pool.submit_package([tx]).message == "success"
    assert lab.pool.submit_package([lab.tx(fee=1)]).message == "transaction failed"


def test_a_fee_above_the_callers_bound(lab: PoolLab) -> None:
    tx = lab.tx(fee=1_000_000)
    result = lab.pool.submit_package([tx], max_feerate=1_000)
    assert reason_of(result, tx) == "max feerate exceeded"
    assert len(lab.pool) == 0


def test_a_package_replaces_by_its_feerate_as_a_whole(lab: PoolLab) -> None:
    old = lab.add(fee=3_000)
    parent = lab.tx(old.inputs[0].prevout, fee=0, version=3)
    child = lab.tx(parent.outpoint(0), fee=9_000, known=[parent], version=3)
    result = lab.pool.submit_package([parent, child])
    assert result.message == "success"
    assert result.replaced == (old.txid,)
    assert set(lab.pool.txids()) == {parent.txid, child.txid}
    lab.pool.check()


@pytest.mark.parametrize(
    ("child_fee", "message"),
    [
        (3_010, "package RBF failed: insufficient anti-DoS fees"),
        (4_000, "package RBF failed: insufficient feerate: does not improve feerate diagram"),
    ],
)
def test_a_package_that_does_not_pay_for_what_it_replaces(lab: PoolLab, child_fee: int, message: str) -> None:
    old = lab.add(fee=3_000)
    parent = lab.tx(old.inputs[0].prevout, fee=0, version=3)
    child = lab.tx(parent.outpoint(0), fee=child_fee, known=[parent], version=3)
    assert lab.pool.submit_package([parent, child]).message == message
    assert lab.pool.txids() == [old.txid]


def test_testing_a_package_sees_its_own_outputs(lab: PoolLab) -> None:
    txs = family(lab, 1_000, 1_000)
    lines = lab.pool.test_accept(txs)
    assert [line.allowed for line in lines] == [True, True, True]
    assert len(lab.pool) == 0
    lines = lab.pool.test_accept(list(reversed(txs)))
    assert {line.package_error for line in lines} == {"package-not-sorted"}


def test_testing_a_package_stops_at_the_first_failure(lab: PoolLab) -> None:
    txs = family(lab, 1_000, 1)
    lines = lab.pool.test_accept(txs)
    assert [line.allowed for line in lines] == [None, False, None]
    reject = lines[1].reject
    assert isinstance(reject, Reject)
    assert reject.reason == "min relay fee not met"


def test_testing_a_package_replaces_nothing(lab: PoolLab) -> None:
    old = lab.add()
    rival, other = lab.tx(old.inputs[0].prevout, fee=9_000), lab.tx()
    lines = lab.pool.test_accept([other, rival])
    assert lines[1].reject is not None
    assert lines[1].reject.reason == "bip125-replacement-disallowed"


def test_a_package_keeps_the_limits_of_chains() -> None:
    lab = PoolLab(MempoolOptions(ancestor_count=3))
    first = lab.chain_of(2)
    parent = lab.tx(first[-1].outpoint(0))
    child = lab.tx(parent.outpoint(0), known=[parent])
    lines = lab.pool.test_accept([parent, child])
    assert {line.package_error for line in lines} == {"package-mempool-limits"}


def test_full_pools_evict_after_the_package_and_say_so() -> None:
    lab = PoolLab(MempoolOptions(max_mempool_bytes=30_000), blocks=140)
    while not lab.removed():
        lab.reason(lab.tx(fee=50_000))
    poor, child = family(lab, 20_000, child_fee=20_000)
    result = lab.pool.submit_package([poor, child])
    assert result.message == "transaction failed"
    assert poor.txid not in lab.pool
    assert lab.pool.info().usage <= 30_000
    lab.pool.check()
