"""Records for `alerts.events`, sent in whole batches like an in-house producer's, and the ends of topics."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.fingerprint import partition_for
from streams.process.kafka import Kafka
from streams.storm.counts import Counts
from streams.storm.pace import Pace

#: One record: key and value.
KeyValue = tuple[bytes, bytes]
#: (topic, partition) -> the offset the next record will get.
Ends = Mapping[tuple[str, int], int]

_BATCH_BYTES = 512 * 1024
_CHUNK = 4096
#: Seconds of a paced load that one chunk holds.
_CHUNK_S = 0.02


async def send_records(
    kafka: Kafka, topic: str, records: Iterable[KeyValue], counts: Counts, *, rate: float = 0.0
) -> None:
    """Send every record, keep `counts` up to date, return once all were acknowledged (acks=all) or failed.

    `rate` is in records a second, 0 for no limit. A record whose batch failed counts as unknown. The latency of a
    batch, from handing it over to its acknowledgement, counts once. Raises KafkaError when the broker does not answer
    at all.
    """
    topic = kafka.name(topic)
    producer = kafka.producer(acks="all", enable_idempotence=True, max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        partitions = len(await producer.partitions_for(topic))
        lanes = [_Lane(producer, topic, partition, counts) for partition in range(partitions)]
        pace = Pace(rate, perf_counter())
        source = iter(records)
        size = max(1, min(_CHUNK, int(rate * _CHUNK_S))) if rate else _CHUNK
        while chunk := list(islice(source, size)):
            wait = pace.take(len(chunk), perf_counter())
            while wait > 0:
                await asyncio.sleep(wait)
                wait = pace.take(len(chunk), perf_counter())
            for record in chunk:
                lane = lanes[partition_for(record[0], partitions)]
                if not lane.append(record):
                    await lane.flush()
                    lane.append(record)
            await asyncio.gather(*(lane.flush() for lane in lanes))
        await asyncio.gather(*(lane.drain() for lane in lanes))
    finally:
        await producer.stop()


async def topic_ends(kafka: Kafka, topics: Sequence[str]) -> Ends:
    """The current end of every partition of the topics (the high watermark), by the topic names that rows have."""
    consumer = kafka.consumer(*map(kafka.name, topics), enable_auto_commit=False)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}
    finally:
        await consumer.stop()


class _Lane:
    """One partition: a batch that is being filled, and at most one in flight."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int, counts: Counts) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._counts = counts
        self._batch: Any = producer.create_batch()
        self._sending: asyncio.Future[Any] | None = None

    def append(self, record: KeyValue) -> bool:
        """Add to the batch; False when it is full."""
        return self._batch.append(timestamp=None, key=record[0], value=record[1]) is not None

    async def flush(self) -> None:
        """Hand the batch over, once the previous one has been answered."""
        await self.drain()
        batch, self._batch = self._batch, self._producer.create_batch()
        records = batch.record_count()
        if not records:
            return
        self._counts.sent += records
        started = perf_counter()
        try:
            self._sending = await self._producer.send_batch(batch, self._topic, partition=self._partition)
        except KafkaError:
            self._counts.unknown += records
            return
        self._sending.add_done_callback(self._answered(records, started))

    async def drain(self) -> None:
        """Wait for the batch in flight."""
        if self._sending is not None:
            await asyncio.wait((self._sending,))
            self._sending = None

    def _answered(self, records: int, started: float) -> Callable[["asyncio.Future[Any]"], None]:
        def answered(future: "asyncio.Future[Any]") -> None:
            if future.cancelled() or future.exception() is not None:
                self._counts.unknown += records
                return
            self._counts.accepted += records
            self._counts.requests += records
            self._counts.latency.add(perf_counter() - started)

        return answered
