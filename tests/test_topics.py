"""Topics are created as declared, once, and a cluster that does not fit is a clear error."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import ALERTS_RAW, CONTROL, CORRELATION, DEDUP, TOPICS, Topic
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from streams.process.topics import TopicsError, check_topics, create_topics
from tests.conftest import FreePorts

pytestmark = pytest.mark.broker


@pytest.fixture
def empty_broker(tmp_path: Path, free_ports: FreePorts) -> Iterator[str]:
    """A Kafka of its own: other tests may have created the real topics on the session's."""
    kafka = EmbeddedKafka(tmp_path / "kafka", *free_ports(2), heap_mb=256)
    kafka.start()
    try:
        yield kafka.bootstrap
    finally:
        kafka.kill()


async def _partitions(bootstrap: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_topics([topic])
        return len(answer["partitions"])
    finally:
        await admin.close()


async def _config(bootstrap: str, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()


async def test_all_topics_are_created_once_as_declared(empty_broker: str) -> None:
    """Missing topics are named before, created with partitions, cleanup and sizes, and left alone later."""
    missing = ", ".join(sorted(topic.name for topic in TOPICS))
    with pytest.raises(TopicsError, match=f"no topic {re.escape(missing)}: run `stormweir topics`"):
        await check_topics(Kafka(empty_broker))

    assert await create_topics(Kafka(empty_broker), 3, 1) == [topic.name for topic in TOPICS]
    assert await create_topics(Kafka(empty_broker), 3, 1) == []
    await check_topics(Kafka(empty_broker))

    assert await _partitions(empty_broker, ALERTS_RAW.name) == 3
    assert await _partitions(empty_broker, CONTROL.name) == 1
    raw = await _config(empty_broker, ALERTS_RAW.name)
    assert raw["cleanup.policy"] == "delete"
    assert raw["retention.ms"] == str(ALERTS_RAW.retention_ms)
    assert raw["max.message.bytes"] == str(8 * 1024 * 1024)
    changelog = await _config(empty_broker, DEDUP.changelog.name)
    assert changelog["cleanup.policy"] == "compact"
    assert changelog["min.compaction.lag.ms"] == "3600000"

    # more partitions asked for than there are
    with pytest.raises(TopicsError, match=r"alerts\.raw has 3 partitions, 5 are configured"):
        await create_topics(Kafka(empty_broker), 5, 1)


async def test_changelog_follows_its_source(empty_broker: str) -> None:
    """A changelog that is created late gets its source's partitions; one that differs is an error."""
    await create_topics(Kafka(empty_broker), 6, 1, [DEDUP.source])
    await create_topics(Kafka(empty_broker), 2, 1, [CORRELATION.changelog])
    await create_topics(Kafka(empty_broker), 2, 1, [DEDUP.changelog])
    assert await _partitions(empty_broker, DEDUP.changelog.name) == 6

    await create_topics(Kafka(empty_broker), 4, 1, [CORRELATION.source])
    with pytest.raises(
        TopicsError, match=r"correlation\.v3\.changelog has 2 partitions, its source alerts\.unique has 4"
    ):
        await create_topics(Kafka(empty_broker), 2, 1)


async def test_existing_topics_get_the_brokers_clock(empty_broker: str) -> None:
    """What earlier versions created with their sender's clock is altered, and keeps everything else set on it."""
    await create_topics(Kafka(empty_broker), 1, 1, [replace(ALERTS_RAW, append_time=False, retention_ms=3_600_000)])
    assert (await _config(empty_broker, ALERTS_RAW.name))["message.timestamp.type"] == "CreateTime"
    assert await create_topics(Kafka(empty_broker), 1, 1, [ALERTS_RAW]) == []
    altered = await _config(empty_broker, ALERTS_RAW.name)
    assert (altered["message.timestamp.type"], altered["retention.ms"]) == ("LogAppendTime", "3600000")
    assert altered["max.message.bytes"] == str(8 * 1024 * 1024)


async def test_refusal_is_named(broker: str) -> None:
    """What Kafka refuses is in the error with its reason: here a replication one broker cannot give."""
    with pytest.raises(TopicsError, match=r"refused to create topics: too\.many: .*replication factor"):
        await create_topics(Kafka(broker), 1, 3, [Topic("too.many", key="none")])


async def test_no_broker_is_said_at_once(free_ports: FreePorts) -> None:
    """Without a broker the error names address and setting."""
    (port,) = free_ports(1)
    with pytest.raises(TopicsError, match=rf"127\.0\.0\.1:{port} does not answer \(STORMWEIR_KAFKA\)"):
        await check_topics(Kafka(f"127.0.0.1:{port}"))
