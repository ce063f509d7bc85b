"""Fee estimation: learns from confirmations, answers within bounds, survives a restart."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.mempool.fees import FeeEstimate, FeeEstimator
from gldnode.mempool.horizon import BUCKETS, Horizon
from gldnode.primitives.hashes import Txid
from tests.support.pool import PoolLab


def txid(number: int) -> Txid:
    return Txid(number.to_bytes(32, "little"))


class Market:
    """Blocks in which a transaction waits the longer the less it pays: target t needs 10,000 / t."""

    def __init__(self) -> None:
        self.estimator = FeeEstimator()
        self.height = 1
        self.estimator.block_connected(1, [])
        self._waiting: dict[Txid, tuple[int, int]] = {}
        self._count = 0

    def block(self, waits: tuple[int, ...] = (1, 2, 3, 4, 5, 8, 12, 20)) -> None:
        for wait in waits:
            for _ in range(4):
                self._count += 1
                self.estimator.tx_added(txid(self._count), 10_000 // wait, 1_000, self.height)
                self._waiting[txid(self._count)] = (self.height, self.height + wait)
        self.height += 1
        done = {one: entry for one, (entry, due) in self._waiting.items() if due <= self.height}
        for one in done:
            del self._waiting[one]
        self.estimator.block_connected(self.height, list(done.items()))


@pytest.fixture(scope="module")
def market() -> Market:
    one = Market()
    for _ in range(300):
        one.block()
    return one


def test_nothing_is_known_at_first_and_that_is_no_error() -> None:
    estimator = FeeEstimator()
    assert estimator.smart_fee(6) == FeeEstimate(None, 0)
    assert estimator.smart_fee(0).feerate_per_kvb is None
    assert estimator.smart_fee(2_000).feerate_per_kvb is None


def test_the_feerate_falls_with_patience(market: Market) -> None:
    rates = [market.estimator.smart_fee(target).feerate_per_kvb for target in (2, 4, 8, 16)]
    known = [rate for rate in rates if rate is not None]
    assert len(known) == 4
    assert known == sorted(known, reverse=True)
    assert 5_000 <= known[0] <= 10_500
    assert 600 <= known[3] <= 2_000


def test_the_next_block_is_answered_as_the_second(market: Market) -> None:
    one, two = market.estimator.smart_fee(1), market.estimator.smart_fee(2)
    assert one == two
    assert one.blocks == 2


def test_targets_beyond_the_history_are_shortened(market: Market) -> None:
    estimate = market.estimator.smart_fee(1_008)
    assert estimate.blocks == market.estimator.max_usable_target()
    assert estimate.blocks < 1_008
    assert estimate.feerate_per_kvb is not None


def test_the_conservative_answer_is_never_lower(market: Market) -> None:
    for target in range(1, 40):
        economical = market.estimator.smart_fee(target).feerate_per_kvb
        conservative = market.estimator.smart_fee(target, conservative=True).feerate_per_kvb
        assert economical is not None
        assert conservative is not None
        assert conservative >= economical


def test_what_is_never_mined_raises_the_answer() -> None:
    market = Market()
    for number in range(100):
        market.block(waits=(1, 2, 4))
        for extra in range(12):
            market.estimator.tx_added(txid(1 << 40 | number << 8 | extra), 4_900, 1_000, market.height)
    stuck = market.estimator.smart_fee(3).feerate_per_kvb
    assert stuck is not None
    assert stuck > 5_100


def test_what_leaves_without_a_block_counts_as_a_failure() -> None:
    horizon = Horizon(0.9, 1, 6)
    horizon.block_began(1)
    horizon.added(1, 5)
    horizon.left(1, 4, 5, in_block=False)
    assert [row[5] * horizon.weight for row in horizon.failed] == pytest.approx([1, 1, 1, 0, 0, 0])
    assert all(not slot.get(5) for slot in horizon.waiting)


def test_old_blocks_count_less() -> None:
    horizon = Horizon(0.5, 1, 4)
    horizon.record(1, 1_000.0, 7)
    for height in range(1, 400):  # far enough to need new units on the way
        horizon.block_began(height)
        horizon.record(2, 1_000.0, 7)
    assert horizon.tx_count[7] * horizon.weight == pytest.approx(2.0)
    assert horizon.confirmed[0][7] * horizon.weight == pytest.approx(0.0, abs=1e-9)
    assert horizon.confirmed[1][7] * horizon.weight == pytest.approx(2.0)


def test_a_reorganisation_is_not_counted_twice() -> None:
    market = Market()
    for _ in range(30):
        market.block()
    before = market.estimator.encode()
    market.estimator.block_connected(market.height - 2, [(txid(999_999), 3)])
    assert market.estimator.encode() == before


def test_statistics_survive_a_restart(market: Market) -> None:
    again = FeeEstimator.decode(market.estimator.encode())
    again.start_at(market.height)
    for target in (2, 4, 8, 16):
        one, other = again.smart_fee(target).feerate_per_kvb, market.estimator.smart_fee(target).feerate_per_kvb
        assert one is not None
        assert other is not None
        assert abs(one - other) <= other // 4  # those that still wait are not stored


def test_statistics_of_a_longer_chain_are_not_believed(market: Market) -> None:
    again = FeeEstimator.decode(market.estimator.encode())
    again.start_at(3)
    assert again.smart_fee(6).feerate_per_kvb is None


@given(st.binary(max_size=100), st.integers(0, 400))
@settings(max_examples=100)
def test_damaged_statistics_are_refused(noise: bytes, cut: int) -> None:
    data = FeeEstimator().encode()
    for damaged in (noise, data[:cut], data[:cut] + noise):
        with pytest.raises(DecodeError):
            FeeEstimator.decode(damaged)


def test_buckets_reach_from_the_relay_fee_to_a_tenth_of_a_coin() -> None:
    assert BUCKETS[0] == 100
    assert BUCKETS[-2] <= 1e7 < BUCKETS[-1]
    assert list(BUCKETS) == sorted(BUCKETS)


def test_the_mempool_teaches_its_estimator_and_keeps_the_file(tmp_path: Path) -> None:
    lab = PoolLab(blocks=200)
    assert lab.pool.estimate_feerate_per_kvb(6) is None
    for _ in range(40):
        for _ in range(2):
            lab.add(fee=2_000)
        lab.mine()
    rate = lab.pool.estimate_feerate_per_kvb(6)
    assert rate is not None
    assert abs(rate - 2_000 * 1_000 / 96) < 500
    path = tmp_path / "fee_estimates.dat"
    lab.pool.dump_fees(path)
    fresh = type(lab.pool)(lab.chain, lab.pool.options, lab.clock)
    assert not fresh.load_fees(tmp_path / "none")
    assert fresh.load_fees(path)
    assert fresh.estimate_feerate_per_kvb(6) == rate


def test_estimates_do_not_fall_below_what_the_pool_asks_for() -> None:
    lab = PoolLab(blocks=200)
    for _ in range(40):
        for _ in range(2):
            lab.add(fee=20)
        lab.mine()
    assert lab.pool.estimate_feerate_per_kvb(6) == round(20 * 1_000 / 96)
    assert lab.pool.smart_fee(99_999).blocks <= 1_008
    assert lab.pool.smart_fee(-5).blocks == 2


def test_each_memory_tells_which_feerates_confirmed_in_time_and_which_did_not(market: Market) -> None:
    looks = market.estimator.raw_looks(4, 0.85)
    assert list(looks) == ["short", "medium", "long"]
    assert list(market.estimator.raw_looks(13, 0.85)) == ["medium", "long"]
    _, look = looks["short"]
    assert look.passed is not None
    assert look.failed is not None
    assert look.feerate is not None
    assert look.passed.start <= look.feerate <= look.passed.end
    assert look.passed.within_target / look.passed.confirmed >= 0.85
    assert look.failed.end <= look.passed.start
    failed = look.failed.confirmed + look.failed.waiting + look.failed.left
    assert look.failed.within_target / failed < 0.85


def test_without_history_every_memory_fails_as_a_whole() -> None:
    for _, look in FeeEstimator().raw_looks(2, 0.95).values():
        assert (look.feerate, look.passed) == (None, None)
        assert look.failed is not None
        assert (look.failed.start, look.failed.end, look.failed.confirmed) == (0, BUCKETS[-1], 0)
