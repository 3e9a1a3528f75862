"""A token bucket: an even rate with a small burst. The clock is passed in."""

#: Seconds of rate that may be saved up while nothing can be sent.
BURST_S = 0.05


class Pace:
    """Lets `rate` units a second through; a rate of 0 lets everything through."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate * BURST_S)
        self._tokens = 0.0
        self._at = now

    def take(self, units: int, now: float) -> float:
        """0 if the units were taken, else the seconds to wait before asking again.

        A request larger than the burst is let through when the bucket is full, and leaves it in debt.
        """
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(units, self._burst) - self._tokens
        if missing > 1e-9:
            return missing / self._rate
        self._tokens -= units
        return 0.0
