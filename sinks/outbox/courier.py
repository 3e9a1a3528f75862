"""The courier of one destination: lines up what waits for it, sends it, and reports how each message ended.

A slot is free again once the result is durable, so a kill repeats at most `concurrency` messages. Nothing here is kept
but order and counts: what waits is in the table, and a courier that starts again lines it up again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Any, NamedTuple, Protocol

from schemas.control import Destination
from schemas.records import State
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from schemas.wire.notification import DestinationStatus
from sinks.channels import CHANNELS
from sinks.contract import Channel, Digest, End, Request, Retry
from sinks.outbox import metrics
from sinks.outbox.attempt import Ended, Sending, digest_of, message_of, unrendered
from sinks.outbox.limits import Breaker, Limits
from sinks.outbox.retry import MAX_RETRY_AFTER_S, next_at
from sinks.outbox.settle import Attempt, Sent, Work, delivered, given_up, retried, skipped, summarised, summary_id
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
        #: Every waiting incident: when its first message was queued, times 2, plus 1 if it is lined up as urgent.
        self._known: dict[bytes, int] = {}
        self._urgent: deque[bytes] = deque()
        self._normal: deque[bytes] = deque()
        self._later: list[tuple[int, bytes]] = []
        self._under_way: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._closed = False
        self._ending_many = False
        self._destination: Destination | None = None
        self._breaker = Breaker()
        self._held_until = 0
        #: Deadlines count from here if the destination was disabled until then.
        self._enabled_at = 0
        #: Requests a second that the vendor takes, as far as is known.
        self._pace = 0.0
        known = self._table.status(key)
        self._last_used = known.last_used if known is not None else 0
        self._trouble = known.reason if known is not None else ""

    def status(self) -> DestinationStatus:
        """How the destination does."""
        destination = self._destination
        disabled = destination is not None and not destination.enabled
        return DestinationStatus(
            waiting=len(self._known),
            oldest=self._oldest,
            state="inactive" if disabled else "error" if self._trouble else "active",
            reason=self._trouble,
            last_used=self._last_used,
        )

    @property
    def _oldest(self) -> int:
        """When about the first message that waits was queued, milliseconds; 0 if nothing waits."""
        return next(iter(self._known.values())) >> 1 if self._known else 0

    def line_up(self, incident: bytes, at: Front) -> None:
        """Something waits for the destination, or what waits has changed."""
        known = self._known.get(incident)
        if known is not None and (known & 1 or not at.urgent):
            return
        self._known[incident] = at.since << 1 | at.urgent
        if incident not in self._under_way:
            self._queue(incident, at)

    def drop(self, incident: bytes) -> None:
        """Nothing waits there any more."""
        self._known.pop(incident, None)

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
        metrics.waiting(self.name, len(self._known), self._oldest)
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

    def _queue(self, incident: bytes, at: Front) -> None:
        if at.next_at > self._services.clock():
            heappush(self._later, (at.next_at, incident))
        else:
            (self._urgent if at.urgent else self._normal).append(incident)

    def _next_queue(self, now: int) -> deque[bytes] | None:
        """The queue whose first message is next; entries that were settled or moved meanwhile are dropped."""
        while self._later and self._later[0][0] <= now:
            _, incident = heappop(self._later)
            if incident in self._known:
                (self._urgent if self._known[incident] & 1 else self._normal).append(incident)
        for queue in (self._urgent, self._normal):
            while queue:
                if queue[0] in self._known and queue[0] not in self._under_way:
                    return queue
                queue.popleft()
        return None

    def _step(self, now: int) -> int | None:
        """Start one thing: 0 if that was possible, else milliseconds to wait, None for until something ends."""
        queue = self._next_queue(now)
        if queue is None:
            return max(1, self._later[0][0] - now) if self._later else None
        if self._ending_many:
            return None
        destination = self._services.destinations(*self.name)
        if destination is None:
            return self._end_many(self._taken(queue), lambda sents: skipped(sents, "", "unknown_destination", now))
        channel = CHANNELS[destination.type]
        self._follow(destination, now)
        if not destination.enabled:
            return POLL_MS
        if len(self._under_way) >= channel.concurrency:
            return None
        shut = self._breaker.wait(now)
        if shut is None:
            return None
        wait = max(shut, self._held_until - now)
        if wait > 0:
            return 0 if self._expire(queue, channel, now) else min(wait, POLL_MS)
        if channel.digest is not None and self._behind(destination) and (many := self._for_summary()):
            return self._summarise(many, channel.digest, channel, destination, now)
        return self._start(queue, channel, destination, now)

    def _follow(self, destination: Destination, now: int) -> None:
        """Notice changed settings: what failed before may work now."""
        former, self._destination = self._destination, destination
        if former is not None and former != destination:
            if not former.enabled:
                self._enabled_at = now
            self._breaker.reset()
            self._held_until, self._trouble = 0, ""

    def _start(self, queue: deque[bytes], channel: Channel[Any], destination: Destination, now: int) -> int:
        """Send the first message of the queue, or end it if there is nothing to send. As `_step`."""
        place = Place(self._key, queue[0])
        waiting, heard = self._table.waiting(place), self._table.heard(place)
        assert waiting is not None
        sent = Sent(place, waiting)
        handle = heard.handle if heard is not None else ""
        resolved = waiting.newest.incident.status == Status.RESOLVED
        if resolved and heard is None and destination.unseen_resolved == "skip":
            self._take(queue)
            self._spawn(self._settle([sent], skipped([sent], channel.slug, "resolved_before_sent", now)))
            return 0
        try:
            requests = channel.render(message_of(waiting, self._services.base_url, now), destination, handle)
        except Exception as error:
            reason = unrendered(channel.slug, error)
            self._take(queue)
            attempt = Attempt(channel.slug, 0, now, 0, reason)
            self._spawn(self._settle([sent], self._refused(sent, destination, attempt, broken=False)))
            return 0
        wait = self._tokens(requests, now)
        if wait > 0:
            return 0 if self._expire(queue, channel, now) else wait
        self._take(queue)
        self._breaker.begin()
        self._spawn(self._deliver(sent, channel, destination, requests, handle))
        return 0

    def _tokens(self, requests: Sequence[Request], now: int) -> int:
        """Take the tokens of the first request; 0, or milliseconds until they are there."""
        rates = requests[0].rates
        if rates:
            self._pace = min(rate.per_second for rate in rates)
        wait = self._services.limits.wait(rates, now)
        if wait == 0:
            self._services.limits.take(rates, now)
        return wait

    async def _deliver(
        self,
        sent: Sent,
        channel: Channel[Any],
        destination: Destination,
        requests: Sequence[Request],
        handle: str,
    ) -> None:
        ended = await self._services.sending.send(channel, requests, handle)
        attempt = ended.attempt
        match ended.verdict.end:
            case End.DONE:
                self._works(attempt)
                work = delivered(sent, attempt, ended.handle)
            case End.RETRY:
                wait_s = self._failed(ended, requests)
                attempts = sent.waiting.attempts + 1
                policy = _policy(channel, urgent=sent.waiting.newest.incident.urgency == "high")
                deadline = self._deadline(sent.waiting.since, policy)
                at = next_at(
                    policy, sent.waiting.newest.notification_id, attempts, attempt.finished_at, wait_s, deadline
                )
                work = retried(sent, attempt, at) if at is not None else given_up([sent], attempt, destination.fallback)
            case End.REFUSED:
                work = self._refused(sent, destination, attempt, broken=ended.verdict.broken)
        await self._settle([sent], work)

    def _works(self, attempt: Attempt) -> None:
        self._breaker.answered()
        self._last_used, self._trouble = attempt.finished_at, ""

    def _failed(self, ended: Ended, requests: Sequence[Request]) -> float | None:
        """Note a failure that may pass; the seconds that the vendor asks for."""
        now, verdict = ended.attempt.finished_at, ended.verdict
        if verdict.reason == "rate_limited":
            self._breaker.answered()
        else:
            self._breaker.failed(now)
            self._trouble = verdict.reason
        if verdict.retry_after_s is not None:
            until = now + round(1000 * min(max(verdict.retry_after_s, 0.0), MAX_RETRY_AFTER_S))
            self._held_until = max(self._held_until, until)
            for request in requests:
                self._services.limits.pause(request.rates, until)
        return verdict.retry_after_s

    def _refused(self, sent: Sent, destination: Destination, attempt: Attempt, *, broken: bool) -> Work:
        """Give the message up; a destination that is broken is asked again now and then, and when it is changed."""
        if broken:
            self._breaker.broke(attempt.finished_at)
        elif attempt.sent_at:
            # A rejection is an answer too.
            self._breaker.answered()
        self._trouble = attempt.reason
        return given_up([sent], attempt, destination.fallback)

    # -- many messages

    def _behind(self, destination: Destination) -> bool:
        """Whether more waits than the vendor's rate carries in the time that the destination allows."""
        return (
            bool(self._pace and destination.digest_after) and len(self._known) / self._pace > destination.digest_after
        )

    def _for_summary(self) -> list[Sent]:
        """What one summary may replace: everything but the first messages of critical incidents."""
        many: list[Sent] = []
        for incident in [*islice(self._urgent, MAX_SUMMARY), *islice(self._normal, MAX_SUMMARY)]:
            place = Place(self._key, incident)
            waiting = self._table.waiting(place)
            if waiting is None or incident in self._under_way:
                continue
            critical = waiting.newest.incident.severity == Severity.CRITICAL
            if not critical or self._table.heard(place) is not None:
                many.append(Sent(place, waiting))
        return many[:MAX_SUMMARY] if len(many) > 1 else []

    def _summarise(
        self,
        many: list[Sent],
        digest: Callable[[Digest, Any], Sequence[Request]],
        channel: Channel[Any],
        destination: Destination,
        now: int,
    ) -> int:
        """Send one summary of many messages. As `_step`."""
        requests = digest(digest_of(many, self._services.base_url, now), destination)
        wait = self._tokens(requests, now)
        if wait > 0:
            return wait
        self._under_way.update(sent.place.incident for sent in many)
        self._breaker.begin()
        self._spawn(self._deliver_summary(many, channel, requests))
        return 0

    async def _deliver_summary(self, many: list[Sent], channel: Channel[Any], requests: Sequence[Request]) -> None:
        ended = await self._services.sending.send(channel, requests, "")
        if ended.verdict.end is End.DONE:
            self._works(ended.attempt)
            for start in range(0, len(many), AT_ONCE):
                part = many[start : start + AT_ONCE]
                own = summary_id(many) if start == 0 else None
                await self._settle(part, summarised(part, own, ended.attempt))
            return
        if ended.verdict.end is End.RETRY:
            self._failed(ended, requests)
        elif ended.verdict.broken:
            self._breaker.broke(ended.attempt.finished_at)
            self._trouble = ended.verdict.reason
        else:
            # The summary itself is at fault: each message goes alone from now on.
            self._pace = 0.0
            self._breaker.answered()
        self._free(many)

    def _taken(self, queue: deque[bytes], until: Callable[[bytes], bool] = lambda incident: True) -> list[Sent]:
        """The first messages of the queue, at most AT_ONCE, as long as `until` holds for them."""
        many: list[Sent] = []
        while queue and len(many) < AT_ONCE and until(queue[0]):
            incident = queue.popleft()
            place = Place(self._key, incident)
            if incident in self._known and incident not in self._under_way and (found := self._table.waiting(place)):
                self._under_way.add(incident)
                many.append(Sent(place, found))
        return many

    def _expire(self, queue: deque[bytes], channel: Channel[Any], now: int) -> bool:
        """Give up what has waited past its deadline; whether there was any."""
        destination = self._destination
        assert destination is not None

        def over(incident: bytes) -> bool:
            known = self._known.get(incident, 0)
            return self._deadline(known >> 1, _policy(channel, urgent=bool(known & 1))) < now

        many = self._taken(queue, over)
        if not many:
            return False
        attempt = Attempt(channel.slug, 0, now, 0, self._trouble or "rate_limited")
        self._end_many(many, lambda sents: given_up(sents, attempt, destination.fallback))
        return True

    def _end_many(self, many: list[Sent], work: Callable[[list[Sent]], Work]) -> int:
        """End these in one transaction; nothing else is started meanwhile. As `_step`."""
        self._ending_many = True
        self._spawn(self._settle(many, work(many)))
        return 0

    # -- results

    def _take(self, queue: deque[bytes]) -> None:
        self._under_way.add(queue.popleft())

    def _deadline(self, since: int, policy: Retry) -> int:
        return max(since, self._enabled_at) + policy.deadline_s * 1000

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
        for sent in sents:
            incident = sent.place.incident
            self._under_way.discard(incident)
            at = self._table.front(sent.place)
            if at is not None:
                self._known[incident] = at.since << 1 | at.urgent
                self._queue(incident, at)


def _policy(channel: Channel[Any], *, urgent: bool) -> Retry:
    return channel.retry[0 if urgent else 1]
