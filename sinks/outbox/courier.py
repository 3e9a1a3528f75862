"""The courier of one destination: lines up what waits for it, sends it, and reports how each message ended.

A slot is free again once the result is durable, so a kill repeats at most `concurrency` messages. Nothing here is kept
but order and counts: what waits is in the table, and a courier that starts again lines it up again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from schemas.control import Destination
from schemas.records import State
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import DestinationStatus
from sinks.channels import CHANNELS
from sinks.contract import Channel, Digest, End, Mail, Request, Retry, Verdict
from sinks.outbox import metrics
from sinks.outbox.attempt import Ended, Sending, digest_of, message_of, unrendered
from sinks.outbox.health import Health
from sinks.outbox.limits import Limits
from sinks.outbox.line import Line
from sinks.outbox.retry import next_at
from sinks.outbox.settle import (
    Attempt,
    Sent,
    Work,
    delivered,
    given_up,
    reaching,
    retried,
    skipped,
    summarised,
    summary_id,
)
from sinks.outbox.table import Front, Place, Table

#: Messages of one transaction that ends many, and of one summary.
AT_ONCE = 200
MAX_SUMMARY = 2_000
#: How often a courier looks whether its destination is enabled again, or its settings have changed, milliseconds.
POLL_MS = 1_000

Transact = Callable[[Work], Awaitable[None]]


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


def _call_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


class Services(NamedTuple):
    """What all couriers of a process share. `clock` gives milliseconds since 1970 UTC and never goes back."""

    destinations: Callable[[str, str], Destination | None]
    sending: Sending
    limits: Limits
    base_url: str
    clock: Callable[[], int]
    later: Callable[[float, Callable[[], None]], Timer] = _call_later


class Courier:
    """Delivers to one destination: `name` is its tenant and id, `key` stands for it in the table.

    `failing` gets what no courier can mend. All calls come from one event loop.
    """

    def __init__(
        self,
        services: Services,
        key: bytes,
        name: tuple[str, str],
        state: State,
        transact: Transact,
        failing: Callable[[BaseException], None],
    ) -> None:
        self._services = services
        self._key = key
        self.name = name
        self._failing = failing
        self._table = Table(state)
        self._transact = transact
        self._line = Line()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._closed = False
        self._ending_many = False
        self._health = Health(services.limits, self._table.status(key))

    def status(self) -> DestinationStatus:
        """How the destination does."""
        return self._health.status(len(self._line), self._line.oldest)

    def line_up(self, incident: bytes, at: Front) -> None:
        """Something waits for the destination, or what waits has changed."""
        self._line.put(incident, at, self._services.clock())

    def drop(self, incident: bytes) -> None:
        """Nothing waits there any more."""
        self._line.drop(incident)

    def pump(self) -> None:
        """Start what may start now, and come back when more may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        wait: int | None = 0
        while wait == 0:
            wait = self._step(self._services.clock())
        metrics.waiting(self.name, len(self._line), self._line.oldest)
        if wait is not None:
            self._timer = self._services.later(wait / 1000, self.pump)

    async def close(self, patience: float) -> None:
        """Start nothing more; what is under way may end within `patience` seconds."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for task in list(self._tasks):
            task.cancel()
        metrics.forget(self.name)

    # -- what is next

    def _step(self, now: int) -> int | None:
        """Start one thing: 0 if that was possible, else milliseconds to wait, None for until something ends."""
        queue = self._line.queue(now)
        if queue is None:
            return self._line.until_next(now)
        if self._ending_many:
            return None
        destination = self._services.destinations(*self.name)
        if destination is None:
            return self._end_many(self._taken(queue), lambda sents: skipped(sents, "", "unknown_destination", now))
        channel = CHANNELS[destination.type]
        self._health.follow(destination, now)
        if not destination.enabled:
            return POLL_MS
        if len(self._line.under_way) >= channel.concurrency:
            return None
        wait = self._health.wait(now)
        if wait is None:
            return None
        if wait > 0:
            return 0 if self._expire(queue, channel, destination, now) else min(wait, POLL_MS)
        if channel.digest is not None and self._behind(destination) and (many := self._for_summary()):
            return self._summarise(many, channel.digest, channel, destination, now)
        return self._start(queue, channel, destination, now)

    def _start(self, queue: deque[bytes], channel: Channel[Any], destination: Destination, now: int) -> int:
        """Send the first message of the queue, or end it if there is nothing to send. As `_step`."""
        place = Place(self._key, queue[0])
        waiting, heard = self._table.waiting(place), self._table.heard(place)
        assert waiting is not None
        sent = Sent(place, waiting)
        handle = heard.handle if heard is not None else ""
        newest = waiting.newest
        resolved = newest.incident.status == Status.RESOLVED and not (newest.related or newest.more)
        if resolved and heard is None and destination.unseen_resolved == "skip":
            self._line.take(queue)
            self._spawn(self._settle([sent], skipped([sent], channel.slug, "resolved_before_sent", now)))
            return 0
        try:
            requests = channel.render(message_of(waiting, self._services.base_url, now), destination, handle)
        except Exception as error:
            reason = unrendered(channel.slug, error)
            ended = Ended(Verdict(End.REFUSED, reason), Attempt(channel.slug, 0, now, 0, reason))
            self._health.ended(ended)
            self._line.take(queue)
            self._spawn(self._settle([sent], given_up([sent], ended.attempt, destination.fallback)))
            return 0
        wait = self._health.tokens(requests, now)
        if wait > 0:
            return 0 if self._expire(queue, channel, destination, now) else wait
        self._line.take(queue)
        self._health.begin()
        self._spawn(self._deliver(sent, channel, destination, requests, handle))
        return 0

    async def _deliver(
        self,
        sent: Sent,
        channel: Channel[Any],
        destination: Destination,
        requests: Sequence[Request | Mail],
        handle: str,
    ) -> None:
        ended = await self._services.sending.send(channel, requests, handle)
        sent = reaching(sent, ended.verdict.reached)
        self._health.ended(ended, requests, reached=bool(sent.waiting.reached))
        attempt = ended.attempt
        match ended.verdict.end:
            case End.DONE:
                work = delivered(sent, attempt, ended.handle)
            case End.RETRY:
                newest, attempts = sent.waiting.newest, sent.waiting.attempts + 1
                policy = _policy(channel, urgent=newest.incident.urgency == "high")
                deadline = self._deadline(sent.waiting.since, policy)
                wait_s = ended.verdict.retry_after_s
                at = next_at(policy, newest.notification_id, attempts, attempt.finished_at, wait_s, deadline)
                work = retried(sent, attempt, at) if at is not None else given_up([sent], attempt, destination.fallback)
            case End.REFUSED:
                work = given_up([sent], attempt, destination.fallback)
        await self._settle([sent], work)

    # -- many messages

    def _behind(self, destination: Destination) -> bool:
        """Whether more waits than the vendor's rate carries in the time that the destination allows."""
        return 0 < self._health.pace * destination.digest_after < len(self._line)

    def _for_summary(self) -> list[Sent]:
        """What one summary may replace: everything but the first messages of critical incidents."""
        many: list[Sent] = []
        for incident in islice(self._line.ahead(), MAX_SUMMARY):
            place = Place(self._key, incident)
            waiting = self._table.waiting(place)
            assert waiting is not None
            critical = waiting.newest.incident.severity == Severity.CRITICAL
            if not critical or self._table.heard(place) is not None:
                many.append(Sent(place, waiting))
        return many if len(many) > 1 else []

    def _summarise(
        self,
        many: list[Sent],
        digest: Callable[[Digest, Any], Sequence[Request | Mail]],
        channel: Channel[Any],
        destination: Destination,
        now: int,
    ) -> int:
        """Send one summary of many messages. As `_step`."""
        requests = digest(digest_of(many, self._services.base_url, now), destination)
        wait = self._health.tokens(requests, now)
        if wait > 0:
            return wait
        self._line.under_way.update(sent.place.incident for sent in many)
        self._health.begin()
        self._spawn(self._deliver_summary(many, channel, requests))
        return 0

    async def _deliver_summary(
        self, many: list[Sent], channel: Channel[Any], requests: Sequence[Request | Mail]
    ) -> None:
        ended = await self._services.sending.send(channel, requests, "")
        self._health.ended(ended, requests)
        if ended.verdict.end is not End.DONE:
            if ended.verdict.end is End.REFUSED and not ended.verdict.broken:
                # The summary itself is at fault: each message goes alone until the pace is known again.
                self._health.pace = 0.0
            self._free(many)
            return
        for start in range(0, len(many), AT_ONCE):
            part = many[start : start + AT_ONCE]
            await self._settle(part, summarised(part, summary_id(many) if start == 0 else None, ended.attempt))

    def _taken(self, queue: deque[bytes], until: Callable[[bytes], bool] = lambda incident: True) -> list[Sent]:
        """The first messages of the queue, at most AT_ONCE, as long as `until` holds for them."""
        many: list[Sent] = []
        while queue and len(many) < AT_ONCE:
            if not self._line.waits(queue[0]):
                queue.popleft()
                continue
            if not until(queue[0]):
                break
            place = Place(self._key, self._line.take(queue))
            waiting = self._table.waiting(place)
            assert waiting is not None
            many.append(Sent(place, waiting))
        return many

    def _expire(self, queue: deque[bytes], channel: Channel[Any], destination: Destination, now: int) -> bool:
        """Give up what has waited past its deadline; whether there was any."""

        def over(incident: bytes) -> bool:
            since, urgent = self._line.since(incident)
            return self._deadline(since, _policy(channel, urgent=urgent)) < now

        many = self._taken(queue, over)
        if not many:
            return False
        attempt = Attempt(channel.slug, 0, now, 0, self._health.trouble or "rate_limited")
        self._end_many(many, lambda sents: given_up(sents, attempt, destination.fallback))
        return True

    def _end_many(self, many: list[Sent], work: Callable[[list[Sent]], Work]) -> int:
        """End these in one transaction; nothing else is started meanwhile. As `_step`."""
        self._ending_many = True
        self._spawn(self._settle(many, work(many)))
        return 0

    # -- results

    def _deadline(self, since: int, policy: Retry) -> int:
        return max(since, self._health.enabled_at) + policy.deadline_s * 1000

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"courier {self.name[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failing(error)
        self.pump()

    async def _settle(self, sents: Sequence[Sent], work: Work) -> None:
        """Make the results durable, then let what joined meanwhile have its turn."""
        await self._transact(work)
        self._ending_many = False
        self._free(sents)

    def _free(self, sents: Sequence[Sent]) -> None:
        now = self._services.clock()
        for sent in sents:
            self._line.free(sent.place.incident, self._table.front(sent.place), now)


def _policy(channel: Channel[Any], *, urgent: bool) -> Retry:
    return channel.retry[0 if urgent else 1]
