"""The topic `console`: every process of the API knows what one of them was told, and a restarted one still does."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.topics import CONSOLE
from streams.api.identity.console import ConsoleTopic
from streams.api.identity.sessions import Sessions
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.engine.harness import until

pytestmark = pytest.mark.broker


def _now() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def _process(kafka: Kafka) -> AsyncIterator[tuple[ConsoleTopic, Sessions]]:
    producer = kafka.producer(acks="all")
    await producer.start()
    store = ConsoleTopic(kafka, producer)
    try:
        await store.start()
        yield store, Sessions(store, _now)
    finally:
        await store.stop()
        await producer.stop()


async def test_a_session_is_known_everywhere_and_ended_everywhere(broker: str) -> None:
    """It is there when its cookie is sent; one that another process ended stays ended, also if it was in use."""
    kafka = Kafka(broker, prefix=f"console-{uuid.uuid4().hex[:8]}.")
    await create_topics(kafka, 1, 1, [CONSOLE])
    async with _process(kafka) as (store, here), _process(kafka) as (_, there):
        kept, ended = [await here.begin("ada", "default", "192.0.2.1", "curl") for _ in range(2)]
        assert here.find(ended) is not None
        await until(lambda: there.find(ended) is not None, 10, "the session in the other process")
        for record in ((b"session/x", b"\xff"), (b"other/x", b"x"), (b"seen/y", None)):
            await store._producer.send_and_wait(store._name, record[1], key=record[0], partition=0)
        active = there.find(ended)
        assert active is not None
        await there.end(active)
        assert there.find(ended) is None
        here.see(active.id)
        await until(lambda: here.find(ended) is None, 10, "the end in the first process")
        await here.delete_ended()
        here.see(active.id)
        await asyncio.sleep(0)
    async with _process(kafka) as (_, again):
        assert again.find(ended) is None
        found = again.find(kept)
        assert found is not None
        assert (found.session.account, found.session.agent) == ("ada", "curl")
