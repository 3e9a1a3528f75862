"""SLA: how much of the time to acknowledge and to resolve an incident is used up, and when a target is missed.

The clock to acknowledge runs while an incident is open, the clock to resolve until it is resolved; both stand still
in maintenance (streams.policy.pauses), and while its severity has no target. What a clock has counted stays when the
severity changes, when somebody hands the incident back, and when it is reopened. With a calendar only its hours count;
a calendar that does not exist counts every hour, so that a breach is told too early rather than never.

Each of the two targets of an incident is missed once at most. A target that is met at its last millisecond is met;
one whose due time was reached is missed, also if the change comes before `fire`. Times are milliseconds since 1970
UTC, 0 means never.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from schemas.control import SlaTarget
from schemas.fingerprint import digest
from schemas.wire.incident import Incident, Status


class BusinessHours(Protocol):
    """A calendar: how many of its milliseconds are between two instants, and when so many more are over."""

    def business_ms(self, start_ms: int, end_ms: int) -> int: ...

    def add_business(self, start_ms: int, duration_ms: int) -> int: ...


class Calendars(Protocol):
    """Hours by tenant and id of the calendar."""

    def get(self, place: tuple[str, str], /) -> BusinessHours | None: ...


class Kind(StrEnum):
    """What a target is for."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


class Clock(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`consumed` milliseconds until `since`, from when on it runs (0: it stands still); `limit` is in seconds."""

    consumed: int = 0
    since: int = 0
    due: int = 0
    limit: int = 0
    breached: bool = False


class Sla(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The clocks of one incident at one of its versions; they count the hours of `calendar`, "" for all hours."""

    version: int
    calendar: str = ""
    acknowledge: Clock = Clock()
    resolve: Clock = Clock()


class Breach(NamedTuple):
    """A missed target of `within` seconds. The same target of the same incident always has the same `id`, 16 bytes."""

    id: bytes
    kind: Kind
    within: int
    at: int


def start(targets: Iterable[SlaTarget], incident: Incident, calendars: Calendars, now: int) -> Sla:
    """The clocks of an incident that opens."""
    return changed(Sla(0), targets, incident, calendars, now)


def changed(sla: Sla, targets: Iterable[SlaTarget], incident: Incident, calendars: Calendars, now: int) -> Sla:
    """The clocks after any change of the incident; an older version changes nothing."""
    if incident.version < sla.version:
        return sla
    name = incident.severity.name.lower()
    target = next((each for each in targets if name in each.severities), None)
    before = calendars.get((incident.tenant, sla.calendar))
    calendar = (target.calendar if target else None) or ""
    hours = calendars.get((incident.tenant, calendar))

    def turn(clock: Clock, limit: int | None, runs: bool) -> Clock:
        consumed = clock.consumed + (_elapsed(before, clock.since, now) if clock.since else 0)
        if clock.breached:
            return Clock(consumed, breached=True)
        runs = runs and limit is not None
        due = clock.due if 0 < clock.due <= now else 0
        if runs and limit is not None and not due:
            due = _due(hours, now, limit * 1000 - consumed)
        return Clock(consumed, now if runs else 0, due, limit if limit is not None and runs else clock.limit)

    return Sla(
        incident.version,
        calendar,
        turn(sla.acknowledge, target.acknowledge_within if target else None, incident.status == Status.OPEN),
        turn(sla.resolve, target.resolve_within if target else None, incident.status != Status.RESOLVED),
    )


def again(sla: Sla, targets: Iterable[SlaTarget], incident: Incident, calendars: Calendars, now: int) -> Sla:
    """The clocks when hours have changed that were still ahead, as by maintenance: what is due is computed anew."""
    acknowledge, resolve = (msgspec.structs.replace(clock, due=0) for clock in (sla.acknowledge, sla.resolve))
    return changed(Sla(sla.version, sla.calendar, acknowledge, resolve), targets, incident, calendars, now)


def due(sla: Sla) -> int:
    """When `fire` must be called, 0 for never."""
    return min(filter(None, (sla.acknowledge.due, sla.resolve.due)), default=0)


def fire(sla: Sla, incident_id: bytes, now: int) -> tuple[Sla, list[Breach]]:
    """The targets that are missed at `now` and were not told before."""
    breaches = []
    clocks = {Kind.ACKNOWLEDGE: sla.acknowledge, Kind.RESOLVE: sla.resolve}
    for kind, clock in clocks.items():
        if 0 < clock.due <= now:
            breaches.append(Breach(breach_id(incident_id, kind), kind, clock.limit, clock.due))
            clocks[kind] = msgspec.structs.replace(clock, due=0, breached=True)
    return Sla(sla.version, sla.calendar, clocks[Kind.ACKNOWLEDGE], clocks[Kind.RESOLVE]), breaches


def breach_id(incident_id: bytes, kind: Kind) -> bytes:
    """The id of the breach of an incident's target."""
    return digest("sla", incident_id.hex(), kind)


def _elapsed(hours: BusinessHours | None, start_ms: int, end_ms: int) -> int:
    if end_ms <= start_ms:
        return 0
    return end_ms - start_ms if hours is None else hours.business_ms(start_ms, end_ms)


def _due(hours: BusinessHours | None, now: int, left: int) -> int:
    """When `left` milliseconds are over; at once if none is left."""
    if left <= 0:
        return now
    return now + left if hours is None else hours.add_business(now, left)
