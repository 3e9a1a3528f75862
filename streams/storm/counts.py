"""The results of a load. For every finished load `sent = accepted + refused + unknown`, in alerts."""

from collections import Counter
from dataclasses import dataclass, field
from math import exp, log

#: A bucket is 2 % wide.
_BUCKETS_PER_E = 50


class Histogram:
    """Durations in logarithmic buckets of microseconds: quantiles are accurate to about 1 %."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one duration; below 1 microsecond counts as 1."""
        self._buckets[int(log(max(seconds * 1e6, 1.0)) * _BUCKETS_PER_E)] += 1

    def quantile(self, share: float) -> float:
        """Milliseconds that `share` (0 to 1) of the durations do not exceed; 0 when there are none."""
        rank = share * self._buckets.total()
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return exp((bucket + 0.5) / _BUCKETS_PER_E) / 1000
        return 0.0


@dataclass
class Counts:
    """A load in progress or finished.

    `accepted` was acknowledged (2xx, or by the broker), `refused` was answered otherwise, `unknown` had no answer and
    may or may not have arrived. `requests` counts accepted requests or records, `stopped` says why a load ended before
    its last alert.
    """

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    requests: int = 0
    retried: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    stopped: str = ""
