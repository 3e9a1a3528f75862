"""What each process does in Kafka, as ACLs: operation, kind of resource, and its name without the prefix.

In Kafka READ and WRITE on a topic, READ on a group, and WRITE on a transactional id include DESCRIBE. docs/kafka.md
shows this table.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas import topics
from schemas.topics import Topic


class Acl(NamedTuple):
    """One operation that must be allowed. `resource` is `topic`, `group` or `transactional_id`."""

    operation: str
    resource: str
    name: str


def _on(operation: str, *on: Topic) -> Iterable[Acl]:
    return (Acl(operation, "topic", topic.name) for topic in on)


def _group(name: str) -> Acl:
    return Acl("READ", "group", name)


_WRITE_CONTROL = (*_on("WRITE", topics.CONTROL, topics.AUDIT), Acl("WRITE", "transactional_id", topics.CONTROL_WRITER))
_WRITER_CHANGELOGS = tuple(table.changelog for table in topics.WRITER_TABLES)
_WORKER_OUTPUTS = (
    topics.HEARTBEATS,
    *(topics.ALERTS_NORMALIZED, topics.ALERTS_UNIQUE, topics.ALERTS_HISTORY, topics.INCIDENTS, topics.INCIDENTS_EVENTS),
    *(topics.INCIDENTS_CHANGES, topics.NOTIFICATIONS, topics.NOTIFICATIONS_RESULTS, topics.REPLIES, topics.DEADLETTERS),
)
_NOTIFIER_OUTPUTS = (
    topics.NOTIFICATIONS_RESULTS,
    topics.NOTIFICATIONS,
    topics.DESTINATIONS_STATUS,
    topics.DEADLETTERS,
    topics.OUTBOX.changelog,
)
#: Where records of dead letters go back to (streams.delivery.letters).
_PUT_BACK = (
    *(topics.ALERTS_RAW, topics.ALERTS_EVENTS, topics.ALERTS_NORMALIZED, topics.ALERTS_UNIQUE),
    *(topics.INCIDENTS_CHANGES, topics.HEARTBEATS, topics.NOTIFICATIONS, topics.DEADLETTERS),
)
_WORKER_CHANGELOGS = (
    topics.HEARTBEAT.changelog,
    topics.DEDUP.changelog,
    topics.CORRELATION.changelog,
    topics.DISPATCH.changelog,
)

#: ACLs by process. `control` is for the commands accounts, apply, check, lookups, integrations, heartbeats, keys,
#: secrets, slack, silences, maintenance and oncall; `deadletters` also for redeliver; `rejections`, `incidents`,
#: `deliveries` and `destinations` for those of these names.
ACLS: Mapping[str, tuple[Acl, ...]] = {
    "gateway": (
        *_on("WRITE", topics.ALERTS_RAW, topics.ALERTS_UNIQUE, topics.CHANGES, topics.HEARTBEATS),
        *_on("WRITE", topics.REJECTIONS, topics.REJECTED_BODIES),
        *_on("DESCRIBE_CONFIGS", topics.ALERTS_RAW, topics.ALERTS_UNIQUE, topics.CHANGES, topics.HEARTBEATS),
        *_on("READ", topics.CONTROL, topics.REPLIES),
    ),
    "worker": (
        *_on("READ", topics.ALERTS_RAW, topics.ALERTS_EVENTS, topics.ALERTS_NORMALIZED, topics.ALERTS_UNIQUE),
        *_on("READ", topics.HEARTBEATS, topics.INCIDENTS_CHANGES, topics.CONTROL, *_WORKER_CHANGELOGS),
        *_on("WRITE", *_WORKER_OUTPUTS, *_WORKER_CHANGELOGS),
        *_on("DESCRIBE_CONFIGS", *_WORKER_OUTPUTS, *_WORKER_CHANGELOGS),
        _group(topics.WORKER_GROUP),
    ),
    "writer": (
        *_on("READ", *topics.WRITTEN_TOPICS, *_WRITER_CHANGELOGS),
        *_on("WRITE", topics.DEADLETTERS, *_WRITER_CHANGELOGS),
        *_on("DESCRIBE_CONFIGS", topics.DEADLETTERS, *_WRITER_CHANGELOGS),
        _group(topics.WRITER_GROUP),
    ),
    "notifier": (
        *_on("READ", topics.NOTIFICATIONS, topics.CONTROL, topics.OUTBOX.changelog),
        *_on("WRITE", *_NOTIFIER_OUTPUTS),
        *_on("DESCRIBE_CONFIGS", *_NOTIFIER_OUTPUTS),
        _group(topics.NOTIFIER_GROUP),
    ),
    "api": (
        *_on("READ", topics.CONTROL, topics.CONSOLE, topics.REPLIES, topics.INCIDENTS, topics.DESTINATIONS_STATUS),
        *_on("WRITE", topics.ALERTS_UNIQUE, topics.CONSOLE),
        *_on("DESCRIBE_CONFIGS", topics.ALERTS_UNIQUE),
        *_WRITE_CONTROL,
    ),
    "control": (*_on("READ", topics.CONTROL), *_WRITE_CONTROL),
    "rejections": (
        *_on("READ", topics.REJECTED_BODIES, topics.CONTROL),
        *_on("WRITE", topics.ALERTS_RAW, topics.CHANGES),
        *_on("DESCRIBE_CONFIGS", topics.ALERTS_RAW, topics.CHANGES),
    ),
    "incidents": (
        *_on("WRITE", topics.ALERTS_UNIQUE),
        *_on("DESCRIBE_CONFIGS", topics.ALERTS_UNIQUE),
        *_on("READ", topics.REPLIES),
    ),
    "deliveries": tuple(_on("READ", topics.CONTROL, topics.DESTINATIONS_STATUS)),
    "destinations": (*_on("READ", topics.CONTROL, topics.DESTINATIONS_STATUS), *_WRITE_CONTROL),
    "deadletters": (
        *_on("READ", topics.DEADLETTERS, topics.NOTIFICATIONS, topics.CONTROL),
        *_on("WRITE", *_PUT_BACK),
    ),
    "storm": (
        *_on("READ", topics.CONTROL, topics.ALERTS_RAW, topics.ALERTS_EVENTS, topics.ALERTS_NORMALIZED),
        *_on(
            "READ",
            topics.ALERTS_UNIQUE,
            topics.INCIDENTS_CHANGES,
            topics.NOTIFICATIONS,
            topics.OUTBOX.changelog,
            *topics.WRITTEN_TOPICS,
        ),
        *_on("WRITE", topics.ALERTS_EVENTS),
        *_WRITE_CONTROL,
        *(Acl("DESCRIBE", "group", name) for name in (topics.WORKER_GROUP, topics.WRITER_GROUP, topics.NOTIFIER_GROUP)),
    ),
    "topics": (
        *_on("CREATE", *topics.TOPICS),
        *_on("DESCRIBE", *topics.TOPICS),
        *_on("DESCRIBE_CONFIGS", *topics.TOPICS),
        *_on("ALTER_CONFIGS", *(topic for topic in topics.TOPICS if topic.append_time)),
    ),
}


def topics_of(process: str) -> tuple[Topic, ...]:
    """The topics that a process uses."""
    named = {acl.name for acl in ACLS[process] if acl.resource == "topic"}
    return tuple(topic for topic in topics.TOPICS if topic.name in named)
