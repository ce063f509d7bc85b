"""Reorganisations as listeners and followers see them, and what decides between branches."""

from pathlib import Path

import pytest

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import AcceptStatus, BlockUnavailable, ChainOptions, DiskSpaceLow, TipStatus
from gldnode.chain.utxostats import HashKind
from gldnode.chain.verify import ChainDamaged
from gldnode.clock import MockableClock
from gldnode.errors import Reject
from gldnode.events import BlockConnected, BlockDisconnected, ChainStep, Cursor, UnknownCursor
from gldnode.params import REGTEST
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import TxOut
from tests.support.chain import ANYONE, RegtestChain, make_coinbase, mine_block, spend


def _hash(chain: RegtestChain) -> bytes | None:
    return chain.state.coin_stats(HashKind.MUHASH).hash


def _downloading() -> MockableClock:
    """A clock at which the chain is old: blocks are made durable in groups."""
    clock = MockableClock()
    clock.set_mock_time(REGTEST.genesis.header.time + 90 * 24 * 3600)
    return clock


def _names(steps: list[ChainStep]) -> list[tuple[str, int]]:
    return [("+" if isinstance(step, BlockConnected) else "-", step.height) for step in steps]


def _cursor(chain: RegtestChain) -> Cursor:
    return Cursor(chain.state.tip.hash, chain.state.tip.height)


@pytest.mark.parametrize("depth", range(1, 7))
def test_a_branch_of_more_work_takes_over(depth: int) -> None:
    chain = RegtestChain()
    chain.mine(110)
    fork = chain.tip
    first = chain.state.read_block(chain.state.block_hash(1) or b"")
    assert first is not None
    coin = (first.txs[0].outpoint(0), first.txs[0].outputs[0])
    chain.mine(depth, [spend([coin], [TxOut(1, ANYONE)])])
    old, before = chain.tip, _hash(chain)
    cursor = _cursor(chain)
    seen: list[ChainStep] = []
    chain.state.add_listener(seen.append)
    chain.mine(depth, [spend([coin], [TxOut(2, ANYONE)])], prev=fork)
    assert chain.tip is old
    assert seen == []
    chain.mine(1, prev=max(chain.state.entries(), key=lambda entry: entry.sequence))
    assert chain.height == fork.height + depth + 1
    expected = [("-", fork.height + n) for n in range(depth, 0, -1)]
    expected += [("+", fork.height + n) for n in range(1, depth + 2)]
    assert _names(seen) == expected
    assert _names(chain.state.steps_after(cursor, 100)) == expected
    assert isinstance(seen[0], BlockDisconnected)
    assert seen[0].undo is not None
    assert chain.state.chain_tips()[1].status is TipStatus.VALID_FORK
    # Back by hand: the coins are those of before.
    entry = chain.state.entry_at(fork.height + 1)
    assert entry is not None
    chain.state.invalidate(entry.hash)
    assert chain.tip is old
    assert _hash(chain) == before


def test_a_branch_with_a_bad_block_is_tried_in_silence() -> None:
    chain = RegtestChain()
    chain.mine(5)
    fork = chain.tip.ancestor(3)
    tip, cursor, before = chain.tip, _cursor(chain), _hash(chain)
    seen: list[ChainStep] = []
    chain.state.add_listener(seen.append)
    side = chain.mine(2, prev=fork)
    bad = mine_block(REGTEST, chain.state.entry(side[-1].hash) or fork, fees=1)
    with pytest.raises(Reject, match="bad-cb-amount"):
        chain.accept(bad)
    assert chain.tip is tip
    assert seen == []
    assert chain.state.steps_after(cursor, 10) == []
    assert _hash(chain) == before
    assert chain.state.chain_tips()[0].status is TipStatus.INVALID
    assert chain.state.best_header.height == 5


def test_of_two_chains_with_equal_work_the_first_stays_until_another_is_precious(tmp_path: Path) -> None:
    chain = RegtestChain(data_dir=tmp_path)
    chain.mine(3)
    fork, first = chain.tip.ancestor(2), chain.tip
    second = chain.accept(chain.block(prev=fork)).entry
    assert chain.tip is first
    chain.state.precious(second.hash)
    assert chain.tip is second
    chain.close()
    again = RegtestChain(data_dir=tmp_path)
    assert again.state.tip.hash == second.hash
    again.state.precious(first.hash)
    assert again.state.tip.hash == first.hash
    again.close()


