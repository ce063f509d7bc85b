"""A chain in LevelDB and a plain model of coins under random blocks, reorganisations, restarts and marks."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import ChainOptions
from gldnode.chain.utxostats import HashKind, coin_hash_bytes
from gldnode.crypto.muhash import MuHash3072
from gldnode.events import BlockDisconnected, Cursor
from gldnode.params import REGTEST
from gldnode.primitives.block import Block
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import OutPoint, Tx, TxOut
from tests.support.campaign import campaign, is_long
from tests.support.chain import ANYONE, RegtestChain, spend

_MATURITY = REGTEST.coinbase_maturity
_START = _MATURITY + 8
_OPTIONS = ChainOptions(check_level=3, check_blocks=3, dbcache_mib=0, max_block_file_bytes=20_000)

Coins = dict[OutPoint, Coin]


class Model:
    """The coins of every block, worked out afresh from its parent's."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, Block] = {REGTEST.genesis.hash: REGTEST.genesis}
        self.heights: dict[bytes, int] = {REGTEST.genesis.hash: 0}
        self.coins: dict[bytes, Coins] = {REGTEST.genesis.hash: {}}

    def add(self, block: Block) -> None:
        height = self.heights[block.header.prev_hash] + 1
        coins = dict(self.coins[block.header.prev_hash])
        for tx in block.txs:
            for txin in tx.inputs:
                coins.pop(txin.prevout, None)
            for vout, output in enumerate(tx.outputs):
                if not output.script_pubkey.startswith(b"\x6a"):
                    coins[tx.outpoint(vout)] = Coin(output.amount, output.script_pubkey, height, tx.is_coinbase)
        self.blocks[block.hash], self.heights[block.hash], self.coins[block.hash] = block, height, coins

    def spendable(self, block_hash: bytes) -> list[tuple[OutPoint, Coin]]:
        height = self.heights[block_hash] + 1
        return sorted(
            (prevout, coin)
            for prevout, coin in self.coins[block_hash].items()
            if (not coin.is_coinbase or height - coin.height >= _MATURITY)
            and coin.script_pubkey == ANYONE
            and coin.amount > 1_000
        )


