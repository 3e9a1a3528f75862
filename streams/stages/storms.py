"""The storm of a service: when its openings exceed a rate, they and what opens next become members of one incident.

What opened on the way there is taken in too. The first of it that is open becomes the storm's incident, so that people
who know of it are not paged again. Each other one ends as merged, and its alert goes on as a member of the storm's.
Incidents of a group keep their own life, and what opens after them joins the storm. The storm is on by the times of the
alerts, so that a backlog is none (streams.policy.storm). Its incident is resolved when the storm is over by the
partition's time and no member of it is open.
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.control.storm import Storm
from schemas.fingerprint import scope_of
from schemas.wire.alert import Alert, UniqueAlert
from schemas.wire.incident import Incident, IncidentEvent, Status
from streams.policy import incidents, storm
from streams.stages.changes import Change, Reached, reached
from streams.stages.correlate_table import SEVERAL, Open, Storming, Table
from streams.stages.reopening import open_again

#: Openings whose incidents are remembered, to be taken into a storm; the newest ones. Each has 40 bytes.
MAX_RECENT = 500


class Joined(NamedTuple):
    """The storm's incident after it took an alert in: its event, the incidents that ended because it took them in too,
    and whom those reached. `began` says that the incident is new.
    """

    found: Open
    event: IncidentEvent
    merged: list[Change]
    known: list[Reached]
    began: bool


def count(table: Table, limits: Storm, scope: bytes, alert: Alert) -> Storming:
    """Count one more opening; the caller must `join` or `note` next."""
    storming = table.storm(scope) or Storming()
    storming.rate = storm.count(storming.rate, limits, alert.received_at)
    storming.over_at, storming.idle_at = storm.over_at(storming.rate, limits), storm.idle_at(storming.rate, limits)
    first = alert.received_at - limits.within * 1000
    storming.recent = [each for each in storming.recent if each[0] > first]
    return storming


def note(table: Table, scope: bytes, storming: Storming, incident: Incident, alert: Alert) -> None:
    """It is no storm: remember what opened, which may lead to one."""
    opened = alert.received_at, incident.correlation_key, incident.incident_id
    storming.recent = [*storming.recent, opened][-MAX_RECENT:]
    table.keep_storm(scope, storming)


def join(
    table: Table,
    scope: bytes,
    storming: Storming,
    unique: UniqueAlert,
    alert: Alert,
    past: Open | None,
    forget_at: int,
) -> Joined:
    """Make an alert that would have opened an incident a member of the storm's; the caller must keep both.

    `past` is the storm's incident if it was resolved so lately that it is opened again. `forget_at` is when the records
    of incidents that end now are deleted, in milliseconds.
    """
    found = table.open(storming.incident_id) if storming.incident_id else None
    sources = list(_recent(table, storming))
    began, known = False, list[Reached]()
    if found is not None:
        found.open_members += 1
        found.incident, event = incidents.join(found.incident, alert, unique.severity, unique.urgency, unique.repeats)
    elif past is not None:
        found = past
        event, before = open_again(table, past, unique, alert)
        known.append(before)
    elif (first := next((each for each in sources if each.incident.status == Status.OPEN), None)) is not None:
        sources.remove(first)
        found = first
        event = _become(table, found, unique, alert, storm.openings(storming.rate))
    else:
        began = True
        incident, event = incidents.open_storm(
            alert, unique.severity, storm.openings(storming.rate), scope, unique.repeats
        )
        found = Open(incident, 1, SEVERAL)
    storming.incident_id = found.incident.incident_id
    merged = [_absorb(table, found, source, alert, forget_at) for source in sources]
    if sources:
        known.append(reached(*sources))
    table.keep_storm(scope, storming)
    return Joined(found, event, merged, known, began)


def lasts(table: Table, found: Open) -> bool:
    """Whether the incident is that of a storm which is not over, and so stays open without a member."""
    storming = table.storm(scope_of(found.incident.incident_id)) if found.repeats == SEVERAL else None
    return storming is not None and storming.over_at > 0 and storming.incident_id == found.incident.incident_id


def pass_by(table: Table, scope: bytes, now: int) -> Open | None:
    """What is due about a scope: its storm is over, or it counts nothing any more. The incident that ends with it."""
    storming = table.storm(scope)
    if storming is None:
        return None
    if not storming.incident_id:
        if storming.idle_at <= now:
            table.drop_storm(scope)
        else:
            table.keep_storm(scope, storming)
        return None
    storming.over_at = 0
    table.keep_storm(scope, storming)
    found = table.open(storming.incident_id)
    return found if found is not None and not found.open_members else None


def _recent(table: Table, storming: Storming) -> Iterator[Open]:
    """The incidents of single alerts that opened in the window, and are open; one that opened again is there twice."""
    recent, storming.recent = storming.recent, []
    for key, incident_id in dict.fromkeys((key, incident_id) for _, key, incident_id in recent):
        source = table.find(key, incident_id)
        if source is not None and source.repeats != SEVERAL:
            yield source


def _become(table: Table, found: Open, unique: UniqueAlert, alert: Alert, openings: int) -> IncidentEvent:
    """Make the incident of a single alert that of the storm."""
    table.widen(found)
    table.drop_past(found.incident.correlation_key)
    found.open_members += 1
    found.incident, event = incidents.become_storm(found.incident, alert, unique.severity, unique.urgency, openings)
    return event


def _absorb(table: Table, found: Open, source: Open, alert: Alert, forget_at: int) -> Change:
    found.incident = incidents.absorb(found.incident, source.incident)
    found.open_members += source.open_members
    source.incident, ended = incidents.merge(source.incident, found.incident.incident_id, alert.received_at)
    table.resolve(source, forget_at)
    table.merge(source, found, forget_at)
    return Change(source, ended)
