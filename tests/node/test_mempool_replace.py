"""Replacement by fee: rules 2 to 6 of BIP 125 and Core, each with its reason."""

import pytest

from gldnode.events import MempoolTxRemoved, RemovalReason
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.results import FeeReject
from gldnode.primitives.tx import SEQUENCE_FINAL
from tests.support.pool import ANYONE, PoolLab


@pytest.fixture
def lab() -> PoolLab:
    return PoolLab()


def test_a_better_paying_double_spend_takes_the_place(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    child = lab.add(old.outpoint(0), fee=1_000)
    new = lab.tx(old.inputs[0].prevout, fee=4_000)
    accepted = lab.accept(new)
    assert {tx.txid for tx in accepted.replaced} == {old.txid, child.txid}
    assert lab.pool.txids() == [new.txid]
    gone = [event for event in lab.events if isinstance(event, MempoolTxRemoved)]
    assert [(event.tx, event.reason, event.replaced_by) for event in gone] == [
        (old, RemovalReason.REPLACED, new.txid),
        (child, RemovalReason.REPLACED, new.txid),
    ]
    lab.pool.check()


def test_what_does_not_signal_is_replaced_as_well(lab: PoolLab) -> None:
    old = lab.tx(sequence=SEQUENCE_FINAL)
    lab.accept(old)
    assert lab.reason(lab.tx(old.inputs[0].prevout, fee=2_000)) == ""


def test_rule_2_no_new_unconfirmed_inputs(lab: PoolLab) -> None:
    old, stranger = lab.add(), lab.add()
    tx = lab.tx(old.inputs[0].prevout, stranger.outpoint(0), fee=50_000)
    reject = lab.reject(tx)
    assert reject.reason == "replacement-adds-unconfirmed"
    assert reject.detail == f"replacement {tx.txid[::-1].hex()} adds unconfirmed input, idx 1"


def test_rule_2_allows_parents_of_what_is_replaced(lab: PoolLab) -> None:
    parent = lab.add(outputs=2)
    old = lab.add(parent.outpoint(0))
    assert lab.reason(lab.tx(old.inputs[0].prevout, parent.outpoint(1), fee=50_000)) == ""


def test_rule_3_at_least_the_fees_that_it_takes_away(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    lab.add(old.outpoint(0), fee=30_000)
    tx = lab.tx(old.inputs[0].prevout, fee=30_999)
    reject = lab.reject(tx)
    assert reject.reason == "insufficient fee"
    assert reject.detail == (
        f"rejecting replacement {tx.txid[::-1].hex()}, less fees than conflicting txs; 0.00030999 < 0.00031"
    )
    assert isinstance(reject, FeeReject)


def test_rule_4_its_own_bandwidth_on_top(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    tx = lab.tx(old.inputs[0].prevout, fee=1_009)
    reject = lab.reject(tx)
    assert reject.reason == "insufficient fee"
    assert reject.detail == (
        f"rejecting replacement {tx.txid[::-1].hex()}, not enough additional fees to relay; 0.00000009 < 0.0000001"
    )
    assert lab.reason(lab.tx(old.inputs[0].prevout, fee=1_010)) == ""


def test_rule_5_not_too_many_at_once(lab: PoolLab) -> None:
    roots = [lab.add(outputs=24) for _ in range(5)]
    for root in roots[:4]:
        for vout in range(24):
            lab.add(root.outpoint(vout), fee=10)
    conflicts = [root.inputs[0].prevout for root in roots]
    tx = lab.tx(*conflicts, fee=10_000_000)
    reject = lab.reject(tx)
    assert reject.reason == "too many potential replacements"
    assert reject.detail.endswith("too many potential replacements (101 > 100)")
    assert lab.reason(lab.tx(*conflicts[:4], fee=10_000_000)) == ""
    lab.pool.check()


def test_rule_6_a_better_feerate_than_each_direct_conflict(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    tx = lab.tx(old.inputs[0].prevout, fee=5_000, pad=2_000)
    reject = lab.reject(tx)
    assert reject.reason == "insufficient fee"
    new, old_rate = 5_000_000 // tx.vsize, 1_000_000 // old.vsize
    assert reject.detail == (
        f"rejecting replacement {tx.txid[::-1].hex()};"
        f" new feerate {new / 1e8:.8f} BTC/kvB <= old feerate {old_rate / 1e8:.8f} BTC/kvB"
    )


def test_spending_what_it_replaces_is_impossible(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    tx = lab.tx(old.inputs[0].prevout, old.outpoint(0), fee=50_000)
    assert lab.reason(tx) == "bad-txns-spends-conflicting-tx"


def test_prioritisation_counts_in_replacement(lab: PoolLab) -> None:
    old = lab.add(fee=1_000)
    lab.pool.prioritise(old.txid, 100_000)
    assert lab.reason(lab.tx(old.inputs[0].prevout, fee=50_000)) == "insufficient fee"
    new = lab.tx(old.inputs[0].prevout, fee=2_000)
    lab.pool.prioritise(new.txid, 200_000)
    assert lab.reason(new) == ""


def test_the_incremental_fee_is_an_option() -> None:
    lab = PoolLab(MempoolOptions(incremental_relay_feerate=1_000))
    old = lab.add(fee=1_000)
    assert lab.reason(lab.tx(old.inputs[0].prevout, fee=1_095)) == "insufficient fee"
    assert lab.reason(lab.tx(old.inputs[0].prevout, fee=1_096)) == ""


def test_replacing_in_a_full_chain_is_possible(lab: PoolLab) -> None:
    txs = lab.chain_of(25)
    last = txs[-1]
    assert lab.reason(lab.tx(last.inputs[0].prevout, fee=9_000)) == ""
    assert lab.reason(lab.tx(lab.pool.entries()[-1].tx.outpoint(0))) == "too-long-mempool-chain"
    lab.pool.check()


def test_a_replacement_may_have_other_outputs_and_inputs(lab: PoolLab) -> None:
    first, second = lab.add(), lab.add()
    tx = lab.tx(first.inputs[0].prevout, second.inputs[0].prevout, lab.fund(), fee=9_000, scripts=[ANYONE] * 3)
    assert len(lab.accept(tx).replaced) == 2
    assert lab.pool.txids() == [tx.txid]
