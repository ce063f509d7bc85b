"""Block templates: what is chosen, in which order, and that the chain takes the block."""

import random
from dataclasses import replace

import pytest

from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.merkle import witness_commitment, witness_commitment_index
from gldnode.consensus.subsidy import block_subsidy
from gldnode.errors import Reject
from gldnode.mempool.entry import LockPoints, MempoolEntry, make_entry
from gldnode.mempool.graph import TxGraph
from gldnode.mempool.options import MempoolOptions
from gldnode.mining.generate import generate_block, generate_blocks, solve
from gldnode.mining.select import SelectionLimits, select_transactions
from gldnode.mining.template import BlockTemplate, build_template, regenerate_commitments
from gldnode.params import BTC_REGTEST, MAIN
from gldnode.primitives.block import make_block, make_header
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint
from tests.support.campaign import campaign, campaign_seed
from tests.support.pool import ANYONE, START_TIME, PoolLab


def template_of(lab: PoolLab, max_weight: int = 4_000_000, min_feerate: int = 1) -> BlockTemplate:
    now = lab.clock.now()
    return build_template(lab.chain, lab.pool, ANYONE, now=now, max_weight=max_weight, min_feerate=min_feerate)


def txids(template: BlockTemplate) -> list[Txid]:
    return [line.tx.txid for line in template.txs]


def test_an_empty_template_pays_the_subsidy_and_commits_to_no_witness_but_its_own() -> None:
    lab = PoolLab()
    template = template_of(lab)
    coinbase = template.block.txs[0]
    assert template.height == 126
    assert template.coinbase_value == block_subsidy(126, lab.chain.params) == coinbase.outputs[0].amount
    assert coinbase.inputs[0].script_sig.startswith(coinbase_height_script(126))
    assert coinbase.lock_time == 125
    assert template.default_witness_commitment == coinbase.outputs[1].script_pubkey
    index = witness_commitment_index(template.block)
    assert index == 1
    assert coinbase.outputs[1].script_pubkey[6:] == witness_commitment(template.block, bytes(32))
    assert template.min_time == lab.chain.tip.median_time + 1
    assert template.total_weight == template.block.weight


def test_fees_go_to_the_miner_and_the_block_connects() -> None:
    lab = PoolLab()
    parent = lab.add(fee=1_000)
    child = lab.add(parent.outpoint(0), fee=7_000)
    template = template_of(lab)
    assert template.total_fees == 8_000
    assert template.coinbase_value == block_subsidy(126, lab.chain.params) + 8_000
    assert txids(template) == [parent.txid, child.txid]
    assert [line.depends for line in template.txs] == [(), (1,)]
    header = solve(template.block.header)
    assert header is not None
    lab.chain.accept_block(make_block(header, template.block.txs))
    assert lab.chain.tip.hash == header.hash
    assert len(lab.pool) == 0


def test_a_child_pays_for_its_parent() -> None:
    lab = PoolLab()
    middle = lab.add(fee=5_000)
    poor = lab.add(fee=100)
    rich = lab.add(poor.outpoint(0), fee=30_000)
    assert txids(template_of(lab)) == [poor.txid, rich.txid, middle.txid]


def test_a_poor_child_does_not_ride_on_a_rich_parent() -> None:
    lab = PoolLab()
    rich = lab.add(fee=50_000)
    poor = lab.add(rich.outpoint(0), fee=100)
    middle = lab.add(fee=5_000)
    assert txids(template_of(lab)) == [rich.txid, middle.txid, poor.txid]


def test_once_a_parent_is_in_its_other_children_are_worth_more() -> None:
    lab = PoolLab()
    parent = lab.add(outputs=2, fee=100)
    first = lab.add(parent.outpoint(0), fee=40_000)
    second = lab.add(parent.outpoint(1), fee=9_000)
    middle = lab.add(fee=6_000)
    assert txids(template_of(lab)) == [parent.txid, first.txid, second.txid, middle.txid]


def test_prioritisation_counts_in_selection_but_not_in_the_reward() -> None:
    lab = PoolLab()
    plain = lab.add(fee=2_000)
    pushed = lab.add(fee=1_000)
    lab.pool.prioritise(pushed.txid, 50_000)
    template = template_of(lab)
    assert txids(template) == [pushed.txid, plain.txid]
    assert template.total_fees == 3_000


