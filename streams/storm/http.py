"""A load client for HTTP/1.1 with keep-alive, on bare asyncio protocols: it shares the machine with its target.

Requests are complete byte strings, and only the status and the end of an answer are read, so one core sends more than
30,000 requests a second. Each connection has one request in progress at a time.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple, cast

from streams.storm.bodies import Request
from streams.storm.counts import Counts
from streams.storm.pace import Pace

#: Seconds without an answer after which a connection is dropped, and without any connection after which the load ends.
PATIENCE_S = 30.0
#: The longest `Retry-After` that is honoured, in seconds.
RETRY_AFTER_CAP_S = 30
_RECONNECT_S = 0.1
_RETRY = frozenset((429, 503))
_FIELD = re.compile(
    rb"\r\n(?:content-length: *(\d+)|transfer-encoding: *(chunked)|connection: *(close)|retry-after: *(\d+))",
    re.IGNORECASE,
)


class HttpLoad:
    """Sends `requests` to `host:port` over `connections` connections and keeps `counts` up to date.

    `rate` is in alerts a second, 0 for no limit. With `retry`, a request that got 429 or 503 is sent again after its
    Retry-After (the whole load waits for it), and a request whose connection broke is sent again at once; without
    `retry`, they count as refused and unknown. Latency is from writing a request to its answer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        requests: Iterable[Request],
        counts: Counts,
        *,
        connections: int,
        rate: float = 0.0,
        retry: bool = False,
    ) -> None:
        self._address = (host, port)
        self._source = iter(requests)
        self._counts = counts
        self._size = connections
        self._pace = Pace(rate, perf_counter())
        self._retry = retry
        self._again: deque[Request] = deque()
        self._next: Request | None = None
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()
        self._resume_at = 0.0
        self._seen_at = 0.0
        self._waking = False

    async def run(self) -> None:
        """Send everything. Raises OSError when the first connection fails.

        Later failures reconnect; PATIENCE_S without a connection ends the load, with the reason in
        `counts.stopped`.
        """
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._seen_at = perf_counter()
        probe, _ = await self._loop.create_connection(asyncio.Protocol, *self._address)
        probe.close()
        tasks = [asyncio.create_task(self._keep_connected()) for _ in range(self._size)]
        try:
            while not self._done.done():
                await asyncio.wait((self._done,), timeout=1.0)
                self._drop_stuck()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_connected(self) -> None:
        while not self._done.done():
            try:
                transport, connection = await self._loop.create_connection(lambda: _Connection(self), *self._address)
            except OSError as error:
                if perf_counter() - self._seen_at > PATIENCE_S and not self._done.done():
                    self._counts.stopped = f"no connection for {PATIENCE_S:.0f} s: {error}"
                    self._done.set_result(None)
                await asyncio.sleep(_RECONNECT_S)
                continue
            try:
                await connection.closed
            finally:
                transport.abort()

    def free(self, connection: "_Connection") -> None:
        """Note that the connection can take a request."""
        self._seen_at = perf_counter()
        self._idle.append(connection)
        self._pump()

    def answered(self, connection: "_Connection", request: Request, status: int, retry_after: int) -> None:
        """Note an answer to the request; the caller reports the connection free, or lost, afterwards."""
        now = perf_counter()
        counts = self._counts
        self._busy.discard(connection)
        counts.statuses[status] += 1
        counts.latency.add(now - connection.sent_at)
        if 200 <= status < 300:
            counts.accepted += request.alerts
            counts.requests += 1
        elif self._retry and status in _RETRY:
            counts.sent -= request.alerts
            counts.retried += request.alerts
            self._again.append(request)
            self._resume_at = max(self._resume_at, now + min(retry_after, RETRY_AFTER_CAP_S))
        else:
            counts.refused += request.alerts

    def lost(self, connection: "_Connection", request: Request | None) -> None:
        """Note that the connection is gone; a request in progress on it may or may not have arrived."""
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if request is not None:
            self._counts.unknown += request.alerts
            if self._retry:
                self._counts.retried += request.alerts
                self._again.append(request)
        self._pump()

    def _pump(self) -> None:
        while (request := self._peek()) is not None:
            if not self._idle:
                return
            now = perf_counter()
            wait = self._resume_at - now
            if wait <= 0:
                wait = self._pace.take(request.alerts, now)
            if wait > 0:
                self._wake_in(wait)
                return
            self._next = None
            connection = self._idle.popleft()
            self._busy.add(connection)
            self._counts.sent += request.alerts
            connection.send(request, now)
        if not self._busy and not self._done.done():
            self._done.set_result(None)

    def _peek(self) -> Request | None:
        if self._next is None:
            self._next = self._again.popleft() if self._again else next(self._source, None)
        return self._next

    def _wake_in(self, seconds: float) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_later(max(seconds, 0.001), self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._pump()

    def _drop_stuck(self) -> None:
        oldest = perf_counter() - PATIENCE_S
        for connection in [each for each in self._busy if each.sent_at < oldest]:
            connection.abort()


class _Connection(asyncio.Protocol):
    """One keep-alive connection: writes a request and finds the end of its answer."""

    def __init__(self, load: HttpLoad) -> None:
        self._load = load
        self._request: Request | None = None
        self._received = b""
        self.sent_at = 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport, so nothing can be asserted here.
        self._transport = cast(asyncio.Transport, transport)
        self._load.free(self)

    def send(self, request: Request, now: float) -> None:
        self._request = request
        self.sent_at = now
        self._transport.write(request.wire)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._received = data
            return
        head = _head(data[:end])
        if len(data) < end + head.length or (head.chunked and not data.endswith(b"0\r\n\r\n")):
            self._received = data
            return
        if self._request is None or not head.status:
            self._transport.abort()
            return
        self._received = b""
        request, self._request = self._request, None
        self._load.answered(self, request, head.status, head.retry_after)
        if head.close:
            self._transport.close()
        else:
            self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        request, self._request = self._request, None
        self._load.lost(self, request)
        if not self.closed.done():
            self.closed.set_result(None)


class _Head(NamedTuple):
    status: int
    length: int
    chunked: bool
    close: bool
    retry_after: int


@lru_cache(maxsize=64)  # answers of the same second have equal heads
def _head(head: bytes) -> _Head:
    status = int(head[9:12]) if head.startswith(b"HTTP/1.") and head[9:12].isdigit() else 0
    length, chunked, close, retry_after = 0, False, False, 1
    for match in _FIELD.finditer(head):
        if match[1]:
            length = int(match[1])
        elif match[2]:
            chunked = True
        elif match[3]:
            close = True
        else:
            retry_after = int(match[4])
    return _Head(status, length, chunked, close, retry_after)
