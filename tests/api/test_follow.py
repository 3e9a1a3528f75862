"""The read model on a real topic: it catches up, goes on, and begins again when what it has is of no use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from schemas.topics import INCIDENTS
from schemas.wire.codec import encode
from schemas.wire.incident import Incident
from streams.api.model.follow import _AGE_MS
from streams.api.model.model import Model
from streams.api.model.pages import Filter
from streams.api.model.store import Store
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.api.reading import incident

pytestmark = pytest.mark.broker

_WITHIN_S = 30.0
_PREFIX = "model."


@pytest.fixture
async def kafka(broker: str) -> AsyncIterator[Kafka]:
    """A Kafka with an empty topic `incidents` of three partitions."""
    kafka = Kafka(broker, _PREFIX)
    await create_topics(kafka, 3, 1, [INCIDENTS])
    yield kafka
    await delete(kafka)


async def delete(kafka: Kafka) -> None:
    """Delete the topic, and wait until it is gone."""
    admin: AIOKafkaAdminClient = kafka.admin()
    await admin.start()
    try:
        await admin.delete_topics([kafka.name(INCIDENTS.name)])
        async with asyncio.timeout(_WITHIN_S):
            while kafka.name(INCIDENTS.name) in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except UnknownTopicOrPartitionError:
        pass
    finally:
        await admin.close()


async def produce(kafka: Kafka, *incidents: Incident, delete: Incident | None = None) -> None:
    """Write the incidents in one transaction, as correlation does, after one that is aborted."""
    producer = kafka.producer(transactional_id="test")
    await producer.start()
    try:
        name = kafka.name(INCIDENTS.name)
        await producer.begin_transaction()
        await producer.send_and_wait(name, encode(incident(99)), key=incident(99).incident_id)
        await producer.abort_transaction()
        async with producer.transaction():
            for each in incidents:
                await producer.send(name, encode(each), key=each.incident_id)
            if delete is not None:
                await producer.send(name, None, key=delete.incident_id)
    finally:
        await producer.stop()


@asynccontextmanager
async def following(kafka: Kafka, path: Path) -> AsyncIterator[Model]:
    """A model that has caught up."""
    model = Model(kafka, path / "incidents.sqlite")
    try:
        await asyncio.wait_for(model.start(), _WITHIN_S)
        yield model
    finally:
        await model.stop()


async def numbers(model: Model) -> list[int]:
    """What the list has."""
    page, _ = await model.page(Filter("default"), "-opened_at", None, 100)
    return sorted(int.from_bytes(each.incident_id, "big") for each in page.incidents)


async def until(model: Model, expected: list[int], also: Callable[[], bool] = lambda: True) -> None:
    """Wait until the list has these."""
    async with asyncio.timeout(_WITHIN_S):
        while await numbers(model) != expected or not also():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_it_catches_up_and_goes_on(kafka: Kafka, tmp_path: Path) -> None:
    """What is there when it starts is in the first list; later records are there soon; after a restart it reads only
    what is new; deletions count, aborted records do not; `as_of` moves while nothing happens.
    """
    await produce(kafka, *(incident(n) for n in range(1, 31)))
    async with following(kafka, tmp_path) as model:
        assert await numbers(model) == list(range(1, 31))
        await produce(kafka, incident(31), incident(1, version=2, alert_count=7), delete=incident(2))
        assert await model.shows("default", incident(1).incident_id, 2, _WITHIN_S)
        await until(model, [1, *range(3, 32)])
        before = model.as_of
        await until(model, [1, *range(3, 32)], lambda: model.as_of > before)
    await produce(kafka, incident(32))
    async with following(kafka, tmp_path) as model:
        assert await numbers(model) == [1, *range(3, 33)]
        found = await model.find("default", incident(1).incident_id)
        assert found is not None
        assert found.alert_count == 7


async def test_a_topic_that_was_made_anew_is_read_anew(kafka: Kafka, tmp_path: Path) -> None:
    """Also while it is followed, and also if the new one has as many records; clients are told to read anew."""
    await produce(kafka, *(incident(n) for n in range(1, 11)))
    async with following(kafka, tmp_path) as model:
        feed = model.feeds.of("default")
        place = feed.place(None)
        await delete(kafka)
        await create_topics(kafka, 3, 1, [INCIDENTS])
        await produce(kafka, *(incident(n) for n in range(41, 43)))
        await until(model, [41, 42])
        assert b"event: reset" in b"".join(feed.after(place)[0])
    await delete(kafka)
    await create_topics(kafka, 3, 1, [INCIDENTS])
    await produce(kafka, *(incident(n) for n in range(51, 53)))
    async with following(kafka, tmp_path) as model:
        assert await numbers(model) == [51, 52]


@pytest.mark.parametrize("harm", ["lost", "old", "ahead"])
async def test_a_file_that_missed_something_is_made_again(kafka: Kafka, tmp_path: Path, harm: str) -> None:
    """One that is lost, one so old that deletions may have been forgotten, and one that is ahead of the topic."""
    await produce(kafka, *(incident(n) for n in range(1, 6)))
    async with following(kafka, tmp_path):
        pass
    path = tmp_path / "incidents.sqlite"
    if harm == "lost":
        path.unlink()
    else:
        store = Store(path)
        store._db.execute("INSERT INTO counts VALUES ('default', 1, 1, 'ghost', 5)")
        change = f"UPDATE origin SET read_at = read_at - {_AGE_MS}"
        store._db.execute(change if harm == "old" else "UPDATE positions SET next = next + 1000")
        store.close()
    async with following(kafka, tmp_path) as model:
        assert await numbers(model) == [1, 2, 3, 4, 5]
        _, facets = await model.page(Filter("default"), "priority", None, 1)
        assert facets.service == {"web": 5}


async def test_a_file_that_breaks_while_it_is_used_is_made_again(kafka: Kafka, tmp_path: Path) -> None:
    """A reader says so; the list is whole again soon."""
    await produce(kafka, *(incident(n) for n in range(1, 6)))
    async with following(kafka, tmp_path) as model:
        inode = (tmp_path / "incidents.sqlite").stat().st_ino
        model._follower.renew()
        await until(model, [1, 2, 3, 4, 5], lambda: (tmp_path / "incidents.sqlite").stat().st_ino != inode)
        await produce(kafka, incident(6))
        await until(model, [1, 2, 3, 4, 5, 6])


async def test_it_waits_for_kafka(broker: str, tmp_path: Path) -> None:
    """While the topic does not exist it tries again; it can be stopped meanwhile."""
    kafka = Kafka(broker, "later.")
    model = Model(kafka, tmp_path / "incidents.sqlite")
    starting = asyncio.create_task(model.start())
    try:
        await asyncio.sleep(0)
        assert not starting.done()
        await create_topics(kafka, 1, 1, [INCIDENTS])
        await asyncio.wait_for(starting, _WITHIN_S)
        assert await numbers(model) == []
    finally:
        await model.stop()
    waiting = Model(Kafka("127.0.0.1:1"), tmp_path / "none.sqlite")
    starting = asyncio.create_task(waiting.start())
    await asyncio.sleep(0)
    await asyncio.wait_for(waiting.stop(), _WITHIN_S)
    starting.cancel()
