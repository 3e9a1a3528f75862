"""The storm of a tenant: when the openings in all of its services exceed a rate, one incident is told for all.

What reaches dispatch and would be told is counted, by the time at which it comes here: people would get it then. Once
it storms there is a lead, the worst and then the earliest open incident that people were told of in the window; if
there is none, the next one that is told. What opens from then on, and what opened in the window and waits, is a member:
nobody is told of it by itself. Every destination that would have heard of a member hears of the lead instead, once. So
an incident is a member only if

- the lead reaches each of these destinations: no flag and no quiet hours of the lead keep it from them,
- the lead is urgent if it is, and has an escalation that pages people if it has one.

Otherwise it is told, and leads from then on if that is why. Members keep their own life. They are listed as what a
mute hides is (streams.stages.muted), so they cost nothing while it storms, and are counted as the effects of a cause
(streams.stages.effects), of which the lead tells.

When the rate has fallen, the worst member that is still open is told, and leads those that are open as well. A lead
that is muted, or was over for a minute, is replaced in the same way. Every member is then looked at again, in slices,
so that each destination hears of the new lead.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from schemas.fingerprint import digest, uuid_text
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Transition
from streams.policy import escalation, storm
from streams.policy.escalation import State
from streams.policy.routing import Leaf
from streams.stages import effects, groups, muted
from streams.stages.dispatch_settings import Settings
from streams.stages.dispatch_table import Table, Told

#: Openings that are remembered: they are taken into a storm, or lead it; the newest ones, with 24 bytes each.
MAX_RECENT = 500
#: Services of a storm that are told apart, with 8 bytes each.
MAX_SERVICES = 500
#: Members wait so long for their own ends when their lead is over, before one of them is told.
OUTLIVE_MS = 60_000
#: Whether the lead still is one is asked again after this time: it may have been silenced.
RECHECK_MS = 10_000
_KEY, _DUE_BYTES, _SERVICE_BYTES = b"tenant-storm:", 8, 8
_OPENING = struct.Struct(">q16s")
#: How a reason begins that names the lead.
_REASON = "storm/"


class _Storm(msgspec.Struct, array_like=True, gc=False):
    """`rate` is the state of the count, as good as none at `idle_at`. The storm is over at `over_at`; it has `opened`
    incidents by now, of these `services`, which came since `began`. `recent` are openings: when they came, and the id.
    Entries `first` to `after` of the list have its members. Times are milliseconds since 1970 UTC, 0 for none. It is
    read and written with each opening, so lists are packed.
    """

    tenant: str
    rate: bytes = b""
    idle_at: int = 0
    over_at: int = 0
    check_at: int = 0
    began: int = 0
    opened: int = 0
    services: bytes = b""
    recent: bytes = b""
    lead: bytes = b""
    first: int = 0
    after: int = 0

    @property
    def due(self) -> int:
        idle_at = 0 if self.over_at else self.idle_at
        return min(filter(None, (self.over_at, self.check_at, idle_at)), default=0)


class Kept(NamedTuple):
    """An incident is kept from people, with this reason: `lead` is told for it. `wanted` are the destinations that
    would hear of it, `missing` those of them that do not know of the lead.
    """

    reason: str
    lead: Told
    wanted: Sequence[str]
    missing: Sequence[str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Storm).decode


def is_storm(key: bytes) -> bool:
    """Whether the entry with this key is of a tenant's storm."""
    return key.startswith(_KEY)


def is_member(told: Told) -> bool:
    """Whether another incident is told for this one, in a storm of the tenant or after it."""
    return told.kept.startswith(_REASON)


def count(table: Table, settings: Settings, told: Told, now: int) -> None:
    """Count an incident that opens now. With the one that makes it a storm, what waits is looked at again."""
    tenant, limits = told.incident.tenant, settings.storms.get(told.incident.tenant)
    if limits is None:
        return
    found = _get(table, tenant) or _Storm(tenant)
    found.rate = storm.count(found.rate, limits, now)
    found.idle_at = storm.idle_at(found.rate, limits)
    if found.over_at:
        # If the limits were changed so that it is over, the time says so next.
        found.over_at = storm.over_at(found.rate, limits) or now
        found.opened += 1
        _note(found, told.incident)
    else:
        first = now - limits.within * 1000
        old = next((place for place, (since, _) in enumerate(_openings(found)) if since > first), MAX_RECENT)
        found.recent = found.recent[old * _OPENING.size :]
        found.over_at = storm.over_at(found.rate, limits)
        if found.over_at:
            _begin(table, settings, found, told, now)
        _remember(found, told, now)
    _put(table, found)


def keeper(table: Table, settings: Settings, told: Told, leaves: Sequence[Leaf], now: int) -> Kept | None:
    """Who is told for this incident, which is not told yet; None if nobody is."""
    found = _get(table, told.incident.tenant)
    known = told.told_at or any(destination not in told.waiting for destination in told.destinations)
    if found is None or known or not _is_of(found, told):
        return None
    lead = _lead(table, settings, found, now)
    if lead is None or lead.incident.incident_id == told.incident.incident_id:
        return None
    mine, other = _class(told), _class(lead)
    if mine[0] < other[0] or mine[1] < other[1]:
        return None
    wanted, heard = _wanted(settings, told, leaves, now), set(_places(table, settings, lead, now))
    missing = [place for place in wanted if place not in heard]
    if not wanted or not all(_reaches(settings, lead, Transition.TRIGGERED, place, now) for place in missing):
        return None
    return Kept(f"{_REASON}{uuid_text(lead.incident.incident_id)}", lead, wanted, missing)


