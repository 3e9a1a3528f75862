"""The transitions of an incident: pure functions that return the next version and its line in the timeline."""

from collections.abc import Mapping

from schemas.fingerprint import digest
from schemas.wire.alert import Action, Alert, Severity, UniqueAlert
from schemas.wire.command import Command, CommandAction
from schemas.wire.incident import Incident, IncidentEvent, Status
from schemas.wire.notification import Transition

#: The names of an incident's states in the timeline.
WORDS = {Status.OPEN: "open", Status.ACKNOWLEDGED: "acknowledged", Status.RESOLVED: "resolved"}


def incident_id(tenant: str, correlation_key: bytes, opening: bytes) -> bytes:
    """16 bytes from tenant, correlation key and the event id of the alert that opened it."""
    return digest(tenant, correlation_key.hex(), opening.hex())


def open_incident(
    alert: Alert, correlation_key: bytes, severity: Severity, labels: Mapping[str, str]
) -> tuple[Incident, IncidentEvent]:
    """The first version, opened by an alert."""
    incident = Incident(
        tenant=alert.tenant,
        incident_id=incident_id(alert.tenant, correlation_key, alert.event_id),
        version=1,
        status=Status.OPEN,
        severity=severity,
        service=alert.service,
        title=alert.summary,
        dedup_key=alert.dedup_key,
        correlation_key=correlation_key,
        opened_at=alert.received_at,
        acknowledged_at=0,
        resolved_at=0,
        last_alert_at=alert.received_at,
        alert_count=1,
        repeat_count=0,
        member_count=1,
        labels={**alert.labels, **labels},
        source=alert.source,
    )
    return incident, _event(incident, Transition.TRIGGERED, "", alert.received_at, alert.event_id)


def join(incident: Incident, alert: Alert, severity: Severity) -> tuple[Incident, IncidentEvent]:
    """The next version, with another alert as a member."""
    after = _next(
        incident,
        severity=max(incident.severity, severity),
        last_alert_at=max(incident.last_alert_at, alert.received_at),
        alert_count=incident.alert_count + 1,
        member_count=incident.member_count + 1,
    )
    kind = "escalated" if after.severity > incident.severity else "joined"
    return after, _event(after, kind, WORDS[incident.status], alert.received_at, alert.event_id, alert.summary[:200])


def repeat(
    incident: Incident, new_repeats: int, last_seen: int, severity: Severity
) -> tuple[Incident, IncidentEvent | None]:
    """The next version after members fired again `new_repeats` times; an event only if that raised the severity."""
    after = _next(
        incident,
        severity=max(incident.severity, severity),
        last_alert_at=max(incident.last_alert_at, last_seen),
        alert_count=incident.alert_count + new_repeats,
        repeat_count=incident.repeat_count + new_repeats,
    )
    if after.severity == incident.severity:
        return after, None
    return after, _event(after, Transition.ESCALATED, WORDS[incident.status], last_seen, bytes(16))


def acknowledge(incident: Incident, alert: Alert) -> tuple[Incident, IncidentEvent]:
    """The next version after somebody acknowledged the incident."""
    after = _next(incident, status=Status.ACKNOWLEDGED, acknowledged_at=alert.received_at)
    return after, _event(after, Transition.ACKNOWLEDGED, WORDS[incident.status], alert.received_at, alert.event_id)


def resolve(incident: Incident, alert: Alert) -> tuple[Incident, IncidentEvent]:
    """The next version after the last open member resolved."""
    after = _next(incident, status=Status.RESOLVED, resolved_at=alert.received_at)
    return after, _event(after, Transition.RESOLVED, WORDS[incident.status], alert.received_at, alert.event_id)


def obey(incident: Incident, command: Command, at: int) -> tuple[Incident, IncidentEvent] | None:
    """The next version after a person's command, `at` in milliseconds; None if the incident is in that state already.

    A note leaves the state as it is, and is written down in any state.
    """
    changes: dict[str, object] = {}
    match command.action:
        case CommandAction.ACKNOWLEDGE:
            kind, changes = str(Transition.ACKNOWLEDGED), {"status": Status.ACKNOWLEDGED, "acknowledged_at": at}
        case CommandAction.UNACKNOWLEDGE:
            kind, changes = "unacknowledged", {"status": Status.OPEN, "acknowledged_at": 0}
        case CommandAction.RESOLVE:
            kind, changes = str(Transition.RESOLVED), {"status": Status.RESOLVED, "resolved_at": at}
        case CommandAction.NOTE:
            kind = "note"
    if changes.get("status") == incident.status:
        return None
    after = _next(incident, **changes)
    before = WORDS[incident.status]
    return after, _event(after, kind, before, at, command.command_id, command.note, command.actor)


def firing_on(incident: Incident, unique: UniqueAlert) -> Alert:
    """The alert that `unique` counts, for the incident it opens: it fired after a person resolved `incident`.

    Counts carry no alert, so the texts are those of the resolved incident. The event id is 16 bytes from the incident
    and the fingerprint, so that each member opens an incident with an id of its own.
    """
    return Alert(
        tenant=incident.tenant,
        service=incident.service,
        integration="",
        provider="",
        event_id=digest(incident.incident_id.hex(), unique.fingerprint.hex()),
        dedup_key=incident.dedup_key,
        fingerprint=unique.fingerprint,
        action=Action.TRIGGER,
        severity=unique.severity,
        summary=incident.title,
        source=incident.source,
        labels=incident.labels,
        received_at=unique.last_seen,
    )


def _next(incident: Incident, **changes: object) -> Incident:
    fields = {name: getattr(incident, name) for name in incident.__struct_fields__}
    return Incident(**{**fields, **changes, "version": incident.version + 1})


def _event(
    incident: Incident, kind: str, before: str, at: int, event_id: bytes, note: str = "", actor: str = "stream"
) -> IncidentEvent:
    return IncidentEvent(
        tenant=incident.tenant,
        incident_id=incident.incident_id,
        at=at,
        version=incident.version,
        kind=kind,
        actor=actor,
        from_status=before,
        to_status=WORDS[incident.status],
        event_id=event_id,
        note=note,
    )
