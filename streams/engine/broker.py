"""The one producer of a process: idempotent, acks=all, whole batches per partition, re-made when it breaks."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.engine import metrics

log = logging.getLogger(__name__)

#: Size at which a batch is closed, bytes; one record may be larger, up to MAX_REQUEST, which is
#: more than the topics take.
MAX_BATCH = 900_000
MAX_REQUEST = 8_500_000

Headers = Sequence[tuple[str, bytes]]
Item = tuple[bytes | None, bytes | None, Headers]
Groups = Mapping[tuple[str, int], Sequence[Item]]
_NO_HEADERS: list[tuple[str, bytes]] = []


class Broker:
    """Sends; every method returns after the broker acknowledged, or raises and leaves a fresh producer."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises aiokafka's KafkaConnectionError when the broker is away."""
        await self._connected()

    async def stop(self) -> None:
        """Close; bounded, because a producer waits for brokers that are gone (aiokafka #659)."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises LookupError when it does not exist."""
        producer = await self._connected()
        # partitions_for() retries for 40 s on a missing topic; the metadata answers at once.
        await producer.client.force_metadata_update()
        await producer.client.add_topic(topic)
        await producer.client.force_metadata_update()
        found = producer.client.cluster.partitions_for_topic(topic)
        if not found:
            raise LookupError(f"topic {topic!r} does not exist on {self._bootstrap}: run `stormweir topics`")
        return len(found)

    async def send(self, groups: Groups) -> None:
        """Send records to their partitions, each partition's in order."""
        if not groups:
            return
        producer = await self._connected()
        try:
            waiting = []
            for (topic, partition), items in groups.items():
                waiting += [await producer.send_batch(batch, topic, partition=partition) for batch in _batches(items)]
            await asyncio.gather(*waiting)
            for (topic, _), items in groups.items():
                metrics.SENT.labels(topic).inc(len(items))
        except BaseException:
            await self._discard(producer)
            raise

    async def append(self, topic: str, partition: int, chunks: Iterable[Sequence[Item]]) -> tuple[int, int]:
        """Send chunks of records one after another; the first and the last offset.

        Each chunk is one record batch, appended as a whole.
        """
        producer = await self._connected()
        first = last = -1
        try:
            for chunk in chunks:
                future = await producer.send_batch(_batch(chunk), topic, partition=partition)
                base = (await future).offset
                first = base if first < 0 else first
                last = base + len(chunk) - 1
        except BaseException:
            await self._discard(producer)
            raise
        return first, last

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=0,
                    max_batch_size=MAX_BATCH,
                    max_request_size=MAX_REQUEST,
                    request_timeout_ms=20_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _close(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        # A failed idempotent batch leaves a hole in the sequence that no later send can fill (aiokafka #1017).
        if self._producer is producer:
            self._producer = None
            log.warning("producer failed and is made anew")
            await asyncio.shield(_close(producer))


async def _close(producer: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(producer.stop(), 5)
    except Exception:
        log.warning("producer did not stop in time", exc_info=True)


class _Batch(BatchBuilder):  # type: ignore[misc]
    """aiokafka's record batch, filled in one go: its own `append` costs more in Python than the encoding in C."""

    def fill(self, items: Sequence[Item], start: int) -> int:
        """Append items from `start` on while they fit, at least one; the index of the first that did not."""
        append = self._builder.append
        timestamp = int(time.time() * 1000)
        number = 0
        for key, value, headers in islice(items, start, None):
            if append(number, timestamp, key, value, list(headers) if headers else _NO_HEADERS) is None:
                break
            number += 1
        self._relative_offset = number
        self.close()
        return start + number


def _batch(items: Sequence[Item]) -> _Batch:
    """All items as one batch, however large: a flush may hold a value above MAX_BATCH."""
    batch = _Batch(MAX_REQUEST, 0)
    if batch.fill(items, 0) != len(items):
        raise ValueError(f"{len(items)} records are more than one request takes ({MAX_REQUEST} bytes)")
    return batch


def _batches(items: Sequence[Item]) -> Iterator[_Batch]:
    """Items as batches of up to MAX_BATCH bytes."""
    start = 0
    while start < len(items):
        batch = _Batch(MAX_BATCH, 0)
        start = batch.fill(items, start)
        yield batch
