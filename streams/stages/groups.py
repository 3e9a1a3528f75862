"""Groups of incidents in dispatch's table: who is in which, and what each tells when (streams.policy.grouping)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.fingerprint import digest
from schemas.wire.incident import Status
from schemas.wire.notification import Related, Transition
from streams.policy import grouping
from streams.policy.grouping import Group
from streams.policy.routing import Leaf
from streams.stages.dispatch_settings import Settings
from streams.stages.dispatch_table import Grouped, Table, Told

#: What a mute keeps from people although they know of the incident.
_STARTING = frozenset({Transition.ESCALATED, Transition.REMINDER})
#: A group that a calendar mutes is looked at again after this time.
_MUTED_MS = 60_000


class Tell(NamedTuple):
    """One message of a group, about an incident and what it says of the others; or why it is not told."""

    told: Told
    transition: Transition
    destination: str
    related: tuple[Related, ...] = ()
    more: int = 0
    skip: str = ""


def join(table: Table, settings: Settings, told: Told, leaves: Sequence[Leaf], now: int) -> None:
    """Make the incident part of the groups of these leaves.

    A message that flags or quiet hours keep from people would take those with it that it names. So incidents of a
    service with such settings share messages only with each other.
    """
    tenant, service = told.incident.tenant, told.incident.service
    for leaf in leaves:
        if not leaf.destinations:
            continue
        key = leaf.group_key(told.incident)
        if settings.audience.keeps(tenant, service):
            key = digest(key.hex(), service)
        grouped = table.group(key)
        if grouped is None:
            grouped = Grouped(tenant, leaf.key, list(leaf.destinations), Group(leaf.timers))
        else:
            # What the route says may have changed since.
            grouped.destinations, grouped.group.timers = list(leaf.destinations), leaf.timers
        grouping.opened(grouped.group, told.incident, now)
        table.keep_group(key, grouped)
        if key not in told.groups:
            told.groups.append(key)


def withdraw(table: Table, told: Told) -> bool:
    """Take the incident out of its groups, unless one of them has told it; whether it is in none now."""
    found = [(key, grouped) for key in told.groups if (grouped := table.group(key)) is not None]
    members = [grouped.group.members.get(told.incident.incident_id) for _, grouped in found]
    if not found or any(member is None or member.told for member in members):
        return False
    for key, grouped in found:
        grouping.withdrawn(grouped.group, told.incident.incident_id)
        if grouping.is_over(grouped.group):
            table.forget_group(key)
        else:
            table.keep_group(key, grouped)
    told.groups, told.grouped, told.told_at = [], False, 0
    return True


def places(table: Table, settings: Settings, told: Told, now: int) -> Iterator[str]:
    """The destinations of all groups that tell of this incident, in a message of its own or not."""
    for key in told.groups:
        grouped = table.group(key)
        if grouped is None or told.incident.incident_id not in grouped.group.members:
            continue
        leaf = settings.routes.leaf(grouped.tenant, grouped.leaf)
        if leaf is None or not leaf.muted_by(settings.hours, now):
            yield from grouped.destinations


def follow(table: Table, told: Told, now: int) -> list[bytes]:
    """Tell the incident's groups of its new version, and return their keys."""
    incident = told.incident
    for key in told.groups:
        grouped = table.group(key)
        if grouped is None:
            continue
        if incident.status == Status.RESOLVED:
            grouping.resolved(grouped.group, incident.incident_id, now)
        else:
            grouping.changed(grouped.group, incident, now)
        table.keep_group(key, grouped)
    return told.groups


def owners(table: Table, told: Told) -> Iterator[str]:
    """The destinations that have messages of this incident's own from its groups."""
    for key in told.groups:
        grouped = table.group(key)
        member = grouped.group.members.get(told.incident.incident_id) if grouped is not None else None
        if grouped is not None and member is not None and member.own and member.told:
            yield from grouped.destinations


def flush(table: Table, settings: Settings, key: bytes, now: int) -> Iterator[Tell]:
    """What the group with this key tells now, if it is due. Incidents that are over and told are forgotten."""
    grouped = table.group(key)
    if grouped is None or not 0 < grouping.due(grouped.group) <= now:
        return
    leaf = settings.routes.leaf(grouped.tenant, grouped.leaf)
    reason = leaf.muted_by(settings.hours, now) if leaf is not None else ""
    if reason:
        yield from _muted(table, grouped, reason)
        grouped.muted = reason
        grouping.postpone(grouped.group, now, now + _MUTED_MS)
        table.keep_group(key, grouped)
        return
    grouped.muted = ""
    over = [incident_id for incident_id, member in grouped.group.members.items() if not member.open]
    message = grouping.flush(grouped.group, now)
    for number, tell in enumerate(message.tells if message is not None else ()):
        told = table.incident(tell.incident_id)
        if told is None or message is None:
            continue
        related, more = (message.related, message.more) if not number else ((), 0)
        if number and message.tells[number - 1].incident_id == tell.incident_id:
            told.number += 1  # the second message about one version: opened and resolved
        mute = settings.mutes.find(told.incident, now) if tell.transition in _STARTING else None
        for destination in grouped.destinations:
            yield Tell(told, tell.transition, destination, related, more, mute.name if mute is not None else "")
        if mute is not None and tell.transition == Transition.ESCALATED:
            told.risen += [each for each in grouped.destinations if each not in told.risen]
            told.look_at = now
        elif mute is not None and grouped.group.look_at:
            grouped.group.look_at = min(grouped.group.look_at, max(mute.until_ms, now + _MUTED_MS))
        table.keep(told)
    for incident_id in over:
        if incident_id not in grouped.group.members:
            _leave(table, incident_id, key)
    if grouping.is_over(grouped.group):
        table.forget_group(key)
    else:
        table.keep_group(key, grouped)


def _muted(table: Table, grouped: Grouped, reason: str) -> Iterator[Tell]:
    """Say once why a group that has something new to tell does not."""
    if grouped.muted == reason:
        return
    for incident_id, member in grouped.group.members.items():
        told = table.incident(incident_id) if not member.told else None
        if told is not None:
            for destination in grouped.destinations:
                yield Tell(told, Transition.TRIGGERED, destination, skip=reason)


def _leave(table: Table, incident_id: bytes, key: bytes) -> None:
    """The incident is over, and this group has told so."""
    told = table.incident(incident_id)
    if told is None:
        return
    told.groups = [each for each in told.groups if each != key]
    if told.groups or told.incident.status != Status.RESOLVED:
        table.keep(told)
    else:
        table.forget(incident_id)
