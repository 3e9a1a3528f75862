"""Several people change the configuration at once: nobody's change is lost without being told."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import AsyncIterator, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Integration, Service, control_key, dump
from schemas.settings import Settings
from schemas.topics import AUDIT, CONTROL, CONTROL_WRITER
from schemas.wire.audit import AuditRecord
from streams.cli._control import transact
from streams.control.audit import Actor
from streams.control.follow import ControlReader, publish, read
from streams.control.secrets import NO_KEYS, SecretKeys
from streams.control.state import Control
from streams.control.transaction import change
from streams.control.write import Change, ConflictError, Values, Write
from streams.embedded.supervisor import until
from streams.process.kafka import Kafka
from streams.process.topics import create_topics

SHARED = ("service/default/a", "service/default/b")


@types.coroutine
def step() -> Generator[None, None, None]:
    """A point where anything may happen before this editor goes on."""
    yield


class Topic:
    """The topic as Kafka promises it: who begins last fences all others, a transaction is there whole or not."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None]] = []
        self.audit: list[AuditRecord] = []
        self.epoch = 0

    @asynccontextmanager
    async def only_writer(self) -> AsyncIterator[Write]:
        await step()
        self.epoch += 1
        epoch = self.epoch

        async def write(values: Values, audit: Sequence[AuditRecord]) -> None:
            await step()
            if epoch != self.epoch:
                raise ConflictError("fenced")
            self.records += values.items()
            self.audit += audit
            await step()

        await step()
        yield write

    def compact(self) -> None:
        """Only the newest record of each key stays."""
        self.records = list(dict(self.records).items())


class Snapshot:
    """A reader that starts from nothing each time, so that what compaction left must be enough."""

    def __init__(self, topic: Topic, keys: SecretKeys = NO_KEYS) -> None:
        self.topic = topic
        self.control = Control(keys)

    async def catch_up(self) -> None:
        await step()
        self.control.records.clear()
        for key, value in self.topic.records:
            refused = self.control.apply(key, value)
            assert refused is None or key in self.control.unopened()


async def edit(topic: Topic, number: int, keys: tuple[str, ...]) -> None:
    """Append a number to the names of services, as it can only be done by who knows what they are."""
    reader = Snapshot(topic)
    await reader.catch_up()

    def plan(control: Control) -> tuple[None, Change]:
        known = {key: control.records.get(key) or Service(id=key[-1]) for key in keys}
        return None, Change(
            [record.model_copy(update={"name": f"{record.name},{number}"}) for record in known.values()]
        )

    await change(reader, topic.only_writer, plan, Actor(str(number)))


def names(topic: Topic, key: str) -> list[str]:
    """The numbers that were appended."""
    control = Control()
    for place, value in topic.records:
        control.apply(place, value)
    record = control.records.get(key)
    return record.name.split(",")[1:] if isinstance(record, Service) else []


@given(
    wanted=st.lists(st.sampled_from([SHARED[:1], SHARED[1:], SHARED]), min_size=2, max_size=5),
    schedule=st.lists(
        st.tuples(st.sampled_from(["go", "go", "go", "kill", "compact"]), st.integers(0, 4)), max_size=60
    ),
)
def test_no_change_is_lost_in_any_order_with_kills_and_compaction(
    wanted: list[tuple[str, ...]], schedule: list[tuple[str, int]]
) -> None:
    """Whoever was told that it is done finds the change there, whoever was told of a conflict does not, and a
    killed one left all of it or nothing."""
    topic = Topic()
    running: dict[int, Coroutine[Any, Any, None]] = {n: edit(topic, n, keys) for n, keys in enumerate(wanted)}
    ends: dict[int, str] = {}

    def go(number: int) -> None:
        try:
            running[number].send(None)
        except StopIteration:
            ends[number] = "done"
        except ConflictError:
            ends[number] = "conflict"
        if number in ends:
            del running[number]

    for act, number in schedule:
        if act == "compact":
            topic.compact()
        elif number in running and act == "kill":
            running.pop(number).close()
        elif number in running:
            go(number)
    while running:
        go(min(running))

    for number, keys in enumerate(wanted):
        found = [names(topic, key).count(str(number)) for key in keys]
        assert found in {"done": ([1] * len(keys),), "conflict": ([0] * len(keys),)}.get(
            ends.get(number, "killed"), ([0] * len(keys), [1] * len(keys))
        )
        told = [entry for entry in topic.audit if entry.actor == str(number)]
        assert len(told) == sum(found), "the audit has a change if and only if it was made"


def test_who_works_alone_never_conflicts() -> None:
    """One after the other all succeed."""
    topic = Topic()
    for number in range(3):
        for _ in _drive(edit(topic, number, SHARED)):
            pass
    assert names(topic, SHARED[0]) == ["0", "1", "2"]


def _drive(coroutine: Coroutine[Any, Any, None]) -> Generator[None, None, None]:
    while True:
        try:
            coroutine.send(None)
        except StopIteration:
            return
        yield


@pytest.fixture(scope="module")
def kafka(broker: str) -> Kafka:
    """The broker, with topics of these tests: others write what cannot be read."""
    kafka = Kafka(broker, "edits.")
    asyncio.run(create_topics(kafka, 4, 1, [AUDIT, CONTROL]))
    return kafka


