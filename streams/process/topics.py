"""Every topic of schemas.topics exists in Kafka as it was declared, or the error says which does not."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from schemas.topics import CORRELATION, DEDUP, TOPICS, WRITER_TABLES, Topic
from streams.process.errors import OperatorError

_SOURCES = {table.changelog.name: table.source.name for table in (DEDUP, CORRELATION, *WRITER_TABLES)}
#: Requests of up to 1 MiB travel whole through every stage, and history goes out in blocks.
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Long enough for every follower to have read a deletion before it is compacted away.
_COMPACTION_LAG_MS = 3_600_000
#: Kafka's own default, written out because the files of RocksDB depend on it: those that are older are built anew.
#: More would make every recovery read the deletions of more days.
_DELETIONS_KEPT_MS = 86_400_000
_COMPACT_SEGMENT_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 15.0


class TopicsError(OperatorError):
    """Kafka does not answer, or its topics are not what we need; the message names them."""


async def create_topics(
    bootstrap: str, partitions: int, replication: int, topics: Sequence[Topic] = TOPICS
) -> list[str]:
    """Create what is missing and return those names; returns once every topic has its leaders.

    A changelog gets its source's partition count. Raises TopicsError when Kafka does not answer, refuses,
    or an existing topic has fewer partitions than asked for or a changelog other ones than its source.
    """
    admin = await _connect(bootstrap)
    try:
        existing = await _partitions(admin)
        wanted: dict[str, int] = {}
        for topic in topics:
            source = _SOURCES.get(topic.name, "")
            wanted[topic.name] = 1 if topic.single else existing.get(source, partitions)
        _verify(existing, wanted)
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            await _create(admin, missing, wanted, replication)
        await _leaders(admin, wanted)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def check_topics(bootstrap: str, topics: Sequence[Topic] = TOPICS) -> dict[str, int]:
    """The partitions of every topic there is. Raises TopicsError naming those of `topics` that do not exist,
    or when Kafka does not answer.
    """
    admin = await _connect(bootstrap)
    try:
        existing = await _partitions(admin)
    finally:
        await admin.close()
    missing = sorted(topic.name for topic in topics if topic.name not in existing)
    if missing:
        raise TopicsError(f"Kafka at {bootstrap} has no topic {', '.join(missing)}: run `stormweir topics`")
    return existing


async def _connect(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="stormweir-topics")
    try:
        await asyncio.wait_for(admin.start(), _TIMEOUT_S)
    except (KafkaConnectionError, TimeoutError, OSError):
        await admin.close()
        raise TopicsError(f"Kafka at {bootstrap} does not answer (STORMWEIR_KAFKA)") from None
    return admin


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


def _verify(existing: dict[str, int], wanted: dict[str, int]) -> None:
    problems = [
        f"{name} has {existing[name]} partitions, {count} are configured (STORMWEIR_PARTITIONS)"
        for name, count in wanted.items()
        if name in existing and existing[name] < count
    ]
    problems += [
        f"{name} has {existing[name]} partitions, its source {source} has {existing[source]}"
        for name, source in _SOURCES.items()
        if name in existing and source in existing and existing[name] != existing[source]
    ]
    if problems:
        raise TopicsError("; ".join(problems))


async def _create(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], wanted: dict[str, int], replication: int
) -> None:
    response = await admin.create_topics(
        [NewTopic(t.name, wanted[t.name], replication, topic_configs=_configs(t, replication)) for t in topics],
        timeout_ms=int(_TIMEOUT_S * 1000),
    )
    refused = []
    for name, code, message in (error[:3] for error in response.topic_errors):
        # Another process that creates the same topics at the same time is welcome.
        if code and for_code(code) is not TopicAlreadyExistsError:
            refused.append(f"{name}: {message or for_code(code).__name__}")
    if refused:
        raise TopicsError(f"Kafka refused to create topics: {'; '.join(refused)}")


def _configs(topic: Topic, replication: int) -> dict[str, str]:
    configs = {
        "min.insync.replicas": "2" if replication >= 3 else "1",
        "max.message.bytes": str(_MAX_MESSAGE_BYTES),
    }
    if topic.append_time:
        configs["message.timestamp.type"] = "LogAppendTime"
    if topic.compact:
        configs["cleanup.policy"] = "compact"
        configs["min.compaction.lag.ms"] = str(_COMPACTION_LAG_MS)
        configs["delete.retention.ms"] = str(_DELETIONS_KEPT_MS)
        configs["segment.bytes"] = str(_COMPACT_SEGMENT_BYTES)
    else:
        configs["retention.ms"] = str(topic.retention_ms)
        # Kafka deletes whole segments, and one that is written to keeps its oldest records with the newest.
        configs["segment.ms"] = str(topic.retention_ms)
    return configs


async def _leaders(admin: AIOKafkaAdminClient, wanted: dict[str, int]) -> None:
    """Wait until every partition has a leader: before that, clients would retry and log."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        ready = {
            topic["topic"]
            for topic in await admin.describe_topics()
            if not topic["error_code"] and all(part["leader"] >= 0 for part in topic["partitions"])
        }
        waiting = sorted(wanted.keys() - ready)
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TopicsError(f"no leader after {_TIMEOUT_S:.0f} s for {', '.join(waiting)}")
        await asyncio.sleep(0.05)
