"""Reading changelogs: the state of newly assigned partitions, and what another owner wrote in between."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from streams.engine import metrics
from streams.engine.changelog import OWN, POS, Owner, Replay
from streams.engine.lane import TableSpec
from streams.engine.store import Store

log = logging.getLogger(__name__)
#: Fetched records are large objects for a moment: more at once would stay in the process as unused memory.
MAX_RECORDS = 10_000
_decode_owner = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


async def restore(
    bootstrap: str,
    wanted: Iterable[tuple[TableSpec, int, Store]],
    done: Callable[[TableSpec, int, Replay], None],
) -> None:
    """Bring each store up to the present end of its changelog partition and call `done` for it, one by one.

    A store that was filled before only reads what came since. The caller ends the replay: it may have to
    `catch_up` first. Raises aiokafka's errors.
    """
    started = time.monotonic()
    stores = {TopicPartition(spec.changelog, partition): (spec, store) for spec, partition, store in wanted}
    if not stores:
        return
    consumer = _reader(bootstrap)
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
        while reading:
            for tp in [tp for tp in reading if await consumer.position(tp) >= ends[tp]]:
                reading.remove(tp)
                consumer.pause(tp)
                spec, _ = stores[tp]
                metrics.RECOVERY.labels(spec.name).set(time.monotonic() - started)
                done(spec, tp.partition, replays[tp])
            if not reading:
                break
            for tp, records in (await consumer.getmany(*reading, timeout_ms=200, max_records=MAX_RECORDS)).items():
                replays[tp].read(records)
                # A recovery of millions of keys must not starve heartbeats and health checks.
                await asyncio.sleep(0)
    finally:
        await consumer.stop()


def _replay(tp: TopicPartition, store: Store, end: int) -> Replay:
    if store.end < end:
        return Replay(store)
    log.error("%s/%d ends at %d, before the table's %d: the topic was made anew; writing the whole table to it",
              tp.topic, tp.partition, end, store.end)  # fmt: skip
    store.end = end - 1
    replay = Replay(store)
    replay.disputed.update(key for key, _ in store.items())
    return replay


async def catch_up(bootstrap: str, topic: str, partition: int, replay: Replay, stop: int) -> None:
    """Go on with a replay to changelog offset `stop`, exclusive."""
    async for records in _between(bootstrap, topic, partition, replay.end + 1, stop):
        replay.read(records)


async def foreign(bootstrap: str, topic: str, partition: int, start: int, stop: int) -> tuple[Owner, set[bytes]]:
    """The highest owner and all keys found at changelog offsets [start, stop)."""
    newest, keys = Owner(), set[bytes]()
    async for records in _between(bootstrap, topic, partition, start, stop):
        for record in records:
            if record.key == OWN and record.value is not None:
                fence, generation, _ = _decode_owner(record.value)
                newest = max(newest, Owner(fence, generation))
            elif record.key is not None and record.key != POS:
                keys.add(record.key)
    return newest, keys


async def _between(
    bootstrap: str, topic: str, partition: int, start: int, stop: int
) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """The records at offsets [start, stop), as they are fetched."""
    if start >= stop:
        return
    consumer = _reader(bootstrap)
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        consumer.seek(tp, start)
        while await consumer.position(tp) < stop:
            records = (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
            yield [record for record in records if record.offset < stop]
    finally:
        await consumer.stop()


async def deletions_kept(bootstrap: str, topics: Iterable[str]) -> dict[str, int]:
    """How long each topic keeps deletions after compaction (`delete.retention.ms`), milliseconds.

    A topic whose settings the broker does not show is left out, with a warning. Raises aiokafka's errors.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics])
    finally:
        await admin.close()
    kept: dict[str, int] = {}
    for code, _, _, topic, entries in (resource for answer in answers for resource in answer.resources):
        if code:
            log.warning("the broker does not show the settings of %s: %s", topic, for_code(code).__name__)
        for name, value, *_ in entries:
            if name == "delete.retention.ms":
                kept[topic] = int(value)
    return kept


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=1_000_000,
    )
