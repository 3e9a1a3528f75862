"""The table of each topic's records, and the conversion of records to rows. Pure.

The content of a record raises no error: the result for an undecodable record is `Rows((), error)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.msgpack import Ext

from schemas import topics
from schemas.records import Record
from schemas.wire import codec
from schemas.wire.deadletter import DeadLetter
from schemas.wire.rows import (
    ALERT_VALUES,
    AlertRow,
    AuditRow,
    ChangeRow,
    DeadLetterRow,
    DeliveryRow,
    HistoryBlock,
    IncidentEventRow,
    IncidentRow,
    RejectionRow,
    Row,
    pack_row,
    uuid_column,
)

#: Values of a row in the first version of the table `alerts`.
_FIRST_VALUES = 27


class PackedRow(NamedTuple):
    """One row as MessagePack. Rows of a `lane` count only beyond its last written offset; "" means no lane."""

    lane: str
    offset: int
    data: bytes


class Rows(NamedTuple):
    """The rows of one record in order; or no row and the reason, which quotes nothing of the record."""

    rows: Sequence[PackedRow]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `rows` converts a record of `topic`; `columns` are the names of the rows' values, in order.

    `alone` gives the value of a record of `topic` that holds only the row with the given index.
    """

    name: str
    topic: str
    columns: tuple[str, ...]
    rows: Callable[[Record], Rows]
    alone: Callable[[Record, int], bytes]


def _alerts(record: Record) -> Rows:
    block = codec.decode_block(record.value or b"")
    if len(block.offsets) != len(block.rows):
        return Rows((), "the history block has not as many offsets as rows")
    lane = f"{block.stage}/{block.partition}"
    packed = block.rows
    if block.values_per_row != ALERT_VALUES:
        packed = [_completed(row, block.values_per_row) for row in block.rows]
    return Rows([PackedRow(lane, offset, row) for offset, row in zip(block.offsets, packed, strict=True)])


def _completed(row: bytes, count: int) -> bytes:
    """A row of a version with `count` columns, and for later ones what is known. Raises DecodeError or ValueError.

    `severity_raw` is `severity` (after rules); the sender's times were not kept.
    """
    if not _FIRST_VALUES <= count < ALERT_VALUES:
        raise ValueError(f"a row has {count} values")
    values: list[object] = msgspec.msgpack.decode(b"\xdc" + count.to_bytes(2, "big") + row)
    later = AlertRow.__struct_fields__[count:]
    known = {"severity_raw": values[AlertRow.__struct_fields__.index("severity")]}
    return row + b"".join(msgspec.msgpack.encode(known.get(name, 0)) for name in later)


def _one_alert(record: Record, index: int) -> bytes:
    block = codec.decode_block(record.value or b"")
    alone = HistoryBlock(
        block.stage, block.partition, [block.offsets[index]], [block.rows[index]], block.values_per_row
    )
    return codec.encode(alone)


def _whole(record: Record, _: int) -> bytes:
    return record.value or b""


