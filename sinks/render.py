"""The JSON bodies of the webhook templates: pure, and the same bytes for every attempt.

docs/webhooks.md describes each template; `cortif-v1` and `opsknight-v1` match the bodies of those products
field for field, so that receivers written for them work unchanged.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import orjson

from schemas.wire.incident import Incident
from schemas.wire.notification import Related
from sinks.contract import Message

#: The end of the year 9999, the last time that can be formatted; a sender's clock can be wrong by any amount.
LAST_MS = 253_402_300_799_000


def body(template: str, message: Message) -> bytes:
    """The body of `template` for this message, with `"test": true` for a test. Raises KeyError for an unknown one."""
    document = TEMPLATES[template](message)
    return orjson.dumps({**document, "test": True} if message.test else document)


def _stormweir(message: Message) -> dict[str, object]:
    notification, incident = message.notification, message.incident
    return {
        "id": str(UUID(bytes=notification.notification_id)),
        "event": f"incident.{notification.transition}",
        "timestamp": iso(notification.queued_at, "milliseconds"),
        "incident": {
            "id": _id(incident),
            "version": incident.version,
            "url": incident_url(message),
            "tenant": incident.tenant,
            "service": incident.service,
            "title": incident.title,
            "status": incident.status.name.lower(),
            "severity": incident.severity.name.lower(),
            "urgency": incident.urgency,
            "source": incident.source,
            "dedup_key": incident.dedup_key,
            "correlation_key": incident.correlation_key.hex(),
            "labels": incident.labels,
            "opened_at": iso(incident.opened_at, "milliseconds"),
            "acknowledged_at": iso(incident.acknowledged_at, "milliseconds"),
            "resolved_at": iso(incident.resolved_at, "milliseconds"),
            "last_alert_at": iso(incident.last_alert_at, "milliseconds"),
            "alert_count": incident.alert_count,
            "repeat_count": incident.repeat_count,
            "member_count": incident.member_count,
        },
        "related": related_incidents(message),
        "more": notification.more,
        "note": notification.note,
    }


def related_incidents(message: Message) -> list[dict[str, object]]:
    """The other incidents of the message."""
    return [
        {
            "id": _id(related),
            "url": page_url(message.base_url, related),
            "title": related.title,
            "severity": related.severity.name.lower(),
            "status": related.status.name.lower(),
            "service": related.service,
            "change": str(related.change),
        }
        for related in message.notification.related
    ]


def _cortif(message: Message) -> dict[str, object]:
    # Cortif's trigger is a threshold: an incident is open because its alert count is greater than zero. Cortif's run
    # is the time from the opening of the incident to its latest alert, as of this version.
    notification, incident = message.notification, message.incident
    return {
        "event": f"alert.{notification.transition}",
        "timestamp": iso(notification.queued_at),
        "alert": {
            "id": _id(incident),
            "name": incident.title,
            "severity": incident.severity.name.lower(),
            "project_id": incident.service,
            "project_name": incident.service,
        },
        "trigger": {
            "metric": "alert_count",
            "threshold": 0,
            "current_value": incident.alert_count,
            "comparison": "greater_than",
        },
        "run": {
            "id": f"{_id(incident)}-{incident.version}",
            "started_at": iso(incident.opened_at),
            "completed_at": iso(incident.last_alert_at or incident.opened_at),
        },
        "links": {
            "dashboard": incident_url(message),
            "project": f"{message.base_url}/services/{quote(incident.service, safe='')}",
        },
    }


def _opsknight(message: Message) -> dict[str, object]:
    notification, incident = message.notification, message.incident
    return {
        "event": f"incident.{notification.transition}",
        "timestamp": iso(notification.queued_at),
        "incident": {
            "id": _id(incident),
            "title": incident.title,
            "status": incident.status.name,
            "urgency": incident.urgency.upper(),
            "service": {"id": incident.service, "name": incident.service},
            "assignee": None,
            "url": incident_url(message),
        },
    }


TEMPLATES: Mapping[str, Callable[[Message], dict[str, object]]] = {
    "stormweir-v1": _stormweir,
    "cortif-v1": _cortif,
    "opsknight-v1": _opsknight,
}


def _id(incident: Incident | Related) -> str:
    return str(UUID(bytes=incident.incident_id))


def incident_url(message: Message) -> str:
    """The page of the message's incident."""
    return page_url(message.base_url, message.incident)


def page_url(base_url: str, incident: Incident | Related) -> str:
    """The page of an incident; `base_url` has no slash at its end."""
    return f"{base_url}/incidents/{_id(incident)}"


def iso(at_ms: int, timespec: str = "seconds") -> str | None:
    """The time in ISO 8601, UTC with `Z`; None if there is none."""
    if at_ms <= 0:
        return None
    at = datetime.fromtimestamp(min(at_ms, LAST_MS) / 1000, UTC)
    return at.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
