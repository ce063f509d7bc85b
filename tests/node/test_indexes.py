"""Each index says the same as a walk over the active chain, whatever happened on the way there."""

import asyncio
import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gldnode.chain.utxostats import HashKind
from gldnode.events import BlockDisconnected
from gldnode.indexes import (
    AddressIndex,
    BlockFilterIndex,
    CoinStatsIndex,
    Index,
    IndexFollower,
    TxIndex,
    TxoSpenderIndex,
    open_index,
)
from gldnode.indexes.addressindex import AddressRow, script_hash
from gldnode.indexes.blockfilterindex import basic_filter_matches
from gldnode.params import REGTEST, TEST
from gldnode.primitives.tx import OutPoint, outpoint, parse_tx
from gldnode.script.script import is_unspendable
from storage.errors import DatabaseCorrupt, SchemaTooNew
from storage.kv import WriteBatch
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from tests.support.campaign import campaign, campaign_seed
from tests.support.chain import RegtestChain
from tests.support.indexes import FakeHost, active_blocks, follow, live_chain
from tests.support.storage_faults import FaultKV

KINDS: list[type[Index]] = [TxIndex, TxoSpenderIndex, BlockFilterIndex, CoinStatsIndex, AddressIndex]


@functools.cache
def history() -> tuple[RegtestChain, dict[type[Index], Index]]:
    """A chain with reorganisations, and indexes that have followed every step of it."""
    indexes = {kind: kind(MemoryKV(), REGTEST) for kind in KINDS}
    rng = random.Random(5)

    def follow_each(chain: RegtestChain) -> None:
        for index in indexes.values():
            if rng.random() < 0.7:  # the others take more steps later
                follow(index, chain, limit=rng.randrange(1, 40))

    chain = live_chain(campaign_seed("indexes"), campaign(60, 1_500), follow_each)
    for index in indexes.values():
        follow(index, chain)
    return chain, indexes


@pytest.fixture
def chain() -> RegtestChain:
    return history()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_index_that_saw_reorganisations_equals_one_built_afterwards(kind: type[Index]) -> None:
    chain, indexes = history()
    kv = MemoryKV()
    index = kind(kv, REGTEST)
    follow(index, chain)
    followed = dict(indexes[kind]._kv.iterate())
    built = kv.content()
    if kind in (BlockFilterIndex, CoinStatsIndex):  # they keep rows of blocks that were left
        followed = {key: value for key, value in followed.items() if key in built}
    built.pop(b"\x00muhash", None)  # the same number as another fraction
    followed.pop(b"\x00muhash", None)
    assert followed == built
    assert index.best.hash == chain.tip.hash
    assert index.block_hash(chain.height) == chain.tip.hash
    assert index.block_hash(chain.height + 1) is None


@pytest.mark.parametrize("kind", KINDS)
def test_power_cut_at_any_write_only_costs_steps(kind: type[Index], chain: RegtestChain) -> None:
    kv = FaultKV()
    index = kind(kv, REGTEST)
    follow(index, chain, limit=23)
    points = [point for point in kv.crash_points() if point.written == point.kept]
    assert len(points) > 5
    for point in points:
        survivor = kv.state_at(point)
        follow(kind(survivor, REGTEST), chain, limit=50)
        assert survivor.content() == kv.content()


def test_txindex_finds_every_transaction_of_the_active_chain(chain: RegtestChain) -> None:
    index = history()[1][TxIndex]
    assert isinstance(index, TxIndex)
    for height, block in enumerate(active_blocks(chain), 1):
        for tx in block.txs:
            found = index.find(tx.txid)
            assert found is not None
            assert (found.block_hash, found.height) == (block.hash, height)
            assert parse_tx(block.raw[found.offset : found.offset + found.size]) == tx
    assert index.find(REGTEST.genesis.txs[0].txid) is None


def test_spender_index_finds_every_spend_of_the_active_chain(chain: RegtestChain) -> None:
    index = history()[1][TxoSpenderIndex]
    assert isinstance(index, TxoSpenderIndex)
    spent = set()
    for height, block in enumerate(active_blocks(chain), 1):
        for tx in block.txs[1:]:
            for vin, txin in enumerate(tx.inputs):
                found = index.find(txin.prevout)
                assert found is not None
                assert (found.txid, found.vin, found.block_hash, found.height) == (
                    tx.txid,
                    vin,
                    block.hash,
                    height,
                )
                spent.add(txin.prevout)
    assert spent
    for block in active_blocks(chain):
        for tx in block.txs:
            for vout in range(len(tx.outputs)):
                if tx.outpoint(vout) not in spent:
                    assert index.find(tx.outpoint(vout)) is None