def test_blocks_may_come_before_their_parents_bodies() -> None:
    source = RegtestChain()
    blocks = source.mine(6)
    chain = RegtestChain()
    chain.state.accept_headers([block.header for block in blocks])
    assert chain.state.best_header.height == 6
    for block in (blocks[2], blocks[1], blocks[4]):
        assert chain.accept(block).status is AcceptStatus.SIDE
    assert chain.height == 0
    assert chain.accept(blocks[0]).status is AcceptStatus.CONNECTED
    assert chain.height == 3
    assert chain.accept(blocks[5]).status is AcceptStatus.SIDE
    chain.accept(blocks[3])
    assert chain.height == 6
    assert chain.accept(blocks[3]).status is AcceptStatus.DUPLICATE


def test_a_stored_descendant_that_fails_does_not_blame_the_block_that_completed_it() -> None:
    source = RegtestChain()
    first = source.mine()[0]
    entry = source.tip
    bad = mine_block(REGTEST, entry, fees=5)
    chain = RegtestChain()
    chain.state.accept_headers([first.header, bad.header])
    assert chain.accept(bad).status is AcceptStatus.SIDE
    assert chain.accept(first).status is AcceptStatus.CONNECTED
    assert chain.height == 1
    failed = chain.state.entry(bad.hash)
    assert failed is not None
    assert failed.is_failed


def test_what_no_one_asked_for_is_kept_only_when_it_may_matter() -> None:
    source = RegtestChain()
    blocks = source.mine(300)
    chain = RegtestChain()
    for block in blocks[:5]:
        chain.accept(block)
    side = chain.block(prev=chain.tip.ancestor(2))
    assert chain.state.accept_block(side, requested=False).status is AcceptStatus.IGNORED
    chain.state.accept_headers([block.header for block in blocks[5:]])
    assert chain.state.accept_block(blocks[293], requested=False).status is AcceptStatus.IGNORED
    assert chain.state.accept_block(blocks[292], requested=False).status is AcceptStatus.SIDE
    assert chain.state.accept_block(blocks[5], requested=False).status is AcceptStatus.CONNECTED


def test_invalidate_and_reconsider_take_descendants_along() -> None:
    chain = RegtestChain()
    chain.mine(10)
    tip, cursor = chain.tip, _cursor(chain)
    target = chain.tip.ancestor(6)
    chain.state.invalidate(target.hash)
    assert chain.height == 5
    assert tip.is_failed
    assert _names(chain.state.steps_after(cursor, 3)) == [("-", 10), ("-", 9), ("-", 8)]
    chain.mine(1)
    assert _names(chain.state.steps_after(cursor, 100))[-1] == ("+", 6)
    chain.state.reconsider(tip.ancestor(8).hash)
    assert chain.tip is tip
    with pytest.raises(BlockUnavailable, match="Block not found"):
        chain.state.invalidate(bytes(32))


def test_a_cursor_that_the_node_does_not_know_waits() -> None:
    chain = RegtestChain()
    with pytest.raises(UnknownCursor):
        chain.state.steps_after(Cursor(REGTEST.genesis.hash[::-1], 5), 10)  # type: ignore[arg-type]
    chain.mine(2)
    headers_only = chain.block()
    chain.state.accept_header(headers_only.header)
    with pytest.raises(UnknownCursor):
        chain.state.steps_after(Cursor(headers_only.hash, 3), 10)


def test_followers_see_only_what_is_durable_during_initial_download() -> None:
    chain = RegtestChain(clock=_downloading())
    start = Cursor(REGTEST.genesis.hash, 0)
    chain.mine(20)
    assert chain.state.is_initial_block_download
    assert len(chain.state.steps_after(start, 100)) < 20
    chain.state.commit()
    steps = chain.state.steps_after(start, 100, with_undo=True)
    assert [step.height for step in steps] == list(range(1, 21))
    assert all(step.undo == () for step in steps)
    assert len(chain.state.steps_after(start, 7)) == 7
    assert len(chain.state.steps_after(start, 100, max_bytes=1)) == 1


def test_locators_find_the_fork() -> None:
    chain = RegtestChain()
    chain.mine(40)
    other = RegtestChain()
    for height in range(1, 31):
        block = chain.state.read_block(chain.state.block_hash(height) or b"")
        assert block is not None
        other.accept(block)
    other.mine(12)
    locator = other.state.locator()
    assert locator[0] == other.tip.hash
    assert locator[-1] == REGTEST.genesis.hash
    assert len(locator) < 20
    fork = chain.state.find_fork(locator)
    assert 20 < fork.height <= 30
    assert chain.state.find_fork([]) is chain.state.entry_at(0)


