"""One memory of the fee estimator: decaying counts of how soon each feerate bucket confirmed.

The counters are statistics, not money, and are floats. A count made now is stored *divided* by the decay so far:
then a new block ages everything by multiplying one number instead of every counter.
"""

from dataclasses import dataclass, field
from typing import Final

__all__ = ["BUCKETS", "FeerateRange", "Horizon", "Look"]

MIN_BUCKET_FEERATE: Final = 100.0
MAX_BUCKET_FEERATE: Final = 1e7
FEE_SPACING: Final = 1.05
INF_FEERATE: Final = 1e99
_RESCALE_BELOW: Final = 1e-60


def _make_buckets() -> tuple[float, ...]:
    bounds = []
    bound = MIN_BUCKET_FEERATE
    while bound <= MAX_BUCKET_FEERATE:
        bounds.append(bound)
        bound *= FEE_SPACING
    return (*bounds, INF_FEERATE)


BUCKETS: Final = _make_buckets()
"""Upper bounds of the feerate buckets, grains per 1,000 virtual bytes."""


@dataclass(frozen=True, slots=True)
class FeerateRange:
    """Neighbouring buckets that were looked at together, and how their transactions fared (EstimatorBucket)."""

    start: float
    """Grains per 1,000 virtual bytes, like `end`."""
    end: float
    within_target: float
    confirmed: float
    """At any time."""
    waiting: float
    """Still unconfirmed after the target."""
    left: float
    """Gone unconfirmed after the target."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one memory says to one question (EstimationResult)."""

    feerate: float | None
    passed: FeerateRange | None = None
    """The cheapest range that confirmed often enough."""
    failed: FeerateRange | None = None
    """The dearest range below that did not; None where all did."""


