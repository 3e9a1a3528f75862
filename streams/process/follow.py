"""Follows a topic with one partition: a plain consumer without a group, because every process needs every record."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, TopicAuthorizationFailedError
from prometheus_client import Counter

from schemas.topics import Topic
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

_UNREADABLE = Counter(
    "stormweir_follow_unreadable_total", "Offsets of followed topics that could not be read", ["topic"]
)
#: aiokafka's own default.
WAIT_MS = 500
_RETRY_S = 1.0
_FOLLOW_MS = 1000
#: The last offset may be the end of a transaction. aiokafka passes over it, but goes on waiting for a record.
_END_MS = 20
#: How often an offset is tried before it is skipped, and the first pause in seconds; each pause is twice the one
#: before.
_TRIES = 5
_PAUSE_S = 0.2


class Follower:
    """Calls `take` for each committed record in order, from the topic's beginning on, on the loop that called it.

    `position` is the offset up to which records have been taken. Kafka answers after `wait_ms` if nothing is new; a
    second `catch_up` may have to wait as long.
    """

    def __init__(
        self, kafka: Kafka, topic: Topic, take: Callable[[ConsumerRecord], None], wait_ms: int = WAIT_MS
    ) -> None:
        self.position = 0
        self._kafka = kafka
        self._topic = topic.name
        self._take = take
        self._wait_ms = wait_ms
        self._consumer: AIOKafkaConsumer | None = None
        self._following: asyncio.Task[None] | None = None
        self._partition = TopicPartition(kafka.name(topic.name), 0)
        self._failed = 0
        self._moved = asyncio.Condition()

    async def catch_up(self) -> AIOKafkaConsumer:
        """Read to the end. Raises aiokafka's errors when Kafka is away."""
        partition = self._partition
        if self._consumer is None:
            # A change that was begun and never committed is not read.
            self._consumer = self._kafka.consumer(
                enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=self._wait_ms
            )
            await self._consumer.start()
            self._consumer.assign([partition])
            await self._consumer.seek_to_beginning(partition)
        end = (await self._consumer.end_offsets([partition]))[partition]
        while await self._consumer.position(partition) < end:
            await self._poll(self._consumer, _END_MS)
        return self._consumer

    def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Keep following from where `catch_up` ended, in a task."""
        self._following = asyncio.create_task(self._follow(consumer), name=self._topic)

    async def reached(self, offset: int) -> None:
        """Wait until the record at this offset has been taken."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.position > offset)

    async def stop(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        if self._consumer is not None:
            await self._consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._poll(consumer, _FOLLOW_MS)
            except Exception:
                log.exception("reading failed, trying again", topic=self._topic)
                await asyncio.sleep(_RETRY_S)

    async def _poll(self, consumer: AIOKafkaConsumer, timeout_ms: int) -> None:
        try:
            # One record at a time: aiokafka 0.14 loses the records it has unpacked from a fetch whose rest cannot be
            # read.
            fetched = await consumer.getmany(timeout_ms=timeout_ms, max_records=1)
        except (ConsumerStoppedError, TopicAuthorizationFailedError):
            raise
        except Exception as error:
            await self._unreadable(consumer, error)
            return
        for records in fetched.values():
            self._failed = 0
            for record in records:
                self._take(record)
                async with self._moved:
                    self.position = record.offset + 1
                    self._moved.notify_all()

    async def _unreadable(self, consumer: AIOKafkaConsumer, error: Exception) -> None:
        """Retry, then skip the offset: an unreadable record is as good as invalid, and must not block the rest."""
        self._failed += 1
        offset = await consumer.position(self._partition)
        log.error(
            "an offset cannot be read",
            topic=self._topic, offset=offset, tries=self._failed, error=type(error).__name__,
        )  # fmt: skip
        if self._failed < _TRIES:
            await asyncio.sleep(_PAUSE_S * 2 ** (self._failed - 1))
        else:
            _UNREADABLE.labels(self._topic).inc()
            consumer.seek(self._partition, offset + 1)
