"""Limits: chains of unconfirmed transactions, memory, age, and the minimum fee that follows from eviction."""

from gldnode.events import RemovalReason
from gldnode.mempool.options import MempoolOptions
from gldnode.primitives.tx import Tx
from tests.support.pool import START_TIME, PoolLab


def test_twenty_five_in_a_chain_and_no_more() -> None:
    lab = PoolLab()
    txs = lab.chain_of(25)
    reject = lab.reject(lab.tx(txs[-1].outpoint(0)))
    assert reject.reason == "too-long-mempool-chain"
    assert reject.detail == "too many unconfirmed ancestors [limit: 25]"
    lab.pool.check()


def test_too_many_parents() -> None:
    lab = PoolLab(MempoolOptions(ancestor_count=3))
    txs = [lab.add() for _ in range(3)]
    reject = lab.reject(lab.tx(*(tx.outpoint(0) for tx in txs)))
    assert (reject.reason, reject.detail) == ("too-long-mempool-chain", "too many unconfirmed parents [limit: 3]")


def test_too_many_descendants_but_one_small_extra() -> None:
    lab = PoolLab()
    parent = lab.add(outputs=30)
    for vout in range(24):
        lab.add(parent.outpoint(vout))
    assert lab.reason(lab.tx(parent.outpoint(24), pad=9_990, fee=20_000)) == "too-long-mempool-chain"
    assert lab.reason(lab.tx(parent.outpoint(25))) == ""  # the carve-out
    reject = lab.reject(lab.tx(parent.outpoint(26)))
    assert reject.detail == f"too many descendants for tx {parent.txid[::-1].hex()} [limit: 25]"
    lab.pool.check()


def test_sizes_of_chains_are_limited() -> None:
    lab = PoolLab(MempoolOptions(descendant_size_vb=20_000, ancestor_size_vb=30_000))
    parent = lab.add(pad=9_000, fee=10_000, outputs=2)
    lab.add(parent.outpoint(0), pad=9_000, fee=10_000)
    reject = lab.reject(lab.tx(parent.outpoint(1), pad=15_000, fee=20_000))
    assert reject.detail == (f"exceeds descendant size limit for tx {parent.txid[::-1].hex()} [limit: 20000]")
    lab = PoolLab(MempoolOptions(ancestor_size_vb=20_000))
    parent = lab.add(pad=9_000, fee=10_000)
    reject = lab.reject(lab.tx(parent.outpoint(0), pad=12_000, fee=20_000))
    assert reject.detail == "exceeds ancestor size limit [limit: 20000]"


def test_the_sums_over_relatives_are_right_in_a_diamond() -> None:
    lab = PoolLab()
    top = lab.add(outputs=2, fee=1_000)
    left, right = lab.add(top.outpoint(0), fee=2_000), lab.add(top.outpoint(1), fee=3_000)
    bottom = lab.add(left.outpoint(0), right.outpoint(0), fee=4_000)
    entry = lab.pool.get(bottom.txid)
    assert entry is not None
    assert entry.ancestor_fees == 10_000
    assert entry.ancestors == {top.txid, left.txid, right.txid}
    assert entry.parents == {left.txid, right.txid}
    entry = lab.pool.get(top.txid)
    assert entry is not None
    assert (entry.descendant_count, entry.descendant_fees) == (4, 10_000)
    assert lab.pool.descendants(top.txid) == {left.txid, right.txid, bottom.txid}
    lab.pool.check()


def small_pool(kilobytes: int = 40) -> PoolLab:
    return PoolLab(MempoolOptions(max_mempool_bytes=kilobytes * 1_000), blocks=140)


def test_the_least_valuable_goes_when_memory_is_short() -> None:
    lab = small_pool()
    txs: list[Tx] = []
    fee = 1_000
    while not any(reason is RemovalReason.SIZELIMIT for _, reason in lab.removed()):
        fee += 100
        txs.append(lab.add(fee=fee))
    assert lab.removed() == [(txs[0].txid, RemovalReason.SIZELIMIT)]
    assert lab.pool.info().usage <= 40_000
    lab.pool.check()


