"""What one destination is known to take: its breaker, the pause that it asked for, its pace, and its last trouble."""

from collections.abc import Sequence

from schemas.control import Destination
from schemas.wire.notification import DestinationStatus
from sinks.contract import End, Mail, Request
from sinks.outbox.attempt import Ended
from sinks.outbox.limits import Breaker, Limits
from sinks.outbox.retry import MAX_RETRY_AFTER_S


class Health:
    """One destination's state in the memory of its courier; `known` is its last status. Times are milliseconds."""

    def __init__(self, limits: Limits, known: DestinationStatus | None = None) -> None:
        self._limits = limits
        self._breaker = Breaker()
        self._destination: Destination | None = None
        self._held_until = 0
        self._last_used = known.last_used if known is not None else 0
        #: Deadlines count from here if the destination was disabled until then.
        self.enabled_at = 0
        #: Requests a second that the vendor takes, 0 if that is not known.
        self.pace = 0.0
        self.trouble = known.reason if known is not None else ""

    def status(self, waiting: int, oldest: int) -> DestinationStatus:
        """How the destination does, with how many incidents wait since when."""
        disabled = self._destination is not None and not self._destination.enabled
        return DestinationStatus(
            waiting=waiting,
            oldest=oldest,
            state="inactive" if disabled else "error" if self.trouble else "active",
            reason=self.trouble,
            last_used=self._last_used,
        )

    def follow(self, destination: Destination, now: int) -> None:
        """Notice changed settings: what failed before may work now."""
        former, self._destination = self._destination, destination
        if former is not None and former != destination:
            if not former.enabled:
                self.enabled_at = now
            self._breaker.reset()
            self._held_until, self.trouble = 0, ""

    def wait(self, now: int) -> int | None:
        """Milliseconds until a request may go; None while one is under way whose end decides."""
        shut = self._breaker.wait(now)
        return None if shut is None else max(shut, self._held_until - now, 0)

    def tokens(self, requests: Sequence[Request | Mail], now: int) -> int:
        """Take the tokens of the first request; 0, or milliseconds until they are there."""
        rates = requests[0].rates
        if rates:
            self.pace = min(rate.per_second for rate in rates)
        wait = self._limits.wait(rates, now)
        if wait == 0:
            self._limits.take(rates, now)
        return wait

    def begin(self) -> None:
        """A request goes."""
        self._breaker.begin()

    def ended(self, ended: Ended, requests: Sequence[Request | Mail] = (), *, reached: bool = False) -> None:
        """Note how an attempt ended, or that nothing could be sent.

        A destination works all the same if the message `reached` some of its recipients.
        """
        verdict, now = ended.verdict, ended.attempt.finished_at
        self.trouble = verdict.reason
        if verdict.broken and not reached:
            # Asked again now and then, and when its settings change.
            self._breaker.broke(now)
        elif verdict.end is End.DONE:
            self._breaker.answered()
            self._last_used = now
        elif verdict.end is End.RETRY and verdict.reason != "rate_limited" and not reached:
            self._breaker.failed(now)
        elif ended.attempt.sent_at:
            # A rejection is an answer too.
            self._breaker.answered()
        if verdict.retry_after_s is not None and verdict.end is not End.DONE:
            until = now + round(1000 * min(max(verdict.retry_after_s, 0.0), MAX_RETRY_AFTER_S))
            self._held_until = max(self._held_until, until)
            for request in requests:
                self._limits.pause(request.rates, until)
