"""What is told while a store takes nothing: at once, then less and less often, and once more when it is over."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between the first two lines of the log; each further distance is twice the one before, up to MAX_DISTANCE.
FIRST_DISTANCE = 10.0
MAX_DISTANCE = 600.0


class Outage:
    """One lane's failures in a row. `place` names the lane in the log; `clock` is monotonic seconds."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        #: Why nothing is written now, "" while the last write went well.
        self.reason = ""
        self._place = place
        self._clock = clock
        self._since = 0.0
        self._next_line = 0.0
        self._distance = FIRST_DISTANCE

    @property
    def seconds(self) -> float:
        """How long nothing was written, 0 while the last write went well."""
        return self._clock() - self._since if self.reason else 0.0

    def failed(self, reason: str) -> None:
        """A write came to nothing. `reason` goes into the log: a short text without rows and secrets."""
        now = self._clock()
        if not self.reason:
            self._since = self._next_line = now
            self._distance = FIRST_DISTANCE
        self.reason = reason
        if now >= self._next_line:
            log.error("%s cannot be written for %.0f s: %s; it is tried again", self._place, self.seconds, reason)
            self._next_line = now + self._distance
            self._distance = min(self._distance * 2, MAX_DISTANCE)

    def over(self) -> None:
        """A write went well."""
        if self.reason:
            log.warning("%s is written again after %.0f s", self._place, self.seconds)
            self.reason = ""