def test_a_small_block_takes_the_best() -> None:
    lab = PoolLab()
    txs = [lab.add(fee=1_000 * number) for number in range(1, 11)]
    limit = 8_000 + txs[0].weight * 3 + 1
    assert txids(template_of(lab, max_weight=limit)) == [tx.txid for tx in reversed(txs[-3:])]


def test_a_block_is_filled_past_what_does_not_fit() -> None:
    lab = PoolLab()
    large = lab.add(fee=1_000_000, pad=20_000)
    small = lab.add(fee=1_000)
    assert txids(template_of(lab, max_weight=40_000)) == [small.txid]
    assert set(txids(template_of(lab))) == {large.txid, small.txid}


def test_what_pays_less_than_the_miner_asks_stays_out() -> None:
    lab = PoolLab()
    lab.add(fee=96)
    good = lab.add(fee=97)
    assert txids(template_of(lab, min_feerate=1_001)) == [good.txid]


def test_signature_operations_fill_a_block_too() -> None:
    lab = PoolLab(MempoolOptions(require_standard=False), blocks=140)
    for _ in range(6):
        lab.accept(lab.tx(scripts=[b"\xae" * 200], fee=1_000_000))
    template = template_of(lab)
    assert len(template.txs) == 4
    assert template.total_sigop_cost <= 80_000


def test_a_template_before_segwit_has_no_commitment() -> None:
    params = replace(BTC_REGTEST, deployments=replace(BTC_REGTEST.deployments, segwit=10_000))
    lab = PoolLab(params=params, blocks=3)
    template = template_of(lab)
    assert template.default_witness_commitment is None
    assert not template.block.txs[0].has_witness


def test_the_template_carries_the_mempools_number() -> None:
    lab = PoolLab()
    before = template_of(lab).mempool_sequence
    lab.add()
    assert template_of(lab).mempool_sequence == before + 1


def test_mining_stops_when_its_tries_are_used_up() -> None:
    lab = PoolLab(blocks=0)
    mined = generate_blocks(lab.chain, lab.pool, lab.clock, 50, ANYONE, max_tries=10)
    assert 0 < len(mined) < 50
    assert lab.chain.tip.height == len(mined)


def test_a_block_that_was_invalidated_is_not_mined_again() -> None:
    lab = PoolLab(blocks=5)
    before = lab.chain.tip.hash
    lab.chain.invalidate(before)
    (after,) = lab.mine()
    assert after != before
    assert lab.chain.tip.height == 5


def test_solving_finds_the_first_nonce() -> None:
    header = MAIN.genesis.header
    start = make_header(
        header.version, header.prev_hash, header.merkle_root, header.time, header.bits, header.nonce - 1_000
    )
    assert solve(start) == header
    assert solve(start, max_tries=1_000) is None


def test_generating_exactly_these_transactions() -> None:
    lab = PoolLab()
    waiting = lab.add()
    tx = lab.tx(fee=500)
    block = generate_block(lab.chain, lab.clock, ANYONE, [tx])
    assert block is not None
    assert [one.txid for one in block.txs[1:]] == [tx.txid]
    assert sum(out.amount for out in block.txs[0].outputs) == block_subsidy(126, lab.chain.params)
    assert lab.chain.tip.hash == block.hash
    assert lab.pool.txids() == [waiting.txid]


def test_generating_without_submitting_changes_nothing() -> None:
    lab = PoolLab()
    block = generate_block(lab.chain, lab.clock, ANYONE, [lab.tx()], submit=False)
    assert block is not None
    assert lab.chain.tip.height == 125
    lab.chain.accept_block(block)
    assert lab.chain.tip.height == 126


def test_generating_an_invalid_block_names_the_reason() -> None:
    lab = PoolLab()
    tx = lab.tx()
    with pytest.raises(Reject) as caught:
        generate_block(lab.chain, lab.clock, ANYONE, [tx, tx])
    assert caught.value.reason == "bad-txns-inputs-missingorspent"
    assert lab.chain.tip.height == 125


def test_commitments_are_made_anew_for_other_transactions() -> None:
    lab = PoolLab()
    template = build_template(lab.chain, None, ANYONE, now=lab.clock.now())
    block = make_block(template.block.header, [*template.block.txs, lab.tx()])
    with pytest.raises(Reject):
        lab.chain.test_block_validity(block)
    block = regenerate_commitments(block, lab.chain)
    assert len(block.txs[0].outputs) == 2
    lab.chain.test_block_validity(block)
    assert regenerate_commitments(block, lab.chain) == block