def test_a_template_is_checked_without_being_stored() -> None:
    chain = RegtestChain()
    chain.mine(3)
    good = chain.block()
    chain.state.test_block_validity(good)
    assert chain.state.entry(good.hash) is None
    with pytest.raises(Reject, match="bad-cb-amount"):
        chain.state.test_block_validity(mine_block(REGTEST, chain.tip, fees=1))
    with pytest.raises(Reject, match="inconclusive-not-best-prevblk"):
        chain.state.test_block_validity(chain.block(prev=chain.tip.ancestor(1)))


def test_a_chain_on_disk_is_the_same_after_reopening_reindex_and_rebuild(tmp_path: Path) -> None:
    chain = RegtestChain(data_dir=tmp_path, clock=_downloading())
    coin = chain.mature_coin()
    chain.mine(2, [spend([coin], [TxOut(5, ANYONE), TxOut(6, b"\x6a")])])
    chain.mine(4, prev=chain.tip.ancestor(chain.height - 3))
    tip, coins = chain.state.tip, _hash(chain)
    chain.close()
    for options in (
        ChainOptions(),
        ChainOptions(reindex=True),
        ChainOptions(reindex_chainstate=True),
        ChainOptions(),
    ):
        again = RegtestChain(data_dir=tmp_path, options=options, clock=_downloading())
        assert again.state.tip == tip
        assert _hash(again) == coins
        assert again.state.verify(4, 0)
        assert len(again.state.chain_tips()) == 2
        again.close()


def test_the_coins_of_a_crashed_node_are_rolled_forward(tmp_path: Path) -> None:
    chain = RegtestChain(data_dir=tmp_path)
    chain.mine(30)
    tip = chain.state.tip
    chain.state.commit()
    coins = chain.state._coins
    assert coins.flushed_block is None
    coins.close()  # without a flush
    chain.state._index.close()
    chain.state._store.close()
    again = RegtestChain(data_dir=tmp_path)
    assert again.state.tip == tip
    again.close()


def test_pruning_stops_at_what_followers_need(tmp_path: Path) -> None:
    options = ChainOptions(prune_mib=1, max_block_file_bytes=10_000)
    chain = RegtestChain(data_dir=tmp_path, options=options, clock=_downloading())
    chain.mine(600)
    chain.state.prune_floor = lambda: 101
    assert 50 < chain.state.prune_to(400) <= 100
    pruned = chain.state.prune_height
    assert pruned is not None
    assert chain.state.read_block(chain.state.block_hash(pruned - 1) or b"") is None
    assert chain.state.read_block(chain.state.block_hash(pruned) or b"") is not None
    chain.state.prune_floor = lambda: 1 << 31
    assert chain.state.prune_to(10_000) <= 600 - 288
    with pytest.raises(BlockUnavailable):
        chain.state.steps_after(Cursor(REGTEST.genesis.hash, 0), 1)
    size, tip = chain.state.size_on_disk, chain.state.tip
    chain.close()
    again = RegtestChain(data_dir=tmp_path, options=options, clock=_downloading())
    assert again.state.tip == tip
    assert again.state.size_on_disk == size
    assert again.state.prune_height is not None
    assert not again.state.verify(3, 0)
    again.mine(1)
    again.close()


def test_a_cursor_behind_which_blocks_are_pruned_cannot_follow(tmp_path: Path) -> None:
    options = ChainOptions(max_block_file_bytes=6_000, prune_mib=1)
    chain = RegtestChain(data_dir=tmp_path, options=options)
    side = chain.block()
    chain.mine(340)
    chain.accept(side)

    def can_follow(block_hash: bytes | None, height: int) -> bool:
        assert block_hash is not None
        return chain.state.has_blocks_after(Cursor(BlockHash(block_hash), height))

    genesis = chain.state.block_hash(0)
    assert can_follow(genesis, 0)
    assert can_follow(side.hash, 1)
    pruned = chain.state.prune_to(52)
    assert pruned > 10
    assert not can_follow(genesis, 0)
    assert not can_follow(chain.state.block_hash(pruned - 1), pruned - 1)
    assert can_follow(chain.state.block_hash(pruned), pruned)
    assert not can_follow(side.hash, 1)
    assert can_follow(b"\x11" * 32, 5)  # unknown: such a cursor waits
    chain.close()


