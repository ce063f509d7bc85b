"""Token buckets per caller, bounded in memory."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from gldnode.clock import Clock

__all__ = ["Rate", "RateLimiter"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests in `seconds`, with `burst` of them at once."""

    count: int
    seconds: int
    burst: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """A text such as "100/900"; "100" alone is per minute. Raises ValueError."""
        count, _, seconds = text.partition("/")
        seconds = seconds or "60"
        if not count.isdecimal() or not seconds.isdecimal() or not int(count) or not int(seconds):
            raise ValueError(f"not a rate limit such as 100/900: {text!r}")
        return cls(int(count), int(seconds), int(count))


class RateLimiter:
    """One bucket per key; the keys not seen for longest are forgotten first."""

    def __init__(self, rate: Rate, clock: Clock, max_keys: int = 20_000) -> None:
        self._burst = float(rate.burst)
        self._per_second = rate.count / rate.seconds
        self._clock = clock
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, *keys: Hashable) -> int:
        """Count a request of each of `keys`: 0 where it may pass, else the seconds to wait."""
        now = self._clock.monotonic()
        buckets, burst, per_second, longest = self._buckets, self._burst, self._per_second, 0
        for key in keys:
            bucket = buckets.get(key)
            if bucket is None:
                tokens = burst
                if len(buckets) >= self._max_keys:
                    buckets.popitem(last=False)
            else:
                tokens = bucket[0] + (now - bucket[1]) * per_second
                if tokens > burst:
                    tokens = burst
            if tokens >= 1.0:
                buckets[key] = (tokens - 1.0, now)
            else:
                buckets[key] = (tokens, now)
                longest = max(longest, 1, int((1.0 - tokens) / per_second) + 1)
            buckets.move_to_end(key)
        return longest