def test_a_child_keeps_its_parent_in_the_pool() -> None:
    lab = small_pool()
    parent = lab.add(fee=1_000)
    child = lab.add(parent.outpoint(0), fee=100_000)
    plain = lab.add(fee=1_500)
    while not lab.removed():
        lab.add(fee=2_000)
    assert lab.removed() == [(plain.txid, RemovalReason.SIZELIMIT)]
    assert parent.txid in lab.pool
    assert child.txid in lab.pool


def test_who_pays_least_into_a_full_pool_is_told_that_it_is_full() -> None:
    lab = small_pool()
    while True:
        before = len(lab.pool)
        tx = lab.tx(fee=5_000)
        if lab.reason(tx):
            break
        assert len(lab.pool) == before + 1
    assert lab.reject(tx).reason == "mempool min fee not met"
    assert lab.removed() == [(tx.txid, RemovalReason.SIZELIMIT)]
    lab.pool.check()


def test_mempool_full_is_the_reason_where_eviction_takes_the_newcomer() -> None:
    lab = small_pool()
    reasons: list[str] = []
    while not reasons or not reasons[-1]:
        reasons.append(lab.reason(lab.tx(fee=5_000)))
    assert reasons[-1] == "mempool full"


def test_the_minimum_fee_rises_with_eviction_and_halves_with_time() -> None:
    lab = small_pool()
    while not lab.removed():
        lab.reason(lab.tx(fee=5_000))
    evicted_rate = 5_000 * 1000 / 96
    risen = lab.pool.min_feerate_per_kvb()
    assert risen == round(evicted_rate + 100)
    reject = lab.reject(lab.tx(fee=4_000))
    assert reject.reason == "mempool min fee not met"
    lab.clock.set_mock_time(START_TIME + 12 * 3600)
    assert lab.pool.min_feerate_per_kvb() == risen  # not before a block has come
    lab.mine_exactly()
    lab.clock.set_mock_time(START_TIME + 24 * 3600)
    assert abs(lab.pool.min_feerate_per_kvb() - risen / 2) <= 1
    lab.clock.set_mock_time(START_TIME + 60 * 24 * 3600)
    assert lab.pool.min_feerate_per_kvb() == 100


def test_the_minimum_fee_falls_faster_while_the_pool_is_nearly_empty() -> None:
    lab = small_pool()
    while not lab.removed():
        lab.reason(lab.tx(fee=5_000))
    risen = lab.pool.min_feerate_per_kvb()
    lab.mine()
    assert len(lab.pool) == 0
    lab.clock.set_mock_time(START_TIME + 3 * 3600)
    assert abs(lab.pool.min_feerate_per_kvb() - risen / 2) <= 1


def test_what_waits_too_long_expires_with_its_descendants() -> None:
    lab = PoolLab(MempoolOptions(expiry_s=3_600))
    old = lab.add()
    child = lab.add(old.outpoint(0))
    lab.clock.set_mock_time(START_TIME + 3_000)
    young = lab.add()
    grandchild = lab.add(child.outpoint(0))
    lab.clock.set_mock_time(START_TIME + 3_601)
    lab.add()
    assert {txid for txid, _ in lab.removed()} == {old.txid, child.txid, grandchild.txid}
    assert {reason for _, reason in lab.removed()} == {RemovalReason.EXPIRY}
    assert young.txid in lab.pool
    lab.pool.check()


def test_memory_is_counted_about_as_it_is() -> None:
    import tracemalloc

    lab = PoolLab(blocks=200)
    raws = [lab.tx().raw for _ in range(100)]
    from gldnode.primitives.tx import parse_tx

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for raw in raws:
            lab.pool.accept(parse_tx(raw))
        lab.events.clear()
        real = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    counted = lab.pool.info().usage
    assert 0.7 * real < counted < 1.6 * real, (real, counted)
