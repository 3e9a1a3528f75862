"""Commands as a gateway submits them: on a real Kafka, answered or not."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from msgspec import structs

from schemas.fingerprint import partition_for, scope_of, uuid7
from schemas.topics import ALERTS_EVENTS, ALERTS_UNIQUE, REPLIES
from schemas.wire.codec import decode_command, decode_reply_to, encode
from schemas.wire.command import COMMAND_HEADER, Command, CommandAction, CommandEnd, CommandResult
from schemas.wire.incident import Incident, Status
from schemas.wire.verdict import REPLY, Verdict
from streams.gateway.commands import BUDGET_S, PENDING, Commands
from streams.gateway.lanes import UnavailableError
from streams.gateway.verdicts import Verdicts
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS, FreePorts
from tests.gateway.worker import Worker, incidents_of

pytestmark = pytest.mark.broker

DONE = CommandResult(end=CommandEnd.DONE, version=2, status="acknowledged", title="Disk full")


def _command() -> Command:
    return Command(
        command_id=uuid7(),
        tenant="default",
        incident_id=uuid7(),
        correlation_key=uuid7(),
        action=CommandAction.ACKNOWLEDGE,
        actor="slack:U1 (Ada)",
        at=time.time_ns() // 1_000_000,
    )


@pytest.fixture
async def commands(prepared: str) -> AsyncIterator[Commands]:
    """Commands that are connected, and whose answers are followed."""
    kafka = Kafka(prepared)
    verdicts = Verdicts(kafka)
    commands = Commands(kafka, verdicts)
    await asyncio.wait_for(asyncio.gather(verdicts.start(), commands.start()), 30)
    yield commands
    await verdicts.stop()
    await commands.stop()


class Stream:
    """What reads `alerts.unique` from now on, in place of a worker."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> "Stream":
        await self._consumer.start()
        partitions = [TopicPartition(ALERTS_UNIQUE.name, partition) for partition in range(PARTITIONS)]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            await self._consumer.position(partition)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def next(self) -> ConsumerRecord:
        """The next record."""
        return await asyncio.wait_for(self._consumer.getone(), 10)

    async def answer(self, *records: ConsumerRecord) -> None:
        """Answer these commands."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        await producer.start()
        try:
            for record in records:
                reply_to = decode_reply_to(dict(record.headers)[REPLY])
                told = encode(Verdict(reply_to, False, decode_command(record.value).incident_id, DONE))
                partition = partition_for(reply_to.address, PARTITIONS)
                await producer.send_and_wait(REPLIES.name, told, reply_to.address, partition)
        finally:
            await producer.stop()


async def test_a_command_is_a_record_between_the_alerts(commands: Commands, prepared: str) -> None:
    """Its key is the correlation key, on the partition that alerts of this key have; the answer is the stream's."""
    command = _command()
    async with Stream(prepared) as stream:
        submitted = asyncio.create_task(commands.submit(command))
        record = await stream.next()
        await stream.answer(record)
        assert await submitted == DONE
    assert decode_command(record.value) == command
    assert record.key == scope_of(command.incident_id)
    assert record.partition == partition_for(scope_of(command.incident_id), PARTITIONS)
    assert {name for name, _ in record.headers} == {COMMAND_HEADER, REPLY}


async def test_one_command_twice_at_a_time_has_two_answers(commands: Commands, prepared: str) -> None:
    """Both who submitted it hear what became of it."""
    command = _command()
    async with Stream(prepared) as stream:
        both = asyncio.gather(commands.submit(command), commands.submit(command))
        await stream.answer(await stream.next(), await stream.next())
        assert await both == [DONE, DONE]


async def test_without_an_answer_it_is_pending(commands: Commands, prepared: str) -> None:
    """After the budget of 1 s, and the record is there; a late answer disturbs nothing."""
    async with Stream(prepared) as stream:
        started = time.monotonic()
        assert await commands.submit(_command()) == PENDING
        assert BUDGET_S <= time.monotonic() - started < BUDGET_S + 1
        await stream.answer(await stream.next())
        submitted = asyncio.create_task(commands.submit(_command()))
        await stream.answer(await stream.next())
        assert await submitted == DONE


async def test_a_kafka_that_is_away_is_no_pending_command(free_ports: FreePorts) -> None:
    """Who submits hears that it was not stored; the start waits for nothing, the stop neither."""
    (port,) = free_ports(1)
    kafka = Kafka(f"127.0.0.1:{port}")
    commands = Commands(kafka, Verdicts(kafka))
    connecting = commands.start()
    with pytest.raises(UnavailableError):
        await commands.submit(_command())
    assert not connecting.done()
    await asyncio.wait_for(commands.stop(), 10)


@pytest.fixture
def worker(prepared: str, free_ports: FreePorts, tmp_path: Path) -> Iterator[Worker]:
    """A worker that runs."""
    asyncio.run(create_topics(Kafka(prepared), PARTITIONS, 1))
    worker = Worker(prepared, free_ports, tmp_path)
    worker.start()
    yield worker
    worker.stop()


async def _opened(bootstrap: str, key: str) -> Incident:
    """The incident that a new alert opens."""
    event = {"service": "commands", "dedup_key": key, "summary": "Disk full"}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(ALERTS_EVENTS.name, json.dumps(event).encode(), key.encode())
    finally:
        await producer.stop()
    async with asyncio.timeout(30):
        while not (found := await incidents_of(bootstrap, key)):
            pass
    return next(iter(found.values()))


async def test_a_worker_that_is_killed_takes_a_command_once(worker: Worker, commands: Commands, prepared: str) -> None:
    """An idle worker answers within the budget. What is submitted while it is dead is pending, takes effect when it
    is back, and only once; whoever asks again then hears how it ended.
    """
    key = uuid.uuid4().hex
    incident = await _opened(prepared, key)
    fields = {
        "incident_id": incident.incident_id, "correlation_key": incident.correlation_key, "tenant": incident.tenant,
    }  # fmt: skip
    note = structs.replace(_command(), action=CommandAction.NOTE, note="on it", **fields)
    taken = await commands.submit(note)
    assert (taken.end, taken.version, taken.title) == (CommandEnd.DONE, 2, "Disk full")
    worker.kill()
    acknowledge = structs.replace(_command(), **fields)
    assert await asyncio.gather(*(commands.submit(acknowledge) for _ in range(3))) == [PENDING] * 3
    await asyncio.to_thread(worker.start)
    async with asyncio.timeout(60):
        while (late := await commands.submit(acknowledge)) == PENDING:
            pass
    assert (late.end, late.version, late.status) == (CommandEnd.DONE, 3, "acknowledged")
    again = await commands.submit(structs.replace(acknowledge, command_id=uuid7()))
    assert (again.end, again.version) == (CommandEnd.ALREADY, 3)
    assert (await commands.submit(note)).version == 3
    newest = (await incidents_of(prepared, key))[incident.incident_id]
    assert (newest.status, newest.version) == (Status.ACKNOWLEDGED, 3)
