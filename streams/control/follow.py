"""Configuration on the compacted topic `control`: followed by every process, written by commands (`write`).

A plain consumer without a group, because every process needs every record; a record that does not validate
never replaces a valid one (schemas.control).
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import ConsumerStoppedError, TopicAuthorizationFailedError
from prometheus_client import Counter

from schemas.control import AnyRecord, masked_key
from streams.control.secrets import NO_KEYS, MissingKeysError, SecretKeys
from streams.control.state import Control
from streams.control.write import Change, only_writer, partition_of, values_of
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

_INVALID = Counter("stormweir_control_invalid_total", "Control records that were refused as invalid")
_UNREADABLE = Counter("stormweir_control_unreadable_total", "Offsets of the control topic that could not be read")
_RETRY_S = 1.0
#: How often an offset is tried before it is skipped, and the first pause in seconds; each pause is twice the one
#: before.
_TRIES = 5
_PAUSE_S = 0.2


class ControlReader:
    """Follows the topic; `control` is changed in place on the event loop that called `start`.

    `environment` are the records that hold where the topic has none.
    """

    def __init__(
        self, kafka: Kafka, keys: SecretKeys = NO_KEYS, *, environment: Mapping[str, AnyRecord] | None = None
    ) -> None:
        self.control = Control(keys, environment=environment)
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer | None = None
        self._follower: asyncio.Task[None] | None = None
        self._partition = partition_of(kafka)
        self._failed = 0

    async def start(self) -> None:
        """Read to the end, then return and keep following. Raises aiokafka's errors when Kafka is away.

        Raises MissingKeysError when records cannot be opened that are not known from before: without them a process
        would refuse what they stand for, as if they had been deleted.
        """
        consumer = await self._connect()
        unknown = {key: ids for key, ids in self.control.unopened().items() if key not in self.control.records}
        if unknown:
            raise MissingKeysError(unknown)
        self._follower = asyncio.create_task(self._follow(consumer), name="control")

    async def catch_up(self) -> None:
        """Read to the end, without following. Raises aiokafka's errors when Kafka is away."""
        await self._connect()

    async def _connect(self) -> AIOKafkaConsumer:
        partition = self._partition
        if self._consumer is None:
            # A change that was begun and never committed is not read.
            self._consumer = self._kafka.consumer(enable_auto_commit=False, auto_offset_reset="earliest")
            await self._consumer.start()
            self._consumer.assign([partition])
            await self._consumer.seek_to_beginning(partition)
        end = (await self._consumer.end_offsets([partition]))[partition]
        while await self._consumer.position(partition) < end:
            await self._poll(self._consumer)
        if unopened := self.control.unopened():
            log.error("control: records stay as they were", reason=str(MissingKeysError(unopened)))
        return self._consumer

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
            # One record at a time: aiokafka 0.14 loses the records it has unpacked from a fetch whose rest cannot be
            # read.
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
        """Retry, then skip the offset: an unreadable record is as good as invalid, and must not block the rest."""
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
    """A control key for people and logs: an integration's id is its credential, so only its start is shown."""
    kind, _, name = key.partition("/")
    return f"{kind}/{masked_key(name)}" if kind == "integration" else key


async def read(kafka: Kafka, keys: SecretKeys = NO_KEYS) -> Control:
    """The current configuration."""
    reader = ControlReader(kafka, keys)
    try:
        await reader.catch_up()
        return reader.control
    finally:
        await reader.stop()


async def publish(
    kafka: Kafka, records: Iterable[AnyRecord], deletes: Iterable[str] = (), keys: SecretKeys = NO_KEYS
) -> None:
    """Write records and delete keys, whatever their current values are; returns once readers see the change.

    Raises ConflictError when another writer writes at the same moment, aiokafka's errors when Kafka fails.
    """
    if values := values_of(Change(records, deletes), keys):
        async with only_writer(kafka) as write:
            await write(values)
