"""The node in memory: validation thread, steps, hints, supervision."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gldnode.chain.options import ChainOptions
from gldnode.config import Config
from gldnode.errors import Reject
from gldnode.events import BlockConnected, BlockDisconnected, Cursor, HintsLost, TipChanged, UnknownCursor
from gldnode.hints import BoundedHints, HintsClosed
from gldnode.mempool.options import MempoolOptions
from gldnode.mining.generate import generate_blocks
from gldnode.node import Node, NodeStopped
from gldnode.params import REGTEST
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import TxIn, TxOut, make_tx, outpoint
from storage.errors import StorageError

GENESIS = Cursor(REGTEST.genesis.hash, 0)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(REGTEST, Config("regtest", tmp_path), in_memory=True)
    await node.start(ChainOptions(), MempoolOptions())
    yield node
    await node.stop()


async def mine(node: Node, count: int = 1) -> list[BlockHash]:
    return await node.run_in_validation(
        lambda: generate_blocks(node.chainstate, node.pool, node.clock, count, b"\x51")
    )


async def test_steps_wait_for_the_next_block(node: Node) -> None:
    waiting = asyncio.create_task(_steps(node, GENESIS))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    mined = await mine(node, 2)
    steps = await asyncio.wait_for(waiting, 5)
    assert [step.hash for step in steps] == mined[: len(steps)]
    assert all(isinstance(step, BlockConnected) for step in steps)


async def _steps(node: Node, cursor: Cursor) -> list[BlockConnected | BlockDisconnected]:
    return list(await node.next_steps(cursor, 10))


async def test_a_decision_leads_followers_back(node: Node) -> None:
    mined = await mine(node, 3)
    await node.run_in_validation(lambda: node.chainstate.invalidate(mined[1]))
    steps = await _steps(node, Cursor(mined[2], 3))
    assert [(type(step), step.height) for step in steps] == [(BlockDisconnected, 3), (BlockDisconnected, 2)]


async def test_an_unknown_cursor_is_told(node: Node) -> None:
    with pytest.raises(UnknownCursor):
        await node.next_steps(Cursor(BlockHash(b"\x07" * 32), 5), 10)


async def test_caught_up_is_being_at_the_tip(node: Node) -> None:
    assert await node.wait_caught_up(GENESIS)
    mined = await mine(node)
    assert not await node.wait_caught_up(GENESIS)
    assert await node.wait_caught_up(Cursor(mined[0], 1))


async def test_hints_tell_of_the_tip(node: Node) -> None:
    hints = node.hints("test")
    mined = await mine(node)
    hint = await asyncio.wait_for(hints.get(), 5)
    assert isinstance(hint, TipChanged)
    assert hint.tip.hash == mined[0]
    hints.close()
    with pytest.raises(HintsClosed):
        await hints.get()


async def test_hints_that_nobody_reads_become_one() -> None:
    hints = BoundedHints("slow", limit=3)
    tips = [TipChanged(None) for _ in range(5)]  # type: ignore[arg-type]  # only counted here
    hints.push(tips[:3])
    hints.push(tips[3:])
    assert isinstance(await hints.get(), HintsLost)
    assert await hints.get() is tips[3]
    assert await hints.get() is tips[4]


async def test_submitting_what_cannot_be_is_refused(node: Node) -> None:
    tx = make_tx(2, [TxIn(outpoint(bytes(32), 0), b"", 0)], [TxOut(1, b"\x51")])
    with pytest.raises(Reject):
        await node.submit(tx)
    await node.rebroadcast(tx)


@pytest.mark.parametrize("error", [AssertionError("a wrong sum"), StorageError("disk")])
async def test_a_failure_in_the_validation_thread_stops_the_node(node: Node, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await node.run_in_validation(fail)
    await asyncio.wait_for(node.stop_requested.wait(), 5)
    assert node.failure is not None
    assert str(error) in node.failure


async def test_an_ordinary_refusal_does_not_stop_it(node: Node) -> None:
    def refuse() -> None:
        raise Reject("bad-txns")

    with pytest.raises(Reject):
        await node.run_in_validation(refuse)
    assert node.failure is None


async def test_a_task_that_fails_stops_the_node(node: Node) -> None:
    async def work() -> None:
        raise ValueError("odd")

    node.spawn("work", work())
    await asyncio.wait_for(node.stop_requested.wait(), 5)
    assert node.failure == "task work failed: ValueError: odd"


async def test_a_stopped_node_takes_no_work(tmp_path: Path) -> None:
    node = Node(REGTEST, Config("regtest", tmp_path), in_memory=True)
    await node.start(ChainOptions(), MempoolOptions())
    await node.stop()
    with pytest.raises(NodeStopped):
        await node.run_in_validation(lambda: None)


async def test_pruning_keeps_what_followers_have_not_seen(node: Node) -> None:
    await mine(node, 5)
    assert node.chainstate.prune_floor() == 1 << 31
    tip = node.chain.tip
    waiting = asyncio.create_task(_steps(node, Cursor(tip.hash, tip.height)))
    await asyncio.sleep(0.02)
    assert node.chainstate.prune_floor() == 5
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)
    assert node.chainstate.prune_floor() == 1 << 31
