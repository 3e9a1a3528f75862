"""The names of all topics, tables and agents. Data is stored under these names: a rename here loses data.

The partitioner between Stormweir's own stages is `xxh3_64(key) mod partitions`. Producers outside Stormweir write
`alerts.events` with any partitioner, so nothing relies on the partition of its records.
"""

from dataclasses import dataclass

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
#: The header of marks: records with which a stage tells the next stage the time, on the topic between; not alerts.
MARK_HEADER = "mark"


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic. `key` describes its records' key; `retention_ms` is ignored if `compact`.

    `single` topics have one partition, all others the deployment's partition count. Records of an `append_time` topic
    have the broker's timestamp instead of their sender's: deadlines, windows and TTLs follow from it.
    """

    name: str
    key: str
    compact: bool = False
    retention_ms: int = 7 * DAY_MS
    single: bool = False
    append_time: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Partition-local state of one agent: one source topic and one compacted changelog with the same partitions."""

    name: str
    source: Topic

    @property
    def changelog(self) -> Topic:
        """The compacted topic that holds this table's state and its source position."""
        return Topic(f"stormweir.{self.name}.changelog", key="table key", compact=True, single=self.source.single)


ALERTS_RAW = Topic(
    "alerts.raw", key="integration and dedup key, so one alert's events keep their order", append_time=True
)
ALERTS_EVENTS = Topic("alerts.events", key="the producer's choice; the dedup key is best", append_time=True)
#: One partition has every monitor: beats are few, and nothing has to find out whose monitor it is.
HEARTBEATS = Topic("heartbeats", key="tenant and heartbeat", retention_ms=DAY_MS, single=True, append_time=True)
ALERTS_NORMALIZED = Topic("alerts.normalized", key="fingerprint", retention_ms=DAY_MS, append_time=True)
ALERTS_UNIQUE = Topic("alerts.unique", key="scope", retention_ms=DAY_MS, append_time=True)
ALERTS_HISTORY = Topic("alerts.history", key="none: the partition is the writing stage's", retention_ms=3 * DAY_MS)
INCIDENTS = Topic("incidents", key="incident id", compact=True)
INCIDENTS_CHANGES = Topic("incidents.changes", key="tenant and domain", retention_ms=DAY_MS, append_time=True)
INCIDENTS_EVENTS = Topic("incidents.events", key="incident id", retention_ms=3 * DAY_MS)
NOTIFICATIONS = Topic("notifications", key="tenant and destination", append_time=True)
DESTINATIONS_STATUS = Topic("destinations.status", key="tenant and destination", compact=True)
NOTIFICATIONS_RESULTS = Topic("notifications.results", key="notification id", retention_ms=3 * DAY_MS)
CHANGES = Topic("changes", key="tenant and service")
REJECTIONS = Topic("rejections", key="the integration as far as it may be shown", retention_ms=DAY_MS)
REJECTED_BODIES = Topic("rejected.bodies", key="the integration as far as it may be shown")
REPLIES = Topic("replies", key="the waiting gateway's address", retention_ms=5 * MINUTE_MS)
DEADLETTERS = Topic("deadletters", key="as the failed record")
CONTROL = Topic("control", key="kind/id", compact=True, single=True)
#: What the API's processes remember together: sessions, saved views (schemas.wire.console).
CONSOLE = Topic("console", key="kind/id", compact=True, single=True)
AUDIT = Topic("audit", key="tenant")

#: A new layout of a table's values needs a new name of the table: old values would be misread.
DEDUP = Table("dedup.v3", source=ALERTS_NORMALIZED)
CORRELATION = Table("correlation.v3", source=ALERTS_UNIQUE)
DISPATCH = Table("dispatch", source=INCIDENTS_CHANGES)
HEARTBEAT = Table("heartbeats", source=HEARTBEATS)
OUTBOX = Table("outbox", source=NOTIFICATIONS)


def writer_table(source: Topic) -> Table:
    """The ClickHouse writer's own table for one source topic: the batch to write and the position that was written."""
    return Table(f"writer.{source.name}", source=source)


WRITTEN_TOPICS = (
    ALERTS_HISTORY,
    INCIDENTS,
    INCIDENTS_EVENTS,
    NOTIFICATIONS_RESULTS,
    CHANGES,
    REJECTIONS,
    DEADLETTERS,
    AUDIT,
)
WRITER_TABLES = tuple(writer_table(topic) for topic in WRITTEN_TOPICS)

TOPICS = (
    ALERTS_RAW,
    ALERTS_EVENTS,
    HEARTBEATS,
    ALERTS_NORMALIZED,
    ALERTS_UNIQUE,
    ALERTS_HISTORY,
    INCIDENTS,
    INCIDENTS_CHANGES,
    INCIDENTS_EVENTS,
    NOTIFICATIONS,
    NOTIFICATIONS_RESULTS,
    DESTINATIONS_STATUS,
    CHANGES,
    REJECTIONS,
    REJECTED_BODIES,
    REPLIES,
    DEADLETTERS,
    CONTROL,
    CONSOLE,
    AUDIT,
    *(table.changelog for table in (HEARTBEAT, DEDUP, CORRELATION, DISPATCH, OUTBOX, *WRITER_TABLES)),
)

WORKER_GROUP = "stormweir.worker"
WRITER_GROUP = "stormweir.writer"
NOTIFIER_GROUP = "stormweir.notifier"

#: The transactional id of every process that changes the configuration: Kafka allows one such writer at a time.
CONTROL_WRITER = "stormweir.control"

AGENT_NORMALIZE = "normalize"
AGENT_HEARTBEATS = "heartbeats"
AGENT_DEDUP = "dedup"
AGENT_CORRELATE = "correlate"
AGENT_DISPATCH = "dispatch"
AGENT_WRITER = "clickhouse-writer"
AGENT_NOTIFIER = "notifier"
