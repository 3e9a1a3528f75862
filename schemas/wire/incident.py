"""The incident: what people act on. Times are milliseconds since 1970 UTC, 0 means "not yet"."""

from enum import IntEnum
from typing import Literal

import msgspec

from schemas.wire.alert import RuledUrgency, Severity


class Status(IntEnum):
    """The status of an incident. A resolved one opens again only if its service says so; else a new incident opens."""

    OPEN = 1
    ACKNOWLEDGED = 2
    RESOLVED = 3


def urgency_of(severity: Severity) -> Literal["high", "low"]:
    """The urgency of a severity: `high` for critical and error, else `low`."""
    return "high" if severity >= Severity.ERROR else "low"


class Incident(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """The latest state of an incident, on `incidents` (compacted). `version` only grows; `incident_id` is 16 bytes.

    `ruled_urgency` is the urgency if rules made it another one than the severity has, else "". `acknowledged_by` is who
    acknowledged it, as the timeline shows it, "" while nobody has.
    """

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
    ruled_urgency: RuledUrgency = ""
    acknowledged_by: str = ""

    @property
    def urgency(self) -> Literal["high", "low"]:
        """`high` or `low`."""
        return self.ruled_urgency or urgency_of(self.severity)


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


class IncidentChange(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """A change of an incident that somebody may have to be told of, on `incidents.changes`.

    `kind` and `at` are those of its line in the timeline; `joined` is for a member that reaches more people. `severity`
    and `routes` are what the rules decided on the alert that caused it, if one did; `announces` says that it may reach
    more people. `rule` has the ids, comma-separated, of the rules that matched the incident's alerts. `via` grows with
    each change from the partition `via_partition` of `alerts.unique`; -1 for one that a timer caused. `actor` is who
    acted, as the timeline shows it.
    """

    incident: Incident
    kind: str
    at: int
    via_partition: int
    via: int
    severity: Severity
    routes: list[str] = []
    rule: str = ""
    announces: bool = False
    actor: str = ""
