"""Disks that fill up, break or lose power at each write and read of connecting, leaving, pruning and reindexing.

Whatever happens, the node opens again by itself at a consistent tip, takes the rest of the blocks, and ends with
the same coins.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from gldnode.chain.blockfiles import BlockFileDamaged
from gldnode.chain.chainstate import Chainstate
from gldnode.chain.index import IndexDamaged
from gldnode.chain.options import ChainOptions, DiskSpaceLow
from gldnode.chain.utxostats import HashKind
from gldnode.chain.verify import ChainDamaged
from gldnode.primitives.block import Block
from gldnode.primitives.tx import TxOut
from storage.errors import StorageError
from tests.support.campaign import campaign
from tests.support.chain import ANYONE, RegtestChain, spend
from tests.support.chain_machine import STRICT, FaultyDisk, Machine

_PRUNING = replace(STRICT, prune_mib=1)
_KEEP = 10
"""Blocks that pruning leaves, for these tests."""

Work = Callable[[Machine], None]


def _make_blocks() -> tuple[list[Block], list[Block], bytes]:
    """A start, then two branches with spends that overtake each other; and the hash of the coins at the end."""
    chain = RegtestChain()
    start = chain.mine(103)
    coins = [(block.txs[0].outpoint(0), block.txs[0].outputs[0]) for block in start[:3]]
    fork = chain.tip
    a = chain.mine(2, [spend([coins[0]], [TxOut(10, ANYONE), TxOut(20, ANYONE)])])
    b = chain.mine(3, [spend([coins[0], coins[1]], [TxOut(40, ANYONE)])], prev=fork)
    c = chain.mine(2, [spend([coins[2]], [TxOut(50, ANYONE)])], prev=chain.state.entry(a[-1].hash))
    final = _coins_hash(chain.state)
    return start, [*a, *b, *c], final


def _coins_hash(chain: Chainstate) -> bytes:
    found = chain.coin_stats(HashKind.HASH_SERIALIZED_3).hash
    assert found is not None
    return found


_START, _REST, _FINAL = _make_blocks()


def _at_start() -> Machine:
    machine = Machine.empty()
    chain = machine.open()
    for block in _START:
        chain.accept_block(block)
    chain.close()
    return machine.copy()


_MACHINE = _at_start()


def _connect(machine: Machine) -> None:
    """Also reorganisations, and a flush behind every second block."""
    chain = machine.open()
    for number, block in enumerate(_REST):
        chain.accept_block(block)
        if number % 2:
            chain.flush()
    chain.close()


def _leave(machine: Machine) -> None:
    chain = machine.open()
    for block in _REST[:2]:
        chain.accept_block(block)
    chain.invalidate(_REST[0].hash)
    chain.flush()
    chain.reconsider(_REST[0].hash)
    chain.close()


def _prune(machine: Machine) -> None:
    chain = machine.open(_PRUNING)
    assert chain.prune_to(40) > 10
    for block in _REST[:2]:
        chain.accept_block(block)
    assert chain.prune_to(70) > 40
    chain.close()


def _reindex(machine: Machine) -> None:
    machine.open(replace(STRICT, reindex=True)).close()


def _reindex_chainstate(machine: Machine) -> None:
    machine.open(replace(STRICT, reindex_chainstate=True)).close()


_WORKS = [_connect, _leave, _prune, _reindex, _reindex_chainstate]
_LONG = (_reindex, _reindex_chainstate)
_names = [work.__name__.strip("_") for work in _WORKS]


@pytest.fixture(autouse=True)
def few_blocks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gldnode.chain.prune.MIN_BLOCKS_TO_KEEP", _KEEP)


def _options(work: Work) -> ChainOptions:
    return _PRUNING if work is _prune else STRICT


def _check(machine: Machine, options: ChainOptions) -> None:
    """It opens, is whole, takes the rest, and is whole when opened once more."""
    chain = machine.open(options)
    for block in _REST:
        entry = chain.entry(block.hash)
        if entry is not None and entry.is_failed:
            chain.reconsider(block.hash)
        chain.accept_block(block)
    assert _coins_hash(chain) == _FINAL
    assert chain.verify(4, 0) or chain.prune_height is not None
    pruned = chain.prune_height or 0
    assert all(entry.has_data for entry in chain.entries() if entry.height >= pruned)
    chain.close()
    again = machine.copy().open(options)
    assert _coins_hash(again) == _FINAL


@pytest.mark.parametrize("work", _WORKS, ids=_names)
def test_power_cut_before_any_write(work: Work) -> None:
    ends = 0
    for cut in range(1, 10_000, campaign(29 if work in _LONG else 4, 1)):
        machine = _MACHINE.copy()
        machine.power.cut_before(cut)
        try:
            work(machine)
        except (StorageError, DiskSpaceLow):
            for outcome in machine.outcomes():
                _check(outcome, _options(work))
                ends += 1
        else:
            break
    assert ends


@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("work", _WORKS, ids=_names)
def test_full_disk_at_any_write(work: Work, *, stays: bool) -> None:
    """Until there is room again; what the failing node had in memory is lost."""
    for number in range(1, 10_000, campaign(31 if work in _LONG else 5, 1)):
        disk = FaultyDisk(write=number, stays=stays)
        machine = _MACHINE.copy(disk)
        with suppress(StorageError, DiskSpaceLow):
            work(machine)
        if not disk.failed:
            assert number > 1
            return
        disk.heal()
        _check(machine.copy(), _options(work))
    raise AssertionError("the work never ends")


@pytest.mark.parametrize("work", _WORKS, ids=_names)
def test_read_error_at_any_read(work: Work) -> None:
    """The node stops, or says that something is damaged; with a sound disk it goes on."""
    for number in range(1, 100_000, campaign(*((149, 1) if work in _LONG else (37, 1)))):
        disk = FaultyDisk(read=number)
        machine = _MACHINE.copy(disk)
        with suppress(StorageError, DiskSpaceLow, BlockFileDamaged, ChainDamaged, IndexDamaged):
            work(machine)
        if not disk.failed:
            assert number > 1
            return
        disk.heal()
        _check(machine.copy(), _options(work))
    raise AssertionError("the work never ends")


def test_a_disk_that_is_full_for_a_while_is_waited_out() -> None:
    """The same node goes on where blocks were refused, and says so meanwhile."""
    for number in range(1, 10_000, campaign(4, 1)):
        disk = FaultyDisk(write=0)
        machine = _MACHINE.copy(disk)
        chain = machine.open()
        before = disk.writes
        disk._bad_write, disk._stays = before + number, True
        refusals: list[tuple[str, list[str]]] = []
        with suppress(StorageError):  # a database's write: that stops the node
            for block in _REST:
                try:
                    chain.accept_block(block)
                except DiskSpaceLow as error:
                    refusals.append((str(error), chain.warnings))
                    disk.heal()
                    chain.accept_block(block)
        if not disk.failed:
            return
        if refusals:
            [(text, warnings)] = refusals
            assert "No space left on device" in text
            assert warnings == [text]
            assert chain.warnings == []
            assert _coins_hash(chain) == _FINAL
        disk.heal()
        _check(machine.copy(), STRICT)
    raise AssertionError("the work never ends")
