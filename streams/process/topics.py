"""Creates and checks the topics of schemas.topics in Kafka; errors name topics that are not as declared."""

import asyncio
import time
from collections.abc import Container, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from schemas.topics import CORRELATION, DEDUP, HEARTBEAT, TOPICS, WRITER_TABLES, Topic
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka

_SOURCES = {table.changelog.name: table.source.name for table in (HEARTBEAT, DEDUP, CORRELATION, *WRITER_TABLES)}
#: A request of up to 4 MiB (Settings.max_body) is one record, and one alert may have the whole request in its details
#: and a part of it in its labels again; history is sent in blocks.
_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
#: Long enough for every follower to have read a deletion before it is compacted away.
_COMPACTION_LAG_MS = 3_600_000
#: Kafka's own default, written out because the files of RocksDB depend on it: older files are rebuilt.
#: A longer time would make every recovery read the deletions of more days.
DELETIONS_KEPT_MS = 86_400_000
_COMPACT_SEGMENT_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 15.0
_STAMP, _APPEND_TIME = "message.timestamp.type", "LogAppendTime"
#: Kafka's number for a configuration that was set on the topic itself.
_SET_ON_TOPIC = 1


class TopicsError(OperatorError):
    """Kafka does not answer, or its topics are not what we need; the message names them."""