def test_the_block_files_are_kept_below_the_target(tmp_path: Path) -> None:
    options = ChainOptions(prune_mib=2, max_block_file_bytes=200_000)
    chain = RegtestChain(data_dir=tmp_path, options=options, clock=_downloading())
    filler = TxOut(0, b"\x6a" + bytes(9_000))
    for _ in range(420):
        coinbase = make_coinbase(chain.height + 1, 1, outputs=[filler], witness=False)
        chain.accept(mine_block(REGTEST, chain.tip, coinbase=coinbase))
    # 288 blocks of 9 kB stay whatever the target says.
    assert 2_500_000 < chain.state.size_on_disk < 3_200_000
    assert chain.state.prune_height is not None
    assert 50 < chain.state.prune_height <= 420 - 288
    chain.close()


def test_too_little_disk_space_is_said_before_a_block_is_taken(tmp_path: Path) -> None:
    chain = RegtestChain(data_dir=tmp_path, options=ChainOptions(min_disk_free_mib=1 << 40))
    with pytest.raises(DiskSpaceLow, match="Disk space is too low"):
        chain.mine(1)
    assert chain.height == 0
    chain.close()


@pytest.mark.parametrize(("name", "at"), [("blk00000.dat", 8 + 300 + 40), ("rev00000.dat", 12)])
def test_a_damaged_block_file_is_found_at_start(tmp_path: Path, name: str, at: int) -> None:
    chain = RegtestChain(data_dir=tmp_path)
    chain.mine(5)
    chain.close()
    path = tmp_path / "blocks" / name
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChainDamaged, match="Corrupted block database detected"):
        RegtestChain(data_dir=tmp_path)
    again = RegtestChain(data_dir=tmp_path, options=ChainOptions(check_level=0))
    with pytest.raises(ChainDamaged):
        again.state.verify(3, 0)
    again.close()


def test_scripts_below_the_assumed_valid_block_are_not_verified() -> None:
    """A false script passes when two weeks of work lie above it, and only on the way to the assumed block."""
    source = RegtestChain()
    coin = source.mature_coin()
    false = TxOut(1_000, b"\x00")
    first = spend([coin], [false])
    bad = source.block([first, spend([(first.outpoint(0), false)], [TxOut(0, ANYONE)])])
    assumed = bad.hash
    chain = RegtestChain(options=ChainOptions(assume_valid=assumed))
    for height in range(1, source.height + 1):
        block = source.state.read_block(source.state.block_hash(height) or b"")
        assert block is not None
        chain.accept(block)
    with pytest.raises(Reject, match="block-script-verify-flag-failed"):
        chain.accept(bad)  # too recent
    # The same with a header chain of two weeks above.
    late = RegtestChain(options=ChainOptions(assume_valid=assumed))
    for height in range(1, source.height + 1):
        block = source.state.read_block(source.state.block_hash(height) or b"")
        assert block is not None
        late.accept(block)
    entry = late.state.accept_header(bad.header)
    for _ in range(2 * 7 * 24 * 3600 // REGTEST.block_interval_s + 2):
        entry = late.state.accept_header(mine_block(REGTEST, entry).header)
    assert late.accept(bad).status is AcceptStatus.CONNECTED


def test_stop_at_height_is_noticed() -> None:
    chain = RegtestChain(options=ChainOptions(stop_at_height=3))
    chain.mine(2)
    assert not chain.state.stop_requested
    chain.mine(1)
    assert chain.state.stop_requested


def test_initial_download_ends_with_work_and_a_recent_tip() -> None:
    clock = MockableClock()
    clock.set_mock_time(REGTEST.genesis.header.time + 25 * 3600)
    state = Chainstate.open(REGTEST, None, ChainOptions(minimum_chain_work=6), clock)

    def is_downloading() -> bool:
        return state.is_initial_block_download

    assert is_downloading()
    first = state.accept_block(
        mine_block(REGTEST, state.tip_entry, time=REGTEST.genesis.header.time + 7_200)
    ).entry
    assert is_downloading()  # recent, but too little work
    state.accept_block(mine_block(REGTEST, first))
    assert not is_downloading()
    clock.set_mock_time(REGTEST.genesis.header.time + 900 * 3600)
    assert not is_downloading()
