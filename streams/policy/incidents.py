"""The transitions of an incident: pure functions that return the next version and its line in the timeline."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from schemas.fingerprint import digest, scope_of, uuid_text
from schemas.wire.alert import Action, Alert, RuledUrgency, Severity, UniqueAlert
from schemas.wire.command import Command, CommandAction
from schemas.wire.incident import Incident, IncidentEvent, Status, urgency_of
from schemas.wire.notification import Transition

#: The kind of the event with which an incident ends in another one.
MERGED = "merged"
#: What a person did to the members of an incident.
MEMBERS_ADDED, MEMBERS_MOVED = "members_added", "members_moved"
#: The label of storms, for rules, routes and silences.
STORM_LABELS = {"stormweir.storm": "true"}
#: Who acts in the timeline if an alert does.
STREAM = "stream"
#: The names of an incident's states in the timeline.
WORDS = {Status.OPEN: "open", Status.ACKNOWLEDGED: "acknowledged", Status.RESOLVED: "resolved"}


class Counted(NamedTuple):
    """Alerts that waited until they were enough for an incident: how many, and what they add to it."""

    alerts: int
    repeats: int
    severity: Severity
    urgency: RuledUrgency


def incident_id(tenant: str, correlation_key: bytes, opening: bytes, scope: bytes) -> bytes:
    """16 bytes: 8 from tenant, correlation key and the event id of the alert that opened it, then the scope."""
    return digest(tenant, correlation_key.hex(), opening.hex())[: -len(scope)] + scope


def open_incident(
    alert: Alert,
    correlation_key: bytes,
    severity: Severity,
    labels: Mapping[str, str],
    scope: bytes,
    urgency: RuledUrgency = "",
    repeats: int = 0,
) -> tuple[Incident, IncidentEvent]:
    """The first version, opened by an alert; `urgency` is what rules decided, "" if they left it to the severity.

    The alert fired `repeats` times more by now: it was counted, or waited, before it opened.
    """
    incident = Incident(
        tenant=alert.tenant,
        incident_id=incident_id(alert.tenant, correlation_key, alert.event_id, scope),
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
        alert_count=1 + repeats,
        repeat_count=repeats,
        member_count=1,
        labels={**alert.labels, **labels},
        source=alert.source,
        ruled_urgency=_ruled(urgency or urgency_of(severity), severity),
    )
    return incident, _event(incident, Transition.TRIGGERED, "", alert.received_at, alert.event_id)


def join(
    incident: Incident, alert: Alert, severity: Severity, urgency: RuledUrgency = "", repeats: int = 0
) -> tuple[Incident, IncidentEvent]:
    """The next version, with another alert as a member; `urgency` and `repeats` as for `open_incident`."""
    after = _next(
        incident,
        **_risen(incident, severity, urgency or urgency_of(severity)),
        last_alert_at=max(incident.last_alert_at, alert.received_at),
        alert_count=incident.alert_count + 1 + repeats,
        repeat_count=incident.repeat_count + repeats,
        member_count=incident.member_count + 1,
    )
    kind = "escalated" if after.severity > incident.severity else "joined"
    return after, _event(after, kind, WORDS[incident.status], alert.received_at, alert.event_id, alert.summary[:200])


def repeat(
    incident: Incident, new_repeats: int, last_seen: int, severity: Severity, urgency: RuledUrgency = ""
) -> tuple[Incident, IncidentEvent | None]:
    """The next version after members fired again `new_repeats` times; an event only if that raised the severity.

    `urgency` is that of the newest alert, "" if there were only counts: these leave the incident's as it is, unless
    they raise the severity.
    """
    if not urgency:
        urgency = urgency_of(severity) if severity > incident.severity else incident.urgency
    after = _next(
        incident,
        **_risen(incident, severity, urgency),
        last_alert_at=max(incident.last_alert_at, last_seen),
        alert_count=incident.alert_count + new_repeats,
        repeat_count=incident.repeat_count + new_repeats,
    )
    if after.severity == incident.severity:
        return after, None
    return after, _event(after, Transition.ESCALATED, WORDS[incident.status], last_seen, bytes(16))


def acknowledge(incident: Incident, alert: Alert) -> tuple[Incident, IncidentEvent]:
    """The next version after somebody acknowledged the incident."""
    at = alert.received_at
    after = _next(incident, status=Status.ACKNOWLEDGED, acknowledged_at=at, acknowledged_by=STREAM)
    return after, _event(after, Transition.ACKNOWLEDGED, WORDS[incident.status], alert.received_at, alert.event_id)


def resolve(incident: Incident, alert: Alert) -> tuple[Incident, IncidentEvent]:
    """The next version after the last open member resolved."""
    after = _next(incident, status=Status.RESOLVED, resolved_at=alert.received_at)
    return after, _event(after, Transition.RESOLVED, WORDS[incident.status], alert.received_at, alert.event_id)


def expire(incident: Incident, at: int, why: str) -> tuple[Incident, IncidentEvent]:
    """The next version after the last open member ended without a resolve."""
    after = _next(incident, status=Status.RESOLVED, resolved_at=at)
    return after, _event(after, Transition.RESOLVED, WORDS[incident.status], at, bytes(16), why)


def obey(incident: Incident, command: Command, at: int) -> tuple[Incident, IncidentEvent] | None:
    """The next version after a person's command, `at` in milliseconds; None if the incident is in that state already.

    A note leaves the state as it is, and is written down in any state.
    """
    changes: dict[str, object] = {}
    match command.action:
        case CommandAction.ACKNOWLEDGE:
            kind = str(Transition.ACKNOWLEDGED)
            changes = {"status": Status.ACKNOWLEDGED, "acknowledged_at": at, "acknowledged_by": command.actor}
        case CommandAction.UNACKNOWLEDGE:
            kind, changes = "unacknowledged", {"status": Status.OPEN, "acknowledged_at": 0, "acknowledged_by": ""}
        case CommandAction.RESOLVE:
            kind, changes = str(Transition.RESOLVED), {"status": Status.RESOLVED, "resolved_at": at}
        case CommandAction.NOTE:
            kind = "note"
    if changes.get("status") == incident.status or command.acknowledged_at not in (0, incident.acknowledged_at):
        return None
    after = _next(incident, **changes)
    before = WORDS[incident.status]
    return after, _event(after, kind, before, at, command.command_id, command.note, command.actor)


def reopen(
    incident: Incident, alert: Alert, severity: Severity, members: int, repeats: int
) -> tuple[Incident, IncidentEvent]:
    """The next version of a resolved incident whose key fired again, with so many more members: nobody has it yet.

    `severity` is that of the alerts that fire; `repeats` as for `open_incident`.
    """
    after = _next(
        incident,
        status=Status.OPEN,
        severity=severity,
        acknowledged_at=0,
        acknowledged_by="",
        resolved_at=0,
        last_alert_at=max(incident.last_alert_at, alert.received_at),
        alert_count=incident.alert_count + 1 + repeats,
        repeat_count=incident.repeat_count + repeats,
        member_count=incident.member_count + members,
        ruled_urgency="",
    )
    return after, _event(after, "reopened", WORDS[incident.status], alert.received_at, alert.event_id)


def is_storm(incident: Incident) -> bool:
    """Whether it is the incident of a storm."""
    return STORM_LABELS.items() <= incident.labels.items()


def storm_key(tenant: str, service: str) -> bytes:
    """The correlation key of the storms of a service."""
    return digest("storm", tenant, service)


def open_storm(
    alert: Alert, severity: Severity, openings: int, scope: bytes, repeats: int
) -> tuple[Incident, IncidentEvent]:
    """The first version of a storm, opened by an alert; `openings` is how many opened in the time that counts.

    `repeats` is as for `open_incident`. It has no labels of an alert: those of one would route or mute all members.
    """
    opening = msgspec.structs.replace(
        alert, summary=_storm_title(alert, openings), dedup_key=f"storm/{alert.service}", labels={}
    )
    key = storm_key(alert.tenant, alert.service)
    incident, event = open_incident(opening, key, severity, STORM_LABELS, scope, repeats=repeats)
    return msgspec.structs.replace(incident, source=""), event


def become_storm(
    incident: Incident, alert: Alert, severity: Severity, urgency: RuledUrgency, openings: int
) -> tuple[Incident, IncidentEvent]:
    """The next version of an incident that proves to be the first one of a storm, with one more alert as a member.

    It keeps its id: whoever was told of it hears of the storm as the same matter. See `open_storm`.
    """
    joined, _ = join(incident, alert, severity, urgency)
    after = msgspec.structs.replace(
        joined,
        title=_storm_title(alert, openings),
        dedup_key=f"storm/{alert.service}",
        correlation_key=storm_key(alert.tenant, alert.service),
        labels=STORM_LABELS,
        source="",
    )
    before, note = WORDS[incident.status], f"a storm: {openings} incidents at once"
    return after, _event(after, Transition.ESCALATED, before, alert.received_at, alert.event_id, note)


def _storm_title(alert: Alert, openings: int) -> str:
    return f"Storm of {alert.service}: {openings} incidents at once, the last one: {alert.summary}"[:1000]


def absorb(incident: Incident, other: Incident) -> Incident:
    """The incident with the alerts of another one, which ends as merged."""
    return msgspec.structs.replace(
        incident,
        severity=max(incident.severity, other.severity),
        alert_count=incident.alert_count + other.alert_count,
        repeat_count=incident.repeat_count + other.repeat_count,
        member_count=incident.member_count + other.member_count,
    )


def gather(incident: Incident, counted: Counted) -> Incident:
    """The incident with alerts that waited for it."""
    return msgspec.structs.replace(
        incident,
        **_risen(incident, counted.severity, counted.urgency),
        alert_count=incident.alert_count + counted.alerts + counted.repeats,
        repeat_count=incident.repeat_count + counted.repeats,
        member_count=incident.member_count + counted.alerts,
    )


def merge(incident: Incident, into: bytes, at: int, command: Command | None = None) -> tuple[Incident, IncidentEvent]:
    """The last version of an incident whose alerts go on in the incident `into`, by a person's command or by itself."""
    after = _next(incident, status=Status.RESOLVED, resolved_at=at)
    note = f"into {uuid_text(into)}"
    if command is None:
        return after, _event(after, MERGED, WORDS[incident.status], at, bytes(16), note)
    return after, _commanded(after, MERGED, incident, at, command, _noted(note, command))