def test_filter_of_a_block_matches_what_it_touches(chain: RegtestChain) -> None:
    index = history()[1][BlockFilterIndex]
    assert isinstance(index, BlockFilterIndex)
    for block in active_blocks(chain):
        found = index.find(block.hash)
        assert found is not None
        assert index.header(block.hash) == found.header
        assert index.filter_hash(block.hash) == found.hash
        for tx in block.txs:
            for output in tx.outputs:
                if output.script_pubkey and not is_unspendable(output.script_pubkey):
                    assert basic_filter_matches(found.data, block.hash, [b"other", output.script_pubkey])
        assert not basic_filter_matches(found.data, block.hash, [b"\x6a\x01x", b"not there"])
    assert index.find(TEST.genesis.hash) is None
    assert index.find(REGTEST.genesis.hash) is not None


def test_coin_statistics_agree_with_a_walk_over_the_coins(chain: RegtestChain) -> None:
    index = history()[1][CoinStatsIndex]
    assert isinstance(index, CoinStatsIndex)
    totals = index.find(chain.tip.hash)
    assert totals is not None
    chain.state.flush()
    walked = chain.state.coin_stats(HashKind.MUHASH)
    assert (totals.height, totals.txouts, totals.bogosize, totals.total_amount, totals.muhash) == (
        walked.height,
        walked.txouts,
        walked.bogosize,
        walked.total_amount,
        walked.hash,
    )
    assert totals.total_amount + totals.total_unspendable == totals.total_subsidy


def test_coin_statistics_of_one_block_are_the_difference_to_the_one_before(chain: RegtestChain) -> None:
    index = history()[1][CoinStatsIndex]
    assert isinstance(index, CoinStatsIndex)
    block = next(block for block in reversed(active_blocks(chain)) if len(block.txs) > 1)
    info = index.block_info(block.hash)
    assert info is not None
    undo = chain.state.read_undo(block.hash)
    assert undo is not None
    assert info.prevout_spent == sum(coin.amount for coins in undo for coin in coins)
    assert info.coinbase == block.txs[0].outputs[0].amount
    made = [output for tx in block.txs[1:] for output in tx.outputs]
    lost = sum(output.amount for output in made if is_unspendable(output.script_pubkey))
    assert info.unspendable_scripts == lost
    assert info.new_outputs_ex_coinbase == sum(output.amount for output in made) - lost
    genesis = index.block_info(REGTEST.genesis.hash)
    assert genesis is not None
    assert genesis.total_unspendable == genesis.unspendable_genesis == 50 * 10**8
    assert index.block_info(TEST.genesis.hash) is None


def test_address_index_has_the_history_of_every_script(chain: RegtestChain) -> None:
    index = history()[1][AddressIndex]
    assert isinstance(index, AddressIndex)
    expected: dict[bytes, list[AddressRow]] = {}
    owner: dict[OutPoint, tuple[bytes, int]] = {}
    unspent: dict[OutPoint, bytes] = {}
    for height, block in enumerate(active_blocks(chain), 1):
        for position, tx in enumerate(block.txs):
            for vout, output in enumerate(tx.outputs):
                script = output.script_pubkey
                if not is_unspendable(script):
                    expected.setdefault(script, []).append(
                        AddressRow(height, position, tx.txid, vout, output.amount)
                    )
                    owner[tx.outpoint(vout)] = script, output.amount
                    unspent[tx.outpoint(vout)] = script
            for vin, txin in enumerate(tx.inputs if position else ()):
                script, amount = owner[txin.prevout]
                expected[script].append(AddressRow(height, position, tx.txid, vin, amount, txin.prevout))
                del unspent[txin.prevout]
    for script, rows in expected.items():
        name = script_hash(script)
        assert list(index.history(name)) == rows
        assert list(index.history(name, reverse=True)) == rows[::-1]
        later = [row for row in rows if 110 <= row.height < 130]
        assert list(index.history(name, start_height=110, stop_height=130)) == later
        coins = index.unspent(name)
        assert {coin.prevout for coin in coins} == {key for key, value in unspent.items() if value == script}
        balance = index.balance(name)
        assert balance.balance == sum(coin.amount for coin in coins)
        assert balance.rows == len(rows)
    assert list(index.history(script_hash(b"never"))) == []
    assert index.unspent(script_hash(b"never")) == []