async def create_topics(kafka: Kafka, partitions: int, replication: int, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Create missing topics and return their names in Kafka, once every topic has its leaders.

    A changelog gets its source's partition count. An existing topic is altered if its records should carry the
    broker's time but do not. Raises TopicsError if Kafka does not answer or refuses, if an existing topic has fewer
    partitions than asked for, or if a changelog's partition count is not its source's.
    """
    admin = await _connect(kafka)
    try:
        existing = await _partitions(admin, kafka)
        wanted: dict[str, int] = {}
        for topic in topics:
            source = _SOURCES.get(topic.name, "")
            wanted[topic.name] = 1 if topic.single else existing.get(source, partitions)
        _verify(kafka, existing, wanted)
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            await _create(admin, kafka, missing, wanted, replication)
        await _stamp(admin, [kafka.name(t.name) for t in topics if t.append_time and t.name in existing])
        await _leaders(admin, [kafka.name(topic) for topic in wanted])
        return [kafka.name(topic.name) for topic in missing]
    finally:
        await admin.close()


async def check_topics(kafka: Kafka, topics: Sequence[Topic] = TOPICS) -> dict[str, int]:
    """The partition count of every topic of ours that exists. Raises TopicsError naming those of `topics` that do not
    exist, or if Kafka does not answer.
    """
    admin = await _connect(kafka)
    try:
        existing = await _partitions(admin, kafka)
    finally:
        await admin.close()
    require_topics(kafka, existing, topics)
    return existing


def require_topics(kafka: Kafka, existing: Container[str], topics: Sequence[Topic]) -> None:
    """Raise TopicsError naming those of `topics` that are not among the existing ones."""
    missing = sorted(kafka.name(topic.name) for topic in topics if topic.name not in existing)
    if missing:
        raise TopicsError(
            f"Kafka at {kafka.bootstrap} has no topic {', '.join(missing)}: run `stormweir topics`, "
            "or `stormweir doctor --kafka`, for this user may not see what is there"
        )


async def _connect(kafka: Kafka) -> AIOKafkaAdminClient:
    admin = kafka.admin(client_id="stormweir-topics")
    try:
        await asyncio.wait_for(admin.start(), _TIMEOUT_S)
    except (KafkaConnectionError, TimeoutError, OSError):
        await admin.close()
        raise TopicsError(
            f"Kafka at {kafka.bootstrap} does not answer (STORMWEIR_KAFKA): `stormweir doctor --kafka` says why"
        ) from None
    return admin


async def _partitions(admin: AIOKafkaAdminClient, kafka: Kafka) -> dict[str, int]:
    """How many partitions each topic of ours has, by our names."""
    found = {kafka.ours(topic["topic"]): len(topic["partitions"]) for topic in await admin.describe_topics()}
    return {name: count for name, count in found.items() if name is not None}


def _verify(kafka: Kafka, existing: dict[str, int], wanted: dict[str, int]) -> None:
    problems = [
        f"{kafka.name(name)} has {existing[name]} partitions, {count} are configured (STORMWEIR_PARTITIONS)"
        for name, count in wanted.items()
        if name in existing and existing[name] < count
    ]
    problems += uneven_changelogs(kafka, existing)
    if problems:
        raise TopicsError("; ".join(problems))


def uneven_changelogs(kafka: Kafka, existing: Mapping[str, int]) -> list[str]:
    """A message for each changelog whose number of partitions is not its source's."""
    return [
        f"{kafka.name(name)} has {existing[name]} partitions, its source {kafka.name(source)} has {existing[source]}"
        for name, source in _SOURCES.items()
        if name in existing and source in existing and existing[name] != existing[source]
    ]


async def _create(
    admin: AIOKafkaAdminClient, kafka: Kafka, topics: Sequence[Topic], wanted: dict[str, int], replication: int
) -> None:
    response = await admin.create_topics(
        [
            NewTopic(kafka.name(t.name), wanted[t.name], replication, topic_configs=topic_configs(t, replication))
            for t in topics
        ],
        timeout_ms=int(_TIMEOUT_S * 1000),
    )
    refused = []
    for name, code, message in (error[:3] for error in response.topic_errors):
        # Another process may create the same topics at the same time.
        if code and for_code(code) is not TopicAlreadyExistsError:
            refused.append(f"{name}: {message or for_code(code).__name__}")
    if refused:
        raise TopicsError(f"Kafka refused to create topics: {'; '.join(refused)}")


async def _stamp(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    """Make records of existing topics carry the broker's time; other settings of a topic are kept."""
    if not topics:
        return
    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
    altered = []
    for _, _, _, name, entries in (resource for answer in described for resource in answer.resources):
        values = {entry[0]: entry[1] for entry in entries}
        if values.get(_STAMP) != _APPEND_TIME:
            # Kafka replaces the topic's configuration as a whole: a setting that is not named returns to its default.
            kept = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC}
            altered.append(ConfigResource(ConfigResourceType.TOPIC, name, kept | {_STAMP: _APPEND_TIME}))
    if not altered:
        return
    refused = [
        f"{name}: {message or for_code(code).__name__}"
        for answer in await admin.alter_configs(altered)
        for code, message, _, name in answer.resources
        if code
    ]
    if refused:
        raise TopicsError(f"Kafka refused {_STAMP}={_APPEND_TIME}: {'; '.join(refused)}")


def topic_configs(topic: Topic, replication: int) -> dict[str, str]:
    """The settings that a topic is created with."""
    configs = {
        "min.insync.replicas": "2" if replication >= 3 else "1",
        "max.message.bytes": str(_MAX_MESSAGE_BYTES),
    }
    if topic.append_time:
        configs[_STAMP] = _APPEND_TIME
    if topic.compact:
        configs["cleanup.policy"] = "compact"
        configs["min.compaction.lag.ms"] = str(_COMPACTION_LAG_MS)
        configs["delete.retention.ms"] = str(DELETIONS_KEPT_MS)
        configs["segment.bytes"] = str(_COMPACT_SEGMENT_BYTES)
    else:
        configs["retention.ms"] = str(topic.retention_ms)
        # Kafka deletes whole segments: the segment being written keeps its oldest records as long as its newest.
        configs["segment.ms"] = str(topic.retention_ms)
    return configs


async def _leaders(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Wait until every partition has a leader: before that, clients would retry and log."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        ready = {
            topic["topic"]
            for topic in await admin.describe_topics()
            if not topic["error_code"] and all(part["leader"] >= 0 for part in topic["partitions"])
        }
        waiting = sorted(set(names) - ready)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TopicsError(f"no leader after {_TIMEOUT_S:.0f} s for {', '.join(waiting)}")
        await asyncio.sleep(0.05)