def take_members(incident: Incident, source: Incident, command: Command, at: int) -> tuple[Incident, IncidentEvent]:
    """The next version of an incident after a person merged `source` into it."""
    added = absorb(incident, source)
    after = _next(
        added,
        last_alert_at=max(source.last_alert_at, incident.last_alert_at),
        **_risen(incident, source.severity, source.urgency),
    )
    kind = MEMBERS_ADDED if after.severity == incident.severity else str(Transition.ESCALATED)
    note = _noted(f"from {uuid_text(source.incident_id)}", command)
    return after, _commanded(after, kind, incident, at, command, note)


def split(
    source: Incident, members: int, repeats: int, command: Command, at: int
) -> tuple[tuple[Incident, IncidentEvent], tuple[Incident, IncidentEvent]]:
    """The next version of an incident, and the first one of another, after a person moved members of it there.

    `members` alerts move, which repeated `repeats` times. The command's note is the title of the new one, if given.
    """
    alerts = min(members + repeats, source.alert_count)
    repeats = min(repeats, source.repeat_count)
    after = _next(
        source,
        alert_count=source.alert_count - alerts,
        repeat_count=source.repeat_count - repeats,
        member_count=max(source.member_count - members, 0),
    )
    key = digest("split", command.command_id.hex())
    new = {
        "incident_id": incident_id(source.tenant, key, command.command_id, scope_of(source.incident_id)),
        "version": 1,
        "status": Status.OPEN,
        "title": command.note or source.title,
        "correlation_key": key,
        "opened_at": at,
        "acknowledged_at": 0,
        "acknowledged_by": "",
        "alert_count": alerts,
        "repeat_count": repeats,
        "member_count": members,
    }
    opened = Incident(**_fields(source) | new)
    moved = f"{members} to {uuid_text(opened.incident_id)}"
    origin = f"from {uuid_text(source.incident_id)}"
    event = _event(opened, Transition.TRIGGERED, "", at, command.command_id, origin, command.actor)
    return (after, _commanded(after, MEMBERS_MOVED, source, at, command, moved)), (opened, event)


