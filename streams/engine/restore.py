"""Reading changelogs: the state of newly assigned partitions, and what another owner wrote in between."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.engine import metrics
from streams.engine.changelog import OWN, POS, Owner, Replay
from streams.engine.lane import TableSpec
from streams.engine.store import Store

log = logging.getLogger(__name__)
_decode_owner = msgspec.msgpack.Decoder(tuple[int, int, int]).decode


async def restore(
    bootstrap: str,
    wanted: Iterable[tuple[TableSpec, int, Store]],
    done: Callable[[TableSpec, int, Replay], None],
) -> None:
    """Bring each store up to the end of its changelog partition and call `done` for it, one by one.

    A store that was filled before only reads what came since. Raises aiokafka's errors.
    """
    started = time.monotonic()
    replays = {
        TopicPartition(spec.changelog, partition): (spec, partition, store, Replay(store, store.end))
        for spec, partition, store in wanted
    }
    if not replays:
        return
    consumer = _reader(bootstrap)
    await consumer.start()
    try:
        consumer.assign(list(replays))
        ends = await consumer.end_offsets(list(replays))
        starts = await consumer.beginning_offsets(list(replays))
        for tp, (_, _, store, _) in replays.items():
            consumer.seek(tp, max(starts[tp], min(store.end + 1, ends[tp])))
        reading = set(replays)
        while reading:
            for tp in [tp for tp in reading if await consumer.position(tp) >= ends[tp]]:
                reading.remove(tp)
                consumer.pause(tp)
                spec, partition, store, replay = replays[tp]
                replay.finish()
                store.end = ends[tp] - 1
                metrics.RECOVERY.labels(spec.name).set(time.monotonic() - started)
                done(spec, partition, replay)
            if not reading:
                break
            for tp, records in (await consumer.getmany(*reading, timeout_ms=200)).items():
                replays[tp][3].read(records)
                # A recovery of millions of keys must not starve heartbeats and health checks.
                await asyncio.sleep(0)
    finally:
        await consumer.stop()


async def foreign(bootstrap: str, topic: str, partition: int, start: int, stop: int) -> tuple[Owner, set[bytes]]:
    """The highest owner and all keys found at changelog offsets [start, stop)."""
    newest, keys = Owner(0, -1), set[bytes]()
    consumer = _reader(bootstrap)
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        consumer.seek(tp, start)
        while await consumer.position(tp) < stop:
            for record in (await consumer.getmany(tp, timeout_ms=200)).get(tp, ()):
                if record.offset >= stop or record.key is None:
                    continue
                if record.key == OWN and record.value is not None:
                    fence, generation, _ = _decode_owner(record.value)
                    newest = max(newest, Owner(fence, generation))
                elif record.key != POS:
                    keys.add(record.key)
    finally:
        await consumer.stop()
    return newest, keys


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4_000_000,
    )