def test_times_follow_the_clock_and_the_median() -> None:
    lab = PoolLab(blocks=5)
    assert template_of(lab).block.header.time == max(START_TIME, lab.chain.tip.median_time + 1)
    lab.clock.set_mock_time(START_TIME + 1_000)
    assert template_of(lab).block.header.time == START_TIME + 1_000
    lab.clock.set_mock_time(START_TIME - 100)
    assert template_of(lab).block.header.time == lab.chain.tip.median_time + 1


def random_graph(rng: random.Random, count: int) -> TxGraph:
    """A pool of random feerates and relations."""
    graph = TxGraph()
    txs: list[Tx] = []
    free = [outpoint(bytes([1]) * 32, number) for number in range(count * 3)]
    for number in range(count):
        prevouts = [free.pop() for _ in range(rng.randint(1, 3))] if free else []
        if txs and rng.random() < 0.6:
            parent = rng.choice(txs)
            prevouts.append(parent.outpoint(len(parent.outputs) - 1 - rng.randrange(2)))
        prevouts = [one for one in prevouts if graph.spender(one) is None]
        if not prevouts:
            continue
        tx = make_tx(2, [TxIn(one, b"", 0) for one in prevouts], [TxOut(number, b"\x51")] * rng.randint(2, 12))
        graph.add(
            make_entry(
                tx,
                fee=(fee := rng.randint(0, 20_000)),
                modified_fee=fee,
                vsize=tx.vsize,
                sigop_cost=rng.randint(0, 100),
                time=0,
                height=1,
                sequence=number,
                spends_coinbase=False,
                locks=LockPoints(),
            )
        )
        txs.append(tx)
    graph.check()
    return graph


def plain_selection(entries: list[MempoolEntry], limits: SelectionLimits) -> list[Txid]:
    """The same rule without a queue: look at every transaction at every step."""
    by_txid = {entry.txid: entry for entry in entries}
    taken: list[Txid] = []
    skipped: set[Txid] = set()
    weight = sigops = 0
    while True:
        best = None
        for entry in entries:
            if entry.txid in taken or entry.txid in skipped:
                continue
            package = [by_txid[one] for one in entry.ancestors if one not in taken] + [entry]
            size, fees = sum(one.vsize for one in package), sum(one.modified_fee for one in package)
            rank = min((entry.modified_fee << 40) // entry.vsize, (fees << 40) // size)
            key = (-rank, entry.sequence)
            if best is None or key < best[0]:
                best = (key, entry, package, size, fees)
        if best is None or best[4] * 1_000 < limits.min_feerate * best[3]:
            return taken
        _, entry, package, _, _ = best
        more = sum(one.tx.weight for one in package)
        if (
            weight + more > limits.max_weight
            or sigops + sum(p.sigop_cost for p in package) > limits.max_sigop_cost
        ):
            skipped.add(entry.txid)
            continue
        weight += more
        sigops += sum(one.sigop_cost for one in package)
        taken += [one.txid for one in sorted(package, key=lambda one: len(one.ancestors))]
        skipped.clear()


def test_selection_agrees_with_a_plain_one() -> None:
    rng = random.Random(campaign_seed("selection"))
    for _ in range(campaign(30, 2_000)):
        graph = random_graph(rng, rng.randint(1, 40))
        limits = SelectionLimits(max_weight=rng.randint(2_000, 60_000), max_sigop_cost=rng.randint(100, 5_000))
        chosen = select_transactions(graph.entries(), limits)
        place = {entry.txid: number for number, entry in enumerate(chosen)}
        assert all(place[parent] < place[entry.txid] for entry in chosen for parent in entry.parents)
        assert sum(entry.tx.weight for entry in chosen) <= limits.max_weight
        assert sum(entry.sigop_cost for entry in chosen) <= limits.max_sigop_cost
        expected = plain_selection(graph.entries(), limits)
        fees = {entry.txid: entry.fee for entry in graph.entries()}
        if {entry.txid for entry in chosen} != set(expected):
            # The plain one tries again what did not fit after every step: it may find more, rarely less.
            assert sum(entry.fee for entry in chosen) >= 0.8 * sum(fees[txid] for txid in expected)