@cache
def _warm_up() -> tuple[Path, list[Block]]:
    """A folder with blocks whose first coinbases can be spent, to be copied."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    chain = RegtestChain(data_dir=folder / "chain", options=_OPTIONS)
    blocks = chain.mine(_START)
    chain.close()
    return folder / "chain", blocks


class ChainAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "chain"
        warm_folder, blocks = _warm_up()
        shutil.copytree(warm_folder, self.folder)
        self.chain = RegtestChain(data_dir=self.folder, options=_OPTIONS)
        self.chain._made = 10_000  # no block is one of the warm-up again, not even deep below its end
        self.model = Model()
        for block in blocks:
            self.model.add(block)
        self.followed: list[Cursor] = [Cursor(REGTEST.genesis.hash, 0)]
        self.invalidated: list[bytes] = []

    def _accept(self, block: Block) -> None:
        self.model.add(block)
        self.chain.accept(block)

    @rule(back=st.integers(0, 6), count=st.integers(1, 4), data=st.data())
    def mine(self, back: int, count: int, data: st.DataObject) -> None:
        """Some blocks on an ancestor of the tip, with spends of what its branch has."""
        prev = self.chain.tip.ancestor(self.chain.height - back)
        for _ in range(count):
            block = self.chain.block(self._spends(prev, data), prev=prev)
            self._accept(block)
            entry = self.chain.state.entry(block.hash)
            assert entry is not None
            prev = entry

    def _spends(self, prev: BlockEntry, data: st.DataObject) -> list[Tx]:
        txs = []
        for prevout, coin in self.model.spendable(prev.hash)[: data.draw(st.integers(0, 3))]:
            outputs = [TxOut(coin.amount // 3, ANYONE), TxOut(coin.amount // 3, b"\x6a"), TxOut(0, b"\x52")]
            txs.append(spend([(prevout, coin)], outputs))
            if data.draw(st.booleans()):  # and within the block
                made = txs[-1]
                txs.append(spend([(made.outpoint(0), made.outputs[0])], [TxOut(1, ANYONE), TxOut(2, ANYONE)]))
        return txs

    @precondition(lambda self: self.chain.height > 3)  # the genesis block cannot be
    @rule(back=st.integers(0, 3))
    def invalidate(self, back: int) -> None:
        block_hash = self.chain.tip.ancestor(self.chain.height - back).hash
        self.chain.state.invalidate(block_hash)
        self.invalidated.append(block_hash)

    @precondition(lambda self: self.invalidated)
    @rule()
    def reconsider(self) -> None:
        self.chain.state.reconsider(self.invalidated.pop())

    @rule(data=st.data())
    def precious(self, data: st.DataObject) -> None:
        tips = [tip.entry for tip in self.chain.state.chain_tips() if not tip.entry.is_failed]
        self.chain.state.precious(data.draw(st.sampled_from(tips)).hash)

    @rule()
    def flush(self) -> None:
        self.chain.state.flush()

    @rule()
    def restart(self) -> None:
        tip = self.chain.state.tip
        self.chain.close()
        self._reopen()
        assert self.chain.state.tip == tip

    @rule()
    def crash(self) -> None:
        """The process ends without a flush; what was committed is on disk."""
        tip = self.chain.state.tip
        state = self.chain.state
        state._coins.close()
        state._index.close()
        state._store.close()
        self._reopen()
        assert self.chain.state.tip == tip

    def _reopen(self, options: ChainOptions = _OPTIONS) -> None:
        made = self.chain._made
        self.chain = RegtestChain(data_dir=self.folder, options=options)
        self.chain._made = made

    @rule()
    def follow(self) -> None:
        cursor = self.followed[-1]
        for step in self.chain.state.steps_after(cursor, 1_000):
            if isinstance(step, BlockDisconnected):
                assert step.hash == cursor.hash
                cursor = Cursor(step.prev_hash, step.height - 1)
            else:
                assert step.block.header.prev_hash == cursor.hash
                cursor = Cursor(step.hash, step.height)
        assert cursor.hash == self.chain.state.tip.hash
        self.followed.append(cursor)

    @invariant()
    def coins_are_those_of_the_model(self) -> None:
        tip = self.chain.state.tip
        expected = self.model.coins[tip.hash]
        found = self.chain.state.coin_stats(HashKind.NONE)
        assert (found.txouts, found.total_amount) == (
            len(expected),
            sum(coin.amount for coin in expected.values()),
        )

    def teardown(self) -> None:
        expected = MuHash3072()
        for prevout, coin in self.model.coins[self.chain.state.tip.hash].items():
            expected.insert(coin_hash_bytes(prevout, coin))
        stats = self.chain.state.coin_stats(HashKind.MUHASH)
        assert stats.hash == expected.digest()
        assert self.chain.state.verify(4, 12)
        serialized = self.chain.state.coin_stats(HashKind.HASH_SERIALIZED_3).hash
        tip = self.chain.state.tip
        self.chain.close()
        self._reopen(ChainOptions(reindex_chainstate=True))
        assert self.chain.state.tip == tip
        assert self.chain.state.coin_stats(HashKind.HASH_SERIALIZED_3).hash == serialized
        self.chain.close()
        shutil.rmtree(self.folder.parent)


TestChainAgainstModel: Any = ChainAgainstModel.TestCase
TestChainAgainstModel.settings = settings(
    max_examples=campaign(6, 400),
    stateful_step_count=campaign(20, 60),
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=not is_long(),
    phases=[Phase.generate, Phase.shrink] if is_long() else [Phase.generate],
)


def test_coins_and_hashes_do_not_depend_on_the_route() -> None:
    """Straight, through a reorganisation, and back and forth: one tip, one hash."""
    source = RegtestChain()
    warm = source.mine(_START)
    fork = source.tip
    coin = (warm[0].txs[0].outpoint(0), warm[0].txs[0].outputs[0])
    losing = source.mine(2, [spend([coin], [TxOut(7, ANYONE)])])
    winning = source.mine(3, [spend([coin], [TxOut(8, ANYONE)])], prev=fork)
    hashes = set()
    for route in (
        [*warm, *winning],
        [*warm, *losing, *winning],
        [*warm, *winning, *losing],
        [*warm, winning[0], *losing, *winning[1:]],
    ):
        chain = RegtestChain()
        for block in route:
            chain.accept(block)
        chain.state.invalidate(winning[1].hash)
        chain.state.reconsider(winning[1].hash)
        assert chain.state.tip.hash == winning[-1].hash
        hashes.add(chain.state.coin_stats(HashKind.HASH_SERIALIZED_3).hash)
        hashes.add(chain.state.coin_stats(HashKind.MUHASH).hash)
    assert len(hashes) == 2
