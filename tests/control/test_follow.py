"""The control topic is followed whatever lies on it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from prometheus_client import REGISTRY

from schemas.control import Service, control_key, dump
from schemas.topics import CONTROL
from streams.control.follow import ControlReader, publish
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from streams.process.topics import create_topics
from tests.conftest import FreePorts
from tests.engine.damage import send_damaged
from tests.engine.harness import until

UNREADABLE = "stormweir_follow_unreadable_total"


@pytest.fixture
def kafka(tmp_path: Path, free_ports: FreePorts) -> Iterator[str]:
    """A broker of the test's own: what this test writes would delay every reader of a shared one."""
    kafka = EmbeddedKafka(tmp_path / "kafka", *free_ports(2), heap_mb=256)
    kafka.start()
    asyncio.run(create_topics(Kafka(kafka.bootstrap), 1, 1, [CONTROL]))
    yield kafka.bootstrap
    kafka.stop()


@pytest.mark.broker
async def test_what_nobody_can_read_stops_neither_a_start_nor_the_following(kafka: str) -> None:
    """What lies before and behind it in the same fetch counts, and an aborted transaction does not."""
    before, behind, aborted, later = (Service(id=name) for name in ("before", "behind", "aborted", "later"))
    await publish(Kafka(kafka), [before])
    await send_damaged(kafka, CONTROL.name, 0, [(b"service/default/lost", b"{}")] * 2)
    await publish(Kafka(kafka), [behind])
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": "control"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(CONTROL.name, key=control_key(aborted), value=dump(aborted), partition=0)
    producer.flush(10)
    producer.abort_transaction(10)
    reader = ControlReader(Kafka(kafka))
    try:
        await reader.start()
        assert {service for _, service in reader.control.services} == {"before", "behind"}
        # Both damaged records, and the marker of the transaction in front of them, which came in the same fetch.
        assert REGISTRY.get_sample_value(UNREADABLE, {"topic": CONTROL.name}) == 3
        await publish(Kafka(kafka), [later])
        await until(lambda: ("default", "later") in reader.control.services, 10, "the later service")
    finally:
        await reader.stop()
