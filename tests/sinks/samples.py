"""A notification, its destination, a server that records and a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from uuid import UUID

import msgspec
from aiohttp import web

from schemas.control import Destination, control_key, dump
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Change, Notification, Related, Transition, notification_id
from sinks.channels.webhook import WebhookDestination
from sinks.contract import Message
from streams.control.state import Control

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
BASE_URL = "https://stormweir.example.com/"
QUEUED_AT = 1_760_000_000_123
INCIDENT = Incident(
    tenant="default",
    incident_id=bytes(range(16)),
    version=3,
    status=Status.OPEN,
    severity=Severity.CRITICAL,
    service="pay ments/eu",
    title='Disk "full" on db-1 \u2603',
    dedup_key="db-1/disk",
    correlation_key=b"\xab" * 16,
    opened_at=1_759_999_700_000,
    acknowledged_at=0,
    resolved_at=0,
    last_alert_at=1_759_999_999_500,
    alert_count=7,
    repeat_count=5,
    member_count=2,
    labels={"env": "prod"},
    source="db-1",
)


def notification(
    number: int = 0, transition: Transition = Transition.TRIGGERED, to: str = "ops", **changes: object
) -> Notification:
    """The sample notification; `number` is added to the incident's version, `changes` are the incident's."""
    incident = msgspec.structs.replace(INCIDENT, **{"version": INCIDENT.version + number, **changes})
    return Notification(
        notification_id=notification_id(incident.incident_id, incident.version, transition, to),
        tenant=incident.tenant,
        destination=to,
        transition=transition,
        queued_at=QUEUED_AT,
        incident=incident,
    )


def of_incident(number: int, transition: Transition = Transition.TRIGGERED, **changes: object) -> Notification:
    """A notification of another incident."""
    return notification(0, transition, incident_id=number.to_bytes(16, "big"), **changes)


def related(count: int, **changes: object) -> tuple[Related, ...]:
    """So many other incidents of a message."""
    fields = {"severity": Severity.ERROR, "status": Status.OPEN, "service": "web", "change": Change.NEW}
    return tuple(
        Related(**{"incident_id": bytes([number]) * 16, "title": f"other {number}", **fields, **changes})
        for number in range(1, count + 1)
    )


def message(told: Notification | None = None, **fields: object) -> Message:
    """The message of the sample notification, as channels render it."""
    newest = told or notification()
    one = Message(
        str(UUID(bytes=newest.notification_id)), newest, (newest.transition,), BASE_URL.rstrip("/"), QUEUED_AT + 1000
    )
    return one._replace(**fields)


def destination(url: str, **fields: object) -> WebhookDestination:
    """The destination `ops`."""
    return WebhookDestination.model_validate({"id": "ops", "url": url, **fields})


def control(*destinations: Destination) -> Control:
    """The followed state with these destinations."""
    state = Control()
    for record in destinations:
        assert state.apply(control_key(record), dump(record)) is None
    return state


@dataclass
class Recorder:
    """What a server on loopback got. `answers` are used up in order, then every answer is 200."""

    url: str = ""
    answers: list[web.Response] = field(default_factory=list)
    requests: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)
    #: Requests wait here, when it is set, before they are answered.
    gate: asyncio.Event | None = None
    busy: int = 0
    most_busy: int = 0

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.requests.append((request, body))
        answer = self.answers.pop(0) if self.answers else web.Response()
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.busy -= 1
        return answer


@asynccontextmanager
async def recording(*answers: web.Response, host: str = "127.0.0.1") -> AsyncIterator[Recorder]:
    """A real server; `url` is its address."""
    recorder = Recorder(answers=list(answers))
    runner = web.ServerRunner(
        web.Server(recorder.handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0)
        await site.start()
        recorder.url = f"http://{host}:{runner.addresses[0][1]}"
        yield recorder
    finally:
        await runner.cleanup()


@dataclass
class ManualTimer:
    """A call at a time."""

    at: int
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class ManualTime:
    """Time that stands still until `advance`. `sleeps` are the seconds that were asked for, in order."""

    def __init__(self) -> None:
        self.now = QUEUED_AT + 1000
        self.sleeps: list[float] = []
        self._sleeping: list[tuple[int, asyncio.Future[None]]] = []
        self._timers: list[ManualTimer] = []

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        waiter = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now + round(seconds * 1000), waiter))
        await waiter

    def later(self, seconds: float, callback: Callable[[], None]) -> "ManualTimer":
        timer = ManualTimer(self.now + max(1, round(seconds * 1000)), callback)
        self._timers = [other for other in self._timers if other.callback is not None]
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
        for timer in sorted((timer for timer in self._timers if timer.at <= self.now), key=lambda timer: timer.at):
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
        for until, waiter in self._sleeping:
            if until <= self.now and not waiter.done():
                waiter.set_result(None)

    @property
    def sleeping(self) -> int:
        return sum(not waiter.done() for _, waiter in self._sleeping)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition()` holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in libraries and sockets
            await asyncio.sleep(0.002)
