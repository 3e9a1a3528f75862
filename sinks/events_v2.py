"""Events of PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/events-api-v2-overview).

PagerDuty knows an alert by its `dedup_key`, which is the incident's id; so a repeated event changes nothing there.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from schemas.wire.notification import Transition
from sinks.contract import Message
from sinks.render import incident_url, iso, related_incidents
from sinks.text import cut

#: Code points of a summary, and bytes of an event.
MAX_SUMMARY = 1_024
MAX_EVENT = 512_000
#: Code points of the other texts; PagerDuty documents no limit.
_MAX_TEXT = 255
#: A test's alert is resolved at once, and never meets a real one.
_TEST = "test-"


def events(message: Message, routing_key: str) -> Sequence[bytes]:
    """The bodies of the events that tell the message, to be sent in this order.

    PagerDuty drops an acknowledge or resolve of an alert that it does not know, so what was not told yet is triggered
    first. A rise in severity is a trigger of the same alert with the new severity.
    """
    return [_body(action, message, routing_key) for action in actions(message.told, test=message.test)]


#: Changes of an incident that is open: PagerDuty pages again if somebody had resolved its alert there.
_OPEN = frozenset(
    {Transition.ESCALATED, Transition.UNACKNOWLEDGED, Transition.REMINDER, Transition.SLA_BREACH, Transition.UPDATED}
)


def actions(told: Sequence[Transition], *, test: bool = False) -> Sequence[str]:
    """The event actions that tell these changes.

    >>> actions([Transition.TRIGGERED, Transition.RESOLVED])
    ['trigger', 'resolve']
    >>> actions([Transition.ESCALATED, Transition.RESOLVED])
    ['resolve']
    >>> actions([Transition.ACKNOWLEDGED, Transition.UNACKNOWLEDGED])
    ['trigger']
    """
    over = Transition.RESOLVED in told
    found = []
    if test or Transition.TRIGGERED in told or not (over or _OPEN.isdisjoint(told)):
        found.append("trigger")
    handled = [each for each in told if each in {Transition.ACKNOWLEDGED, Transition.UNACKNOWLEDGED}]
    if test or over:
        found.append("resolve")
    elif handled and handled[-1] == Transition.ACKNOWLEDGED:
        found.append("acknowledge")
    return found


def _body(action: str, message: Message, routing_key: str) -> bytes:
    incident = message.incident
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": (_TEST if message.test else "") + str(UUID(bytes=incident.incident_id)),
    }
    if action == "trigger":
        link = incident_url(message)
        event |= {
            "client": "Stormweir",
            "client_url": link,
            "links": [{"href": link, "text": "Incident in Stormweir"}],
            "payload": _payload(message),
        }
    body = orjson.dumps(event)
    if len(body) > MAX_EVENT:
        del event["payload"]["custom_details"]
        body = orjson.dumps(event)
    return body


def _payload(message: Message) -> Mapping[str, Any]:
    incident, notification = message.incident, message.notification
    also = {"related": related_incidents(message), "more": notification.more} if notification.related else {}
    note = {"note": cut(notification.note, _MAX_TEXT)} if notification.note else {}
    source = incident.source if incident.source.strip() else incident.service
    return {
        "summary": cut(incident.title, MAX_SUMMARY) if incident.title.strip() else "An incident without a title",
        "source": cut(source, _MAX_TEXT) if source.strip() else "unknown",
        "severity": incident.severity.name.lower(),
        "timestamp": iso(incident.opened_at, "milliseconds"),
        "group": cut(incident.service, _MAX_TEXT),
        "custom_details": {
            "service": incident.service,
            "dedup_key": incident.dedup_key,
            "urgency": incident.urgency,
            "alert_count": incident.alert_count,
            "repeat_count": incident.repeat_count,
            "member_count": incident.member_count,
            "labels": incident.labels,
            **also,
            **note,
        },
    }
