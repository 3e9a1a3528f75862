"""Log lines while a store accepts no writes: at once, then less and less often, and once more at the end."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between the first two log lines; each further distance is twice the one before, up to MAX_DISTANCE.
FIRST_DISTANCE = 10.0
MAX_DISTANCE = 600.0


class Outage:
    """One lane's failed writes in a row. `place` names the lane in the log; `clock` gives monotonic seconds."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        #: Why the last write failed, "" if it succeeded.
        self.reason = ""
        self._place = place
        self._clock = clock
        self._since = 0.0
        self._next_line = 0.0
        self._distance = FIRST_DISTANCE

    @property
    def seconds(self) -> float:
        """How long no write has succeeded, from the first failure on; 0 if the last write succeeded."""
        return self._clock() - self._since if self.reason else 0.0

    def failed(self, reason: str) -> None:
        """Note a failed write. `reason` goes into the log: a short text without rows and secrets."""
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
        """Note a successful write."""
        if self.reason:
            log.warning("%s is written again after %.0f s", self._place, self.seconds)
            self.reason = ""
