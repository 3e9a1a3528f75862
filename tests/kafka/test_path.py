"""The whole path on a Kafka that allows only what docs/kafka.md lists: each process has its own user and way in."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from aiokafka.errors import TopicAuthorizationFailedError

from schemas.settings import Settings
from schemas.topics import ALERTS_EVENTS, CONTROL, DEADLETTERS
from schemas.wire.deadletter import DeadLetter
from sinks.clickhouse.client import ClickHouse
from streams.embedded.processes import Command
from streams.process.acls import topics_of
from streams.process.kafka import Kafka
from streams.process.topics import check_topics
from tests.conftest import FreePorts, free_base
from tests.engine.harness import until
from tests.forks import stormweir
from tests.kafka.findings import problems
from tests.kafka.page import listed
from tests.kafka.secured import SecuredKafka

ROOT = Path(__file__).parents[2]
PREFIX = "acme."
#: Each process has a user of its own name, and reaches Kafka in its own way.
WAYS = {
    "topics": "mTLS",
    "control": "PLAIN",
    "gateway": "SCRAM-SHA-256",
    "worker": "SCRAM-SHA-512",
    "writer": "mTLS",
    "notifier": "OAUTHBEARER",
    "incidents": "SCRAM-SHA-256",
    "storm": "PLAIN",
    "deliveries": "PLAIN",
    "destinations": "SCRAM-SHA-256",
    "deadletters": "SCRAM-SHA-512",
}
SMALL = ("--alerts", "200", "--keys", "20", "--services", "1")
KEY = "5f0c2a9d7e4b41c8a3d6f1b20e987c65"


class Deployment:
    """The processes of one deployment, each with the settings of its user."""

    def __init__(self, secured: SecuredKafka, port_base: int, directory: Path) -> None:
        self.secured = secured
        self._directory = directory
        self._plain = Settings(port_base=port_base, data_dir=directory, partitions=2)

    def settings(self, process: str) -> Settings:
        """Of a process of WAYS; others know no Kafka."""
        way = WAYS.get(process)
        if way is None:
            return self._plain
        return replace(
            self._plain,
            kafka=self.secured.address(way),
            kafka_prefix=PREFIX,
            kafka_properties=self.secured.values(way, process),
        )

    def run(self, process: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the user of a process."""
        environ = {**os.environ, **self.settings(process).environ(), "COLUMNS": "200"}
        return stormweir(*command, environ=environ, seconds=90, cwd=ROOT)

    @asynccontextmanager
    async def serving(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Processes run."""
        commands = []
        try:
            for name in names:
                settings = self.settings(name)
                address = "receiver" if name == "receiver" else f"admin.{name}"
                path = "summary" if name == "receiver" else "readyz"
                environ = {**settings.environ(), "STORMWEIR_ALLOWED_NETWORKS": "127.0.0.0/8"}
                command = Command(
                    name,
                    [sys.executable, "-m", "streams.cli", name],
                    environ={**os.environ, **environ},
                    ready_url=f"http://127.0.0.1:{settings.port(address)}/{path}",
                    directory=self._directory,
                    progress=print,
                )
                commands.append(command)
            await asyncio.wait_for(asyncio.gather(*(command.start() for command in commands)), 90)
            yield
        finally:
            for command in commands:
                command.kill()

    def url(self, role: str, path: str) -> str:
        """An address of this machine."""
        return f"http://127.0.0.1:{self._plain.port(role)}{path}"


@pytest.fixture(scope="module")
def deployment(secured: SecuredKafka, free_ports: FreePorts, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Exactly the page's ACLs are in force, and the topics were made by who may make them."""
    acls = listed()
    for process, way in WAYS.items():
        for operation, resource, name in acls[process]:
            secured.allow(secured.principal(way, process), operation, resource, PREFIX + name)
    found = Deployment(secured, free_base(free_ports), tmp_path_factory.mktemp("deployment"))
    made = found.run("topics", "topics")
    assert made.returncode == 0, made.stderr
    assert f"created {PREFIX}alerts.raw" in made.stdout
    return found


def _send(url: str, body: object) -> int:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(answer.status)


@pytest.mark.timeout(300)
def test_the_page_lists_enough(deployment: Deployment, tmp_path: Path) -> None:
    """An alert goes from the gateway to ClickHouse and to its destination, and its incident is acknowledged; a storm
    finds all its alerts there.
    """
    text = (ROOT / "examples" / "stormweir.yaml").read_text()
    (tmp_path / "stormweir.yaml").write_text(text.replace("http://127.0.0.1:8404", deployment.url("receiver", "")))
    applied = deployment.run("control", "apply", "-f", str(tmp_path / "stormweir.yaml"))
    assert applied.returncode == 0, applied.stderr
    alert = {"summary": "High CPU", "source": "web-01", "severity": "critical"}
    event = {"routing_key": KEY, "event_action": "trigger", "dedup_key": "cpu", "payload": alert}

    async def run() -> None:
        async with deployment.serving(["clickhouse", "receiver"]):
            migrated = await asyncio.to_thread(deployment.run, "migrate", "migrate")
            assert migrated.returncode == 0, migrated.stderr
            async with deployment.serving(["writer", "worker", "notifier", "gateway"]):
                assert await asyncio.to_thread(_send, deployment.url("gateway", "/v2/enqueue"), event) == 202
                settings = deployment.settings("writer")
                async with ClickHouse(settings.clickhouse_url, settings.clickhouse_token, "stormweir") as clickhouse:

                    async def written() -> bool:
                        alerts = await clickhouse.query("SELECT kafka_topic FROM alerts", {})
                        results = await clickhouse.query("SELECT outcome FROM deliveries", {})
                        return [row["kafka_topic"] for row in alerts] == [f"{PREFIX}alerts.raw"] and [
                            row["outcome"] for row in results
                        ] == ["delivered"]

                    await until(written, 60, "the alert and its delivery in ClickHouse", every=0.2)
                    [incident] = await clickhouse.query("SELECT incident_id FROM incidents FINAL", {})
                command = ("incidents", "ack", str(incident["incident_id"]), "--as", "ada", "--json")
                acknowledged = await asyncio.to_thread(deployment.run, "incidents", *command)
                assert acknowledged.returncode == 0, acknowledged.stdout + acknowledged.stderr
                assert json.loads(acknowledged.stdout)["end"] == "done"
                storm = await asyncio.to_thread(deployment.run, "storm", "storm", "--via", "kafka", *SMALL)
                assert storm.returncode == 0, storm.stdout + storm.stderr

    asyncio.run(run())


def test_the_page_lists_no_more(deployment: Deployment) -> None:
    """What a process does not do is denied to its user: the gateway is shown its own topics only, and may not write
    the configuration that it reads.
    """

    async def run() -> None:
        kafka = deployment.secured.reached("SCRAM-SHA-256", "gateway", PREFIX)
        assert set(await check_topics(kafka, ())) == {topic.name for topic in topics_of("gateway")}
        producer = kafka.producer(acks="all")
        await producer.start()
        try:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(kafka.name(CONTROL.name), b"{}", b"service/mine")
        finally:
            await producer.stop()

    asyncio.run(run())


def test_operators_may_do_their_work(deployment: Deployment, tmp_path: Path) -> None:
    """With the page's ACLs each command about deliveries works to its end, as its own user."""
    text = (ROOT / "examples" / "stormweir.yaml").read_text()
    (tmp_path / "stormweir.yaml").write_text(text)
    (name, *_) = [entry["id"] for entry in yaml.safe_load(text)["destinations"]]
    event = b"no event"

    async def put() -> None:
        letter = DeadLetter("normalize", "bad_event", "no JSON", PREFIX + ALERTS_EVENTS.name, 0, 0, 1, b"k", event)
        producer = Kafka(deployment.secured.bootstrap, PREFIX).producer()
        await producer.start()
        try:
            topic = PREFIX + DEADLETTERS.name
            await producer.send_and_wait(topic, letter.body, key=letter.key, headers=letter.headers())
        finally:
            await producer.stop()

    asyncio.run(put())
    for process, command in (
        ("control", ("apply", "-f", str(tmp_path / "stormweir.yaml"))),
        ("deliveries", ("deliveries",)),
        ("destinations", ("destinations", "show", name)),
        ("destinations", ("destinations", "disable", name)),
        ("destinations", ("destinations", "enable", name)),
        ("deadletters", ("deadletters", "list", "--reason", "bad_event")),
        ("deadletters", ("deadletters", "replay", "--reason", "bad_event", "--yes")),
        ("deadletters", ("redeliver", "--destination", name, "--since", "1s")),
        ("deadletters", ("redeliver", "--destination", name, "--failed-only")),
    ):
        done = deployment.run(process, *command)
        assert done.returncode == 0, (command, done.stderr)
        assert "replay" not in command or "1 put back: 1 to alerts.events" in done.stdout


@pytest.mark.parametrize("process", WAYS)
def test_doctor_agrees(deployment: Deployment, process: str) -> None:
    """With the page's ACLs nothing is wrong for any process."""
    assert problems(Kafka.of(deployment.settings(process)), process) == []