@dataclass(slots=True)
class Horizon:
    """One memory: decaying counts of confirmations, failures and feerates for each bucket."""

    decay: float
    scale: int
    """Blocks of one period: targets are rounded up to whole periods."""
    periods: int
    weight: float = 1.0
    """What a stored count has to be multiplied with to give today's."""
    tx_count: list[float] = field(default_factory=lambda: [0.0] * len(BUCKETS))
    fee_sum: list[float] = field(default_factory=lambda: [0.0] * len(BUCKETS))
    confirmed: list[list[float]] = field(default_factory=list)
    """[period][bucket]: confirmed within that many periods."""
    failed: list[list[float]] = field(default_factory=list)
    """[period][bucket]: left unconfirmed after at least that many periods."""
    waiting: list[dict[int, int]] = field(default_factory=list)
    """Ring by entry height: unconfirmed of each bucket."""
    waiting_long: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))

    def __post_init__(self) -> None:
        if not self.confirmed:
            self.confirmed = [[0.0] * len(BUCKETS) for _ in range(self.periods)]
            self.failed = [[0.0] * len(BUCKETS) for _ in range(self.periods)]
        self.waiting = [{} for _ in range(self.max_confirms)]

    @property
    def max_confirms(self) -> int:
        """The farthest target that it answers, blocks."""
        return self.scale * self.periods

    def block_began(self, height: int) -> None:
        """Everything is one block older; what has waited longest leaves the ring."""
        self.weight *= self.decay
        if self.weight < _RESCALE_BELOW:
            self._rescale()
        slot = self.waiting[height % len(self.waiting)]
        if slot:
            for bucket, count in slot.items():
                self.waiting_long[bucket] += count
            slot.clear()

    def _rescale(self) -> None:
        for row in (self.tx_count, self.fee_sum, *self.confirmed, *self.failed):
            row[:] = [value * self.weight for value in row]
        self.weight = 1.0

    def added(self, height: int, bucket: int) -> None:
        slot = self.waiting[height % len(self.waiting)]
        slot[bucket] = slot.get(bucket, 0) + 1

    def left(self, entry_height: int, best_height: int, bucket: int, *, in_block: bool) -> None:
        """A transaction is not waiting any more; unless it confirmed, that is a failure."""
        blocks_ago = best_height - entry_height
        if best_height == 0 or blocks_ago < 0:
            blocks_ago = 0
        if blocks_ago >= len(self.waiting):
            if self.waiting_long[bucket] > 0:
                self.waiting_long[bucket] -= 1
        else:
            slot = self.waiting[entry_height % len(self.waiting)]
            count = slot.get(bucket, 0)
            if count > 0:
                slot[bucket] = count - 1
        if not in_block and blocks_ago >= self.scale:
            unit = 1.0 / self.weight
            for period in range(min(blocks_ago // self.scale, self.periods)):
                self.failed[period][bucket] += unit

    def record(self, blocks_to_confirm: int, feerate: float, bucket: int) -> None:
        """One more confirmation."""
        if blocks_to_confirm < 1:
            return
        unit = 1.0 / self.weight
        for period in range((blocks_to_confirm + self.scale - 1) // self.scale - 1, self.periods):
            self.confirmed[period][bucket] += unit
        self.tx_count[bucket] += unit
        self.fee_sum[bucket] += feerate * unit

    def median_feerate(self, target: int, sufficient: float, success: float, best_height: int) -> float | None:
        """The median feerate of the cheapest range of buckets that confirms within `target` often enough."""
        return self.look(target, sufficient, success, best_height).feerate

    def look(self, target: int, sufficient: float, success: float, best_height: int) -> Look:
        """`median_feerate` with its reasons.

        From the dearest bucket downwards, buckets are gathered until they hold `sufficient` transactions a block;
        a range that fails is gathered on with what follows (EstimateMedianVal).
        """
        period = (target + self.scale - 1) // self.scale - 1
        needed = sufficient / (1 - self.decay) / self.weight
        unit = self.weight
        waiting_at = self._waiting_since(target, best_height)
        confirmed = total = partial = waiting = failed = 0.0
        near = best_near = best_far = len(BUCKETS) - 1
        passing: FeerateRange | None = None
        failing: FeerateRange | None = None

        def gathered(low: int, high: int) -> FeerateRange:
            start = BUCKETS[low - 1] if low else 0.0
            return FeerateRange(
                start, BUCKETS[high], confirmed * unit, total * unit, waiting * unit, failed * unit
            )

        for bucket in range(len(BUCKETS) - 1, -1, -1):
            confirmed += self.confirmed[period][bucket]
            total += self.tx_count[bucket]
            partial += self.tx_count[bucket]
            failed += self.failed[period][bucket]
            waiting += waiting_at[bucket] / unit
            if partial < needed:
                continue
            partial = 0.0
            if confirmed / (total + failed + waiting) < success:
                failing = failing or gathered(bucket, near)
                continue
            failing = None
            passing = gathered(bucket, near)
            best_near, best_far = near, bucket
            confirmed = total = waiting = failed = 0.0
            near = bucket - 1
        if failing is None and near >= 0:
            failing = gathered(0, near)  # too few to tell
        if passing is None:
            return Look(None, failed=failing)
        return Look(self._median_of(best_far, best_near), passing, failing)

    def _waiting_since(self, target: int, best_height: int) -> list[int]:
        """How many of each bucket are unconfirmed for at least `target` blocks."""
        counts = list(self.waiting_long)
        size = len(self.waiting)
        for age in range(target, size):
            slot = self.waiting[(best_height - age) % size]
            if slot:
                for bucket, count in list(slot.items()):  # a copy in one step: another thread may write
                    counts[bucket] += count
        return counts

    def _median_of(self, low: int, high: int) -> float | None:
        total = sum(self.tx_count[low : high + 1])
        if total <= 0:
            return None
        half = total / 2
        for bucket in range(low, high + 1):
            if self.tx_count[bucket] < half:
                half -= self.tx_count[bucket]
            else:
                return self.fee_sum[bucket] / self.tx_count[bucket]
        return None
