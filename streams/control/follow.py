"""Configuration on the compacted topic `control`: followed by every process, written by `stormweir apply`.

A plain consumer without a group, because every process needs every record; a record that does not validate
never replaces a valid one (schemas.control).
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, TopicAuthorizationFailedError
from prometheus_client import Counter

from schemas.control import AnyRecord, control_key, dump, masked_key
from schemas.topics import CONTROL
from streams.control.state import Control
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

_INVALID = Counter("stormweir_control_invalid_total", "Control records that were refused as invalid")
_UNREADABLE = Counter("stormweir_control_unreadable_total", "Offsets of the control topic that could not be read")
_RETRY_S = 1.0
#: How often an offset is tried before it is passed over, and the first pause, seconds; each is twice the one before.
_TRIES = 5
_PAUSE_S = 0.2


class ControlReader:
    """Follows the topic; `control` is changed in place on the event loop that called `start`."""

    def __init__(self, kafka: Kafka) -> None:
        self.control = Control()
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer | None = None
        self._follower: asyncio.Task[None] | None = None
        self._partition = TopicPartition(kafka.name(CONTROL.name), 0)
        self._failed = 0

    async def start(self) -> None:
        """Read to the end, then return and keep following. Raises aiokafka's errors when Kafka is away."""
        partition = self._partition
        self._consumer = consumer = self._kafka.consumer(enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            await self._poll(consumer)
        self._follower = asyncio.create_task(self._follow(consumer), name="control")

    async def stop(self) -> None:
        """Stop following; the state stays as it is."""
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        if self._consumer is not None:
            await self._consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._poll(consumer)
            except Exception:
                log.exception("control: reading failed, trying again")
                await asyncio.sleep(_RETRY_S)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        try:
            # One at a time: aiokafka 0.14 forgets what it has unpacked of a fetch whose rest cannot be read.
            fetched = await consumer.getmany(timeout_ms=1000, max_records=1)
        except (ConsumerStoppedError, TopicAuthorizationFailedError):
            raise
        except Exception as error:
            await self._unreadable(consumer, error)
            return
        for records in fetched.values():
            self._failed = 0
            for record in records:
                self._take(record)

    async def _unreadable(self, consumer: AIOKafkaConsumer, error: Exception) -> None:
        """Try again, then pass over it: what nobody can read is as good as invalid, and must not stop the rest."""
        self._failed += 1
        offset = await consumer.position(self._partition)
        log.error("control: an offset cannot be read", offset=offset, tries=self._failed, error=type(error).__name__)
        if self._failed < _TRIES:
            await asyncio.sleep(_PAUSE_S * 2 ** (self._failed - 1))
        else:
            _UNREADABLE.inc()
            consumer.seek(self._partition, offset + 1)

    def _take(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        refused = self.control.apply(key, record.value)
        if refused is not None:
            _INVALID.inc()
            log.warning("control: record refused", record=masked(key), reason=refused)


def masked(key: str) -> str:
    """A control key for people and logs: an integration's id is its credential, so only its start shows."""
    kind, _, name = key.partition("/")
    return f"{kind}/{masked_key(name)}" if kind == "integration" else key


async def read(kafka: Kafka) -> Control:
    """The configuration as it is now."""
    reader = ControlReader(kafka)
    try:
        await reader.start()
        return reader.control
    finally:
        await reader.stop()


async def publish(kafka: Kafka, records: Iterable[AnyRecord], deletes: Iterable[str] = ()) -> None:
    """Write records, then delete keys; returns once the broker has acknowledged all of them."""
    changes: Mapping[str, bytes | None] = {
        **{control_key(record): dump(record) for record in records},
        **dict.fromkeys(deletes),
    }
    producer = kafka.producer(acks="all", enable_idempotence=True)
    try:
        await producer.start()
        topic = kafka.name(CONTROL.name)
        sent = [await producer.send(topic, value, key=key.encode(), partition=0) for key, value in changes.items()]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
