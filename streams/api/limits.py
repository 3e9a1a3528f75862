"""How often somebody may do something: token buckets in the memory of one process."""

import math
from collections import OrderedDict

#: Callers that a limit remembers; the one that was longest quiet is forgotten first, as its bucket is full again.
_REMEMBERED = 100_000


class Limit:
    """`burst` at once, and `rate` a second in the long run, for each name."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> int:
        """Take one; the result is 0, or the seconds (rounded up) after which there is one again. `now` in seconds."""
        left, at = self._buckets.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._rate)
        wait = 0 if left >= 1 else math.ceil((1 - left) / self._rate)
        self._buckets[name] = (left if wait else left - 1, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait

    def give_back(self, name: str) -> None:
        """Forget that one was taken."""
        if name in self._buckets:
            left, at = self._buckets[name]
            self._buckets[name] = (min(float(self._burst), left + 1), at)
