"""The incident as the API shows it, in lists, alone and in the event stream."""

from typing import Literal, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel

from schemas.wire import incident as wire
from schemas.wire.alert import Severity
from streams.api.times import Time, moment, moment_or_none

StatusName = Literal["open", "acknowledged", "resolved"]
SeverityName = Literal["info", "warning", "error", "critical"]

STATUSES = {status: status.name.lower() for status in wire.Status}
SEVERITIES = {severity: severity.name.lower() for severity in Severity}

_decode_links = msgspec.json.Decoder(list[dict[str, str]]).decode


class Incident(BaseModel):
    """`alert_count` counts its alerts with their repeats, `member_count` the keys among them. `group` are its labels.

    `acknowledged_by` is who acknowledged it, as the timeline shows it.
    """

    id: UUID
    version: int
    status: StatusName
    severity: SeverityName
    urgency: Literal["high", "low"]
    service: str
    title: str
    dedup_key: str
    source: str
    opened_at: Time
    updated_at: Time
    acknowledged_at: Time | None
    acknowledged_by: str | None
    resolved_at: Time | None
    alert_count: int
    member_count: int
    group: dict[str, str]

    @classmethod
    def of(cls, incident: wire.Incident) -> Self:
        """The incident of a record of the topic `incidents`."""
        return cls.model_validate(fields_of(incident))


class Link(BaseModel):
    """A link that an alert or a change came with."""

    href: str
    text: str = ""


def links_of(text: str) -> list[Link]:
    """The links of a row of ClickHouse: JSON text, a list, or nothing."""
    return [Link.model_validate(link) for link in _decode_links(text) if link.get("href")] if text else []


def fields_of(incident: wire.Incident) -> dict[str, object]:
    """The values of Incident."""
    changed = (incident.opened_at, incident.last_alert_at, incident.acknowledged_at, incident.resolved_at)
    return {
        "id": UUID(bytes=incident.incident_id),
        "version": incident.version,
        "status": STATUSES[incident.status],
        "severity": SEVERITIES[incident.severity],
        "urgency": incident.urgency,
        "service": incident.service,
        "title": incident.title,
        "dedup_key": incident.dedup_key,
        "source": incident.source,
        "opened_at": moment(incident.opened_at),
        "updated_at": moment(max(changed)),
        "acknowledged_at": moment_or_none(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by or None,
        "resolved_at": moment_or_none(incident.resolved_at),
        "alert_count": incident.alert_count,
        "member_count": incident.member_count,
        "group": incident.labels,
    }