@pytest.fixture
def environ(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands on this broker, also that of this process."""
    found = Settings(kafka=kafka.bootstrap, kafka_prefix="edits.").environ()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **found}


def _integration(kafka: Kafka) -> Integration:
    """An integration of its own, on the topic."""
    service = Service(id=f"edit-{uuid.uuid4().hex[:8]}")
    integration = Integration(id=uuid.uuid4().hex, name="first", type="webhook", service=service.id)
    asyncio.run(publish(kafka, [service, integration]))
    return integration


def _stormweir(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *arguments],
        env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.broker
def test_a_record_that_another_process_changed_meanwhile_is_not_overwritten(
    kafka: Kafka, environ: dict[str, str]
) -> None:
    """A change is decided, another process changes the same integration: the first is refused and
    writes nothing, not even its other records; the second's value stays."""
    integration = _integration(kafka)
    other = Service(id=f"other-{uuid.uuid4().hex[:8]}")
    planned, changed = threading.Event(), threading.Event()

    def plan(control: Control) -> tuple[None, Change]:
        found = control.integrations[integration.id]
        planned.set()
        assert changed.wait(60)
        return None, Change([other, found.model_copy(update={"name": "mine"})])

    refused: list[BaseException] = []

    def mine() -> None:
        try:
            transact(plan)
        except ConflictError as error:
            refused.append(error)

    thread = threading.Thread(target=mine)
    thread.start()
    assert planned.wait(60)
    second = _stormweir(environ, "integrations", "update", integration.id, "--name", "theirs")
    assert second.communicate(timeout=60)[1] == ""
    assert second.returncode == 0
    changed.set()
    thread.join(60)
    assert f"somebody else changed integration/{integration.id[:6]}... meanwhile" in str(refused[0])
    found = asyncio.run(read(kafka))
    assert found.integrations[integration.id].name == "theirs"
    assert ("default", other.id) not in found.services


@pytest.mark.broker
def test_what_was_agreed_to_delete_is_deleted_only_as_it_was_seen(kafka: Kafka, environ: dict[str, str]) -> None:
    """`integrations delete` asks; when another process changes the integration before the answer, it refuses."""
    integration = _integration(kafka)
    deleting = _stormweir(environ, "integrations", "delete", integration.id)
    assert deleting.stdout is not None
    assert deleting.stdin is not None
    question = ""
    while "[y/N]" not in question:
        question += deleting.stdout.read(1)
    updating = _stormweir(environ, "integrations", "update", integration.id, "--name", "second")
    assert updating.communicate(timeout=60)[1] == ""
    _, told = deleting.communicate("y\n", timeout=60)
    assert deleting.returncode == 2
    assert "somebody else changed integration/" in told
    assert asyncio.run(read(kafka)).integrations[integration.id].name == "second"


@pytest.mark.broker
def test_processes_at_once_each_succeed_or_say_that_they_did_not(kafka: Kafka, environ: dict[str, str]) -> None:
    """Six commands at the same moment make six keys: those with status 0 are there, the others told of a conflict."""
    mark = uuid.uuid4().hex[:8]
    commands = {f"{mark}-{n}": _stormweir(environ, "keys", "create", f"{mark}-{n}", "--json") for n in range(6)}
    ends = {name: (process.communicate(timeout=120)[1], process.returncode) for name, process in commands.items()}
    made = {name for name, (_, status) in ends.items() if status == 0}
    assert made
    for name, (told, status) in ends.items():
        assert status == 0 or "somebody else changed the configuration" in told, (name, told)
    found = asyncio.run(read(kafka)).records
    assert {key.removeprefix("apikey/") for key in found if key.startswith(f"apikey/{mark}")} == made


#: Begins a change of the record in its arguments, and stands still before it is committed.
HALF_A_CHANGE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer
async def main(bootstrap, writer, topic, key, value):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=writer)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, value.encode(), key=key.encode(), partition=0)
    print("sent", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.broker
async def test_a_writer_that_was_killed_leaves_nothing_and_holds_up_nobody(kafka: Kafka) -> None:
    """What it sent and never committed is read by nobody, and the next change goes through at once."""
    dead = Service(id=f"dead-{uuid.uuid4().hex[:8]}")
    alive = Service(id=f"alive-{uuid.uuid4().hex[:8]}")
    reader = ControlReader(kafka)
    await reader.start()
    try:
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HALF_A_CHANGE, kafka.bootstrap, kafka.name(CONTROL_WRITER),
            kafka.name(CONTROL.name), control_key(dead), dump(dead),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert killed.stdout is not None
        assert await killed.stdout.readline() == b"sent\n"
        killed.kill()
        await killed.wait()
        deadline = time.monotonic() + 8  # before the ten seconds after which Kafka aborts by itself
        await publish(kafka, [alive])
        assert await until(lambda: ("default", alive.id) in reader.control.services, deadline)
        for control in (reader.control, await read(kafka)):
            assert ("default", dead.id) not in control.services
    finally:
        await reader.stop()
