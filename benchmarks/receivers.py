"""Receivers of notifications for benchmarks.delivery: healthy ones, and ones that are ill in several ways."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

HEALTHY, SLOW, LIMITED, DEAD = "healthy", "slow", "limited", "dead"
#: How long a slow receiver takes for an answer, and how many requests a second a limited one takes, each.
SLOW_S = 30.0
LIMIT = 10


class Receivers:
    """Serves every kind at `/<kind>/<number>`. `arrivals` has the first time at which a healthy one got each id.

    `busy` are the requests that healthy receivers have and have not answered; `repeats` counts further arrivals of ids
    by healthy receiver.
    """

    def __init__(self) -> None:
        self.arrivals: dict[str, float] = {}
        self.repeats: Counter[str] = Counter()
        self.busy = 0
        self._taken: Counter[tuple[str, int]] = Counter()

    async def take(self, request: web.BaseRequest) -> web.Response:
        """Answer as this kind does."""
        now = time.time()
        kind, number = request.path.strip("/").split("/")
        await request.read()
        if kind == SLOW:
            await asyncio.sleep(SLOW_S)
            return web.Response()
        if kind == LIMITED:
            second = (number, int(now))
            self._taken[second] += 1
            if self._taken[second] > LIMIT:
                return web.Response(status=429, headers={"Retry-After": "1"})
            return web.Response()
        self.busy += 1
        try:
            message_id = request.headers["webhook-id"]
            if message_id in self.arrivals:
                self.repeats[number] += 1
            self.arrivals.setdefault(message_id, now)
            await asyncio.sleep(0.002)
        finally:
            self.busy -= 1
        return web.Response()


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[Receivers]:
    """Receivers on a port of loopback; the port above it is closed, for dead ones."""
    receivers = Receivers()
    runner = web.ServerRunner(web.Server(receivers.take, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receivers
    finally:
        await runner.cleanup()
