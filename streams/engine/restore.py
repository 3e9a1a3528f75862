"""Reading changelogs: the state of newly assigned partitions, and records that another owner wrote in between."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streams.engine import metrics
from streams.engine.changelog import OWN, POS, Owner, Replay
from streams.engine.fetch import fetch
from streams.engine.kafka import Kafka
from streams.engine.lane import TableSpec
from streams.engine.losses import describe
from streams.engine.store import Store
from streams.engine.unreadable import FIRST_PAUSE, TRIES

log = logging.getLogger(__name__)
#: Fetched records are large short-lived objects: after a larger fetch the process would keep the memory unused.
MAX_RECORDS = 10_000
_decode_owner = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


async def restore(
    kafka: Kafka,
    wanted: Iterable[tuple[TableSpec, int, Store]],
    done: Callable[[TableSpec, int, Replay], None],
) -> list[str]:
    """Bring each store up to the present end of its changelog partition and call `done` for it, one by one.

    A store that was filled before only reads newer records. The caller finishes the replay, as it may have to
    `catch_up` first. Return the changelog partitions that cannot be read to their end. `done` is not called for them:
    state with a gap would be wrong, and they must not stop the others. Raises aiokafka's errors.
    """
    started = time.monotonic()
    stores = {TopicPartition(kafka.name(spec.changelog), partition): (spec, store) for spec, partition, store in wanted}
    if not stores:
        return []
    consumer = _reader(kafka)
    await consumer.start()
    try:
        consumer.assign(list(stores))
        ends = await consumer.end_offsets(list(stores))
        starts = await consumer.beginning_offsets(list(stores))
        replays: dict[TopicPartition, Replay] = {}
        for tp, (_, store) in stores.items():
            replays[tp] = _replay(tp, store, ends[tp])
            consumer.seek(tp, max(starts[tp], store.end + 1))
        reading = set(stores)
        failures: Counter[TopicPartition] = Counter()
        while reading:
            for tp in [tp for tp in reading if await consumer.position(tp) >= ends[tp]]:
                reading.remove(tp)
                consumer.pause(tp)
                spec, _ = stores[tp]
                metrics.RECOVERY.labels(spec.name).set(time.monotonic() - started)
                done(spec, tp.partition, replays[tp])
            if not reading:
                break
            fetched = await fetch(consumer._fetcher, reading, 0.2, MAX_RECORDS)
            for tp, (records, position, error) in fetched.items():
                if error is None:
                    replays[tp].read(records)
                else:
                    failures[tp] += 1
                    await _unreadable(tp, position, error, failures[tp])
                    if failures[tp] == TRIES:
                        reading.remove(tp)
                        consumer.pause(tp)
                # A recovery of millions of keys must not starve heartbeats and health checks.
                await asyncio.sleep(0)
        return [f"{tp.topic}/{tp.partition}" for tp, count in failures.items() if count == TRIES]
    finally:
        await consumer.stop()


async def _unreadable(tp: TopicPartition, position: int, error: Exception, tries: int) -> None:
    metrics.UNREADABLE.labels(tp.topic, type(error).__name__).inc()
    log.error("%s/%d cannot be read at offset %d, try %d: %s", tp.topic, tp.partition, position, tries,
              describe(error))  # fmt: skip
    await asyncio.sleep(FIRST_PAUSE)


def _replay(tp: TopicPartition, store: Store, end: int) -> Replay:
    if store.end < end:
        return Replay(store)
    log.error("%s/%d ends at %d, before the table's %d: "
              "the topic was deleted and created again; writing the whole table to it",
              tp.topic, tp.partition, end, store.end)  # fmt: skip
    store.end = end - 1
    replay = Replay(store)
    replay.disputed.update(key for key, _ in store.items())
    return replay


async def catch_up(kafka: Kafka, topic: str, partition: int, replay: Replay, stop: int) -> None:
    """Continue a replay to changelog offset `stop`, exclusive."""
    async for records in _between(kafka, topic, partition, replay.end + 1, stop):
        replay.read(records)


async def foreign(kafka: Kafka, topic: str, partition: int, start: int, stop: int) -> tuple[Owner, set[bytes]]:
    """The highest owner and all keys found at changelog offsets [start, stop)."""
    newest, keys = Owner(), set[bytes]()
    async for records in _between(kafka, topic, partition, start, stop):
        for record in records:
            if record.key == OWN and record.value is not None:
                fence, generation, _ = _decode_owner(record.value)
                newest = max(newest, Owner(fence, generation))
            elif record.key is not None and record.key != POS:
                keys.add(record.key)
    return newest, keys


async def _between(
    kafka: Kafka, topic: str, partition: int, start: int, stop: int
) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """The records at offsets [start, stop), as they are fetched."""
    if start >= stop:
        return
    consumer = _reader(kafka)
    await consumer.start()
    try:
        tp = TopicPartition(kafka.name(topic), partition)
        consumer.assign([tp])
        consumer.seek(tp, start)
        while await consumer.position(tp) < stop:
            records = (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
            yield [record for record in records if record.offset < stop]
    finally:
        await consumer.stop()


def _reader(kafka: Kafka) -> AIOKafkaConsumer:
    return kafka.consumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=1_000_000,
    )
