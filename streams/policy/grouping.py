"""The messages of one group: incidents with one leaf and one group key (streams.policy.routing).

- The first message of a group leaves at once. This differs from Alertmanager, whose first one waits `group_wait`.
- A change after it waits `group_wait`, so that what comes together is one message. From the second message on there is
  also at least `group_interval` between messages that changes cause.
- `repeat_interval` after a message, if nothing else was told, what is open is told again: at that time, not at the next
  multiple of `group_interval`.
- A message says what changed since the one before. What opened and ended in between is told as that. An end of what was
  told is always told. Nothing is told twice.
- When everything is over and told, the group stays for `group_interval`: what opens meanwhile waits `group_wait`.

Channels show one card for each incident, and PagerDuty has one alert for each. So an incident of every message has the
message as its own, and later its own changes; the others are named in it. While something is open, an open incident
has its own messages, so that no one is left with closed alerts only.

Functions change a Group in place. Each change of an incident comes once, in order. Times are milliseconds since 1970
UTC, 0 means none.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import MAX_RELATED, Change, Related, Transition
from streams.policy.routing import Timers

#: Incidents that a group knows by name; of further ones it has the number. A group of so many has about 150 KB.
MAX_MEMBERS = 1_000
#: Incidents that a message lists for each kind of change.
MAX_LISTED = 100
_TITLE = 150


class Member(msgspec.Struct, array_like=True, gc=False):
    """An incident of the group. `told` is the severity that was told last, 0 if nothing was told.

    `own` says that it has messages of its own. `turned` says that it ended, or began again, since the last message.
    """

    title: str
    service: str
    severity: Severity
    status: Status
    told: int = 0
    own: bool = False
    turned: bool = False

    @property
    def open(self) -> bool:
        return self.status != Status.RESOLVED

    @property
    def change(self) -> Change:
        if not self.open:
            return Change.RESOLVED if self.told else Change.FLAPPED
        if not self.told:
            return Change.NEW
        if self.severity > self.told:
            return Change.ESCALATED
        return Change.FLAPPED if self.turned else Change.OPEN


class Rest(msgspec.Struct, array_like=True, gc=False):
    """The incidents beyond MAX_MEMBERS: their number by what became of them since the last message."""

    new: int = 0
    flapped: int = 0
    resolved: int = 0
    open: int = 0


class Group(msgspec.Struct, array_like=True, gc=False):
    """The state of one group; `timers` are those of its leaf, to be set anew when the configuration changes.

    `send_at` is when changes are told, `look_at` when what is open is told again, or a group without any is over.
    `batched` says that a message after the first one was sent.
    """

    timers: Timers
    members: dict[bytes, Member] = {}
    rest: Rest = msgspec.field(default_factory=Rest)
    last_at: int = 0
    send_at: int = 0
    look_at: int = 0
    batched: bool = False


class Tell(NamedTuple):
    """A message of an incident's own."""

    incident_id: bytes
    transition: Transition


class Listed(NamedTuple):
    """Incidents with one kind of change: the worst by id, at most MAX_LISTED, and the number of all."""

    ids: tuple[bytes, ...]
    total: int


class Message(NamedTuple):
    """What is told now. The first of `tells` carries `related`, the other incidents of the group, and how many `more`.

    An incident that opened and ended unseen has two tells, if nothing else is to be told.
    """

    tells: tuple[Tell, ...]
    changes: Mapping[Change, Listed]
    related: tuple[Related, ...]
    more: int


def opened(group: Group, incident: Incident, now: int) -> None:
    """The incident opened, or opened again, or joins the group."""
    member = group.members.get(incident.incident_id)
    if member is None:
        _admit(group, incident)
    elif not member.open:
        _update(member, incident)
    else:
        changed(group, incident, now)
        return
    _wake(group, now)


def changed(group: Group, incident: Incident, now: int) -> None:
    """The incident changed and is still open. Only a rise in severity is told."""
    member = group.members.get(incident.incident_id)
    if member is not None:
        _update(member, incident)
        if incident.severity > member.told:
            _wake(group, now)
    elif incident.status == Status.OPEN and (group.rest.open or group.rest.new):
        # One beyond the bound: it may be severe by now, so it is told like a new one.
        if group.rest.open:
            group.rest.open -= 1
        else:
            group.rest.new -= 1
        _admit(group, incident)
        _wake(group, now)


def resolved(group: Group, incident_id: bytes, now: int) -> None:
    """The incident is over."""
    member, rest = group.members.get(incident_id), group.rest
    if member is not None:
        if not member.open:
            return
        member.status, member.turned = Status.RESOLVED, True
    elif rest.open:
        rest.open, rest.resolved = rest.open - 1, rest.resolved + 1
    elif rest.new:
        rest.new, rest.flapped = rest.new - 1, rest.flapped + 1
    else:
        return
    _wake(group, now)


def withdrawn(group: Group, incident_id: bytes) -> None:
    """The incident, which the group has not told, is none of its members any more."""
    group.members.pop(incident_id, None)
    rest = group.rest
    counted = rest.new or rest.flapped or rest.resolved
    if not counted and all(member.change is Change.OPEN for member in group.members.values()):
        group.send_at = 0


def due(group: Group) -> int:
    """When the group must be flushed; 0 for never."""
    return min(filter(None, (group.send_at, group.look_at)), default=0)


