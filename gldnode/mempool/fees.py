"""Fee estimation from the node's own confirmation history (Core: CBlockPolicyEstimator).

Transactions are counted by feerate bucket: how many of them confirmed within so many blocks. Old blocks count less
and less; three memories of different length answer for near and far targets.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gldnode.errors import DecodeError
from gldnode.mempool.horizon import BUCKETS, Horizon, Look
from gldnode.primitives.hashes import Txid

__all__ = ["FeeEstimate", "FeeEstimator", "Horizon"]


HALF_SUCCESS: Final = 0.6
SUCCESS: Final = 0.85
DOUBLE_SUCCESS: Final = 0.95
SUFFICIENT_TXS: Final = 0.1
SUFFICIENT_TXS_SHORT: Final = 0.5
OLDEST_ESTIMATE_HISTORY: Final = 6 * 1008
_FILE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """An answer of `estimatesmartfee`."""

    feerate_per_kvb: int | None
    """None: not enough history."""
    blocks: int
    """The target that the answer is for; it can differ from the one asked for."""


class _Tracked(msgspec.Struct, frozen=True, gc=False):
    height: int
    bucket: int
    feerate: float


class _Stored(msgspec.Struct):
    version: int
    best_height: int
    first_height: int
    historical_first: int
    historical_best: int
    buckets: list[float]
    horizons: list[tuple[float, int, int, list[float], list[float], list[list[float]], list[list[float]]]]


class FeeEstimator:
    """Learns from the mempool and from blocks; asked from any thread."""

    def __init__(self) -> None:
        self.short = Horizon(0.962, 1, 12)
        self.medium = Horizon(0.9952, 2, 24)
        self.long = Horizon(0.99931, 24, 42)
        self._best_height = 0
        self._first_height = 0
        self._historical_first = 0
        self._historical_best = 0
        self._tracked: dict[Txid, _Tracked] = {}

    @property
    def _horizons(self) -> tuple[Horizon, Horizon, Horizon]:
        return self.short, self.medium, self.long

    # --- learning (validation thread)

    def start_at(self, height: int) -> None:
        """The tip when the node starts: stored statistics may be of another height."""
        self._best_height = height
        if self._historical_best > height:
            self._historical_first = self._historical_best = 0

    def tx_added(self, txid: Txid, fee: int, vsize: int, height: int) -> None:
        """A transaction without unconfirmed parents came in while the tip was at `height`."""
        if txid in self._tracked or height != self._best_height:
            return  # from a side chain or a block not seen yet: its waiting time would be wrong
        feerate = fee * 1000 / vsize
        bucket = bisect_left(BUCKETS, feerate)
        self._tracked[txid] = _Tracked(height, bucket, feerate)
        self.short.added(height, bucket)
        self.medium.added(height, bucket)
        self.long.added(height, bucket)

    def tx_removed(self, txid: Txid, *, in_block: bool = False) -> None:
        """It left the mempool, not necessarily into a block."""
        tracked = self._tracked.pop(txid, None)
        if tracked is not None:
            for horizon in self._horizons:
                horizon.left(tracked.height, self._best_height, tracked.bucket, in_block=in_block)

    def block_connected(self, height: int, confirmed: Iterable[tuple[Txid, int]]) -> None:
        """A block came at `height` and confirmed these mempool transactions."""
        if height <= self._best_height:
            # A reorganisation: what is learned from it would be counted twice.
            for txid, _ in confirmed:
                self.tx_removed(txid, in_block=True)
            return
        self._best_height = height
        for horizon in self._horizons:
            horizon.block_began(height)
        learned = False
        for txid, _ in confirmed:
            tracked = self._tracked.get(txid)
            if tracked is None:
                continue
            self.tx_removed(txid, in_block=True)
            learned = True
            for horizon in self._horizons:
                horizon.record(height - tracked.height, tracked.feerate, tracked.bucket)
        if learned and self._first_height == 0:
            self._first_height = height

    # --- answering (any thread)

    def _block_span(self) -> int:
        return self._best_height - self._first_height if self._first_height else 0

    def _historical_span(self) -> int:
        if not self._historical_first:
            return 0
        if self._best_height - self._historical_best > OLDEST_ESTIMATE_HISTORY:
            return 0
        return self._historical_best - self._historical_first

    def max_usable_target(self) -> int:
        """The farthest target that the history can answer."""
        return min(self.long.max_confirms, max(self._block_span(), self._historical_span()) // 2)

    def highest_target(self) -> int:
        """The farthest target that may be asked for (1,008 blocks)."""
        return self.long.max_confirms

    def smart_fee(self, target: int, *, conservative: bool = False) -> FeeEstimate:
        """The feerate that confirms within `target` blocks (estimateSmartFee).

        The largest of three looks: half the target at 60 %, the target at 85 %, twice the target at 95 %;
        conservative also asks longer memories.
        """
        if target <= 0 or target > self.highest_target():
            return FeeEstimate(None, target)
        target = max(target, 2)  # nothing is known about the very next block
        usable = self.max_usable_target()
        target = min(target, usable)
        if target <= 1:
            return FeeEstimate(None, max(target, 0))
        half = self._combined(target // 2, HALF_SUCCESS, check_shorter=True)
        actual = self._combined(target, SUCCESS, check_shorter=True)
        double = self._combined(2 * target, DOUBLE_SUCCESS, check_shorter=not conservative)
        best = max(half or 0.0, actual or 0.0, double or 0.0)
        if conservative or best <= 0:
            best = max(best, self._conservative(2 * target) or 0.0)
        return FeeEstimate(round(best) if best > 0 else None, target)

    def raw_looks(self, target: int, threshold: float) -> dict[str, tuple[Horizon, Look]]:
        """What each memory that reaches so far says at a threshold of one's own (`estimaterawfee`)."""
        named = {"short": self.short, "medium": self.medium, "long": self.long}
        return {
            name: (one, one.look(target, self._sufficient(one), threshold, self._best_height))
            for name, one in named.items()
            if target <= one.max_confirms
        }

    def _sufficient(self, horizon: Horizon) -> float:
        return SUFFICIENT_TXS_SHORT if horizon is self.short else SUFFICIENT_TXS

    def _combined(self, target: int, threshold: float, *, check_shorter: bool) -> float | None:
        """The shortest memory that reaches `target`; a shorter one that finds less is believed."""
        if not 1 <= target <= self.long.max_confirms:
            return None
        best_height = self._best_height
        if target <= self.short.max_confirms:
            return self.short.median_feerate(target, SUFFICIENT_TXS_SHORT, threshold, best_height)
        horizon = self.medium if target <= self.medium.max_confirms else self.long
        estimate = horizon.median_feerate(target, SUFFICIENT_TXS, threshold, best_height)
        if not check_shorter:
            return estimate
        shorter = [(self.short, SUFFICIENT_TXS_SHORT)]
        if horizon is self.long:
            shorter.insert(0, (self.medium, SUFFICIENT_TXS))
        for one, sufficient in shorter:
            less = one.median_feerate(one.max_confirms, sufficient, threshold, best_height)
            if less is not None and less > 0 and (estimate is None or less < estimate):
                estimate = less
        return estimate

    def _conservative(self, double_target: int) -> float | None:
        """Twice the target at 95 % in the medium and long memory."""
        best_height = self._best_height
        estimates = []
        if double_target <= self.short.max_confirms:
            estimates.append(
                self.medium.median_feerate(double_target, SUFFICIENT_TXS, DOUBLE_SUCCESS, best_height)
            )
        if double_target <= self.medium.max_confirms:
            estimates.append(self.long.median_feerate(double_target, SUFFICIENT_TXS, DOUBLE_SUCCESS, best_height))
        return max((one for one in estimates if one is not None), default=None)

    # --- persistence

    def encode(self) -> bytes:
        """The statistics as bytes, without the transactions that still wait."""
        first, best = self._historical_first, self._historical_best
        if self._block_span() > self._historical_span() // 2:
            first, best = self._first_height, self._best_height
        stored = _Stored(
            _FILE_VERSION,
            self._best_height,
            self._first_height,
            first,
            best,
            list(BUCKETS),
            [
                (
                    one.decay,
                    one.scale,
                    one.periods,
                    [value * one.weight for value in one.tx_count],
                    [value * one.weight for value in one.fee_sum],
                    [[value * one.weight for value in row] for row in one.confirmed],
                    [[value * one.weight for value in row] for row in one.failed],
                )
                for one in self._horizons
            ],
        )
        return msgspec.msgpack.encode(stored)

    @classmethod
    def decode(cls, data: bytes) -> "FeeEstimator":
        """Statistics that `encode` wrote. Raises DecodeError."""
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"fee estimates: {error}") from None
        estimator = cls()
        if stored.version != _FILE_VERSION or tuple(stored.buckets) != BUCKETS:
            raise DecodeError("fee estimates of another version")
        if len(stored.horizons) != len(estimator._horizons):
            raise DecodeError("fee estimates are incomplete")
        for one, (decay, scale, periods, counts, fees, confirmed, failed) in zip(
            estimator._horizons, stored.horizons, strict=True
        ):
            if (decay, scale, periods) != (one.decay, one.scale, one.periods):
                raise DecodeError("fee estimates with other horizons")
            if len(confirmed) != periods or len(failed) != periods:
                raise DecodeError("fee estimates are incomplete")
            for row in (counts, fees, *confirmed, *failed):
                if len(row) != len(BUCKETS) or not all(0 <= value < 1e18 for value in row):
                    raise DecodeError("fee estimates are damaged")
            one.tx_count, one.fee_sum, one.confirmed, one.failed = counts, fees, confirmed, failed
        heights: Sequence[int] = (stored.historical_first, stored.historical_best, stored.best_height)
        if not 0 <= heights[0] <= heights[1] <= heights[2] < 1 << 31:
            raise DecodeError("fee estimates are damaged")
        estimator._best_height = stored.best_height
        estimator._historical_first = stored.historical_first
        estimator._historical_best = stored.historical_best
        return estimator
