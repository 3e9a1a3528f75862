"""An outbox with its table, real HTTP and a clock that the test moves; what it writes is read back here."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

from schemas import topics
from schemas.records import Output
from schemas.wire.codec import decode_delivery, decode_notification, encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.notification import Delivery, DestinationStatus, Notification
from sinks.mail import Mailer
from sinks.outbound import TIMEOUT, Outbound
from sinks.outbox import table
from sinks.outbox.attempt import Sending
from sinks.outbox.courier import Services
from sinks.outbox.intake import Intake
from sinks.outbox.limits import Limits
from sinks.outbox.outbox import Outbox
from sinks.outbox.settle import Work
from sinks.outbox.table import Table
from streams.control.state import Control
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from tests.sinks.samples import BASE_URL, LOOPBACK, ManualTime, until


@dataclass(frozen=True)
class In:
    """A record of `notifications`."""

    value: bytes
    offset: int
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes = b""
    topic: str = topics.NOTIFICATIONS.name
    partition: int = 0
    timestamp: int = 0


@dataclass
class Room:
    """The partition: `durable` is what holds commits back while it is not set."""

    control: Control
    time: ManualTime
    outbox: Outbox
    state: PartitionState
    outputs: list[Output] = field(default_factory=list)
    durable: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[BaseException] = field(default_factory=list)
    _offset: int = 0

    def take(self, *notifications: Notification, redeliver: bool = False) -> None:
        """The intake reads these."""
        headers = (("redeliver", b"1"),) if redeliver else ()
        records = []
        for notification in notifications:
            records.append(In(encode(notification), self._offset, headers, timestamp=self.time.now))
            self._offset += 1
        self._run(lambda state: Intake()(state, records, self.time.now))

    async def transact(self, work: Work) -> None:
        self._run(work)
        await self.durable.wait()

    def _run(self, work: Work) -> None:
        self.state.begin()
        try:
            outputs = list(work(self.state))
        except BaseException:
            self.state.rollback()
            raise
        changes = self.state.commit()
        self.outputs += outputs
        self.outbox.changed(changes)

    @property
    def deliveries(self) -> list[Delivery]:
        """The rows of history, in order."""
        return [decode_delivery(o.value or b"") for o in self._on(topics.NOTIFICATIONS_RESULTS.name)]

    @property
    def ends(self) -> list[tuple[str, str]]:
        """Outcome and reason of every row."""
        return [(str(row.outcome), row.error) for row in self.deliveries]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        return [DeadLetter.read(o.key, o.value, list(o.headers)) for o in self._on(topics.DEADLETTERS.name)]

    @property
    def passed_on(self) -> list[Notification]:
        """Notifications for a fallback."""
        return [decode_notification(o.value or b"") for o in self._on(topics.NOTIFICATIONS.name)]

    @property
    def waiting(self) -> int:
        return sum(1 for _ in Table(self.state).everything_waiting())

    @property
    def statuses(self) -> list[DestinationStatus]:
        """What was reported of destinations, in order."""
        return [
            msgspec.json.decode(o.value or b"", type=DestinationStatus)
            for o in self._on(topics.DESTINATIONS_STATUS.name)
        ]

    def _on(self, topic: str) -> Iterable[Output]:
        return [output for output in self.outputs if output.topic == topic]

    async def ended(self, count: int, step: float = 0.0) -> None:
        """Wait until `count` notifications have ended; with `step` the clock moves by so many seconds meanwhile."""

        def enough() -> bool:
            assert not self.failures, self.failures
            if step:
                self.time.advance(step)
            return sum(outcome != "retry" for outcome, _ in self.ends) >= count

        await until(enough)


@asynccontextmanager
async def room(
    control: Control,
    *,
    timeout: aiohttp.ClientTimeout = TIMEOUT,
    state: PartitionState | None = None,
    mail_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Room]:
    """An open partition with this configuration; `state` of an earlier one goes on from there.

    `mail_tls` says which certificates of mail servers are trusted.
    """
    time, limits = ManualTime(), Limits()
    outbound = Outbound(LOOPBACK, timeout)
    mailer = Mailer(outbound, LOOPBACK, mail_tls)
    failures: list[BaseException] = []
    sending = Sending(outbound, mailer, limits, time.clock, time.sleep)
    services = Services(control.destination, sending, limits, BASE_URL, time.clock, time.later)
    outbox = Outbox(services, failures.append)
    found = state or PartitionState(MemoryStore(), table.due)
    opened = Room(control, time, outbox, found, failures=failures)
    opened.durable.set()
    try:
        outbox.opened(found, opened.transact)
        yield opened
    finally:
        await outbox.close(0.5)
        await mailer.close()
        await outbound.close()
