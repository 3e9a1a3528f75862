"""Lanes: what the broker acknowledged is what is told, and nothing else can be put."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.gateway.lanes import RECORD_OVERHEAD, Lanes, TooLargeError, UnavailableError
from streams.process.kafka import Kafka
from tests.conftest import MakeTopics

pytestmark = pytest.mark.broker


async def count(bootstrap: str, topic: str) -> int:
    """How many records the topic has."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets([TopicPartition(topic, p) for p in range(4)])).values())
    finally:
        await consumer.stop()


async def test_a_record_the_topic_cannot_take_is_refused_alone(broker: str, make_topics: MakeTopics) -> None:
    """A record over the topic's own limit is refused before it can end the producer for all others."""
    (topic,) = await make_topics("lanes")
    lanes = Lanes(Kafka(broker), topic)
    await lanes.start()
    try:
        with pytest.raises(TooLargeError) as refused:
            lanes.put(b"k", bytes(16 * 1024 * 1024), 1)
        with pytest.raises(TooLargeError):
            lanes.put(b"k", bytes(refused.value.limit - RECORD_OVERHEAD), 1)
        await lanes.put(b"", bytes(refused.value.limit - RECORD_OVERHEAD), 1)
        small = [lanes.put(b"k", b"small", 1) for _ in range(3)]
        await asyncio.gather(*small, lanes.put(b"k", bytes(1_000_000), 1))
    finally:
        await lanes.stop()
    assert await count(broker, topic) == 5


async def test_stop_sends_what_waits_and_then_refuses(broker: str, make_topics: MakeTopics) -> None:
    """What was put before `stop` is acknowledged; afterwards `put` refuses."""
    (topic,) = await make_topics("lanes")
    lanes = Lanes(Kafka(broker), topic)
    await lanes.start()
    assert lanes.connected
    waiters = [lanes.put(b"%d" % number, b"v", 1) for number in range(50)]
    await lanes.stop()
    assert all(waiter.done() and waiter.exception() is None for waiter in waiters)
    assert await count(broker, topic) == 50
    assert not lanes.connected
    assert lanes.pending_since() is None
    with pytest.raises(UnavailableError):
        lanes.put(b"k", b"v", 1)


async def test_a_requester_that_went_away_disturbs_nobody(broker: str, make_topics: MakeTopics) -> None:
    """A cancelled waiter neither stops its batch nor the others in it."""
    (topic,) = await make_topics("lanes")
    lanes = Lanes(Kafka(broker), topic)
    await lanes.start()
    try:
        gone, stays = lanes.put(b"k", b"v", 1), lanes.put(b"k", b"v", 1)
        gone.cancel()
        await stays
    finally:
        await lanes.stop()
    assert await count(broker, topic) == 2


async def test_too_much_waiting_is_refused(
    broker: str, make_topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: beyond it `put` refuses, and takes again once the broker has what waited."""
    monkeypatch.setattr("streams.gateway.lanes.WAITING_BYTES", 1000)
    (topic,) = await make_topics("lanes")
    lanes = Lanes(Kafka(broker), topic)
    await lanes.start()
    try:
        first = lanes.put(b"k", bytes(900), 1)
        with pytest.raises(UnavailableError):
            lanes.put(b"k", bytes(900), 1)
        await first
        await lanes.put(b"k", bytes(900), 1)
    finally:
        await lanes.stop()
    assert await count(broker, topic) == 2
