"""Refusals and their reasons, on the topic `rejections`: counted, bounded, and never delaying a request.

Bodies that no provider could read go to `rejected.bodies` beside it (streams.gateway.kept).
"""

import asyncio
import time
from collections.abc import Callable, Container
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from schemas.control import shown_sender
from schemas.topics import REJECTED_BODIES, REJECTIONS
from schemas.wire.codec import encode
from schemas.wire.rejection import Rejection
from streams.gateway.answers import Answer
from streams.gateway.kept import Keeper
from streams.gateway.routes import Request, Route
from streams.gateway.senders import Sender
from streams.process.kafka import Kafka
from streams.providers import BadBody

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
#: How many kinds of refusals are reported for one period; the rest is only counted in the metrics.
MAX_KEYS = 1000
#: The path of a field may be long; its beginning is enough.
MAX_FIELD = 200
_REQUEST_TIMEOUT_S = 3.0
_SEND_TIMEOUT_S = 4.0

_LOST = Counter("stormweir_rejections_lost_total", "Refusals that are not on the topic rejections")


class RejectionKey(NamedTuple):
    """What the refusals of one report have in common; see schemas.wire.rejection.Rejection."""

    tenant: str
    integration: str
    provider: str
    route: str
    reason: str
    status: int
    field: str


class Tally:
    """Counts of refusals by what they have in common."""

    def __init__(self) -> None:
        self._counts: dict[RejectionKey, int] = {}
        self._at = 0
        self.lost = 0

    def note(self, key: RejectionKey, at: int) -> None:
        """Count one refusal, at this millisecond. Beyond MAX_KEYS kinds it only counts as lost."""
        if not self._counts:
            self._at = at
        elif len(self._counts) >= MAX_KEYS and key not in self._counts:
            self.lost += 1
            return
        self._counts[key] = self._counts.get(key, 0) + 1

    def take(self) -> list[Rejection]:
        """The refusals noted since the last call, in order of appearance."""
        counts, self._counts = self._counts, {}
        return [Rejection(self._at, *key, count) for key, count in counts.items()]


class Rejections:
    """Notes refusals and sends them every second, with its own producer; refusals that cannot be sent are dropped."""

    def __init__(self, kafka: Kafka, clock: Callable[[], float] = time.time) -> None:
        self._kafka = kafka
        self._clock = clock
        self._tally = Tally()
        self._keeper = Keeper()
        self._producer: AIOKafkaProducer | None = None
        self._pump: asyncio.Task[None] | None = None

    def note(self, sender: Sender | None, provider: str, route: str, answer: Answer) -> None:
        """Note one refusal; `sender` is the sender if it was known by then. Costs no more than counting."""
        tenant, integration = ("", "") if sender is None else (sender.tenant, shown_sender(sender.id))
        field = answer.field[:MAX_FIELD]
        alike = RejectionKey(tenant, integration, provider, route, answer.reason, answer.status, field)
        self._tally.note(alike, int(self._clock() * 1000))

    def keep(self, request: Request, route: Route, error: BadBody, keys: Container[str]) -> None:
        """Keep the body of an authenticated request that its provider could not read, within bounds."""
        self._keeper.keep(request, route, error, keys)

    def start(self) -> None:
        """Start to send."""
        self._pump = asyncio.create_task(self._run(), name="rejections")

    async def stop(self) -> None:
        """Send the noted refusals, if Kafka takes them soon, and disconnect."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._flush(PERIOD_S)
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            await self._flush(_SEND_TIMEOUT_S)

    async def _flush(self, timeout: float) -> None:
        """Send the noted refusals; new ones are noted meanwhile, within the same bounds."""
        found, bodies = self._tally.take(), self._keeper.take()
        _LOST.inc(self._tally.lost)
        self._tally.lost = 0
        if not found and not bodies:
            return
        try:
            async with asyncio.timeout(timeout):
                producer = await self._connected()
                topic = self._kafka.name(REJECTIONS.name)
                sent = [
                    await producer.send(topic, encode(rejection), rejection.integration.encode()) for rejection in found
                ]
                sent += [
                    await producer.send(self._kafka.name(REJECTED_BODIES.name), encode(body), body.integration.encode())
                    for body in bodies
                ]
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("rejections are not told", error=type(error).__name__)
            _LOST.inc(sum(rejection.count for rejection in found))
            await self._disconnect()

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = self._kafka.producer(
                client_id="stormweir-gateway-rejections",
                acks="all",
                # Not idempotent: an idempotent producer retries forever, and cannot be stopped while Kafka is away. The
                # price is that the rows of one second may come twice.
                request_timeout_ms=int(_REQUEST_TIMEOUT_S * 1000),
            )
            await self._producer.start()
        return self._producer

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
