"""Records as Kafka would hand them over, and rows of every table."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import ALERTS_HISTORY
from schemas.wire.alert import Action, Severity
from schemas.wire.audit import AuditRecord
from schemas.wire.change import ChangeEvent
from schemas.wire.codec import encode
from schemas.wire.incident import Incident, IncidentEvent, Status
from schemas.wire.notification import Delivery, Outcome, Transition
from schemas.wire.rejection import Rejection
from schemas.wire.rows import ALERT_VALUES, AlertOutcome, AlertRow, HistoryBlock, pack_row, uuid_column

#: Milliseconds; of today, for a TTL drops old rows as they come in.
NOW = int(time.time()) * 1000
UUID = uuid.UUID("0198c0de-0123-7456-89ab-cdef01234567")


@dataclass
class Record:
    """One fetched record."""

    topic: str
    value: bytes | None
    offset: int = 0
    partition: int = 0
    key: bytes | None = None
    timestamp: int = NOW
    headers: Sequence[tuple[str, bytes]] = field(default_factory=list)


def alert_row(offset: int = 0, index: int = 0, **changes: Any) -> AlertRow:
    """A row of `alerts`."""
    values: dict[str, Any] = {
        "tenant": "default",
        "received_at": NOW,
        "starts_at": NOW,
        "ends_at": 0,
        "event_id": uuid_column(UUID.bytes),
        "provider": "events_v2",
        "integration": "aaaaaa...",
        "service": "payments",
        "severity": Severity.CRITICAL,
        "action": Action.TRIGGER,
        "outcome": AlertOutcome.OPENED,
        "fingerprint": uuid_column(UUID.bytes),
        "incident_id": uuid_column(bytes(16)),
        "dedup_key": "disk/1",
        "summary": "Disk full",
        "source": "host-1",
        "component": "",
        "alert_group": "",
        "alert_class": "",
        "labels": {},
        "details": b"",
        "links": "[]",
        "rule": "",
        "kafka_topic": "alerts.raw",
        "kafka_partition": 3,
        "kafka_offset": offset,
        "kafka_index": index,
        "severity_raw": Severity.CRITICAL,
        "sent_ms": NOW - 1,
        "began_ms": -(2**62),
        "ended_ms": 2**62,
    }
    return AlertRow(**(values | changes))


def history(offset: int, rows: Sequence[tuple[int, AlertRow]], stage: str = "dedup", partition: int = 0) -> Record:
    """A record of `alerts.history` with rows at these input offsets."""
    packed = [pack_row(row) for _, row in rows]
    block = HistoryBlock(stage, partition, [at for at, _ in rows], packed, ALERT_VALUES)
    return Record(ALERTS_HISTORY.name, encode(block), offset)


def incident(**changes: Any) -> Incident:
    """An open incident."""
    values: dict[str, Any] = {
        "tenant": "default",
        "incident_id": UUID.bytes,
        "version": 1,
        "status": Status.OPEN,
        "severity": Severity.ERROR,
        "service": "payments",
        "title": "Disk full",
        "dedup_key": "disk/1",
        "correlation_key": UUID.bytes[::-1],
        "opened_at": NOW,
        "acknowledged_at": 0,
        "resolved_at": 0,
        "last_alert_at": NOW + 1,
        "alert_count": 5,
        "repeat_count": 4,
        "member_count": 1,
    }
    return Incident(**(values | changes))


def incident_event(version: int = 1, note: str = "") -> IncidentEvent:
    """A line of the timeline."""
    return IncidentEvent(
        tenant="default",
        incident_id=UUID.bytes,
        at=NOW + version,
        version=version,
        kind="opened",
        actor="stream",
        from_status="",
        to_status="open",
        event_id=UUID.bytes,
        note=note,
    )


def delivery(attempt: int = 1, error: str = "") -> Delivery:
    """One attempt."""
    return Delivery(
        tenant="default",
        notification_id=UUID.bytes,
        incident_id=UUID.bytes,
        channel="webhook",
        destination="ops",
        transition=Transition.TRIGGERED,
        attempt=attempt,
        queued_at=NOW,
        sent_at=NOW + 5,
        finished_at=NOW + 9,
        outcome=Outcome.RETRY if error else Outcome.DELIVERED,
        http_status=503 if error else 200,
        error=error,
    )


def change(**changes: Any) -> ChangeEvent:
    """A deployment to the service of `incident`."""
    values: dict[str, Any] = {
        "tenant": "default",
        "service": "payments",
        "integration": "cccccc...",
        "provider": "change_events",
        "event_id": UUID.bytes,
        "received_at": NOW,
        "at": NOW - 60_000,
        "summary": "payments 4.7.1 went live",
        "source": "deployer",
    }
    return ChangeEvent(**(values | changes))


def rejection(**changes: Any) -> Rejection:
    """Three requests of one integration with a wrong signature."""
    values: dict[str, Any] = {
        "at": NOW,
        "tenant": "default",
        "integration": "aaaaaa...",
        "provider": "webhook",
        "route": "/api/integrations/webhook",
        "reason": "bad_signature",
        "status": 401,
        "field": "",
        "count": 3,
    }
    return Rejection(**(values | changes))


def audit() -> AuditRecord:
    """Somebody made a service."""
    return AuditRecord(
        tenant="default",
        audit_id=UUID.bytes,
        at=NOW,
        actor="ada",
        action="created",
        kind="service",
        id="shop",
        after='{"id": "shop"}',
        address="192.0.2.1",
    )