def postpone(group: Group, now: int, until: int) -> None:
    """What is due now is due `until` then; what is due later stays."""
    if 0 < group.send_at <= now:
        group.send_at = until
    if 0 < group.look_at <= now:
        group.look_at = until


def is_over(group: Group) -> bool:
    """Whether the group can be forgotten."""
    return not group.members and not due(group)


def flush(group: Group, now: int) -> Message | None:
    """The message that is due, which counts as told then. None if it is too early, or nothing is to be told."""
    if not 0 < due(group) <= now:
        return None
    found = _by_change(group)
    tells = _tells(group, found)
    message = _message(group, found, tells) if tells else None
    _settle(group, found, now, told=message is not None)
    return message


def _admit(group: Group, incident: Incident) -> None:
    """Take the incident in. In a full group the least severe is only counted from now on."""
    if len(group.members) >= MAX_MEMBERS:
        mild_id, mild = min(group.members.items(), key=lambda item: (item[1].own, not item[1].open, item[1].severity))
        if mild.own or not mild.open or mild.severity >= incident.severity:
            group.rest.new += 1
            return
        del group.members[mild_id]
        if mild.told:
            group.rest.open += 1
        else:
            group.rest.new += 1
    group.members[incident.incident_id] = Member(
        incident.title[:_TITLE], incident.service, incident.severity, incident.status
    )


def _update(member: Member, incident: Incident) -> None:
    member.title, member.service = incident.title[:_TITLE], incident.service
    member.severity, member.status = incident.severity, incident.status


def _wake(group: Group, now: int) -> None:
    """Have a change told; the first one since the last message decides when."""
    if group.send_at:
        return
    if not group.last_at:
        group.send_at = now
    elif not group.batched:
        group.send_at = now + group.timers.wait
    else:
        group.send_at = max(now + group.timers.wait, group.last_at + group.timers.interval)


_Found = Mapping[Change, Sequence[tuple[bytes, Member]]]


def _by_change(group: Group) -> _Found:
    """The members by what became of them, the worst first, then by age."""
    found: dict[Change, list[tuple[bytes, Member]]] = {change: [] for change in Change}
    for incident_id, member in group.members.items():
        found[member.change].append((incident_id, member))
    for listed in found.values():
        listed.sort(key=lambda item: -item[1].severity)
    return found


def _tells(group: Group, found: _Found) -> tuple[Tell, ...]:
    """The messages that incidents get of their own. One that gets its first becomes `own`."""
    reopened = [(key, member) for key, member in found[Change.FLAPPED] if member.open]
    tells = [Tell(key, Transition.ESCALATED) for key, member in found[Change.ESCALATED] if member.own]
    tells += [Tell(key, Transition.TRIGGERED) for key, member in reopened if member.own]
    fresh = [
        (key, member) for key, member in [*found[Change.NEW], *found[Change.ESCALATED], *reopened] if not member.own
    ]
    standing = [(key, member) for key, member in group.members.items() if member.open]
    if not fresh and not any(member.own for _, member in standing):
        fresh = standing
    if fresh:
        key, member = _worst(fresh)
        member.own = True
        tells.insert(0, Tell(key, Transition.TRIGGERED))
    tells += [Tell(key, Transition.RESOLVED) for key, member in found[Change.RESOLVED] if member.own]
    if tells:
        return tuple(tells)
    own = [(key, member) for key, member in standing if member.own]
    if own:
        counted = group.rest.new or group.rest.flapped or group.rest.resolved
        changed = counted or any(found[change] for change in Change if change is not Change.OPEN)
        return (Tell(_worst(own)[0], Transition.UPDATED if changed else Transition.REMINDER),)
    if found[Change.FLAPPED]:
        key, _ = found[Change.FLAPPED][0]
        return Tell(key, Transition.TRIGGERED), Tell(key, Transition.RESOLVED)
    return ()


def _worst(members: Iterable[tuple[bytes, Member]]) -> tuple[bytes, Member]:
    return max(members, key=lambda item: item[1].severity)


def _message(group: Group, found: _Found, tells: tuple[Tell, ...]) -> Message:
    rest = group.rest
    counted = {
        Change.NEW: rest.new,
        Change.FLAPPED: rest.flapped,
        Change.RESOLVED: rest.resolved,
        Change.OPEN: rest.open,
    }
    changes = {
        change: Listed(tuple(key for key, _ in listed[:MAX_LISTED]), len(listed) + counted.get(change, 0))
        for change, listed in found.items()
    }
    others = [
        Related(
            incident_id=key,
            title=member.title,
            severity=member.severity,
            status=member.status,
            service=member.service,
            change=change,
        )
        for change, listed in found.items()
        for key, member in listed
        if key != tells[0].incident_id
    ]
    related = tuple(others[:MAX_RELATED])
    return Message(tells, changes, related, len(others) - len(related) + sum(counted.values()))


def _settle(group: Group, found: _Found, now: int, *, told: bool) -> None:
    """Everything is told up to now."""
    for change in (Change.RESOLVED, Change.FLAPPED):
        for key, member in found[change]:
            if not member.open:
                del group.members[key]
    for member in group.members.values():
        member.told, member.turned = member.severity, False
    group.rest = Rest(open=group.rest.open + group.rest.new)
    first = not group.last_at
    group.send_at = group.look_at = 0
    if told:
        group.last_at = now
        standing = bool(group.members)
        group.batched = standing and not first
        group.look_at = now + (group.timers.repeat if standing else group.timers.interval)
