"""The sink agents: what leaves Kafka for ClickHouse and for people, on the engine's acknowledgement."""

import logging
from collections.abc import Sequence
from typing import Protocol

from prometheus_client import Counter

from schemas import topics
from schemas.codec import DecodeError, decode_notification, encode
from schemas.deadletter import DeadLetter
from schemas.notification import Delivery, Notification, Outcome
from schemas.records import Output, Record
from sinks.clickhouse.batches import Batch, form
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES, Table
from streams.engine import Engine, TableSpec

log = logging.getLogger(__name__)
UNREADABLE = Counter("stormweir_history_unreadable_total", "Records of history that gave no row", ["table"])

#: What the notifier writes.
NOTIFIER_OUTPUTS = (topics.NOTIFICATIONS_RESULTS, topics.DEADLETTERS)


def attach_writer(engine: Engine, clickhouse: ClickHouse) -> None:
    """Write every topic of history into its table, in batches that a retry repeats exactly."""
    for topic in topics.WRITTEN_TOPICS:
        table = topics.writer_table(topic)
        spec = TableSpec(table.name, table.changelog.name)
        engine.batches(topics.AGENT_WRITER, topic.name, Writer(TABLES[topic.name], clickhouse), table=spec)


def attach_notifier(engine: Engine, deliverer: "Delivers") -> None:
    """Deliver notifications; every attempt is a row of history, what failed for good a dead letter."""
    engine.tasks(topics.AGENT_NOTIFIER, topics.NOTIFICATIONS.name, Notifier(deliverer))


class Writer:
    """A BatchSink for one table."""

    #: Enough for ClickHouse to be efficient, and few enough that a retry is cheap.
    max_records = 10_000
    max_bytes = 16_000_000

    def __init__(self, table: Table, clickhouse: ClickHouse) -> None:
        #: Seconds a row may wait for company: an insert of few rows costs as much as one of many. The many are alerts,
        #: and half as many inserts cost ClickHouse a third less; an incident is to be seen at once.
        self.linger = 2.0 if table.topic == topics.ALERTS_HISTORY.name else 1.0
        self._table = table
        self._clickhouse = clickhouse

    def form(self, topic: str, partition: int, records: Sequence[Record], marks: dict[str, int]) -> Batch:
        """The batch of these records; raises `marks` to what it holds."""
        batch = form(self._table, records, marks)
        marks.update(batch.marks)
        for offset, reason in batch.errors:
            UNREADABLE.labels(self._table.name).inc()
            log.error("%s/%d@%d gives no row: %s", topic, partition, offset, reason)
        return batch

    async def write(self, batch: Batch) -> None:
        """Insert it under its token."""
        if batch.row_count:
            await self._clickhouse.insert(batch)


class Delivers(Protocol):
    """What the notifier needs of sinks.deliver."""

    async def deliver(self, notification: Notification) -> list[Delivery]: ...


class Notifier:
    """A TaskSink: one delivery per record, in order per destination and incident (the record's key)."""

    max_tasks = 2_000
    #: Four attempts of 30 s, their pauses, and the wait for a broken destination, with room to spare.
    patience = 600.0

    def __init__(self, deliverer: Delivers) -> None:
        self._deliverer = deliverer

    def order_key(self, record: Record) -> bytes:
        """Destination and incident."""
        return record.key or b""

    async def perform(self, record: Record) -> Sequence[Output]:
        """Deliver and report."""
        try:
            notification = decode_notification(record.value or b"")
        except DecodeError as error:
            return [_dead_letter(record, "bad_notification", str(error))]
        deliveries = await self._deliverer.deliver(notification)
        key = notification.notification_id
        outputs = [Output(topics.NOTIFICATIONS_RESULTS.name, key, encode(delivery)) for delivery in deliveries]
        if deliveries[-1].outcome == Outcome.FAILED:
            outputs.append(_dead_letter(record, "undelivered", deliveries[-1].error))
        return outputs


def _dead_letter(record: Record, reason: str, error: str) -> Output:
    letter = DeadLetter(
        stage="notify",
        reason=reason,
        error=error,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=record.timestamp,
        key=record.key or b"",
        body=record.value or b"",
    )
    return Output(topics.DEADLETTERS.name, letter.key or b"-", letter.body, None, letter.headers())
