"""The broker of a run: starting it, creating and deleting topics, and filling topics before a measurement."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.report import Progress
from schemas.fingerprint import partition_for
from schemas.settings import Settings
from schemas.topics import TOPICS
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from streams.process.topics import create_topics

_BATCH_BYTES = 500_000


@contextmanager
def broker(data_dir: Path, port: int, progress: Progress) -> Iterator[EmbeddedKafka]:
    """A broker on `port` (its controller on the next port) that is stopped at the end of the block."""
    kafka = EmbeddedKafka(data_dir, port, port + 1, progress=progress)
    kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()


async def create(bootstrap: str, partitions: int, *names: str, compact: bool = False) -> None:
    """Create topics; unless compacted, the broker sets their timestamps. RuntimeError if the broker rejects one."""
    configs = {"cleanup.policy": "compact"} if compact else {"message.timestamp.type": "LogAppendTime"}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs) for name in names])
        refused = [error for error in answer.topic_errors if error[1]]
        if refused:
            raise RuntimeError(f"the broker refuses topics: {refused}")
        # A topic is usable once each of its partitions has a leader.
        while any(  # noqa: ASYNC110 - Kafka tells nobody
            topic["error_code"] or any(part["leader"] < 0 for part in topic["partitions"])
            for topic in await admin.describe_topics(list(names))
        ):
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def delete(bootstrap: str, *names: str) -> None:
    """Delete topics, so that a long run does not fill the disk."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()


async def fill(bootstrap: str, topic: str, partitions: int, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write records to a topic, partitioned as between Stormweir's stages, and wait until the broker has them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=_BATCH_BYTES, max_request_size=2_000_000
    )
    await producer.start()
    try:
        source = iter(records)
        while chunk := list(islice(source, 5_000)):
            groups: dict[int, list[tuple[bytes, bytes]]] = {}
            for key, value in chunk:
                groups.setdefault(partition_for(key, partitions), []).append((key, value))
            waiting = []
            for partition, items in groups.items():
                batch = producer.create_batch()
                for key, value in items:
                    if batch.append(key=key, value=value, timestamp=None) is None:
                        waiting.append(await producer.send_batch(batch, topic, partition=partition))
                        batch = producer.create_batch()
                        batch.append(key=key, value=value, timestamp=None)
                waiting.append(await producer.send_batch(batch, topic, partition=partition))
            await asyncio.gather(*waiting)
    finally:
        await producer.stop()


async def topics_made_anew(settings: Settings) -> None:
    """Delete all of Stormweir's topics with their records, and create them again."""
    names = [topic.name for topic in TOPICS]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        if existing := [name for name in names if name in await admin.list_topics()]:
            await admin.delete_topics(existing)
        while set(names) & set(await admin.list_topics()):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await create_topics(Kafka(settings.bootstrap), settings.partitions, settings.replication)
