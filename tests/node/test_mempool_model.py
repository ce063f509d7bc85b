"""Random histories of offers, replacements, blocks and reorganisations: what must hold after each step."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gldnode.consensus.locks import is_final
from gldnode.errors import Reject
from gldnode.events import MempoolTxAdded, MempoolTxRemoved
from gldnode.mempool.options import MempoolOptions
from gldnode.mining.template import build_template
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import OutPoint, Tx
from tests.support.campaign import campaign, campaign_seed
from tests.support.pool import ANYONE, PoolLab


class History:
    """One node, and the moves that can be made with it. Every choice comes from `pick`."""

    def __init__(self, options: MempoolOptions, blocks: int = 125) -> None:
        self.lab = PoolLab(options, blocks=blocks)
        self.known: list[Tx] = []

    def _spendable(self, seed: int) -> OutPoint:
        """An output of something known, spent or not, or a fresh coinbase."""
        rng = random.Random(seed)
        if self.known and rng.random() < 0.8:
            tx = rng.choice(self.known[-20:])
            return tx.outpoint(rng.randrange(len(tx.outputs)))
        while not self.lab.has_funds:
            self.lab.mine(8)
        return self.lab.fund()

    def offer(self, seed: int, fee: int, inputs: int, outputs: int, lock: int) -> None:
        prevouts = list(dict.fromkeys(self._spendable(seed + number) for number in range(inputs)))
        if any(self.lab.pool.coin(one) is None for one in prevouts):
            return
        if sum(self.lab.coin(one).amount for one in prevouts) <= fee + outputs * 1_000:
            return
        sequence = (0xFFFFFFFD, 0xFFFFFFFF, 0, 1)[lock]
        tx = self.lab.tx(*prevouts, fee=fee, outputs=outputs, sequence=sequence)
        if not self.lab.reason(tx):
            self.known.append(tx)

    def offer_again(self, seed: int) -> None:
        """Something from before: evicted, replaced, confirmed or here."""
        if self.known:
            self.lab.reason(random.Random(seed).choice(self.known))

    def offer_package(self, parent_fee: int, child_fee: int) -> None:
        prevout = self._spendable(parent_fee + child_fee)
        coin = self.lab.pool.coin(prevout)
        if coin is None or coin.amount < 50_000:
            return
        parent = self.lab.tx(prevout, fee=parent_fee, version=3)
        child = self.lab.tx(parent.outpoint(0), fee=child_fee, known=[parent], version=3)
        self.lab.pool.submit_package([parent, child])
        self.known += [parent, child]

    def mine(self) -> None:
        self.lab.mine()

    def mine_conflict(self, seed: int) -> None:
        """A block with a double spend of something in the pool, and nothing else."""
        self.lab.pool.finish_reorg()
        roots = [entry.tx for entry in self.lab.pool.entries() if not entry.ancestors]
        if roots:
            victim = random.Random(seed).choice(roots)
            tx = self.lab.tx(victim.inputs[0].prevout, fee=11, outputs=2)
            try:
                self.lab.mine_exactly(tx)
            except Reject:
                return
            self.known.append(tx)

    def leave(self, depth: int) -> None:
        entry = self.lab.chain.entry_at(self.lab.chain.tip.height - depth + 1)
        assert entry is not None
        if entry.height > 115:
            self.lab.chain.invalidate(entry.hash)

    def wait(self, seconds: int) -> None:
        self.lab.clock.set_mock_time(self.lab.clock.now() + seconds)

    def prioritise(self, seed: int, delta: int) -> None:
        if self.known:
            self.lab.pool.prioritise(random.Random(seed).choice(self.known).txid, delta)

    def check(self) -> None:
        """Sums and relations, every transaction valid in the next block, limits kept, followers in step."""
        pool, chain = self.lab.pool, self.lab.chain
        pool.finish_reorg()
        pool.check()
        seen: set[Txid] = set()
        for event in self.lab.events:
            if isinstance(event, MempoolTxAdded):
                assert event.tx.txid not in seen
                seen.add(event.tx.txid)
            elif isinstance(event, MempoolTxRemoved):
                seen.remove(event.tx.txid)
        assert seen == set(pool.txids())
        options = pool.options
        assert pool.info().usage <= options.max_mempool_bytes
        for entry in pool.entries():
            assert is_final(entry.tx, chain.tip.height + 1, chain.tip.median_time)
            assert entry.ancestor_count <= options.ancestor_count
            assert entry.ancestor_size <= options.ancestor_size_vb
        # The chain itself says whether all of it fits together.
        template = build_template(chain, pool, ANYONE, now=self.lab.clock.now(), min_feerate=-(10**9))
        assert len(template.txs) == len(pool)


@settings(
    max_examples=campaign(25, 500),
    stateful_step_count=campaign(25, 60),
    suppress_health_check=list(HealthCheck),
)
class MempoolMachine(RuleBasedStateMachine):
    @initialize(small=st.booleans())
    def start(self, small: bool) -> None:
        options = MempoolOptions(ancestor_count=6, descendant_count=6, expiry_s=4_000, check_ratio=1)
        self.history = History(replace(options, max_mempool_bytes=60_000) if small else options)

    @rule(
        seed=st.integers(0, 1 << 30),
        fee=st.sampled_from([0, 50, 1_000, 5_000, 30_000]),
        inputs=st.integers(1, 3),
        outputs=st.integers(1, 4),
        lock=st.integers(0, 3),
    )
    def offer(self, seed: int, fee: int, inputs: int, outputs: int, lock: int) -> None:
        self.history.offer(seed, fee, inputs, outputs, lock)

    @rule(seed=st.integers(0, 1 << 30))
    def offer_again(self, seed: int) -> None:
        self.history.offer_again(seed)

    @rule(parent_fee=st.sampled_from([0, 5, 1_000]), child_fee=st.sampled_from([500, 20_000]))
    def offer_package(self, parent_fee: int, child_fee: int) -> None:
        self.history.offer_package(parent_fee, child_fee)

    @rule()
    def mine(self) -> None:
        self.history.mine()

    @rule(seed=st.integers(0, 1 << 30))
    def mine_conflict(self, seed: int) -> None:
        self.history.mine_conflict(seed)

    @rule(depth=st.integers(1, 4))
    def leave(self, depth: int) -> None:
        self.history.leave(depth)

    @rule(seconds=st.sampled_from([1, 600, 3_000]))
    def wait(self, seconds: int) -> None:
        self.history.wait(seconds)

    @rule(seed=st.integers(0, 1 << 30), delta=st.integers(-5_000, 5_000))
    def prioritise(self, seed: int, delta: int) -> None:
        self.history.prioritise(seed, delta)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "history"):
            self.history.check()


test_random_histories = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")(
    MempoolMachine.TestCase
)


def test_long_random_history() -> None:
    rng = random.Random(campaign_seed("mempool history"))
    options = MempoolOptions(ancestor_count=8, descendant_count=8, max_mempool_bytes=150_000)
    history = History(options, blocks=350)
    for step in range(campaign(600, 50_000)):
        kind = rng.random()
        if kind < 0.7:
            fee = rng.choice([10, 100, 1_000, 10_000, 50_000])
            history.offer(rng.getrandbits(30), fee, rng.randint(1, 3), rng.randint(1, 4), rng.randrange(4))
        elif kind < 0.76:
            history.offer_package(rng.choice([0, 5, 500]), rng.choice([500, 9_000]))
        elif kind < 0.82:
            history.offer_again(rng.getrandbits(30))
        elif kind < 0.84:
            history.mine()
        elif kind < 0.86:
            history.mine_conflict(rng.getrandbits(30))
        elif kind < 0.88:
            history.leave(rng.randint(1, 6))
        elif kind < 0.92:
            history.wait(rng.randint(1, 900))
        else:
            history.prioritise(rng.getrandbits(30), rng.randint(-3_000, 3_000))
        if step % 10 == 0:
            history.check()
    history.check()
