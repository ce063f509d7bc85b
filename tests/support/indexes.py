"""A chain with spends and reorganisations for the indexes, and a host that shows it to them."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from gldnode.clock import Clock
from gldnode.events import ChainStep, Cursor
from gldnode.indexes import Index
from gldnode.node import NodeChainView
from gldnode.ports import NodeHost
from gldnode.primitives.block import Block
from gldnode.primitives.tx import OutPoint, Tx, TxOut
from tests.support.chain import ANYONE, RegtestChain, spend

__all__ = ["FakeHost", "active_blocks", "follow", "live_chain", "spending_block"]

SCRIPTS = (ANYONE, b"\x52", b"\x53", b"\x51" * 40, b"")
"""Spendable without a signature, the empty one aside."""


def spending_block(
    chain: RegtestChain, rng: random.Random, coins: list[tuple[OutPoint, TxOut]], **where: Any
) -> Block:
    """A block with up to four transactions that spend some of `coins`, each other's outputs too.

    `coins` is what is left to spend afterwards. A part of the money goes to outputs that nobody can spend.
    """
    txs: list[Tx] = []
    for _ in range(rng.randrange(5)):
        if not coins:
            break
        taken = [coins.pop(rng.randrange(len(coins))) for _ in range(min(len(coins), rng.randrange(1, 3)))]
        total = sum(output.amount for _, output in taken)
        outputs = [TxOut(total // 4, rng.choice(SCRIPTS)) for _ in range(rng.randrange(1, 4))]
        outputs.append(TxOut(rng.randrange(2) * total // 8, b"\x6a\x01x"))
        tx = spend(taken, outputs)
        coins += [
            (tx.outpoint(vout), output)
            for vout, output in enumerate(outputs)
            if output.script_pubkey not in (b"", b"\x6a\x01x")
        ]
        txs.append(tx)
    return chain.block(txs, script=rng.choice(SCRIPTS[:4]), **where)


def live_chain(seed: int, blocks: int, follow_each: Callable[[RegtestChain], None]) -> RegtestChain:
    """A chain of about `blocks` blocks and some reorganisations; `follow_each` sees it after every change."""
    rng = random.Random(seed)
    chain = RegtestChain()
    ripe = chain.mine(8)
    chain.mine(100)
    start = [(block.txs[0].outpoint(0), block.txs[0].outputs[0]) for block in ripe]
    coins = list(start)
    follow_each(chain)
    while chain.height < 108 + blocks:
        if rng.random() < 0.25 and chain.height > 112:
            fork = chain.tip.ancestor(chain.height - rng.randrange(1, 5))
            for _ in range(chain.height - fork.height + 1):
                # The other branch spends nothing: whatever it undoes is unspent again.
                fork = chain.accept(chain.block(prev=fork, script=rng.choice(SCRIPTS[:4]))).entry
            coins = [coin for coin in start if chain.state.coin(coin[0]) is not None]
        else:
            chain.accept(spending_block(chain, rng, coins))
        follow_each(chain)
    return chain


def active_blocks(chain: RegtestChain) -> list[Block]:
    """The active chain's blocks behind the genesis block."""
    blocks = []
    for height in range(1, chain.height + 1):
        entry = chain.state.entry_at(height)
        assert entry is not None
        block = chain.state.read_block(entry.hash)
        assert block is not None
        blocks.append(block)
    return blocks


def follow(index: Index, chain: RegtestChain, limit: int = 1_000) -> None:
    """Bring the index to the chain's tip, `limit` steps at a time."""
    chain.state.commit()
    while True:
        steps = chain.state.steps_after(index.best, limit, 32_000_000, with_undo=index.needs_undo)
        if not steps:
            return
        index.advance(steps)


class FakeHost:
    """What of a node an index follower uses."""

    def __init__(self, chain: RegtestChain) -> None:
        self.chain = NodeChainView(chain.state)
        self.clock: Clock = chain.clock
        self.tasks: list[asyncio.Task[None]] = []
        self._state = chain.state
        self._changed = asyncio.Event()
        self._waiting = 0
        self._at_rest = asyncio.Event()

    def as_host(self) -> NodeHost:
        # Only the members above are asked for.
        return cast(NodeHost, self)

    def moved(self) -> None:
        """The chain has changed."""
        self._state.commit()
        self._at_rest.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def next_steps(self, cursor: Cursor, limit: int, *, with_undo: bool = False) -> Sequence[ChainStep]:
        while True:
            changed = self._changed
            if steps := self._state.steps_after(cursor, limit, 1_000_000, with_undo=with_undo):
                return steps
            self._waiting += 1
            if self._waiting == len(self.tasks):
                self._at_rest.set()
            await changed.wait()
            self._waiting -= 1

    async def at_rest(self) -> None:
        """Until every follower waits for the next move."""
        await self._at_rest.wait()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
