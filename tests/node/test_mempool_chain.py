"""The mempool follows the chain: blocks confirm, conflict, and are left again."""

from gldnode.events import RemovalReason
from gldnode.mempool.options import MempoolOptions
from gldnode.primitives.tx import Tx
from tests.support.pool import PoolLab


def leave_tip(lab: PoolLab, count: int = 1) -> None:
    """Invalidate the last blocks of the active chain."""
    entry = lab.chain.entry_at(lab.chain.tip.height - count + 1)
    assert entry is not None
    lab.chain.invalidate(entry.hash)


def test_a_block_confirms_what_it_holds_and_children_stay() -> None:
    lab = PoolLab()
    parent = lab.add()
    child = lab.add(parent.outpoint(0))
    lab.mine_exactly(parent)
    entry = lab.pool.get(child.txid)
    assert entry is not None
    assert entry.ancestors == frozenset()
    assert (entry.ancestor_fees, entry.ancestor_size) == (1_000, child.vsize)
    assert lab.removed() == [(parent.txid, RemovalReason.BLOCK)]
    lab.pool.check()


def test_a_block_removes_what_conflicts_with_it() -> None:
    lab = PoolLab()
    ours = lab.add()
    child = lab.add(ours.outpoint(0))
    theirs = lab.tx(ours.inputs[0].prevout, fee=7)
    lab.mine_exactly(theirs)
    assert lab.removed() == [(ours.txid, RemovalReason.CONFLICT), (child.txid, RemovalReason.CONFLICT)]
    assert lab.events[-1].replaced_by == theirs.txid  # type: ignore[union-attr]
    assert len(lab.pool) == 0
    lab.pool.check()


def test_a_left_block_gives_its_transactions_back_in_order() -> None:
    lab = PoolLab()
    parent = lab.add()
    child = lab.add(parent.outpoint(0))
    grandchild = lab.tx(child.outpoint(0))
    lab.mine()
    lab.accept(grandchild)
    leave_tip(lab)
    lab.pool.finish_reorg()
    assert set(lab.pool.txids()) == {parent.txid, child.txid, grandchild.txid}
    entry = lab.pool.get(grandchild.txid)
    assert entry is not None
    assert entry.ancestors == {parent.txid, child.txid}
    lab.pool.check()


def test_six_blocks_left_and_another_branch_taken() -> None:
    lab = PoolLab()
    txs: list[Tx] = []
    for _ in range(6):
        txs.append(lab.add())
        lab.mine()
    fork = lab.chain.tip.height
    leave_tip(lab, 6)
    lab.pool.finish_reorg()
    assert set(lab.pool.txids()) == {tx.txid for tx in txs}
    double_spend = lab.tx(txs[0].inputs[0].prevout, fee=77)
    lab.mine_exactly(double_spend, txs[1])
    assert lab.chain.tip.height == fork - 5
    assert set(lab.pool.txids()) == {tx.txid for tx in txs[2:]}
    lab.pool.check()


def test_fees_too_low_for_a_newcomer_do_not_keep_a_left_transaction_out() -> None:
    lab = PoolLab()
    free = lab.tx(fee=0)
    assert lab.reason(free) == "min relay fee not met"
    lab.mine_exactly(free)
    leave_tip(lab)
    lab.pool.finish_reorg()
    assert lab.pool.txids() == [free.txid]


def test_spenders_of_a_left_coinbase_go() -> None:
    lab = PoolLab()
    height = lab.chain.tip.height - 99
    entry = lab.chain.entry_at(height)
    assert entry is not None
    block = lab.chain.read_block(entry.hash)
    assert block is not None
    young = lab.add(block.txs[0].outpoint(0))
    child = lab.add(young.outpoint(0))
    leave_tip(lab)
    lab.pool.finish_reorg()
    assert lab.removed() == [(young.txid, RemovalReason.REORG), (child.txid, RemovalReason.REORG)]
    lab.pool.check()


def test_lock_times_are_looked_at_again_at_the_lower_tip() -> None:
    lab = PoolLab()
    parent = lab.tx(outputs=2)
    lab.mine_exactly(parent)
    by_height = lab.tx(lock_time=lab.chain.tip.height)
    relative = lab.tx(parent.outpoint(0), sequence=1)
    plain = lab.tx(parent.outpoint(1))
    for tx in (by_height, relative, plain):
        lab.accept(tx)
    leave_tip(lab)
    lab.pool.finish_reorg()
    assert set(lab.pool.txids()) == {parent.txid, plain.txid}
    assert dict(lab.removed())[by_height.txid] is RemovalReason.REORG
    lab.pool.check()


def test_a_chain_that_gets_too_long_by_a_left_block_is_cut() -> None:
    lab = PoolLab(MempoolOptions(ancestor_count=3, descendant_count=3))
    first = lab.chain_of(2)
    lab.mine()
    later = [lab.add(first[-1].outpoint(0))]
    later.append(lab.add(later[-1].outpoint(0)))
    leave_tip(lab)
    lab.pool.finish_reorg()
    assert set(lab.pool.txids()) == {first[0].txid, first[1].txid, later[0].txid}
    lab.pool.check()


def test_an_offer_after_a_left_block_sees_what_came_back() -> None:
    lab = PoolLab()
    tx = lab.add(fee=5_000)
    lab.mine()
    leave_tip(lab)
    assert lab.reason(lab.tx(tx.inputs[0].prevout, fee=4_000)) == "insufficient fee"
    assert lab.pool.txids() == [tx.txid]


def test_what_the_new_branch_confirms_does_not_come_back() -> None:
    lab = PoolLab()
    kept, again = lab.add(), lab.add()
    lab.mine()
    leave_tip(lab)
    lab.mine_exactly(again)
    lab.pool.finish_reorg()
    assert lab.pool.txids() == [kept.txid]
    assert lab.reason(again) == "txn-already-known"


def test_prioritisation_survives_a_reorganisation_for_what_is_unconfirmed() -> None:
    lab = PoolLab()
    tx = lab.add()
    lab.mine()
    leave_tip(lab)
    lab.pool.prioritise(tx.txid, 900)
    lab.pool.finish_reorg()
    entry = lab.pool.get(tx.txid)
    assert entry is not None
    assert entry.modified_fee == 1_900
    lab.pool.check()
