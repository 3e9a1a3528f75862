"""The incident: what people act on. Times are milliseconds since 1970 UTC, 0 means "not yet"."""

from enum import IntEnum

import msgspec

from schemas.wire.alert import Severity


class Status(IntEnum):
    """The status of an incident. A resolved incident is never reopened; a new incident opens instead."""

    OPEN = 1
    ACKNOWLEDGED = 2
    RESOLVED = 3


class Incident(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """The latest state of an incident, on `incidents` (compacted). `version` only grows; `incident_id` is 16 bytes."""

    tenant: str
    incident_id: bytes
    version: int
    status: Status
    severity: Severity
    service: str
    title: str
    dedup_key: str
    correlation_key: bytes
    opened_at: int
    acknowledged_at: int
    resolved_at: int
    last_alert_at: int
    alert_count: int
    repeat_count: int
    member_count: int
    labels: dict[str, str] = {}
    source: str = ""

    @property
    def urgency(self) -> str:
        """`high` for critical and error, else `low`."""
        return "high" if self.severity >= Severity.ERROR else "low"


class IncidentEvent(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One event in an incident's timeline, on `incidents.events`, identified by (incident_id, version)."""

    tenant: str
    incident_id: bytes
    at: int
    version: int
    kind: str
    actor: str
    from_status: str
    to_status: str
    event_id: bytes
    note: str = ""