def held(table: Table, settings: Settings, told: Told, now: int) -> int:
    """Until when an incident waits for a storm after somebody was paged for the tenant, milliseconds; 0 for no wait."""
    tenant, limits = told.incident.tenant, settings.storms.get(told.incident.tenant)
    until = told.since + limits.wait * 1000 if limits is not None else 0
    if limits is None or until <= now or now - table.page(tenant) >= limits.wait * 1000:
        return 0
    found = _get(table, tenant)
    return until if found is not None and not found.over_at else 0


def add(table: Table, told: Told, now: int) -> None:
    """List the incident, which the caller must keep, as a member."""
    found = _get(table, told.incident.tenant)
    assert found is not None, "it was asked for who keeps it"
    name = _name(found.tenant)
    if told.muted_by != name:
        told.muted_by = name
        found.after = muted.append(table, name, found.first, found.after, told.incident.incident_id)
        found.check_at = found.check_at or now + RECHECK_MS
        _put(table, found)
    effects.affect(table, told, name, now)


def leave(table: Table, told: Told) -> None:
    """The incident, which was a member, is told or kept for another reason now."""
    if told.counted_by and told.counted_by == _name(told.incident.tenant):
        effects.leave(table, told)


def follow(table: Table, settings: Settings, told: Told, now: int) -> str:
    """The incident is told now: it leads if none does, or none of its kind. What people hear of that, if it leads."""
    found, own = _get(table, told.incident.tenant), told.incident.incident_id
    if found is None or not _is_of(found, told):
        return ""
    lead = _lead(table, settings, found, now)
    leads = lead is None or _class(told) < _class(lead)
    if leads:
        _follow(table, found, own, now)
    elif found.over_at and found.lead != own:
        _remember(found, told, now)
    _put(table, found)
    return _note_of(table, found) if leads else ""


def note(table: Table, tenant: str) -> str:
    """What people hear of a storm, or what is left of it, beside its lead."""
    found = _get(table, tenant)
    return _note_of(table, found) if found is not None else ""


def ended(table: Table, incident: Incident, now: int) -> None:
    """The incident is over: if it leads, another one does, after a time in which members often end as well."""
    found = _get(table, incident.tenant)
    if found is not None and found.lead == incident.incident_id:
        found.check_at = now + OUTLIVE_MS
        _put(table, found)


def leader(table: Table, name: bytes) -> Told | None:
    """The lead of the storm whose effects have this name."""
    value = table.state.get(_KEY + name)
    return table.incident(_decode(value[_DUE_BYTES:]).lead) if value is not None else None


def look(table: Table, settings: Settings, key: bytes, now: int) -> list[Told]:
    """Do what is due about this storm. If its lead must be replaced, who may: the worst first, to be told by the caller
    until one is.
    """
    value = table.state.get(key)
    if value is None:
        return []
    found = _decode(value[_DUE_BYTES:])
    limits, name = settings.storms.get(found.tenant), _name(found.tenant)
    over = found.over_at and (found.over_at <= now or limits is None)
    if over or (not found.over_at and 0 < found.idle_at <= now):
        found.rate, found.idle_at, found.recent = b"", 0, b""
    if over:
        found.over_at, found.opened, found.services, found.lead = 0, 0, b"", b""
    members = effects.total(table, name)
    leads = members > 0 and _lead(table, settings, found, now) is not None
    if not leads:
        _wake(table, found, now)
    if not members and not found.over_at:
        found.lead = b""
    found.check_at = now + RECHECK_MS if members else 0
    _put(table, found)
    able = effects.named(table, name) if members and not leads else []
    return sorted(able, key=lambda each: (*_class(each), *_rank(each.incident)))


def _begin(table: Table, settings: Settings, found: _Storm, told: Told, now: int) -> None:
    """It storms: find the lead, and have what opened on the way and is not told yet looked at again."""
    own = told.incident.incident_id
    found.opened, found.services, found.lead = storm.openings(found.rate), b"", b""
    found.began = min((since for since, _ in _openings(found)), default=now)
    _note(found, told.incident)
    for _, incident_id in _openings(found):
        each = table.incident(incident_id)
        if each is None or incident_id == own or each.incident.status == Status.RESOLVED:
            continue
        _note(found, each.incident)
        direct = any(destination not in each.waiting for destination in each.destinations)
        if (not direct and groups.withdraw(table, each)) or (each.look_at and not each.grouped):
            each.look_at = now
            table.keep(each)
    _lead(table, settings, found, now)


