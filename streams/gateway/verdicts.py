"""A request may wait until the stream says whether its alerts are duplicates (schemas.wire.verdict), and a command for
its answer.

Each gateway reads one partition of `replies`, without a consumer group and from its end: answers that are older than
the gateway belong to none of its requests. No request depends on a verdict: with a late verdict or none, the request is
accepted all the same.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from os import urandom

import structlog
from aiokafka import TopicPartition
from prometheus_client import Counter

from schemas.fingerprint import partition_for
from schemas.topics import REPLIES
from schemas.wire.codec import decode_verdict, encode
from schemas.wire.verdict import REPLY, ReplyTo, Verdict
from streams.gateway.lanes import NO_HEADERS, Headers
from streams.process.kafka import Kafka
from streams.process.topics import check_topics

log = structlog.get_logger(__name__)

#: Seconds that a request waits where waiting is the default, and the longest wait that a request may ask for.
BUDGET_S = 2
MAX_WAIT_S = 10
#: Requests that wait at the same time; further requests are answered without a verdict. Far below the number of
#: requests that may be open (server.CONCURRENCY), so that waiting requests do not keep others out while no worker runs.
MAX_WAITING = 256
_CONNECT_TIMEOUT_S = 10.0
_RETRY_S = 5.0
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:[;,]|$)', re.IGNORECASE | re.ASCII)

_VERDICTS = Counter("stormweir_verdicts_total", "Requests that wanted a verdict, by what they got", ["verdict"])


def preference(prefer: str | None) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240, section 4.3), at most 10; None if the header asks for no wait.

    >>> preference("respond-async, wait=5"), preference("wait=3600"), preference("wait=soon")
    (5, 10, None)
    """
    found = _WAIT.search(prefer) if prefer else None
    return None if found is None else min(int(found[1]), MAX_WAIT_S)


class _Question:
    """A request that waits, and the alerts of it that are known to be duplicates."""

    __slots__ = ("answer", "duplicates")

    def __init__(self) -> None:
        self.answer: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()
        self.duplicates: set[int] = set()


class Verdicts:
    """Asks for verdicts and follows the answers. Used on one event loop."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._address = b""
        self._waiting: dict[bytes, _Question] = {}
        self._tried = asyncio.Event()
        self._released = False
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once answers are followed or the first attempt failed; until they are followed, no request waits."""
        self._follower = asyncio.create_task(self._run(), name="verdicts")
        await self._tried.wait()

    async def of(self, request: bytes, seconds: float, put: Callable[[Headers], Awaitable[None]]) -> Verdict | None:
        """Have `put` store the request with the headers that ask for a verdict, and wait up to `seconds` in all.

        None if no verdict comes in time. A request of several alerts is a duplicate if each of them is one. Raises what
        `put` raises.
        """
        asked = self._listens
        verdict = await self.answer(request, seconds, put)
        unheard = "late" if asked else "not_asked"
        _VERDICTS.labels(unheard if verdict is None else "duplicate" if verdict.deduplicated else "new").inc()
        return verdict

    async def answer(self, request: bytes, seconds: float, put: Callable[[Headers], Awaitable[None]]) -> Verdict | None:
        """As `of`, without counting it among the requests that want a verdict on alerts."""
        if not self._listens:
            await put(NO_HEADERS)
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        question = self._waiting[request] = _Question()
        try:
            await put([(REPLY, encode(ReplyTo(self._address, request)))])
            await asyncio.wait({question.answer}, timeout=deadline - loop.time())
        finally:
            del self._waiting[request]
        return question.answer.result() if question.answer.done() else None

    @property
    def _listens(self) -> bool:
        """Whether one more may wait."""
        return bool(self._address) and not self._released and len(self._waiting) < MAX_WAITING

    def release(self) -> None:
        """Let no request wait any longer."""
        self._released = True
        for question in self._waiting.values():
            if not question.answer.done():
                question.answer.set_result(None)

    async def stop(self) -> None:
        """Release all requests, and stop following."""
        self.release()
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception as error:
                log.warning("verdicts cannot be read, requests do not wait", error=type(error).__name__)
            self._tried.set()
            await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        address = urandom(8)
        partitions = (await check_topics(self._kafka, [REPLIES]))[REPLIES.name]
        partition = TopicPartition(self._kafka.name(REPLIES.name), partition_for(address, partitions))
        consumer = self._kafka.consumer(enable_auto_commit=False, auto_offset_reset="latest")
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await consumer.start()
                consumer.assign([partition])
                await consumer.seek_to_end(partition)
                await consumer.position(partition)
            self._address = address
            self._tried.set()
            while True:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        self._take(decode_verdict(record.value or b""))
        finally:
            self._address = b""
            await consumer.stop()

    def _take(self, verdict: Verdict) -> None:
        reply_to = verdict.reply_to
        question = self._waiting.get(reply_to.request)
        if question is None or question.answer.done():
            return
        if verdict.deduplicated:
            question.duplicates.add(reply_to.index)
        if not verdict.deduplicated or len(question.duplicates) == reply_to.alerts:
            question.answer.set_result(verdict)
