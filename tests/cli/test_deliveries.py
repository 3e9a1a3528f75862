"""What operators see and do about deliveries, on a real Kafka with a real notifier and a receiver that refuses."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from schemas import topics
from schemas.control import AnyRecord, Rule
from schemas.fingerprint import partition_for
from schemas.records import Output
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.wire.codec import decode_notification, encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.notification import Notification
from sinks.outbox.settle import queued
from streams.control.follow import publish, read
from streams.delivery.standing import Standing, read_statuses, standings
from streams.process.kafka import Kafka
from streams.process.reading import records
from streams.process.topics import create_topics
from tests.conftest import FreePorts, free_base
from tests.engine.harness import until
from tests.forks import stormweir
from tests.sinks.samples import destination, notification, of_incident

pytestmark = pytest.mark.broker

USED = (
    topics.CONTROL,
    topics.AUDIT,
    topics.NOTIFICATIONS,
    topics.NOTIFICATIONS_RESULTS,
    topics.DESTINATIONS_STATUS,
    topics.DEADLETTERS,
    topics.ALERTS_RAW,
    topics.OUTBOX.changelog,
)


@dataclass(frozen=True)
class Deployment:
    """A deployment with topics of its own, by its prefix. Nothing of it runs but what a test starts."""

    settings: Settings
    data: Path

    @property
    def kafka(self) -> Kafka:
        return Kafka.of(self.settings)

    @property
    def environ(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
        return {**environ, **self.settings.environ(), "COLUMNS": "200"}

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command prints: its output, or with status 2 its errors."""
        done = stormweir(*arguments, environ=self.environ)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status == 2 else done.stdout

    async def json(self, *arguments: str, status: int = 0) -> Any:
        """What a command prints with --json, while the loop serves what the command talks to."""
        return json.loads(await asyncio.to_thread(self.run, *arguments, "--json", status=status))

    @contextmanager
    def notifier(self) -> Iterator[None]:
        """A notifier runs."""
        with (self.data / "notifier.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "notifier"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
            assert process.poll() is None, (self.data / "notifier.log").read_text()
        finally:
            process.terminate()
            process.wait(30)

    async def standing(self) -> Standing:
        """How the only destination does."""
        (found,) = standings(await read(self.kafka), await read_statuses(self.kafka))
        return found

    async def configure(self, *configured: AnyRecord) -> None:
        await publish(self.kafka, configured)

    async def put(self, *outputs: Output) -> None:
        """Stages write these."""
        producer = self.kafka.producer()
        await producer.start()
        try:
            for topic, key, value, _, headers in outputs:
                name = self.kafka.name(topic)
                place = partition_for(key or b"", len(await producer.partitions_for(name)))
                await producer.send_and_wait(name, value, key=key, partition=place, headers=list(headers))
        finally:
            await producer.stop()

    async def on(self, topic: Topic) -> list[Any]:
        """The records of a topic."""
        return [record async for record in records(self.kafka, topic)]


@pytest.fixture
async def deployment(broker: str, free_ports: FreePorts, tmp_path: Path) -> Deployment:
    """A new deployment on the shared broker."""
    settings = Settings(
        kafka=broker,
        kafka_prefix=f"{uuid.uuid4().hex[:8]}.",
        port_base=free_base(free_ports),
        data_dir=tmp_path,
        partitions=2,
    )
    made = Deployment(replace(settings, allowed_networks=_loopback()), tmp_path)
    await create_topics(made.kafka, 2, 1, USED)
    return made


def _loopback() -> tuple[Any, ...]:
    return Settings.from_env({"STORMWEIR_ALLOWED_NETWORKS": "127.0.0.0/8"}).allowed_networks


@asynccontextmanager
async def guarded(token: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A receiver that wants a token, and the ids of what it took."""
    taken: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        if request.headers.get("Authorization") != token:
            return web.Response(status=401)
        taken.append(request.headers["webhook-id"])
        return web.Response()

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", taken
    finally:
        await runner.cleanup()


def letter(told: Notification, error: str = "unauthorized", at: int = 1_000) -> Output:
    """The dead letter of a notification, as the notifier writes it."""
    made = DeadLetter(
        stage="notify",
        reason="undelivered",
        error=error,
        topic=topics.NOTIFICATIONS.name,
        partition=0,
        offset=0,
        at=at,
        key=f"{told.tenant}/{told.destination}".encode(),
        body=encode(told),
    )
    return Output(topics.DEADLETTERS.name, made.key, made.body, None, made.headers())


async def test_what_was_refused_is_explained_mended_and_sent_again_once(deployment: Deployment) -> None:
    """A39, A49, A23: error with the reason in words, a test that fails and then works, and the very same message."""
    async with guarded("Bearer right") as (url, taken):
        wrong = destination(url, headers={"Authorization": "Bearer wrong"})
        await deployment.configure(wrong, Rule(id="all", route=("ops",)))
        with deployment.notifier():
            told = notification()
            await deployment.put(queued(told))

            async def refused() -> bool:
                return (await deployment.standing()).state == "error"

            await until(refused, 60, "the destination is in error")
            (row,) = (await deployment.json("deliveries"))["destinations"]
            assert (row["reason"], row["waiting"]) == ("unauthorized", 0)
            assert "credentials" in row["means"]
            assert "Put in the current key" in await asyncio.to_thread(deployment.run, "destinations", "list")

            (dead,) = await deployment.json("deadletters", "list", "--destination", "ops")
            assert (dead["stage"], dead["error"], dead["key"], dead["replayed"]) == (
                "notify",
                "unauthorized",
                "default/ops",
                None,
            )
            failed = await deployment.json("destinations", "test", "ops", status=1)
            assert (failed["ok"], failed["error"], failed["http_status"]) == (False, "unauthorized", 401)
            assert taken == []

            await deployment.configure(wrong.model_copy(update={"headers": {"Authorization": "Bearer right"}}))
            worked = await deployment.json("destinations", "test", "ops")
            assert (worked["ok"], worked["error"], worked["http_status"]) == (True, None, 200)
            assert len(taken) == 1

            again = await deployment.json("redeliver", "--destination", "ops", "--failed-only")
            assert again == {"replayed": 1, "topics": {topics.NOTIFICATIONS.name: 1}, "stayed": {}}
            name = str(uuid.UUID(bytes=told.notification_id))
            await until(lambda: taken[1:] == [name], 60, "the message with its id")

            once = await deployment.json("deadletters", "replay", dead["id"])
            assert once == {"replayed": 0, "topics": {}, "stayed": {"it was put back already": 1}}
            (dead,) = await deployment.json("deadletters", "list")
            assert dead["replayed"] is not None

            async def works() -> bool:
                return (await deployment.standing()).state == "active"

            await until(works, 60, "the destination is active")
            (found,) = await deployment.json("destinations", "list")
            assert (found["status"], found["rules"], found["last_used"] is not None) == ("active", 1, True)

            # The receiver lost what it had: all of it comes again, though nothing failed.
            assert await deployment.json("redeliver", "--destination", "ops", "--since", "1h") == {"sent_again": 1}
            await until(lambda: taken[2:] == [name], 60, "the message once more")


async def test_letters_are_put_back_where_they_came_from(deployment: Deployment) -> None:
    """Bytes and key are the same, a notification is marked as sent again; more than one needs --yes."""
    kafka = deployment.kafka
    raw = DeadLetter(
        "normalize",
        "bad_body",
        "no JSON \x1b[2J",
        kafka.name(topics.ALERTS_RAW.name),
        1,
        7,
        3_000,
        b"\xff\x01",
        b"{\x00",
    )
    told = [of_incident(number) for number in range(3)]
    await deployment.put(
        *(letter(each, at=1_000 + number) for number, each in enumerate(told)),
        letter(notification(to="other")),
        Output(topics.DEADLETTERS.name, raw.key, raw.body, None, raw.headers()),
    )
    listed = await deployment.json("deadletters", "list", "--limit", "2")
    assert [row["stage"] for row in listed] == ["normalize", "notify"]
    assert "\x1b" not in await asyncio.to_thread(deployment.run, "deadletters", "list")
    shown = await asyncio.to_thread(deployment.run, "deadletters", "show", listed[0]["id"])
    assert "replay: to alerts.raw" in shown
    assert "{\\x00" in shown
    assert "\x1b" not in shown

    refused = await asyncio.to_thread(deployment.run, "deadletters", "replay", "--destination", "ops", status=2)
    assert "3 records would be put back (3 to notifications): --yes does it; nothing was sent" in refused
    assert await deployment.on(topics.NOTIFICATIONS) == []
    await deployment.json("deadletters", "replay", "--destination", "ops", "--yes")
    await deployment.json("deadletters", "replay", listed[0]["id"])

    back = await deployment.on(topics.NOTIFICATIONS)
    assert [decode_notification(record.value) for record in back] == told
    assert {(record.key, record.headers) for record in back} == {(b"default/ops", (("redeliver", b"1"),))}
    assert {record.partition for record in back} == {partition_for(b"default/ops", 2)}
    (entered,) = await deployment.on(topics.ALERTS_RAW)
    assert (entered.key, entered.value, entered.partition) == (b"\xff\x01", b"{\x00", partition_for(b"\xff\x01", 2))

    await deployment.json("deadletters", "replay", "--stage", "notify", "--yes")
    assert len(await deployment.on(topics.NOTIFICATIONS)) == 4
    again = await deployment.json("deadletters", "replay", "--destination", "ops", "--again", "--yes")
    assert again["replayed"] == 3


async def test_wrong_questions_are_answered(deployment: Deployment) -> None:
    """An id that is none, a letter that is not there, no choice, a time that is none, and a missing ClickHouse."""
    for arguments, told in (
        (("deadletters", "show", "x"), "'x' is no dead letter's id"),
        (("deadletters", "replay", "1/99"), "no dead letter 1/99"),
        (("deadletters", "replay"), "name the dead letters, or choose them"),
        (("deadletters", "list", "--since", "soon"), "--since: so long ago as 15m"),
        (("redeliver", "--destination", "gone"), "the tenant default has no 'gone'"),
        (("deliveries", "--destination", "gone"), "there is no 'gone'"),
        (("deliveries", "--failed"), "ClickHouse at http://127.0.0.1:"),
    ):
        assert told in await asyncio.to_thread(deployment.run, *arguments, status=2)


async def test_a_destination_is_shown_toggled_and_deleted(deployment: Deployment) -> None:
    """A41, A42, A43: secrets are hidden; a deletion needs --confirm, says what changes, and leaves no rule with it."""
    ops = destination("https://hooks.example.com/T0/secret?x=1", secret="whsec_abcdefgh")
    other = destination("https://hooks.example.com/T1/secret", id="other", fallback="ops")
    rules = [Rule(id=name, route=("ops", "other")) for name in "abc"]
    await deployment.configure(ops, other, *rules)

    def run(*arguments: str, status: int = 0) -> str:
        return deployment.run("destinations", *arguments, status=status)

    def look() -> None:
        for shown in (run("show", "ops"), run("show", "ops", "--json"), run("list"), run("list", "--json")):
            assert "whsec" not in shown
            assert "T0" not in shown
        assert json.loads(run("show", "ops", "--json"))["rules"] == ["a", "b", "c"]
        run("disable", "ops")
        assert json.loads(run("show", "ops", "--json"))["status"] == "inactive"

    await asyncio.to_thread(look)
    stored = (await read(deployment.kafka)).destination("default", "ops")
    assert stored == ops.model_copy(update={"enabled": False})
    await asyncio.to_thread(run, "enable", "ops")
    before = (await read(deployment.kafka)).records

    asked = await asyncio.to_thread(run, "delete", "ops", status=2)
    assert "nothing was changed" in asked
    for line in ("~ rule/default/a", 'route: ["ops", "other"] -> ["other"]', "- destination/default/ops"):
        assert line in asked
    assert (await read(deployment.kafka)).records == before

    await asyncio.to_thread(run, "delete", "ops", "--confirm")
    control = await read(deployment.kafka)
    assert control.destination("default", "ops") is None
    assert {rule.route for rule in control.rules.values()} == {("other",)}
    assert control.destination("default", "other") == other.model_copy(update={"fallback": None})
    assert "has no 'ops'" in await asyncio.to_thread(run, "delete", "ops", "--confirm", status=2)
    assert "there is no 'ops'" in await asyncio.to_thread(run, "show", "ops", status=2)


async def test_what_waits_is_shown_while_its_destination_is_disabled(deployment: Deployment) -> None:
    """A41: nothing is sent, what waits is counted with the time of the oldest, and is sent after `enable`."""
    async with guarded("Bearer x") as (url, taken):
        ops = destination(url, headers={"Authorization": "Bearer x"}, enabled=False)
        await deployment.configure(ops)
        with deployment.notifier():
            told = [
                msgspec.structs.replace(of_incident(number), queued_at=1_760_000_000_000 + number) for number in (1, 2)
            ]
            await deployment.put(*map(queued, told))

            async def waits() -> bool:
                return (await deployment.standing()).waiting == 2

            await until(waits, 60, "two wait")
            (row,) = (await deployment.json("deliveries"))["destinations"]
            assert (row["status"], row["waiting"]) == ("inactive", 2)
            assert row["since"] == "2025-10-09T08:53:20+00:00"
            assert taken == []
            await asyncio.to_thread(deployment.run, "destinations", "enable", "ops")
            await until(lambda: len(taken) == 2, 60, "both were sent")
