"""Writing the topic `control`: one writer at a time, and all of a change with its audit, or none (docs/adr/0008).

Kafka has no compare-and-set, but it has fencing: of all producers with one transactional id, only the one that began
last can commit. https://kafka.apache.org/documentation/#producerconfigs_transactional.id
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from schemas.control import AnyRecord, control_key, dump
from schemas.topics import AUDIT, CONTROL, CONTROL_WRITER
from schemas.wire.audit import AuditRecord
from schemas.wire.codec import encode
from streams.control.secrets import SecretKeys
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka

#: Seconds after which Kafka aborts the transaction of a killed writer; until then, later records cannot be read.
_TRANSACTION_S = 10
_BEGIN_S = 30.0
_POLL_S = 0.01


class ConflictError(OperatorError):
    """Another writer changed the configuration at the same time; this change was not made."""


class Change(NamedTuple):
    """The records to write to the topic, and the keys to delete."""

    records: Iterable[AnyRecord] = ()
    deletes: Iterable[str] = ()


Values = dict[str, bytes | None]
Write = Callable[[Values, Sequence[AuditRecord]], Awaitable[None]]


def partition_of(kafka: Kafka) -> TopicPartition:
    """The topic's only partition."""
    return TopicPartition(kafka.name(CONTROL.name), 0)


def values_of(change: Change, keys: SecretKeys) -> Values:
    """The topic's values by key, in the order in which they are written, with secrets sealed; None deletes."""
    written = {control_key(record): dump(record, keys.seal(record)) for record in change.records}
    return {**written, **dict.fromkeys(change.deletes)}


@asynccontextmanager
async def only_writer(kafka: Kafka) -> AsyncIterator[Write]:
    """Become the only writer: `write(values, audit)` commits all of them and returns once readers see the values.

    Records that an earlier writer has committed can be read by now; its uncommitted records never will be. Raises
    ConflictError when another writer began meanwhile, aiokafka's errors when Kafka fails.
    """
    producer = kafka.producer(transactional_id=kafka.name(CONTROL_WRITER), transaction_timeout_ms=_TRANSACTION_S * 1000)
    try:
        try:
            await asyncio.wait_for(producer.start(), _BEGIN_S)
        except TimeoutError:
            raise KafkaError(f"no coordinator for transactions after {_BEGIN_S:.0f} s") from None
        yield partial(_commit, kafka, producer)
    except ProducerFenced:
        raise ConflictError(
            "somebody else changed the configuration at the same moment: look at it and run this again"
        ) from None
    finally:
        await producer.stop()


async def _commit(kafka: Kafka, producer: AIOKafkaProducer, values: Values, audit: Sequence[AuditRecord]) -> None:
    async with producer.transaction():
        for entry in audit:
            await producer.send(kafka.name(AUDIT.name), encode(entry), key=entry.tenant.encode())
        topic = kafka.name(CONTROL.name)
        sent = [await producer.send(topic, value, key=key.encode(), partition=0) for key, value in values.items()]
        last = max(record.offset for record in await asyncio.gather(*sent))
    # Kafka answers a commit before its marker is on the topic; a reader that starts now must not miss the records.
    consumer, partition = kafka.consumer(), partition_of(kafka)
    try:
        await consumer.start()
        end = 0
        while end <= last:
            await asyncio.sleep(_POLL_S)
            end = (await consumer.end_offsets([partition]))[partition]
    finally:
        await consumer.stop()
