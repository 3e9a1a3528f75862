"""A real gateway process on a real Kafka, and what tests ask both of them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.control import ApiKey, FieldMapping, Heartbeat, Integration, Service
from schemas.settings import Settings
from schemas.topics import ALERTS_RAW, ALERTS_UNIQUE, CHANGES, CONTROL, HEARTBEATS, REJECTED_BODIES, REJECTIONS, REPLIES
from schemas.wire.alert import RawEvent
from schemas.wire.codec import decode_raw
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS, FreePorts, free_base
from tests.gateway.senders import UNKNOWN_KEY, records

EVENTS_KEY = "e" * 32
SIGNED_KEY = "5" * 32
DISABLED_KEY = "d" * 32
PROMETHEUS_KEY = "a" * 32
WEBHOOK_KEY = "b" * 32
FORM_KEY = "f" * 32
HEARTBEAT_KEY = "9" * 32
PAUSED_HEARTBEAT_KEY = "8" * 32
SIGNATURE_SECRET = "a secret for signing"
API_KEY = "an API key that may write"
READ_ONLY_KEY = "an API key that may not"

RECORDS = [
    Service(id="gateway-test"),
    Integration(id=EVENTS_KEY, name="events", type="events_v2", service="gateway-test", rate_limit="unlimited"),
    Integration(
        id=PROMETHEUS_KEY, name="alertmanager", type="prometheus", service="gateway-test", rate_limit="unlimited"
    ),
    Integration(
        id=WEBHOOK_KEY,
        name="webhook",
        type="webhook",
        service="gateway-test",
        mapping=FieldMapping(summary="alert.title", dedup_key="id"),
        rate_limit="unlimited",
    ),
    Integration(
        id=SIGNED_KEY,
        name="signed",
        type="webhook",
        service="gateway-test",
        signature_secret=SIGNATURE_SECRET,
        rate_limit="unlimited",
    ),
    Integration(
        id=FORM_KEY,
        name="statuscake",
        type="webhook",
        service="gateway-test",
        mapping=FieldMapping(
            summary="Name", dedup_key="URL", action="Status", trigger_values=("Down",), resolve_values=("Up",)
        ),
        rate_limit="unlimited",
    ),
    Integration(id=DISABLED_KEY, name="off", type="webhook", service="gateway-test", enabled=False),
    Heartbeat(id="nightly", service="gateway-test", every=86_400, key=HEARTBEAT_KEY),
    Heartbeat(id="paused", service="gateway-test", every=86_400, key=PAUSED_HEARTBEAT_KEY, enabled=False),
    ApiKey(id="writer", sha256=sha256(API_KEY.encode()).hexdigest()),
    ApiKey(id="reader", sha256=sha256(READ_ONLY_KEY.encode()).hexdigest(), scopes=()),
]


@dataclass
class RunningGateway:
    """A gateway process and its addresses."""

    process: subprocess.Popen[bytes]
    bootstrap: str
    url: str
    admin: str
    log: Path

    def ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        try:
            with urllib.request.urlopen(f"{self.admin}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
    """Poll until the condition holds, and fail with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in {timeout} s"
        time.sleep(0.05)


@contextmanager
def running_gateway(
    bootstrap: str, port_base: int, directory: Path, *program: str, max_body: int = 100_000, **more: Any
) -> Iterator[RunningGateway]:
    """A gateway process whose settings are the defaults but for Kafka, ports, the largest body and `more`; killed at
    the end if alive.

    `program` is a Python module that runs one, with its arguments, instead of `stormweir gateway`.
    """
    settings = Settings(kafka=bootstrap, port_base=port_base, max_body=max_body, **more)
    log = directory / "gateway.log"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(program or ("streams.cli", "gateway"))],
            env={**environ, **settings.environ()},
            stderr=output,
        )
    gateway = RunningGateway(
        process,
        bootstrap,
        f"http://127.0.0.1:{settings.port('gateway')}",
        f"http://127.0.0.1:{settings.port('admin.gateway')}",
        log,
    )
    try:
        yield gateway
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="package")
def prepared(broker: str) -> str:
    """The broker with the gateway's topics and the integrations above."""
    asyncio.run(prepare(broker))
    return broker


async def prepare(bootstrap: str) -> None:
    """Create the gateway's topics and publish RECORDS."""
    await create_topics(
        Kafka(bootstrap),
        PARTITIONS,
        1,
        [ALERTS_RAW, ALERTS_UNIQUE, CHANGES, CONTROL, HEARTBEATS, REJECTIONS, REJECTED_BODIES, REPLIES],
    )
    await publish(Kafka(bootstrap), RECORDS)


@pytest.fixture(scope="package")
def gateway(prepared: str, free_ports: FreePorts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for every test that leaves it as it was."""
    with running_gateway(prepared, free_base(free_ports), tmp_path_factory.mktemp("gateway")) as running:
        wait_for(running.ready, "a ready gateway")
        yield running


@pytest.fixture(scope="package")
def senders(gateway: RunningGateway) -> RunningGateway:
    """The gateway, once it knows all of tests.gateway.senders."""
    last = UNKNOWN_KEY[1:] + "1"
    asyncio.run(
        publish(Kafka(gateway.bootstrap), [*records(), Integration(id=last, name="l", type="webhook", service="l")])
    )

    def known() -> bool:
        url = f"{gateway.url}/api/integrations/webhook?integrationId={last}"
        try:
            urllib.request.urlopen(urllib.request.Request(url, data=b"["), timeout=5)
        except urllib.error.HTTPError as answer:
            return answer.code == 400
        raise AssertionError("a body that is no JSON was accepted")

    wait_for(known, "the records of the senders")
    return gateway


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of that gateway."""
    async with aiohttp.ClientSession(gateway.url) as session:
        yield session


async def ends(bootstrap: str, topic: str = ALERTS_RAW.name) -> dict[int, int]:
    """The end offset of each partition of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        found = await consumer.end_offsets([TopicPartition(topic, p) for p in range(PARTITIONS)])
        return {tp.partition: offset for tp, offset in found.items()}
    finally:
        await consumer.stop()


async def accepted_since(bootstrap: str, start: dict[int, int]) -> list[tuple[int, RawEvent]]:
    """What was put on `alerts.raw` from these offsets up to now: (partition, event), in offset order."""
    return [(partition, decode_raw(value)) for partition, value in await values_since(bootstrap, start)]


async def values_since(bootstrap: str, start: dict[int, int], topic: str = ALERTS_RAW.name) -> list[tuple[int, bytes]]:
    """What was put on a topic from these offsets up to now: (partition, value), in offset order."""
    end = await ends(bootstrap, topic)
    if end == start:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, partition) for partition in end]
        consumer.assign(partitions)
        for tp in partitions:
            consumer.seek(tp, start[tp.partition])
        found: list[tuple[int, bytes]] = []
        while any([await consumer.position(tp) < end[tp.partition] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found += [(tp.partition, record.value) for record in records]
        return found
    finally:
        await consumer.stop()
