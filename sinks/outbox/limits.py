"""Vendors' rate limits, and the circuit breaker of one destination. Clocks are passed in, in milliseconds."""

from collections.abc import Sequence

from sinks.contract import Rate


class TokenBucket:
    """Refills `per_second` up to `burst`; `pause` empties it until a time."""

    def __init__(self, rate: Rate, now: int) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at = now

    def wait(self, now: int) -> int:
        """Milliseconds until a token is there, 0 for now."""
        if now < self._at:
            return self._at - now
        tokens = self._filled(now)
        return 0 if tokens >= 1 else max(1, round((1 - tokens) / self._rate.per_second * 1000))

    def take(self, now: int) -> None:
        """Take a token; `wait` was 0."""
        self._tokens = self._filled(now) - 1
        self._at = max(now, self._at)

    def pause(self, until: int) -> None:
        """No token before `until`, and one then."""
        if until > self._at:
            self._at, self._tokens = until, 1.0

    def _filled(self, now: int) -> float:
        return min(self._rate.burst, self._tokens + max(0, now - self._at) / 1000 * self._rate.per_second)


class Limits:
    """All buckets of a process, by scope. Destinations whose requests name the same scope share its bucket."""

    #: Above this many buckets those that nobody waits for are forgotten.
    most = 10_000

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def wait(self, rates: Sequence[Rate], now: int) -> int:
        """Milliseconds until all these buckets have a token."""
        return max((self._bucket(rate, now).wait(now) for rate in rates), default=0)

    def take(self, rates: Sequence[Rate], now: int) -> None:
        """Take a token of each."""
        for rate in rates:
            self._bucket(rate, now).take(now)

    def pause(self, rates: Sequence[Rate], until: int) -> None:
        """The vendor asked for a pause of these scopes."""
        for rate in rates:
            self._bucket(rate, until).pause(until)

    def _bucket(self, rate: Rate, now: int) -> TokenBucket:
        bucket = self._buckets.get(rate.scope)
        if bucket is None:
            if len(self._buckets) >= self.most:
                self._buckets = {scope: found for scope, found in self._buckets.items() if found.wait(now)}
            bucket = self._buckets[rate.scope] = TokenBucket(rate, now)
        return bucket


class Breaker:
    """Opens after THRESHOLD failed attempts in a row; then one probe at a time closes it or keeps it open.

    When half open, breakers in libraries let every waiting call through at once, which floods a receiver that
    recovers. `broke` opens it at once, for a destination that nobody can reach before its settings change.
    """

    THRESHOLD = 5
    OPEN_MS = 30_000
    BROKEN_MS = 300_000

    def __init__(self) -> None:
        self._failures = 0
        self._shut_until = 0
        self._probing = False
        self.broken = False

    @property
    def closed(self) -> bool:
        """Whether requests go through freely."""
        return self._failures < self.THRESHOLD and not self.broken

    def wait(self, now: int) -> int | None:
        """Milliseconds until a request may go; None while a probe is under way, whose end decides."""
        if self.closed:
            return 0
        return None if self._probing else max(0, self._shut_until - now)

    def begin(self) -> None:
        """A request goes; it is the probe, if the breaker is not closed."""
        self._probing = not self.closed

    def answered(self) -> None:
        """The destination works: all may go."""
        self.reset()

    def failed(self, now: int) -> None:
        """An attempt failed."""
        self._probing = False
        self._failures += 1
        if not self.closed:
            self._shut_until = now + (self.BROKEN_MS if self.broken else self.OPEN_MS)

    def broke(self, now: int) -> None:
        """The destination can take nothing until somebody changes something."""
        self._probing, self.broken = False, True
        self._shut_until = now + self.BROKEN_MS

    def reset(self) -> None:
        """Forget all failures."""
        self._failures, self._shut_until, self._probing, self.broken = 0, 0, False, False
