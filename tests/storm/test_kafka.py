"""Records through a real broker: what is counted as accepted is on the topic."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas import topics
from schemas.wire.events import decode, encode_avro
from streams.engine.clock import mark
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from streams.storm.bodies import event_records
from streams.storm.counts import Counts
from streams.storm.drain import STEPS, Drain
from streams.storm.kafka import send_records, topic_ends
from streams.storm.ledger import Range, ranges
from streams.storm.shapes import Size, specs
from tests.conftest import PARTITIONS, MakeTopics

SIZE = Size(alerts=20_000, keys=500, services=5, seed=3)


@pytest.mark.broker
async def test_every_record_is_acknowledged_and_in_order(broker: str, make_topics: MakeTopics) -> None:
    """All records are on the topic once, counted as accepted, each key's in the order they were made."""
    (topic,) = await make_topics("storm")
    before = await topic_ends(Kafka(broker), [topic])
    counts = Counts()
    await send_records(Kafka(broker), topic, event_records(specs("storm", SIZE), encode_avro, lambda: 1), counts)
    after = await topic_ends(Kafka(broker), [topic])
    assert (counts.sent, counts.accepted, counts.unknown) == (20_000, 20_000, 0)
    assert counts.latency.quantile(0.99) > 0
    assert set(before.values()) == {0}
    assert sum(span.end - span.first for span in ranges(before, after)) == 20_000

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found: dict[str, list[str]] = {}
        async with asyncio.timeout(30):
            while sum(map(len, found.values())) < 20_000:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        event = decode(record.value)
                        assert record.key == event.dedup_key.encode()
                        found.setdefault(event.dedup_key, []).append(bytes(event.details).decode())
    finally:
        await consumer.stop()
    sent: dict[str, list[str]] = {}
    for spec in specs("storm", SIZE):
        sent.setdefault(spec.dedup_key, []).append(f'{{"n":{spec.n}}}')
    assert found == sent


@pytest.mark.broker
async def test_rate_is_kept(broker: str, make_topics: MakeTopics) -> None:
    """A rate limits records a second."""
    (topic,) = await make_topics("storm")
    counts = Counts()
    started = time.monotonic()
    await send_records(Kafka(broker), topic, [(b"k", b"v")] * 1_000, counts, rate=1_000)
    assert 0.9 <= time.monotonic() - started < 3
    assert counts.accepted == 1_000


def test_ranges_are_what_was_written_between() -> None:
    """Only partitions that grew have a range; a partition that is new starts at 0."""
    before = {("a", 0): 5, ("a", 1): 7}
    after = {("a", 1): 9, ("a", 0): 5, ("b", 0): 2}
    assert ranges(before, after) == [Range("a", 1, 7, 9), Range("b", 0, 0, 2)]


@pytest.mark.broker
async def test_drained_means_no_group_lags(broker: str) -> None:
    """Every group of the path must have committed everything it reads; one record left anywhere shows."""
    await create_topics(Kafka(broker), PARTITIONS, 1)
    async with Drain(Kafka(broker)) as drain:
        await _commit_all(broker)
        assert await drain.done()
        for group, step in STEPS:
            producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
            await producer.start()
            await producer.send_and_wait(step[0].name, b"x", partition=1)
            await producer.stop()
            assert not await drain.done(), (group, step)
            await _commit_all(broker)
            assert await drain.done()


@pytest.mark.broker
async def test_marks_are_no_work_that_is_left(broker: str) -> None:
    """Time that a stage was told and has not committed is not waited for; an alert between the marks is."""
    await create_topics(Kafka(broker), PARTITIONS, 1)
    _, value, headers = mark("alerts.raw/0", 1_700_000_000_000)
    assert headers[0][0] == topics.MARK_HEADER
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
    await producer.start()
    async with Drain(Kafka(broker)) as drain:
        await _commit_all(broker)
        for _ in range(3):
            await producer.send_and_wait(topics.ALERTS_UNIQUE.name, value, partition=0, headers=list(headers))
        assert await drain.done()
        await producer.send_and_wait(topics.ALERTS_UNIQUE.name, b"x", partition=0)
        await producer.send_and_wait(topics.ALERTS_UNIQUE.name, value, partition=0, headers=list(headers))
        assert not await drain.done()
        await _commit_all(broker)
        assert await drain.done()
    await producer.stop()


async def _commit_all(broker: str) -> None:
    """Commit every group at the ends of its topics, however many partitions other tests gave them."""
    for group in {group for group, _ in STEPS}:
        names = [topic.name for owner, step in STEPS if owner == group for topic in step]
        ends = {TopicPartition(*partition): end for partition, end in (await topic_ends(Kafka(broker), names)).items()}
        consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.commit(ends)
        await consumer.stop()
