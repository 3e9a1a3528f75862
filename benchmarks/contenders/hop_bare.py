"""The tuned bare loop: the hop's work with aiokafka alone. Nothing is durable: no changelog, no commit.

Arguments: bootstrap, source topic, output topic, number of records.
"""

import asyncio
import gc
import sys
import time
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from benchmarks.contenders.hop_data import GC_THRESHOLDS, PACKED, PARTITIONS, SEVERITIES, WINDOW_MS, Clock

BATCH_BYTES = 900_000


async def run(bootstrap: str, source: str, output: str, count: int) -> str:
    """Process `count` records and return the report. Ends when the broker has every forwarded record."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=1_048_576,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=BATCH_BYTES
    )
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(source, partition) for partition in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    clock = Clock(count)
    state: dict[bytes, bytes] = {}
    sent: set[asyncio.Future[Any]] = set()
    forwarded = 0
    done = False
    while not done:
        for fetched in (await consumer.getmany(timeout_ms=200)).values():
            groups: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
            for record in fetched:
                alert = orjson.loads(record.value)
                key = xxh3_128_digest(f"{alert['tenant']}\0{alert['service']}\0{alert['dedup_key']}".encode())
                received = alert["received_at"]
                value = state.get(key)
                if value is None or received >= int.from_bytes(value[10:18], "little"):
                    state[key] = PACKED.pack(
                        1, SEVERITIES[alert["severity"]], received, received + WINDOW_MS, received, 0, 0
                    )
                    groups[xxh3_64_intdigest(key) % PARTITIONS].append((key, record.value))
                else:
                    repeats = int.from_bytes(value[26:30], "little") + 1
                    state[key] = (
                        value[:2]
                        + received.to_bytes(8, "little")
                        + value[10:26]
                        + repeats.to_bytes(4, "little")
                        + value[30:]
                    )
            for partition, items in enumerate(groups):
                forwarded += len(items)
                for batch in _batches(producer, items):
                    future = await producer.send_batch(batch, output, partition=partition)
                    sent.add(future)
                    future.add_done_callback(sent.discard)
            done = clock.take(len(fetched)) or done
    await asyncio.gather(*sent)
    report = clock.stop(forwarded=forwarded, keys=len(state))
    await producer.stop()
    await consumer.stop()
    return report


def _batches(producer: AIOKafkaProducer, items: list[tuple[bytes, bytes]]) -> list[Any]:
    batches: list[Any] = []
    append = None
    now = int(time.time() * 1000)
    for key, value in items:
        if append is None or append(key=key, value=value, timestamp=now) is None:
            batches.append(producer.create_batch())
            append = batches[-1].append
            append(key=key, value=value, timestamp=now)
    return batches


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(uvloop.run(run(arguments[0], arguments[1], arguments[2], int(arguments[3]))))
