"""A real gateway and a real worker on a real Kafka, and what came of the requests they got."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.control import Service
from schemas.settings import Settings
from schemas.topics import ALERTS_NORMALIZED, ALERTS_RAW, CHANGES, DEADLETTERS, WORKER_GROUP, Topic
from schemas.wire.alert import Alert, RawEvent
from schemas.wire.change import ChangeEvent
from schemas.wire.codec import decode_alert, decode_change, decode_raw
from schemas.wire.deadletter import DeadLetter
from streams.control.follow import publish
from streams.engine.clock import read_mark
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import PARTITIONS, FreePorts, free_base
from tests.gateway.conftest import wait_for
from tests.providers.payload_set import CASES
from tests.providers.requests import integration, service, unsigned_integration

READY_S = 60.0
READ_S = 60.0

T = TypeVar("T")


@dataclass
class Pipeline:
    """A gateway and a worker, with their admin addresses by name.

    `visited` has the addresses at Amazon that the gateway visited, a line each; `start` is where the topics that
    are read here ended before anything was sent.
    """

    bootstrap: str
    url: str
    admin: Mapping[str, str]
    processes: Mapping[str, "subprocess.Popen[bytes]"]
    log: Path
    visited: Path
    start: dict[TopicPartition, int]

    def raw(self) -> dict[str, list[RawEvent]]:
        """What was accepted, by integration."""
        return _grouped(map(decode_raw, self._values(ALERTS_RAW)), lambda raw: raw.integration)

    def changes(self) -> dict[str, list[ChangeEvent]]:
        """The accepted change events, by what is shown of their integration."""
        return _grouped(map(decode_change, self._values(CHANGES)), lambda change: change.integration)

    def alerts(self) -> dict[str, list[Alert]]:
        """What was accepted became, by what is shown of its integration, in the order of its body. Waits for it."""
        asyncio.run(self._worked_off())
        # A worker that was assigned its partitions anew may write an alert twice, with the same id.
        found = {alert.event_id: alert for alert in map(decode_alert, self._values(ALERTS_NORMALIZED))}
        return _grouped(sorted(found.values(), key=lambda alert: alert.event_id), lambda alert: alert.integration)

    def dead_letters(self) -> list[DeadLetter]:
        """What the worker could not use."""
        asyncio.run(self._worked_off())
        records = asyncio.run(self._read(DEADLETTERS))
        return [DeadLetter.read(record.key, record.value, record.headers) for record in records]

    def _values(self, topic: Topic) -> list[bytes]:
        return [record.value or b"" for record in asyncio.run(self._read(topic)) if read_mark(record) is None]

    async def _worked_off(self) -> None:
        """Return once the worker's committed offsets, behind its outputs, have reached the end of `alerts.raw`."""
        ends = await _ends(self.bootstrap, [ALERTS_RAW])
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            deadline = time.monotonic() + READ_S
            while True:
                committed = await admin.list_consumer_group_offsets(WORKER_GROUP)
                behind = [tp for tp, end in ends.items() if end and (tp not in committed or committed[tp].offset < end)]
                if not behind:
                    return
                assert time.monotonic() < deadline, f"the worker did not take {behind} in {READ_S} s"
                await asyncio.sleep(0.05)
        finally:
            await admin.close()

    async def _read(self, topic: Topic) -> list[ConsumerRecord]:
        ends = {tp: end for tp, end in (await _ends(self.bootstrap, [topic])).items() if end > self.start[tp]}
        found: list[ConsumerRecord] = []
        if not ends:
            return found
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, max_partition_fetch_bytes=4 * 1024 * 1024)
        await consumer.start()
        try:
            consumer.assign(list(ends))
            for tp in ends:
                consumer.seek(tp, self.start[tp])
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
            return found
        finally:
            await consumer.stop()


def _grouped(values: Iterable[T], integration: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for value in values:
        found[integration(value)].append(value)
    return found


@pytest.fixture(scope="package")
def pipeline(broker: str, free_ports: FreePorts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A gateway and a worker that know every integration of tests.providers.requests."""
    directory = tmp_path_factory.mktemp("pipeline")
    asyncio.run(_prepare(broker))
    start = asyncio.run(_ends(broker, [ALERTS_RAW, ALERTS_NORMALIZED, CHANGES, DEADLETTERS]))
    settings = Settings(kafka=broker, port_base=free_base(free_ports), data_dir=directory)
    log, book = directory / "processes.log", directory / "visited"
    book.touch()
    with ExitStack() as stack:
        programs = {"worker": ("streams.cli", "worker"), "gateway": ("tests.providers.gateway", str(book))}
        processes = {name: stack.enter_context(_running(settings, log, *program)) for name, program in programs.items()}
        admin = {name: f"http://127.0.0.1:{settings.port(f'admin.{name}')}" for name in processes}
        for name, address in admin.items():
            wait_for(partial(_ready, address), f"a ready {name}", READY_S)
        yield Pipeline(broker, f"http://127.0.0.1:{settings.port('gateway')}", admin, processes, log, book, start)


async def _prepare(bootstrap: str) -> None:
    await create_topics(Kafka(bootstrap), PARTITIONS, 1)
    services = [Service(id=name) for name in sorted({service(case) for case in CASES})]
    described = [integration(case) for case in CASES]
    unsigned = [unsigned_integration(case) for case in CASES]
    await publish(Kafka(bootstrap), [*services, *described, *unsigned])


@contextmanager
def _running(settings: Settings, log: Path, *program: str) -> Iterator["subprocess.Popen[bytes]"]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *program], env={**environ, **settings.environ()}, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _ready(admin: str) -> bool:
    try:
        with urllib.request.urlopen(f"{admin}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def _ends(bootstrap: str, topics: list[Topic]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for topic in topics for number in range(PARTITIONS)]
        return dict(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()
