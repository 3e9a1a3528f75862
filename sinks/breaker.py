"""The circuit breaker of one destination: a few requests at a time, none while it is open, then one probe.

When half open, breakers in libraries let every waiting call through at once, which floods a recovering
receiver; this breaker lets exactly one request through first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

CONCURRENCY = 8
THRESHOLD = 5
OPEN_MS = 30_000


class CircuitOpenError(Exception):
    """The breaker was still open at the caller's `give_up_at`."""


class CircuitBreaker:
    """Opens for 30 s after 5 failed deliveries in a row; then one probe closes it or opens it again.

    `clock` gives milliseconds, `sleep` takes seconds. All calls must come from one event loop.
    """

    def __init__(self, clock: Callable[[], int], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._failures = 0
        self._open_until = 0
        self._held_until = 0
        self._probe: asyncio.Event | None = None

    @property
    def closed(self) -> bool:
        """Whether requests go through freely."""
        return self._failures < THRESHOLD

    @asynccontextmanager
    async def request(self, give_up_at: int) -> AsyncIterator[None]:
        """Wait until one request may be sent, and keep its slot. Raises CircuitOpenError after `give_up_at` (ms)."""
        while True:
            async with self._slots:
                if self._shut_for() == 0 and self._probe is None:
                    if not self.closed:
                        self._probe = asyncio.Event()
                    probe = self._probe
                    try:
                        yield
                    finally:
                        if probe is not None:
                            self._probe = None
                            probe.set()
                    return
            await self._wait(give_up_at)

    def succeeded(self) -> None:
        """Close the breaker: the destination answered."""
        self._failures = 0

    def attempt_failed(self) -> None:
        """Note that one request failed: if it was the probe, the breaker opens again."""
        if not self.closed:
            self._open_until = self._clock() + OPEN_MS

    def delivery_failed(self) -> None:
        """Note that a delivery failed after its last attempt."""
        self._failures += 1
        self.attempt_failed()

    def hold(self, seconds: float) -> None:
        """Send nothing to the destination for so many seconds: it asked for a pause (Retry-After)."""
        self._held_until = max(self._held_until, self._clock() + round(seconds * 1000))

    def _shut_for(self) -> int:
        until = self._held_until if self.closed else max(self._held_until, self._open_until)
        return max(0, until - self._clock())

    async def _wait(self, give_up_at: int) -> None:
        if self._probe is not None:
            await self._probe.wait()
            return
        left = give_up_at - self._clock()
        if left <= 0:
            raise CircuitOpenError
        await self._sleep(min(self._shut_for(), left) / 1000)
