"""A process that makes no progress ends itself, so that its supervisor starts a new one."""

import logging
import os
import threading
from collections.abc import Callable
from time import monotonic

log = logging.getLogger(__name__)

LIMIT_S = 60.0
#: EX_SOFTWARE of sysexits.h.
EXIT_STATUS = 70


def end_process() -> None:
    """End at once: the cause of the hang would also block an orderly shutdown."""
    os._exit(EXIT_STATUS)


class Watchdog(threading.Thread):
    """Ends the process when `pending_since` (monotonic seconds, or None) lies more than `limit` back.

    A thread, because the watchdog must also notice a blocked event loop.
    """

    def __init__(
        self,
        pending_since: Callable[[], float | None],
        limit: float = LIMIT_S,
        end: Callable[[], None] = end_process,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._pending_since = pending_since
        self._limit = limit
        self._end = end
        self._stopped = threading.Event()

    def run(self) -> None:
        """Check several times per limit until stopped."""
        while not self._stopped.wait(min(1.0, self._limit / 4)):
            since = self._pending_since()
            if since is not None and monotonic() - since > self._limit:
                log.critical("no progress for %.0f s, ending the process", self._limit)
                self._end()
                return

    def stop(self) -> None:
        """Stop checking."""
        self._stopped.set()