def test_index_goes_on_where_it_was_closed(tmp_path: Path, chain: RegtestChain) -> None:
    index = open_index(TxIndex, tmp_path, LevelKV.open, REGTEST)
    index.advance(chain.state.steps_after(index.best, 50, 1_000_000, with_undo=False))
    assert index.best_height == 50
    assert index.progress(101) == 0.5
    index.close()
    index = open_index(TxIndex, tmp_path, LevelKV.open, REGTEST)
    assert index.best_height == 50
    follow(index, chain)
    assert index.best.hash == chain.tip.hash
    index.close()
    assert (tmp_path / "txindex").is_dir()


def test_step_that_does_not_follow_is_our_own_bug(chain: RegtestChain) -> None:
    index = TxIndex(MemoryKV(), REGTEST)
    steps = chain.state.steps_after(index.best, 3, 1_000_000, with_undo=False)
    with pytest.raises(AssertionError, match="does not follow"):
        index.advance(steps[1:])
    block = steps[0].block
    with pytest.raises(AssertionError, match="not its last"):
        index.advance([BlockDisconnected(block.hash, 1, block, block.header.prev_hash)])
    index.advance(steps)
    assert index.best_height == 3


def test_newer_or_damaged_index_is_refused() -> None:
    newer = MemoryKV({b"\x00schema": b"2"})
    with pytest.raises(SchemaTooNew):
        TxIndex(newer, REGTEST)
    kv = MemoryKV()
    TxIndex(kv, REGTEST)
    batch = WriteBatch()
    batch.put(b"\x00cursor", b"short")
    kv.write(batch, sync=True)
    with pytest.raises(DatabaseCorrupt, match="cursor"):
        TxIndex(kv, REGTEST)


@pytest.fixture
def fresh() -> Iterator[RegtestChain]:
    chain = RegtestChain()
    yield chain
    chain.close()


async def test_follower_builds_keeps_up_and_follows_a_reorganisation(fresh: RegtestChain) -> None:
    fresh.mine(30)
    host = FakeHost(fresh)
    host.moved()
    index, spenders = TxIndex(MemoryKV(), REGTEST), TxoSpenderIndex(MemoryKV(), REGTEST)
    follower = IndexFollower(host.as_host(), [index, spenders])
    follower.start()
    assert await follower.catch_up(index)
    assert await follower.catch_up(spenders)
    assert index.synced
    assert index.best.hash == fresh.tip.hash

    left = fresh.mine(2)
    host.moved()
    assert await follower.catch_up(index)
    assert index.find(left[0].txs[0].txid) is not None
    fork = fresh.tip.ancestor(30)
    fresh.mine(3, prev=fork)
    host.moved()
    assert await follower.catch_up(index)
    assert index.find(left[0].txs[0].txid) is None
    assert index.find(outpoint(left[0].txs[0].txid, 0).txid) is None
    assert index.best_height == 33

    await host.at_rest()
    fresh.mine()  # nobody tells
    assert not await follower.catch_up(index, timeout_s=0.05)
    await host.stop()
    follower.close()


async def test_follower_waits_out_a_full_disk_and_an_unknown_block(fresh: RegtestChain) -> None:
    fresh.mine(5)
    host = FakeHost(fresh)
    host.moved()
    kv = FaultKV()
    index = TxIndex(kv, REGTEST)
    kv.fill_disk()
    stranger = AddressIndex(MemoryKV(), TEST)
    follower = IndexFollower(host.as_host(), [index, stranger], retry_s=0.01)
    follower.start()
    await asyncio.sleep(0.05)
    assert (index.best_height, stranger.best_height) == (0, 0)
    kv.heal()
    assert await follower.catch_up(index)
    assert index.synced
    assert not stranger.synced
    assert not any(task.done() for task in host.tasks)
    await host.stop()
    follower.close()
