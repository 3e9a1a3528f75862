"""The fields that conditions name, of alerts and of incidents: how Python and ClickHouse read each."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from schemas.wire.alert import Action, Severity
from schemas.wire.incident import Status

Getters = Mapping[str, Callable[[Any], str]]

#: Names by value: the name of an enum's member is a slow attribute.
SEVERITIES: Mapping[Severity, str] = {severity: severity.name.lower() for severity in Severity}

ALERT_FIELDS: Getters = {
    "tenant": attrgetter("tenant"),
    "service": attrgetter("service"),
    "integration": attrgetter("integration"),
    "provider": attrgetter("provider"),
    "dedup_key": attrgetter("dedup_key"),
    "severity": lambda alert: SEVERITIES[alert.severity],
    "action": lambda alert: alert.action.name.lower(),
    "summary": attrgetter("summary"),
    "source": attrgetter("source"),
    "component": attrgetter("component"),
    "group": attrgetter("group"),
    "class": attrgetter("class_"),
}
INCIDENT_FIELDS: Getters = {
    "tenant": attrgetter("tenant"),
    "service": attrgetter("service"),
    "dedup_key": attrgetter("dedup_key"),
    "severity": lambda incident: SEVERITIES[incident.severity],
    "status": lambda incident: incident.status.name.lower(),
    "urgency": attrgetter("urgency"),
    "summary": attrgetter("title"),
    "source": attrgetter("source"),
}
#: The fields that have few possible values.
DOMAINS: Mapping[str, frozenset[str]] = {
    "severity": frozenset(SEVERITIES.values()),
    "action": frozenset(action.name.lower() for action in Action),
}
INCIDENT_DOMAINS: Mapping[str, frozenset[str]] = {
    "severity": DOMAINS["severity"],
    "status": frozenset(status.name.lower() for status in Status),
    "urgency": frozenset({"high", "low"}),
}
#: Expressions over the columns of ClickHouse's table `alerts`. Conditions see the severity before rules.
ALERT_COLUMNS: Mapping[str, str] = {
    "severity": "toString(severity_raw)",
    "action": "toString(action)",
    "group": "alert_group",
    "class": "alert_class",
    **{name: name for name in ALERT_FIELDS if name not in {"severity", "action", "group", "class"}},
}


def label(name: str) -> str:
    """The label that a name means which is no field: `labels.x` and `x` are the label x."""
    return name.removeprefix("labels.")


def field(name: str, fields: Getters = ALERT_FIELDS) -> Callable[[Any], str]:
    """The getter of a field; `labels.x` or any other name reads a label, "" if it is missing."""
    getter = fields.get(name)
    if getter is not None:
        return getter
    key = label(name)
    return lambda subject: subject.labels.get(key, "")
