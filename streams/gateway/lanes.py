"""Requests share producer batches: each partition has a lane, with one flush in flight.

While a flush is at the broker, every record that arrives for that partition waits in the next batch, so batches grow
with load and no request pays for a round trip of its own. The producer is idempotent with acks=all. One failed or late
flush fails every waiting request and the whole producer (an idempotent producer cannot skip a batch); a new producer is
created in the background, and until then `put` refuses at once.
"""

import asyncio
from collections import deque
from time import monotonic

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.fingerprint import partition_for
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

FLUSH_TIMEOUT_S = 4.0
CONNECT_TIMEOUT_S = 5.0
RECONNECT_S = 0.5
BATCH_BYTES = 512 * 1024
#: Bytes that may wait in memory: seconds of the fastest senders, a small part of a container's memory.
WAITING_BYTES = 64 * 1024 * 1024
#: Kafka's record batch header (61 bytes) and the record's own length fields, rounded up generously.
RECORD_OVERHEAD = 256

Headers = list[tuple[str, bytes]]
NO_HEADERS: Headers = []


class UnavailableError(Exception):
    """Kafka did not acknowledge in time, or is away. The record may be stored or not; the sender must repeat it."""


class TooLargeError(Exception):
    """The record does not fit into the topic's `max.message.bytes`, which is `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"does not fit into {limit} bytes")
        self.limit = limit


class _Flush:
    """The records that go to the broker together, and the requests that wait for them."""

    __slots__ = ("batch", "size", "started", "waiters")

    def __init__(self, batch: BatchBuilder) -> None:
        self.batch = batch
        self.waiters: list[asyncio.Future[None]] = []
        self.started = monotonic()
        self.size = 0


class _Link:
    """One producer and its lanes, from connecting until the first failure."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int, max_record: int) -> None:
        self.failed = asyncio.Event()
        self._producer = producer
        self._topic = topic
        self._max_record = max_record
        self._waiting = 0
        self._queues: list[deque[_Flush]] = [deque() for _ in range(partitions)]
        self._filled = [asyncio.Event() for _ in range(partitions)]
        self._flying: dict[int, _Flush] = {}
        self._lanes = [asyncio.create_task(self._run(partition)) for partition in range(partitions)]

    @classmethod
    async def open(cls, kafka: Kafka, topic: str) -> "_Link":
        """Connect. Raises KafkaError, OSError or TimeoutError."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            limit = await _max_message_bytes(kafka, topic)
            producer = kafka.producer(
                client_id="stormweir-gateway",
                acks="all",
                enable_idempotence=True,
                max_batch_size=min(BATCH_BYTES, limit - RECORD_OVERHEAD),
                max_request_size=limit,
                request_timeout_ms=int(FLUSH_TIMEOUT_S * 1000),
            )
            try:
                await producer.start()
                partitions = await producer.partitions_for(topic)
            except BaseException:
                await producer.stop()
                raise
        return cls(producer, topic, len(partitions), limit - RECORD_OVERHEAD)

    def put(self, key: bytes, value: bytes, at: int, headers: Headers = NO_HEADERS) -> asyncio.Future[None]:
        size = len(value)
        if size + len(key) > self._max_record:
            raise TooLargeError(self._max_record + RECORD_OVERHEAD)
        if self._waiting + size > WAITING_BYTES or self.failed.is_set():
            raise UnavailableError
        partition = partition_for(key, len(self._queues))
        queue = self._queues[partition]
        if not queue or queue[-1].batch.append(key=key, value=value, timestamp=at, headers=headers) is None:
            queue.append(_Flush(self._producer.create_batch()))
            queue[-1].batch.append(key=key, value=value, timestamp=at, headers=headers)
            self._filled[partition].set()
        flush = queue[-1]
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flush.waiters.append(waiter)
        flush.size += size
        self._waiting += size
        return waiter

    async def _run(self, partition: int) -> None:
        queue, filled = self._queues[partition], self._filled[partition]
        while True:
            if not queue:
                filled.clear()
                await filled.wait()
            self._flying[partition] = flush = queue.popleft()
            try:
                async with asyncio.timeout(flush.started + FLUSH_TIMEOUT_S - monotonic()):
                    sent = await self._producer.send_batch(flush.batch, self._topic, partition=partition)
                    await sent
            except Exception as error:
                self._fail(error)
                return
            del self._flying[partition]
            self._waiting -= flush.size
            for waiter in flush.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self.failed.is_set():
            return
        self.failed.set()
        log.warning("kafka does not acknowledge", error=type(error).__name__)
        for flush in self._unsent():
            for waiter in flush.waiters:
                if not waiter.done():
                    waiter.set_exception(UnavailableError())

    def _unsent(self) -> list[_Flush]:
        return [*self._flying.values(), *(flush for queue in self._queues for flush in queue)]

    def oldest(self) -> float | None:
        """The monotonic time at which the oldest flush at the broker was started, None if there is none."""
        return min((flush.started for flush in self._flying.values()), default=None)

    async def close(self) -> None:
        """Send the waiting records, unless the producer has failed, and stop it. `put` must not be called meanwhile."""
        waiters = [waiter for flush in self._unsent() for waiter in flush.waiters]
        await asyncio.gather(*waiters, return_exceptions=True)
        self.failed.set()
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        await self._producer.stop()


class Lanes:
    """Puts records on one topic. `start` connects; after a failure, reconnecting is retried until `stop`."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = kafka.name(topic)
        self._link: _Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing_since: float | None = None

    @property
    def connected(self) -> bool:
        """Whether `put` takes records now."""
        return self._link is not None and not self._link.failed.is_set()

    async def start(self) -> None:
        """Return once connected."""
        self._link = await self._connect()
        self._keeper = asyncio.create_task(self._keep(self._link), name="lanes")

    def put(self, key: bytes, value: bytes, at: int, headers: Headers = NO_HEADERS) -> asyncio.Future[None]:
        """Queue a record, `at` in ms; the future ends when the broker has the record, or with UnavailableError.

        Raises UnavailableError at once while Kafka is away or too many bytes wait, TooLargeError for a record that the
        topic does not take.
        """
        if self._link is None:
            raise UnavailableError
        return self._link.put(key, value, at, headers)

    def pending_since(self) -> float | None:
        """The monotonic start of the oldest flush or close that must end within seconds, None if there is none."""
        if self._closing_since is not None:
            return self._closing_since
        return None if self._link is None else self._link.oldest()

    async def stop(self) -> None:
        """Flush and disconnect."""
        link, self._link = self._link, None
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if link is not None:
            await link.close()

    async def _keep(self, link: _Link) -> None:
        while True:
            await link.failed.wait()
            self._link = None
            self._closing_since = monotonic()
            # The old producer must end before a new one starts, or its last batch could overtake newer ones.
            await link.close()
            self._closing_since = None
            self._link = link = await self._connect()
            log.info("kafka is back")

    async def _connect(self) -> _Link:
        while True:
            try:
                return await _Link.open(self._kafka, self._topic)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("kafka is away, trying again", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_S)


async def _max_message_bytes(kafka: Kafka, topic: str) -> int:
    """The topic's own `max.message.bytes`: a larger batch would end the producer, so the record is refused before.

    Raises KafkaError, also for a missing topic.
    """
    admin = kafka.admin(client_id="stormweir-gateway")
    try:
        await admin.start()
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": None})
        (answer,) = await admin.describe_configs([resource])
        (found,) = answer.resources
        if found[0]:
            raise for_code(found[0])(found[1])
        return int(found[4][0][1])
    finally:
        await admin.close()
