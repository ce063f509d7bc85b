"""Power cuts at every write of a run with reorganisations, flushes and pruning.

After each, with every combination of what the three stores may have kept, the node opens by itself at a
consistent tip, takes the rest of the blocks and ends with the same coins; and no follower is told of a disconnect
that the chain did not make.
"""

from collections.abc import Callable, Sequence

import pytest

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions, DiskSpaceLow
from gldnode.chain.utxostats import HashKind
from gldnode.events import BlockDisconnected, Cursor
from gldnode.params import REGTEST
from gldnode.primitives.block import Block
from gldnode.primitives.tx import TxOut
from storage.errors import StorageError
from tests.support.campaign import campaign
from tests.support.chain import ANYONE, RegtestChain, spend
from tests.support.chain_machine import Machine
from tests.support.storage_faults import FaultKV, PowerCut

_WARM_UP = 104


class Follower:
    """Keeps its cursor durably, whatever happens to the node."""

    def __init__(self) -> None:
        self.cursor = Cursor(REGTEST.genesis.hash, 0)
        self.disconnected = 0
        self.best_work = 0

    def run(self, chain: Chainstate) -> None:
        while steps := chain.steps_after(self.cursor, 10):
            for step in steps:
                if isinstance(step, BlockDisconnected):
                    self.cursor = Cursor(step.prev_hash, step.height - 1)
                    self.disconnected += 1
                else:
                    self.cursor = Cursor(step.hash, step.height)
                    entry = chain.entry(step.hash)
                    assert entry is not None
                    self.best_work = max(self.best_work, entry.chain_work)


def _blocks() -> tuple[list[Block], list[Block]]:
    """A warm-up, then blocks with spends on two branches that overtake each other three times."""
    chain = RegtestChain()
    warm_up = chain.mine(_WARM_UP)
    coins = [(block.txs[0].outpoint(0), block.txs[0].outputs[0]) for block in warm_up[:4]]
    fork = chain.tip
    a1 = chain.mine(1, [spend([coins[0]], [TxOut(10, ANYONE), TxOut(20, ANYONE)])])
    a2 = chain.mine(1, [spend([coins[1]], [TxOut(30, ANYONE)])])
    b = chain.mine(3, [spend([coins[0], coins[1]], [TxOut(40, ANYONE)])], prev=fork)
    a3 = chain.mine(2, [spend([coins[2]], [TxOut(50, ANYONE)])], prev=chain.state.entry(a2[0].hash))
    b2 = chain.mine(2, [spend([coins[3]], [TxOut(60, ANYONE)])], prev=chain.state.entry(b[-1].hash))
    chain.close()
    return warm_up, [*a1, *a2, *b, *a3, *b2]


_WARM, _REST = _blocks()


def _utxo_hash(chain: Chainstate) -> bytes:
    found = chain.coin_stats(HashKind.HASH_SERIALIZED_3).hash
    assert found is not None
    return found


def _final() -> bytes:
    machine = Machine.empty()
    chain = machine.open()
    for block in [*_WARM, *_REST]:
        chain.accept_block(block)
    return _utxo_hash(chain)


_FINAL = _final()


def _warm_machine() -> Machine:
    machine = Machine.empty()
    chain = machine.open()
    for block in _WARM:
        chain.accept_block(block)
    chain.close()
    return machine.copy()


Work = Callable[[Chainstate, Follower], None]


def _take(chain: Chainstate, follower: Follower, blocks: Sequence[Block] = _REST, *, flush_every: int = 3) -> None:
    for number, block in enumerate(blocks):
        chain.accept_block(block)
        follower.run(chain)
        if number % flush_every == flush_every - 1:
            chain.flush()
    chain.close()


def _take_grouped(chain: Chainstate, follower: Follower) -> None:
    """As during initial download: commits and flushes far apart."""
    _take(chain, follower, flush_every=5)


def _invalidate_and_back(chain: Chainstate, follower: Follower) -> None:
    _take_some = _REST[:2]
    for block in _take_some:
        chain.accept_block(block)
    follower.run(chain)
    chain.invalidate(_REST[0].hash)
    follower.run(chain)
    chain.reconsider(_REST[0].hash)
    follower.run(chain)
    chain.close()


def _cut_everywhere(work: Work, *, now: int = 6 * 3600, step: int = 1, decided: bool = False) -> int:
    """Run `work` with a power cut at each `step`-th write; how many ends were looked at."""
    warm = _warm_machine()
    ends = 0
    for cut in range(1, 10_000, step):
        machine = warm.copy()
        machine.power.cut_before(cut)
        follower = Follower()
        try:
            chain = machine.open(now=now)
            follower.run(chain)
            work(chain, follower)
        except (PowerCut, DiskSpaceLow, OSError):
            pass
        else:
            return ends
        for outcome in machine.outcomes():
            _check_outcome(outcome, follower, decided=decided)
            ends += 1
    raise AssertionError("the run never ends")


