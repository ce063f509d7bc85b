"""The rolling minimum fee: after evictions, what a newcomer must pay rises and then decays (Core: GetMinFee)."""

from collections.abc import Callable
from typing import Final

from gldnode.clock import Clock
from gldnode.mempool.options import MempoolOptions

__all__ = ["RollingFloor"]

HALF_LIFE_S: Final = 12 * 3600
UPDATE_INTERVAL_S: Final = 10


class RollingFloor:
    """Grains per 1,000 virtual bytes. Written in the validation thread; reading computes and stores nothing."""

    def __init__(self, options: MempoolOptions, clock: Clock, usage: Callable[[], int]) -> None:
        self._options = options
        self._clock = clock
        self._usage = usage
        self._state: tuple[float, int, bool] = (0.0, clock.now(), False)
        """The rate, when it was that, and whether a block came since the last eviction. Replaced whole."""

    def min_feerate(self) -> int:
        """What a transaction must pay now; 0 while there is room. It only decays once a block has come."""
        rate, since, block_came = self._state
        if not block_came or rate == 0.0:
            return round(rate)
        now = self._clock.now()
        if now > since + UPDATE_INTERVAL_S:
            rate = self._decayed(rate, now - since)
        incremental = self._options.incremental_relay_feerate
        if rate < incremental / 2:
            return 0
        return max(round(rate), incremental)

    def _decayed(self, rate: float, elapsed_s: int) -> float:
        half_life = float(HALF_LIFE_S)
        usage, limit = self._usage(), self._options.max_mempool_bytes
        if usage < limit / 4:
            half_life /= 4
        elif usage < limit / 2:
            half_life /= 2
        return float(rate * 0.5 ** (elapsed_s / half_life))

    def evicted(self, feerate: float) -> None:
        """Something that paid `feerate` (its incremental step included) was thrown out."""
        rate, since, block_came = self._state
        if feerate > rate:
            self._state = (feerate, self._clock.now(), False)
        else:
            self._state = (rate, since, block_came)

    def block_connected(self) -> None:
        """From now on the rate may decay; what has decayed so far is settled."""
        rate, since, block_came = self._state
        now = self._clock.now()
        if rate == 0.0:
            self._state = (0.0, now, True)
            return
        if block_came and now > since + UPDATE_INTERVAL_S:
            rate = self._decayed(rate, now - since)
            since = now
            if rate < self._options.incremental_relay_feerate / 2:
                rate = 0.0
        self._state = (rate, since if block_came else now, True)
