"""Every kind of client reaches Kafka in every way, under a prefix, with the wide ACLs that docs/kafka.md mentions."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.control import Service
from schemas.settings import Settings
from schemas.topics import ALERTS_EVENTS, ALERTS_NORMALIZED, ALERTS_RAW, REJECTIONS, TOPICS
from schemas.wire.events import encode_json
from streams.control.follow import publish, read
from streams.embedded.processes import Command
from streams.gateway.answers import NOT_FOUND
from streams.gateway.lanes import Lanes
from streams.gateway.rejections import Rejections
from streams.gateway.verdicts import Verdicts
from streams.process.kafka import Kafka
from streams.process.topics import check_topics, create_topics
from streams.storm.bodies import event_records
from streams.storm.counts import Counts
from streams.storm.kafka import send_records, topic_ends
from streams.storm.shapes import Size, specs
from tests.conftest import FreePorts, free_base
from tests.kafka.secured import WAYS, SecuredKafka


class Reached(NamedTuple):
    """One way in, whose names all begin with `prefix`."""

    way: str
    kafka: Kafka
    prefix: str


@pytest.fixture(scope="module", params=WAYS)
def reached(request: pytest.FixtureRequest, secured: SecuredKafka) -> Iterator[Reached]:
    """Each way, with its topics made by the user who uses them."""
    way = request.param
    prefix = f"{way.lower()}."
    kafka = secured.reached(way, "anybody", prefix)
    principal = secured.principal(way, "anybody")
    for operation in ("READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS"):
        secured.allow(principal, operation, "topic", prefix + "*")
    secured.allow(principal, "READ", "group", prefix + "*")
    secured.allow(principal, "WRITE", "transactional_id", prefix + "*")
    asyncio.run(create_topics(kafka, 1, 1))
    return Reached(way, kafka, prefix)


async def _count(kafka: Kafka, name: str) -> int:
    return sum((await topic_ends(kafka, [name])).values())


def test_admin(reached: Reached) -> None:
    """The topics exist under the prefix, and are found by our names."""
    assert set(asyncio.run(check_topics(reached.kafka))) == {topic.name for topic in TOPICS}
    assert reached.kafka.name(ALERTS_RAW.name) == f"{reached.prefix}alerts.raw"


async def test_control(reached: Reached) -> None:
    """What is published is read."""
    service = Service(id=f"of-{reached.way.lower()}", name="s")
    await publish(reached.kafka, [service])
    assert (await read(reached.kafka)).services["default", service.id] == service


async def test_gateway(reached: Reached) -> None:
    """The gateway's clients write alerts and rejections, and follow answers."""
    lanes, verdicts, rejections = (
        Lanes(reached.kafka, ALERTS_RAW.name), Verdicts(reached.kafka), Rejections(reached.kafka),
    )  # fmt: skip
    await asyncio.gather(lanes.start(), verdicts.start())
    before = await _count(reached.kafka, ALERTS_RAW.name)
    await lanes.put(b"key", b"value", 1)
    assert verdicts._address
    rejections.note(None, "webhook", "/", NOT_FOUND)
    await asyncio.gather(rejections.stop(), verdicts.stop(), lanes.stop())
    assert await _count(reached.kafka, ALERTS_RAW.name) == before + 1
    assert await _count(reached.kafka, REJECTIONS.name) == 1


def test_engine(reached: Reached, secured: SecuredKafka, free_ports: FreePorts, tmp_path: Path) -> None:
    """A worker joins its group, restores its tables, and writes what it read: Faust's clients, and the engine's."""
    settings = Settings(
        kafka=secured.address(reached.way),
        kafka_prefix=reached.prefix,
        kafka_properties=secured.values(reached.way, "anybody"),
        port_base=free_base(free_ports),
        data_dir=tmp_path,
    )
    worker = Command(
        "worker",
        [sys.executable, "-m", "streams.cli", "worker"],
        environ={**os.environ, **settings.environ()},
        ready_url=f"http://127.0.0.1:{settings.port('admin.worker')}/readyz",
        directory=tmp_path,
        progress=print,
    )

    async def run() -> None:
        await asyncio.wait_for(worker.start(), 60)
        counts = Counts()
        alerts = event_records(specs("unique", Size(20, 20, 1, 1)), encode_json, lambda: int(time.time() * 1000))
        await send_records(reached.kafka, ALERTS_EVENTS.name, alerts, counts)
        assert counts.accepted == 20
        deadline = time.monotonic() + 30
        while await _count(reached.kafka, ALERTS_NORMALIZED.name) < 20:
            assert time.monotonic() < deadline, "the worker wrote nothing"
            await asyncio.sleep(0.1)

    try:
        asyncio.run(run())
    finally:
        worker.kill()
