"""The one producer of a process: idempotent, acks=all, whole batches per partition, recreated when it fails."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.admin import DescribeConfigsRequest
from xxhash import xxh3_64_intdigest

from streams.engine import metrics
from streams.engine.clock import BrokerTime
from streams.engine.kafka import Kafka
from streams.topic_ids import topic_ids

log = logging.getLogger(__name__)

#: A batch is closed at MAX_BATCH bytes. One record may be larger, up to MAX_REQUEST bytes, which is
#: more than the topics accept.
MAX_BATCH = 900_000
MAX_REQUEST = 8_500_000
#: At least the size of a record batch's header (61 bytes) and of one record's length fields.
OVERHEAD = 256

Headers = Sequence[tuple[str, bytes]]
Item = tuple[bytes | None, bytes | None, Headers]
#: A topic and one of its partitions.
Place = tuple[str, int]
Groups = Mapping[Place, Sequence[Item]]
#: The errors with which Kafka rejects a batch for its size. https://kafka.apache.org/protocol#protocol_error_codes
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_LOG_APPEND_TIME = 1
_NO_HEADERS: list[tuple[str, bytes]] = []


class Refused(NamedTuple):
    """A record that its topic rejected for its size; sizes in bytes, `limit` 0 if Kafka does not report it."""

    topic: str
    key: bytes | None
    size: int
    limit: int


class Broker:
    """Sends records. Every method returns after the broker acknowledged, or raises and leaves a fresh producer.

    `time` is the brokers' clock, read from their acknowledgements.
    """

    def __init__(self, kafka: Kafka, client_id: str) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self.time = BrokerTime()
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._limits: dict[str, int] = {}
        #: A value of at most this many bytes fits any of the topics whose limits were learned.
        self.fits_everywhere = MAX_BATCH // 2

    async def start(self) -> None:
        """Connect. Raises aiokafka's KafkaConnectionError when the broker is away."""
        await self._connected()

    async def stop(self) -> None:
        """Close, with a time limit, because a producer waits for brokers that are gone (aiokafka #659)."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises LookupError when it does not exist."""
        producer = await self._connected()
        name = self._kafka.name(topic)
        # partitions_for() retries for 40 s on a missing topic; the metadata answers at once.
        await producer.client.force_metadata_update()
        await producer.client.add_topic(name)
        await producer.client.force_metadata_update()
        found = producer.client.cluster.partitions_for_topic(name)
        if not found:
            raise LookupError(f"topic {name!r} does not exist on {self._kafka.bootstrap}: run `stormweir topics`")
        return len(found)

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The id of each existing topic; a recreated topic has a new id. Empty before Kafka 2.8."""
        producer = await self._connected()
        return await topic_ids(producer.client, topics)

    async def learn_limits(self, topics: Iterable[str]) -> None:
        """Ask Kafka how large a record of these topics may be. A limit that Kafka does not report is MAX_REQUEST."""
        self._limits |= await self._settings(topics, "max.message.bytes")
        self.fits_everywhere = min([MAX_BATCH, *self._limits.values()]) // 2

    async def deletions_kept(self, topics: Iterable[str]) -> dict[str, int]:
        """How long these topics keep deletions after compaction, milliseconds; without topics Kafka does not report."""
        return await self._settings(topics, "delete.retention.ms")

    async def _settings(self, topics: Iterable[str], setting: str) -> dict[str, int]:
        """A numeric setting of each topic, without topics for which Kafka does not report it."""
        client = (await self._connected()).client
        names = {self._kafka.name(topic): topic for topic in topics}
        wanted = [(ConfigResourceType.TOPIC, name, [setting]) for name in names]
        answer = await client.send(client.get_random_node(), DescribeConfigsRequest(wanted, False))
        return {names[name]: int(configs[0][1]) for code, _, _, name, configs in answer.resources if not code}

    def limit(self, topic: str) -> int:
        """The largest record the topic accepts, in bytes as `record_size` counts them."""
        return min(self._limits.get(topic, MAX_REQUEST), MAX_REQUEST)

    async def send(self, groups: Groups) -> list[Refused]:
        """Send records to their partitions, in order per partition. Return records rejected for their size.

        A partition's next batch is sent only after the answer to the one before it. Otherwise records after a
        rejected batch would arrive before its resent part, and a reader that counts sequence numbers would take the
        resent part for repeats.
        """
        refused: list[Refused] = []
        largest = MAX_BATCH
        starts = dict.fromkeys(groups, 0)
        while starts:
            filled = {place: _batch_from(groups[place], start, largest) for place, start in starts.items()}
            too_large = await self._send({place: batch for place, (batch, _) in filled.items()})
            for place, (batch, stop) in filled.items():
                if place in too_large and stop - starts[place] > 1:
                    largest = min(largest, batch.size() // 2)
                    continue
                if place in too_large:
                    refused.append(self._refused(place[0], groups[place][starts[place]]))
                starts[place] = stop
            starts = {place: start for place, start in starts.items() if start < len(groups[place])}
        for (topic, _), items in groups.items():
            metrics.SENT.labels(topic).inc(len(items))
        return refused

    async def _send(self, batches: Mapping[Place, "_Batch"]) -> list[Place]:
        """Send one batch to each place. Return the places that rejected their batch as too large."""
        producer = await self._connected()
        try:
            waiting = [
                await producer.send_batch(batch, self._kafka.name(topic), partition=partition)
                for (topic, partition), batch in batches.items()
            ]
            results = await asyncio.gather(*waiting, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, TOO_LARGE):
                    raise result
                if not isinstance(result, BaseException) and result.timestamp_type == _LOG_APPEND_TIME:
                    self.time.saw(result.timestamp)
        except BaseException:
            await self._discard(producer)
            raise
        too_large = [place for place, result in zip(batches, results, strict=True) if isinstance(result, TOO_LARGE)]
        if too_large:
            await self._discard(producer)
            await self.learn_limits({topic for topic, _ in too_large})
        return too_large

    def _refused(self, topic: str, item: Item) -> Refused:
        size, limit = record_size(*item), self.limit(topic)
        return Refused(topic, item[0], size, limit if limit < size else 0)

    async def append(self, topic: str, partition: int, chunks: Iterable[Sequence[Item]]) -> tuple[int, int]:
        """Send chunks of records one after another. Return the first and the last offset.

        Each chunk is one record batch, appended as a whole.
        """
        producer = await self._connected()
        name = self._kafka.name(topic)
        first = last = -1
        try:
            for chunk in chunks:
                future = await producer.send_batch(_batch(chunk), name, partition=partition)
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
                producer = self._kafka.producer(
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
            log.warning("the producer failed; a new one takes over")
            await asyncio.shield(_close(producer))


def group(outputs: Iterable[Any], partitions: dict[str, int], groups: dict[tuple[str, int], list[Item]]) -> None:
    """Add outputs (see lane.Output) to `groups`; `partitions` has the number of partitions of each topic."""
    for topic, key, value, partition, headers in outputs:
        place = xxh3_64_intdigest(key or b"") % partitions[topic] if partition is None else partition
        groups.setdefault((topic, place), []).append((key, value, headers))


async def _close(producer: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(producer.stop(), 5)
    except Exception:
        log.warning("producer did not stop in time", exc_info=True)


class _Batch(BatchBuilder):  # type: ignore[misc]
    """aiokafka's record batch, filled in one call: aiokafka's `append` in Python costs more than the encoding in C."""

    def fill(self, items: Sequence[Item], start: int) -> int:
        """Append items from `start` on while they fit, at least one. Return the index of the first that did not."""
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


def _batch_from(items: Sequence[Item], start: int, size: int) -> tuple[_Batch, int]:
    """A batch of items from `start` on, at least one, up to `size` bytes; and the index where the rest begins."""
    batch = _Batch(size, 0)
    return batch, batch.fill(items, start)


def record_size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """The size in bytes of a record alone in its batch, at least as large as Kafka's own measure."""
    size = len(key or b"") + len(value or b"") + OVERHEAD
    return size + sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)