def _check_outcome(machine: Machine, follower: Follower, *, decided: bool) -> None:
    before = Follower()
    before.cursor, before.best_work = follower.cursor, follower.best_work
    chain = machine.open()
    before.run(chain)
    if before.disconnected and not decided:
        assert chain.tip.chain_work > follower.best_work, "a disconnect without a reorganisation"
    assert before.cursor == Cursor(chain.tip.hash, chain.tip.height)
    for block in _REST:
        if decided and chain.entry(block.hash) is not None:
            chain.reconsider(block.hash)
        chain.accept_block(block)
    assert _utxo_hash(chain) == _FINAL
    assert chain.verify(4, 0)
    chain.close()
    again = machine.copy().open()
    assert again.tip == chain.tip


def test_power_cut_at_any_write_while_blocks_arrive_one_by_one() -> None:
    assert _cut_everywhere(_take, step=campaign(3, 1)) > 20


def test_power_cut_at_any_write_during_initial_download() -> None:
    assert _cut_everywhere(_take_grouped, now=40 * 24 * 3600, step=campaign(3, 1)) > 20


def test_power_cut_at_any_write_of_invalidate_and_reconsider() -> None:
    assert _cut_everywhere(_invalidate_and_back, step=campaign(2, 1), decided=True) > 5


def test_power_cut_at_any_write_of_a_reindex() -> None:
    machine = Machine.empty()
    chain = machine.open()
    for block in [*_WARM, *_REST]:
        chain.accept_block(block)
    chain.close()
    full = machine.copy()
    for cut in range(1, 10_000, campaign(15, 1)):
        for flag in ("reindex", "reindex_chainstate"):
            run = full.copy()
            run.power.cut_before(cut)
            follower = Follower()
            try:
                run.open(ChainOptions(**{flag: True})).close()  # type: ignore[arg-type]
            except (PowerCut, OSError):
                for outcome in run.outcomes():
                    _check_outcome(outcome, follower, decided=False)
            else:
                if flag == "reindex":
                    return
    raise AssertionError("the reindex never ends")


def test_a_full_disk_is_said_so_and_nothing_is_lost() -> None:
    machine = _warm_machine()
    chain = machine.open()
    machine.files.full = True
    with pytest.raises(DiskSpaceLow):
        chain.accept_block(_REST[0])
    machine.files.full = False
    for block in _REST:
        chain.accept_block(block)
    assert _utxo_hash(chain) == _FINAL


@pytest.mark.parametrize("number", range(len(_REST)))
def test_a_disk_that_is_full_for_undo_data_leaves_the_chain_where_it_is(number: int) -> None:
    """Also in the middle of a reorganisation; with room again the same block is taken."""
    machine = _warm_machine()
    chain = machine.open()
    for block in _REST[:number]:
        chain.accept_block(block)
    machine.files.full, machine.files.full_for = True, "rev"
    tip = chain.tip
    try:
        chain.accept_block(_REST[number])
    except DiskSpaceLow:
        assert chain.tip == tip
    chain.flush()
    machine.files.full = False
    for block in _REST[number:]:
        chain.accept_block(block)
    assert _utxo_hash(chain) == _FINAL
    assert chain.verify(4, 0)


@pytest.mark.parametrize("store", ["index", "coins"])
def test_a_database_that_cannot_be_written_stops_the_node_and_nothing_is_lost(store: str) -> None:
    machine = _warm_machine()
    chain = machine.open()
    database: FaultKV = getattr(machine, store)
    database.fill_disk()
    with pytest.raises(StorageError):
        _take(chain, Follower())
    database.heal()
    machine = machine.copy()
    chain = machine.open()
    for block in _REST:
        chain.accept_block(block)
    assert _utxo_hash(chain) == _FINAL


def test_read_errors_stop_the_node_and_nothing_is_lost() -> None:
    for after in range(0, 40, campaign(4, 1)):
        machine = _warm_machine()
        chain = machine.open()
        machine.coins.fail_reads(after)
        try:
            for block in _REST:
                chain.accept_block(block)
        except StorageError:
            pass
        machine.coins.heal()
        if not chain._activator.between:
            chain.flush()
        machine = machine.copy()
        chain = machine.open()
        for block in _REST:
            chain.accept_block(block)
        assert _utxo_hash(chain) == _FINAL