def _incidents(record: Record) -> Rows:
    if record.value is None:
        return Rows(())
    incident = codec.decode_incident(record.value)
    return _one(
        IncidentRow(
            tenant=incident.tenant,
            incident_id=_uuid(incident.incident_id),
            version=incident.version,
            status=incident.status,
            severity=incident.severity,
            urgency=incident.urgency,
            service=incident.service,
            title=incident.title,
            dedup_key=incident.dedup_key,
            correlation_key=_uuid(incident.correlation_key),
            opened_at=incident.opened_at,
            acknowledged_at=incident.acknowledged_at,
            resolved_at=incident.resolved_at,
            last_alert_at=incident.last_alert_at,
            alert_count=incident.alert_count,
            repeat_count=incident.repeat_count,
            member_count=incident.member_count,
            labels=incident.labels,
            source=incident.source,
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _incident_events(record: Record) -> Rows:
    event = codec.decode_incident_event(record.value or b"")
    return _one(
        IncidentEventRow(
            tenant=event.tenant,
            incident_id=_uuid(event.incident_id),
            at=event.at,
            version=event.version,
            kind=event.kind,
            actor=event.actor,
            from_status=event.from_status,
            to_status=event.to_status,
            event_id=_uuid(event.event_id),
            note=event.note,
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _deliveries(record: Record) -> Rows:
    delivery = codec.decode_delivery(record.value or b"")
    return _one(
        DeliveryRow(
            tenant=delivery.tenant,
            notification_id=_uuid(delivery.notification_id),
            incident_id=_uuid(delivery.incident_id),
            channel=delivery.channel,
            destination=delivery.destination,
            transition=delivery.transition,
            attempt=delivery.attempt,
            queued_at=delivery.queued_at,
            sent_at=delivery.sent_at,
            finished_at=delivery.finished_at,
            outcome=delivery.outcome,
            http_status=delivery.http_status,
            error=delivery.error,
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _changes(record: Record) -> Rows:
    change = codec.decode_change(record.value or b"")
    return _one(
        ChangeRow(
            tenant=change.tenant,
            received_at=change.received_at,
            at=change.at,
            event_id=_uuid(change.event_id),
            provider=change.provider,
            integration=change.integration,
            service=change.service,
            summary=change.summary,
            source=change.source,
            details=change.details,
            links=msgspec.json.encode(change.links).decode() if change.links else "",
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _rejections(record: Record) -> Rows:
    rejection = codec.decode_rejection(record.value or b"")
    return _one(
        RejectionRow(
            at=rejection.at,
            tenant=rejection.tenant,
            integration=rejection.integration,
            provider=rejection.provider,
            route=rejection.route,
            reason=rejection.reason,
            status=rejection.status,
            field=rejection.field,
            count=rejection.count,
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _audit(record: Record) -> Rows:
    entry = codec.decode_audit(record.value or b"")
    return _one(
        AuditRow(
            tenant=entry.tenant,
            audit_id=_uuid(entry.audit_id),
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            kind=entry.kind,
            id=entry.id,
            outcome=entry.outcome,
            before=entry.before,
            after=entry.after,
            address=entry.address,
            kafka_topic=record.topic,
            kafka_partition=record.partition,
            kafka_offset=record.offset,
        )
    )


def _dead_letters(record: Record) -> Rows:
    letter = DeadLetter.read(record.key, record.value, list(record.headers))
    # a letter without Stormweir's headers was written by hand: its own place distinguishes its row from others
    topic, partition, offset = (
        (letter.topic, letter.partition, letter.offset)
        if letter.topic
        else (record.topic, record.partition, record.offset)
    )
    return _one(
        DeadLetterRow(
            at=letter.at or record.timestamp,
            stage=letter.stage,
            reason=letter.reason,
            error=letter.error,
            key=letter.key,
            body=letter.body,
            kafka_topic=topic,
            kafka_partition=partition,
            kafka_offset=offset,
            kafka_index=letter.row,
            kafka_last_offset=max(offset, letter.last_offset),
        )
    )


def _uuid(raw: bytes) -> Ext:
    # ClickHouse would reject the whole batch at every retry
    if len(raw) != 16:
        raise ValueError(f"an id of {len(raw)} bytes instead of 16")
    return uuid_column(raw)


def _one(row: Row) -> Rows:
    return Rows((PackedRow("", 0, pack_row(row)),))


def _checked(read: Callable[[Record], Rows]) -> Callable[[Record], Rows]:
    def rows(record: Record) -> Rows:
        try:
            return read(record)
        except (codec.DecodeError, ValueError, OverflowError) as error:
            return Rows((), f"the record is not what {record.topic} holds: {type(error).__name__}")

    return rows


def _table(name: str, topic: topics.Topic, row: type[Row], read: Callable[[Record], Rows]) -> Table:
    alone = _one_alert if row is AlertRow else _whole
    return Table(name, topic.name, row.__struct_fields__, _checked(read), alone)


#: Tables by topic name, one for each of `schemas.topics.WRITTEN_TOPICS`.
TABLES: Mapping[str, Table] = {
    table.topic: table
    for table in (
        _table("alerts", topics.ALERTS_HISTORY, AlertRow, _alerts),
        _table("incidents", topics.INCIDENTS, IncidentRow, _incidents),
        _table("incident_events", topics.INCIDENTS_EVENTS, IncidentEventRow, _incident_events),
        _table("deliveries", topics.NOTIFICATIONS_RESULTS, DeliveryRow, _deliveries),
        _table("change_events", topics.CHANGES, ChangeRow, _changes),
        _table("rejections", topics.REJECTIONS, RejectionRow, _rejections),
        _table("dead_letters", topics.DEADLETTERS, DeadLetterRow, _dead_letters),
        _table("audit", topics.AUDIT, AuditRow, _audit),
    )
}
