"""Rows of the ClickHouse tables, in column order (a test compares them with the migrations).

A row on a topic is the MessagePack values of its columns, one after another, as ClickHouse's MsgPack input
format reads them: the stage that makes the row packs it once, and no later stage unpacks it.
"""

from enum import IntEnum
from functools import partial

import msgspec
from msgspec.msgpack import Ext

from schemas.wire.alert import Action, Severity
from schemas.wire.incident import Status

_encode = msgspec.msgpack.Encoder().encode

#: `uuid_column(raw)`: 16 bytes as the value of a UUID column, so that ClickHouse prints `uuid_text(raw)`.
#: ClickHouse reads MessagePack's extension 2 as big-endian; it reads plain 16 bytes as two little-endian
#: halves, another UUID (MsgPackRowInputFormat, `output_format_msgpack_uuid_representation`; measured).
uuid_column = partial(Ext, 2)


class AlertOutcome(IntEnum):
    """How an alert ended. Every alert has exactly one outcome."""

    OPENED = 1
    CORRELATED = 2
    DEDUPLICATED = 3
    SUPPRESSED = 4
    ACKNOWLEDGED = 5
    RESOLVED = 6
    STALE = 7
    UNMATCHED = 8


class AlertRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `alerts`. Ids come from `uuid_column`, times are milliseconds; `severity` is the one after rules,
    `severity_raw` the one before. The last three are the sender's times as it gave them (schemas.wire.alert.Alert).
    """

    tenant: str
    received_at: int
    starts_at: int
    ends_at: int
    event_id: Ext
    provider: str
    integration: str
    service: str
    severity: Severity
    action: Action
    outcome: AlertOutcome
    fingerprint: Ext
    incident_id: Ext
    dedup_key: str
    summary: str
    source: str
    component: str
    alert_group: str
    alert_class: str
    labels: dict[str, str]
    details: bytes
    links: str
    rule: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    kafka_index: int
    severity_raw: Severity
    sent_ms: int
    began_ms: int
    ended_ms: int


class IncidentRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `incidents` (ReplacingMergeTree by version)."""

    tenant: str
    incident_id: Ext
    version: int
    status: Status
    severity: Severity
    urgency: str
    service: str
    title: str
    dedup_key: str
    correlation_key: Ext
    opened_at: int
    acknowledged_at: int
    resolved_at: int
    last_alert_at: int
    alert_count: int
    repeat_count: int
    member_count: int
    labels: dict[str, str]
    source: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


class IncidentEventRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `incident_events`."""

    tenant: str
    incident_id: Ext
    at: int
    version: int
    kind: str
    actor: str
    from_status: str
    to_status: str
    event_id: Ext
    note: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


class DeliveryRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `deliveries`: one row per attempt."""

    tenant: str
    notification_id: Ext
    incident_id: Ext
    channel: str
    destination: str
    transition: str
    attempt: int
    queued_at: int
    sent_at: int
    finished_at: int
    outcome: str
    http_status: int
    error: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


class ChangeRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `change_events`; `links` is JSON text."""

    tenant: str
    received_at: int
    at: int
    event_id: Ext
    provider: str
    integration: str
    service: str
    summary: str
    source: str
    details: bytes
    links: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


class RejectionRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `rejections`: `count` equal rejections within one second."""

    at: int
    tenant: str
    integration: str
    provider: str
    route: str
    reason: str
    status: int
    field: str
    count: int
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


class DeadLetterRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `dead_letters`. Topic, partition and offset are those of the failed record, `kafka_index` is the failed
    row's index in it, `kafka_last_offset` the offset of the last failed record (`kafka_offset` for a single one).
    """

    at: int
    stage: str
    reason: str
    error: str
    key: bytes
    body: bytes
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    kafka_index: int
    kafka_last_offset: int


class AuditRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Table `audit`; `before` and `after` are JSON text."""

    tenant: str
    audit_id: Ext
    at: int
    actor: str
    action: str
    kind: str
    id: str
    outcome: str
    before: str
    after: str
    address: str
    kafka_topic: str
    kafka_partition: int
    kafka_offset: int


Row = AlertRow | IncidentRow | IncidentEventRow | DeliveryRow | ChangeRow | RejectionRow | DeadLetterRow | AuditRow


def pack_row(row: Row) -> bytes:
    """The row's column values as consecutive MessagePack values: the array without its header."""
    packed = _encode(row)
    return packed[3:] if packed[0] == 0xDC else packed[1:]


#: Values in a packed `AlertRow`.
ALERT_VALUES = len(AlertRow.__struct_fields__)


class HistoryBlock(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A run of packed `AlertRow`s on `alerts.history`, from one partition of one stage's input.

    `offsets[i]` is the offset of the input record that `rows[i]` comes from. Offsets only grow inside one (stage,
    partition), so a reader that remembers the last one drops rows that a crashed worker wrote twice. A packed row has
    no header, so `values_per_row` is its number of values, less in blocks of versions with fewer columns: 27 in blocks
    without this field.
    """

    stage: str
    partition: int
    offsets: list[int]
    rows: list[bytes]
    values_per_row: int = 27