def _lead(table: Table, settings: Settings, found: _Storm, now: int) -> Told | None:
    """The lead; if it is over, muted or reaches nobody, the best of those that were told already."""
    if found.lead:
        lead = table.incident(found.lead)
        if lead is not None and _may_lead(table, settings, lead, now):
            return lead
        found.lead = b""
    known = [table.incident(incident_id) for _, incident_id in _openings(found)] if found.over_at else []
    able = [each for each in known if each is not None and _may_lead(table, settings, each, now)]
    if not able:
        return None
    best = min(able, key=lambda each: (*_class(each), *_rank(each.incident)))
    _follow(table, found, best.incident.incident_id, now)
    return best


def _follow(table: Table, found: _Storm, lead: bytes, now: int) -> None:
    """Make this incident the lead. Every member is looked at again: its destinations must hear of this one."""
    found.lead = lead
    _wake(table, found, now)
    if effects.total(table, _name(found.tenant)):
        effects.wait(table, _name(found.tenant), now)
    _put(table, found)


def _is_of(found: _Storm, told: Told) -> bool:
    """Whether the incident is a member, or opened in the storm, or on the way to it."""
    return is_member(told) or (found.over_at > 0 and told.since >= found.began)


def _may_lead(table: Table, settings: Settings, told: Told, now: int) -> bool:
    if told.incident.status == Status.RESOLVED or is_member(told) or settings.mutes.find(told.incident, now):
        return False
    return any(_places(table, settings, told, now))


def _class(told: Told) -> tuple[bool, bool]:
    """What a lead must be, if its member is, is False here: urgent, and somebody is paged until it is acknowledged."""
    pages = told.ladder is not None and told.ladder.state != State.EXHAUSTED and told.incident.urgency == "high"
    return told.incident.urgency != "high", not pages


def _rank(incident: Incident) -> tuple[int, int, bytes]:
    return -incident.severity, incident.opened_at, incident.incident_id


def _places(table: Table, settings: Settings, told: Told, now: int) -> Iterator[str]:
    """The destinations that know of the incident, or will when its group tells of it, and hear what becomes of it."""
    known = [destination for destination in told.destinations if destination not in told.waiting]
    for place in dict.fromkeys([*known, *groups.places(table, settings, told, now)]):
        if _reaches(settings, told, Transition.UPDATED, place, now):
            yield place


def _wanted(settings: Settings, told: Told, leaves: Sequence[Leaf], now: int) -> list[str]:
    """The destinations that would hear of an incident that is not told yet."""
    incident = told.incident
    found = list(told.waiting)
    for leaf in leaves:
        if not leaf.muted_by(settings.hours, now):
            found += leaf.destinations
    policy = settings.escalation(incident)
    if policy is not None and told.ladder is not None and told.ladder.state == State.RUNNING:
        found += escalation.first(policy, settings.on_call, incident.urgency, now)
    return [place for place in dict.fromkeys(found) if _reaches(settings, told, Transition.TRIGGERED, place, now)]


def _reaches(settings: Settings, told: Told, transition: Transition, place: str, now: int) -> bool:
    heard = place not in told.unheard
    return settings.audience.call(told.incident, transition, place, told.rules, heard, now).skip is None


def _note(found: _Storm, incident: Incident) -> None:
    """Count the service of an incident of the storm."""
    service = digest(incident.service)[:_SERVICE_BYTES]
    place = found.services.find(service)
    while place % _SERVICE_BYTES and place > 0:
        place = found.services.find(service, place + 1)
    if place < 0 and len(found.services) < MAX_SERVICES * _SERVICE_BYTES:
        found.services += service


def _openings(found: _Storm) -> Iterator[tuple[int, bytes]]:
    """The openings that are remembered: when each came, and the incident's id."""
    return _OPENING.iter_unpack(found.recent)


def _remember(found: _Storm, told: Told, now: int) -> None:
    opening = _OPENING.pack(now, told.incident.incident_id)
    found.recent = (found.recent + opening)[-MAX_RECENT * _OPENING.size :]


def _note_of(table: Table, found: _Storm) -> str:
    if not found.over_at:
        return f"the storm is over; incidents of it that are still open: {effects.total(table, _name(found.tenant))}"
    services = len(found.services) // _SERVICE_BYTES
    several = f"{services} or more" if services == MAX_SERVICES else str(services)
    return f"a storm: {found.opened} incidents opened, services: {several}; others are not told by themselves"


def _wake(table: Table, found: _Storm, now: int) -> None:
    """Have every member looked at again."""
    muted.wake(table, _name(found.tenant), found.first, found.after, now)
    found.first = found.after


def _name(tenant: str) -> bytes:
    """The name of the storm's list, and of its effects."""
    return digest(tenant)


def _get(table: Table, tenant: str) -> _Storm | None:
    value = table.state.get(_KEY + _name(tenant))
    return _decode(value[_DUE_BYTES:]) if value is not None else None


def _put(table: Table, found: _Storm) -> None:
    """Keep it, unless nothing is counted and it leads nobody."""
    key = _KEY + _name(found.tenant)
    if not (found.rate or found.over_at or found.lead or found.check_at):
        table.state.delete(key)
    else:
        table.state.put(key, found.due.to_bytes(_DUE_BYTES, "big") + _encode(found), found.due)
