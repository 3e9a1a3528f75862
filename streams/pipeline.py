"""The whole path of an alert in one module. Each call names a topic, the stage that reads it, and its table."""

from collections.abc import Callable

from schemas import topics
from schemas.records import Output, Record
from schemas.wire.alert import Alert
from schemas.wire.codec import DecodeError, decode_alert, decode_unique
from schemas.wire.deadletter import DeadLetter
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from sinks.clickhouse.writer import Writer
from sinks.outbox import table as outbox_table
from sinks.outbox.intake import Intake
from streams.control.state import Control
from streams.engine import Attendant, Engine, Loss, TableSpec, reason
from streams.stages import correlate_table, dedup_entry, dispatch_table, heartbeats_entry
from streams.stages.correlate import Correlate
from streams.stages.dedup import Dedup
from streams.stages.dispatch import Dispatch
from streams.stages.heartbeats import Heartbeats
from streams.stages.normalize import Normalize, dead_letter

#: The topics that the stages below write; the engine asks the broker for their partitions.
WORKER_OUTPUTS = (
    topics.HEARTBEATS,
    topics.ALERTS_NORMALIZED,
    topics.ALERTS_UNIQUE,
    topics.ALERTS_HISTORY,
    topics.INCIDENTS,
    topics.INCIDENTS_EVENTS,
    topics.INCIDENTS_CHANGES,
    topics.NOTIFICATIONS,
    topics.NOTIFICATIONS_RESULTS,
    topics.REPLIES,
    topics.DEADLETTERS,
)
WRITER_OUTPUTS = (topics.DEADLETTERS,)
NOTIFIER_OUTPUTS = (
    topics.NOTIFICATIONS_RESULTS,
    topics.NOTIFICATIONS,
    topics.DESTINATIONS_STATUS,
    topics.DEADLETTERS,
)


def build_worker(
    engine: Engine, control: Control, arming: Callable[[], Attendant], max_keys: int, incident_retention_days: int
) -> None:
    """Wire the worker's stages: requests and events -> alerts, beats -> unique alerts -> incidents -> notifications."""
    stage, normalize = engine.stage, Normalize(control)

    # webhooks, Events API, and producers in the company -> one canonical alert each
    stage(
        topics.AGENT_NORMALIZE,
        topics.ALERTS_RAW.name,
        normalize.requests,
        dead_letters=poison("normalize"),
        feeds=(topics.HEARTBEATS.name, topics.ALERTS_NORMALIZED.name),
    )
    stage(
        topics.AGENT_NORMALIZE,
        topics.ALERTS_EVENTS.name,
        normalize.events,
        dead_letters=poison("normalize"),
        feeds=(topics.HEARTBEATS.name, topics.ALERTS_NORMALIZED.name),
    )

    # a monitor without its beat is missing, which is an alert; the next beat resolves it
    stage(
        topics.AGENT_HEARTBEATS,
        topics.HEARTBEATS.name,
        Heartbeats(control),
        table=TableSpec(topics.HEARTBEAT.name, topics.HEARTBEAT.changelog.name, due=heartbeats_entry.due),
        dead_letters=poison("heartbeats"),
        feeds=(topics.ALERTS_NORMALIZED.name,),
        attend=arming,
    )

    # repeats fold into one update per fingerprint and window
    stage(
        topics.AGENT_DEDUP,
        topics.ALERTS_NORMALIZED.name,
        Dedup(control),
        table=TableSpec(topics.DEDUP.name, topics.DEDUP.changelog.name, max_keys, dedup_entry.due, dedup_entry.closed),
        dead_letters=poison("dedup", decode_alert),
        feeds=(topics.ALERTS_UNIQUE.name,),
    )

    # related alerts are one incident
    stage(
        topics.AGENT_CORRELATE,
        topics.ALERTS_UNIQUE.name,
        Correlate(control, incident_retention_days * topics.DAY_MS),
        table=TableSpec(topics.CORRELATION.name, topics.CORRELATION.changelog.name, max_keys, correlate_table.due),
        dead_letters=poison("correlate", lambda value: decode_unique(value).alert),
        feeds=(topics.INCIDENTS_CHANGES.name,),
    )

    # who is told of an incident's change, and when
    stage(
        topics.AGENT_DISPATCH,
        topics.INCIDENTS_CHANGES.name,
        Dispatch(control),
        table=TableSpec(topics.DISPATCH.name, topics.DISPATCH.changelog.name, due=dispatch_table.due),
        dead_letters=poison("dispatch"),
    )


def build_writer(engine: Engine, clickhouse: ClickHouse) -> None:
    """Wire the writer's sinks: every topic of history -> its table in ClickHouse."""
    for topic in topics.WRITTEN_TOPICS:
        table = topics.writer_table(topic)
        spec = TableSpec(table.name, table.changelog.name)
        engine.batches(topics.AGENT_WRITER, topic.name, Writer(TABLES[topic.name], clickhouse), table=spec)


def build_notifier(engine: Engine, outbox: Callable[[], Attendant]) -> None:
    """Wire the notifier: notifications wait in a table, and an outbox takes them out to their destinations."""
    engine.stage(
        topics.AGENT_NOTIFIER,
        topics.NOTIFICATIONS.name,
        Intake(),
        table=TableSpec(topics.OUTBOX.name, topics.OUTBOX.changelog.name, due=outbox_table.due),
        dead_letters=poison("notify"),
        attend=outbox,
    )


def poison(
    stage: str, read: Callable[[bytes], Alert | None] = lambda value: None
) -> Callable[[Record, Exception, int], Output]:
    """The dead letter of a record that makes `stage` fail; `read` finds the alert in it, for its origin."""

    def letter(record: Record, error: Exception, now: int) -> Output:
        try:
            origin = read(record.value or b"")
        except DecodeError:
            origin = None
        return dead_letter(stage, reason(error), error, record, max(now, record.timestamp), origin)

    return letter


def lost(loss: Loss, now: int) -> Output:
    """The dead letter of a Loss: it refers to the records of the Loss by offset and has no body."""
    letter = DeadLetter(
        stage=loss.agent,
        reason=loss.reason,
        error=loss.error,
        topic=loss.topic,
        partition=loss.partition,
        offset=loss.first,
        last_offset=loss.last,
        at=now,
        key=loss.key,
        body=b"",
    )
    return Output(topics.DEADLETTERS.name, letter.key or str(loss.first).encode(), letter.body, None, letter.headers())
