"""Puts records back on the topics that they came from: of dead letters, and notifications of a destination.

Each is put back at least once: of a command that was killed, the next one may repeat the last _AT_ONCE records. Alerts
and notifications keep their ids, so a repeated alert is counted as one, and receivers recognise a repeated message.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.fingerprint import partition_for
from schemas.records import AGAIN_HEADER
from schemas.topics import DEADLETTERS, NOTIFICATIONS, Topic
from schemas.wire.deadletter import Headers
from streams.delivery.letters import Found, mark, target
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.reading import records
from streams.process.topics import check_topics

#: Records that are under way at once.
_AT_ONCE = 500
#: The largest record that is tried; the topic's own `max.message.bytes` decides.
_MAX_RECORD = 100_000_000
_AGAIN: Headers = [(AGAIN_HEADER, b"1")]


class Plan(NamedTuple):
    """What a replay does: letters with their topics, oldest first, and why the others stay; reasons are counted."""

    letters: Sequence[tuple[Found, Topic]]
    stay: Counter[str]

    @property
    def by_topic(self) -> Counter[str]:
        """How many records go to each topic."""
        return Counter(topic.name for _, topic in self.letters)


def plan(kafka: Kafka, found: Sequence[Found], *, again: bool = False) -> Plan:
    """What a replay of these letters does; with `again` also of those that were put back already."""
    letters: list[tuple[Found, Topic]] = []
    stay: Counter[str] = Counter()
    for each in sorted(found, key=lambda each: (each.at, each.place)):
        to = target(each.letter, kafka.ours)
        if isinstance(to, str):
            stay[to] += 1
        elif each.replayed_at and not again:
            stay["it was put back already"] += 1
        else:
            letters.append((each, to))
    return Plan(letters, stay)


async def replay(kafka: Kafka, planned: Plan) -> None:
    """Put the records back and mark their letters. Raises OperatorError when Kafka does not take one."""
    async with _sender(kafka) as sender:
        for start in range(0, len(planned.letters), _AT_ONCE):
            part = planned.letters[start : start + _AT_ONCE]
            await asyncio.gather(
                *[await sender.put(topic, found.letter.key, found.letter.body) for found, topic in part]
            )
            await asyncio.gather(*[await sender.mark(found) for found, _ in part])


async def notifications(kafka: Kafka, tenant: str, destination: str, since: int) -> AsyncIterator[bytes]:
    """Every notification of a destination since then, once, as it is on its topic. Raises OperatorError."""
    key = f"{tenant}/{destination}".encode()
    count = (await check_topics(kafka, [NOTIFICATIONS]))[NOTIFICATIONS.name]
    async for record in records(kafka, NOTIFICATIONS, since=since, partition=partition_for(key, count)):
        if record.key == key and record.value and all(name != AGAIN_HEADER for name, _ in record.headers):
            yield record.value


async def redeliver(kafka: Kafka, tenant: str, destination: str, since: int) -> int:
    """Put these notifications on their topic again; returns how many. Raises OperatorError when Kafka fails."""
    key, count = f"{tenant}/{destination}".encode(), 0
    async with _sender(kafka) as sender:
        under_way: list[asyncio.Future[object]] = []
        async for value in notifications(kafka, tenant, destination, since):
            count += 1
            under_way.append(await sender.put(NOTIFICATIONS, key, value))
            if len(under_way) >= _AT_ONCE:
                await asyncio.gather(*under_way)
                under_way.clear()
        await asyncio.gather(*under_way)
    return count


class _Sender:
    """Hands records to a producer; each future ends when Kafka has the record. Records keep their order."""

    def __init__(self, kafka: Kafka, producer: AIOKafkaProducer) -> None:
        self._kafka = kafka
        self._producer = producer

    async def put(self, topic: Topic, key: bytes, value: bytes) -> asyncio.Future[object]:
        """Put a record on the topic of its stage, which processes it although later ones were processed."""
        name = self._kafka.name(topic.name)
        partition = partition_for(key, len(await self._producer.partitions_for(name)))
        return await self._send(name, key, value, partition, _AGAIN)

    async def mark(self, found: Found) -> asyncio.Future[object]:
        """Remember that the letter was put back."""
        letter, name = mark(found, time.time_ns() // 1_000_000), self._kafka.name(DEADLETTERS.name)
        return await self._send(name, letter.key, letter.body, found.place.partition, letter.headers())

    async def _send(
        self, name: str, key: bytes, value: bytes, partition: int, headers: Headers
    ) -> asyncio.Future[object]:
        sent: asyncio.Future[object] = await self._producer.send(
            name, value, key=key, partition=partition, headers=headers
        )
        return sent


@asynccontextmanager
async def _sender(kafka: Kafka) -> AsyncIterator[_Sender]:
    producer = kafka.producer(
        client_id="stormweir-replay", acks="all", enable_idempotence=True, max_request_size=_MAX_RECORD
    )
    try:
        await producer.start()
        yield _Sender(kafka, producer)
    except KafkaError as error:
        raise OperatorError(f"Kafka at {kafka.bootstrap} does not take it: {type(error).__name__}") from None
    finally:
        await producer.stop()