def renew(incident: Incident) -> Incident:
    """The next version, which is like this one."""
    return _next(incident)


def calm(incident: Incident, at: int) -> tuple[Incident, IncidentEvent]:
    """The last version of a storm without open alerts, when its rate has fallen."""
    after = _next(incident, status=Status.RESOLVED, resolved_at=at)
    return after, _event(after, Transition.RESOLVED, WORDS[incident.status], at, bytes(16), "the storm is over")


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


def _risen(incident: Incident, severity: Severity, urgency: str) -> dict[str, object]:
    """Severity and urgency after one more alert: neither ever falls."""
    highest = max(incident.severity, severity)
    return {
        "severity": highest,
        "ruled_urgency": _ruled("high" if "high" in (incident.urgency, urgency) else "low", highest),
    }


def _ruled(urgency: RuledUrgency, severity: Severity) -> RuledUrgency:
    return "" if urgency == urgency_of(severity) else urgency


def _noted(text: str, command: Command) -> str:
    return f"{text}: {command.note}" if command.note else text


def _commanded(after: Incident, kind: str, before: Incident, at: int, command: Command, note: str) -> IncidentEvent:
    return _event(after, kind, WORDS[before.status], at, command.command_id, note, command.actor)


def _next(incident: Incident, **changes: object) -> Incident:
    return Incident(**{**_fields(incident), **changes, "version": incident.version + 1})


def _fields(incident: Incident) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in incident.__struct_fields__}


def _event(
    incident: Incident, kind: str, before: str, at: int, event_id: bytes, note: str = "", actor: str = STREAM
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
