"""The commands that move members from one incident to another: merge and split (schemas.wire.command)."""

from collections.abc import Iterator
from itertools import chain

from schemas.fingerprint import scope_of
from schemas.wire.command import Command
from schemas.wire.incident import Incident
from streams.policy import incidents
from streams.stages.changes import Change, reach, reached
from streams.stages.correlate_table import SEVERAL, Open, Table


def merge(table: Table, source: Open, command: Command, now: int, forget_at: int) -> Iterator[Change] | None:
    """Make the members of `source` those of the incident that the command names, and resolve it. None if that one is
    not open, or of another service. The caller must tell each change as it comes, and then keep the target.
    """
    before, target = source.incident, table.find(command.other_key, command.other_id)
    if target is None or _place(target.incident) != _place(before) or target.incident == before:
        return None
    table.widen(target)
    scope = scope_of(before.incident_id)
    group, storming = table.group(before.correlation_key), table.storm(scope)
    source.incident, end = incidents.merge(before, target.incident.incident_id, now, command)
    target.incident, took = incidents.take_members(target.incident, before, command, now)
    target.open_members += source.open_members
    table.resolve_by_person(source, forget_at)
    table.drop_past(before.correlation_key)
    table.merge(source, target, forget_at)
    if group is not None and group.incident_id == before.incident_id:
        moved = group._replace(incident_id=target.incident.incident_id)
        table.keep_group(before.correlation_key, moved, target.incident)
    if storming is not None and storming.incident_id == before.incident_id:
        storming.incident_id = target.incident.incident_id
        table.keep_storm(scope, storming)
    return chain([Change(source, end)], reach(target, took, reached(source)))


def split(table: Table, source: Open, command: Command, now: int) -> Iterator[Change] | None:
    """Move the alerts that the command names, and that are open members of `source`, into a new incident. None if there
    is no such alert, or none would be left. The caller must tell each change as it comes, and then keep both.
    """
    if source.repeats != SEVERAL:
        return None
    counts = {each: table.repeats_in(each, source) for each in command.members}
    moving = {each: repeats for each, repeats in counts.items() if repeats is not None}
    if not 0 < len(moving) < source.open_members:
        return None
    (after, moved), (opened, event) = incidents.split(source.incident, len(moving), sum(moving.values()), command, now)
    new = Open(opened, len(moving), SEVERAL)
    for each in moving:
        table.move(each, source, new)
    source.incident = after
    source.open_members -= len(moving)
    return chain([Change(source, moved)], reach(new, event, reached(source)))


def _place(incident: Incident) -> tuple[str, str, bytes]:
    return incident.tenant, incident.service, scope_of(incident.incident_id)
