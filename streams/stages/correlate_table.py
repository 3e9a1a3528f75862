"""Correlation's table: entries for incidents, groups, members and storms, each of bounded size.

The first byte of a value is its kind. An incident that only one alert can be part of, because it has no group, has its
correlation key for its key, which is the alert's fingerprint. Any other incident has its id, and the group and each
member have entries of their own, so that the hundred-thousandth alert of a storm costs as much as the second.

A person may resolve an incident whose alerts still fire. Its members then keep their entries (a single member gets one,
under its fingerprint), and the incident is kept in its entry for resolved ones, so that an alert which fires on is
recognized. An incident that may be opened again has an entry of its past until it may not.

The members of an incident that was merged into another one keep their entries: one under its id leads to the other.
"""

from typing import NamedTuple

import msgspec

from schemas.fingerprint import scope_of
from schemas.records import State
from schemas.wire.alert import UniqueAlert
from schemas.wire.incident import Incident

_OPEN, _GROUP, _MEMBER, _RESOLVED, _PAST, _STORM, _MOVED, _GUEST, _WAITING = (bytes([kind]) for kind in range(1, 10))
#: Prefixes of keys; correlation keys have none and are 16 bytes.
_INCIDENT_KEY, _MEMBER_KEY, _RESOLVED_KEY = b"incident:", b"member:", b"resolved:"
_PAST_KEY, _STORM_KEY, _WAITING_KEY = b"past:", b"storm:", b"waiting:"
_ID_BYTES = 16
#: Values of these kinds have a time after the kind, at which something is due; then the rest.
_TIMED = frozenset({_RESOLVED, _PAST, _STORM, _MOVED, _GUEST, _WAITING})
_TIMED_BYTES = 9
#: What `Open.repeats` is if members have entries of their own.
SEVERAL = -1


class Open(msgspec.Struct, array_like=True, gc=False):
    """An incident that is not resolved. `repeats` counts the repeats of the one alert that can be its member; it is
    SEVERAL if any alert can be.

    `routes` are the destinations that rules named for its alerts, and `rules` the ids, comma-separated, of the rules
    that matched them; `unrouted` has the severities of its alerts for which rules named no destination. `commands` are
    the ids of the newest commands that reached it. `domain` is what it is decided on with, as of its opening.
    """

    incident: Incident
    open_members: int
    repeats: int
    routes: list[str] = []
    unrouted: list[int] = []
    rules: str = ""
    commands: tuple[bytes, ...] = ()
    domain: str = ""

    def reach(self, unique: UniqueAlert) -> bool:
        """Note what the rules decided on one more of its alerts; whether that may reach more people."""
        if unique.rule and unique.rule != self.rules:
            rules = [*self.rules.split(","), *unique.rule.split(",")]
            self.rules = ",".join(dict.fromkeys(filter(None, rules)))
        if not unique.routes:
            new = unique.severity not in self.unrouted
            if new:
                self.unrouted = [*self.unrouted, unique.severity]
            return new
        fresh = [name for name in unique.routes if name not in self.routes]
        if fresh:
            self.routes = [*self.routes, *fresh]
        return bool(fresh)


class Group(NamedTuple):
    """The newest open incident of a group: alerts join it until `window_end`, which never moves past `last_end`."""

    incident_id: bytes
    window_end: int
    last_end: int


class Storming(msgspec.Struct, array_like=True, gc=False):
    """What opens in a scope. `rate` is of streams.policy.storm, `over_at` is when the storm is over by it, 0 for none,
    and `idle_at` when it counts nothing any more, in milliseconds.

    `incident_id` is the incident of the storm, as long as it is open. `recent` has the newest openings that became
    incidents: the time, the correlation key and the id of each.
    """

    rate: bytes = b""
    over_at: int = 0
    idle_at: int = 0
    incident_id: bytes = b""
    recent: list[tuple[int, bytes, bytes]] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Open).decode
_decode_storm = msgspec.msgpack.Decoder(Storming).decode


def due(value: bytes) -> int:
    """When something is due about the entry with this value, in milliseconds; 0 for never."""
    return int.from_bytes(value[1:_TIMED_BYTES], "big") if value[:1] in _TIMED else 0


class Table:
    """The entries, over one partition's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def group(self, key: bytes) -> Group | None:
        """The group of this correlation key, if one of its incidents is open."""
        value = self._state.get(key)
        if value is not None and value[:1] == _GUEST:
            value = b"".join((_GROUP, value[_TIMED_BYTES:], value[1:_TIMED_BYTES]))
        if value is None or value[:1] != _GROUP:
            return None
        times = value[1 + _ID_BYTES :]
        return Group(value[1 : 1 + _ID_BYTES], int.from_bytes(times[:8], "big"), int.from_bytes(times[8:], "big"))

    def keep_group(self, key: bytes, group: Group, incident: Incident) -> None:
        """Remember the group of the incident. One of another key does not end with the incident, but at `last_end`."""
        window_end = group.window_end.to_bytes(8, "big")
        if incident.correlation_key != key:
            self._put_timed(key, _GUEST, group.last_end, group.incident_id + window_end)
        else:
            self._state.put(key, _GROUP + group.incident_id + window_end + group.last_end.to_bytes(8, "big"))

    def open(self, incident_id: bytes) -> Open | None:
        """The open incident with this id that may have several members, or the one that it was merged into."""
        value = self._state.get(_INCIDENT_KEY + self._now(incident_id))
        return _decode(value[1:]) if value is not None else None

    def find(self, key: bytes, incident_id: bytes) -> Open | None:
        """The open incident with this id and correlation key."""
        found = self.open(incident_id)
        if found is None:
            value = self._state.get(key)
            found = _decode(value[1:]) if value is not None and value[:1] == _OPEN else None
        return found if found is not None and found.incident.incident_id == incident_id else None

    def is_resolved(self, incident_id: bytes) -> bool:
        """Whether the incident with this id is resolved and not forgotten yet."""
        return self._state.get(_RESOLVED_KEY + incident_id) is not None

    def resolved(self, incident_id: bytes) -> Open | None:
        """The incident that a person resolved, as it was then."""
        value = self._state.get(_RESOLVED_KEY + incident_id)
        return _decode(value[_TIMED_BYTES:]) if value is not None and len(value) > _TIMED_BYTES else None

    def left(self, key: bytes, fingerprint: bytes) -> Open | None:
        """The incident that a person resolved while this alert, its member, was open; None if there is none."""
        value = self._state.get(_member_place(key, fingerprint))
        return self.resolved(self._now(_member_of(value))) if value is not None and value[:1] == _MEMBER else None

    def member(self, key: bytes, fingerprint: bytes) -> tuple[Open, int] | None:
        """The open incident that this alert is part of, and how often the alert repeated as far as is known."""
        value = self._state.get(_member_place(key, fingerprint))
        if value is None:
            return None
        if value[:1] == _OPEN:
            found = _decode(value[1:])
            return found, found.repeats
        of_several = self.open(_member_of(value)) if value[:1] == _MEMBER else None
        return (of_several, int.from_bytes(value[1 + _ID_BYTES :], "big")) if of_several is not None else None

    def keep_member(self, key: bytes, fingerprint: bytes, found: Open, repeats: int) -> None:
        """Remember that this alert is open and part of the incident; the caller must call `keep` next."""
        if found.repeats != SEVERAL:
            found.repeats = repeats
        else:
            self._state.put(_member_place(key, fingerprint), _member(found, repeats))

    def drop_member(self, key: bytes, fingerprint: bytes, found: Open) -> None:
        """Delete the member entry of a resolved alert."""
        if found.repeats == SEVERAL:
            self._state.delete(_member_place(key, fingerprint))

    def drop_left(self, key: bytes, fingerprint: bytes) -> None:
        """Delete what `left` found, if anything: the alert is resolved now, or is part of another incident."""
        place = _member_place(key, fingerprint)
        left = self.left(key, fingerprint)
        if (value := self._state.get(place)) is not None and value[:1] == _MEMBER:
            self._state.delete(place)
        past = self.past(left.incident.correlation_key) if left is not None else None
        if left is not None and past is not None and past.incident.incident_id == left.incident.incident_id:
            past_key = _PAST_KEY + left.incident.correlation_key
            past.open_members -= 1
            self._put_timed(past_key, _PAST, due(self._state.get(past_key) or b""), _encode(past))

    def keep(self, found: Open) -> None:
        """Remember the open incident."""
        self._state.put(_place(found), _OPEN + _encode(found))

    def resolve(self, found: Open, forget_at: int, past_until: int = 0) -> None:
        """Delete the incident, which is resolved; remember its id until `forget_at`, and what it was until `past_until`
        (0 for not at all), in milliseconds.
        """
        self._end(found, forget_at, past_until)

    def resolve_by_person(self, found: Open, forget_at: int, past_until: int = 0) -> None:
        """Like `resolve`, but remember that its open members may fire on."""
        self._end(found, forget_at, past_until, _encode(found))
        if found.repeats != SEVERAL:
            self._state.put(found.incident.correlation_key, _member(found, found.repeats))

    def _end(self, found: Open, forget_at: int, past_until: int, left: bytes = b"") -> None:
        incident = found.incident
        self._state.delete(_place(found))
        group = self.group(incident.correlation_key)
        if group is not None and group.incident_id == incident.incident_id:
            self._state.delete(incident.correlation_key)
            group = None
        self._put_timed(_RESOLVED_KEY + incident.incident_id, _RESOLVED, forget_at, left)
        past = self.past(incident.correlation_key) if past_until else None
        # Only the newest incident of a key may be opened again.
        if past_until and group is None and (past is None or past.incident.opened_at <= incident.opened_at):
            self._put_timed(_PAST_KEY + incident.correlation_key, _PAST, past_until, _encode(found))
        if found.repeats == SEVERAL:
            storm = self.storm(scope_of(incident.incident_id))
            if storm is not None and storm.incident_id == incident.incident_id:
                storm.incident_id = b""
                self.keep_storm(scope_of(incident.incident_id), storm)

    def past(self, key: bytes) -> Open | None:
        """The newest incident of a correlation key as it was when it was resolved, if it may be opened again."""
        value = self._state.get(_PAST_KEY + key)
        return _decode(value[_TIMED_BYTES:]) if value is not None else None

    def drop_past(self, key: bytes) -> None:
        """The newest incident of a correlation key is another one now, or is open again."""
        self._state.delete(_PAST_KEY + key)

    def reopen(self, found: Open) -> None:
        """Forget that the incident was resolved; the caller must call `keep` next."""
        self.drop_past(found.incident.correlation_key)
        self._state.delete(_RESOLVED_KEY + found.incident.incident_id)

    def storm(self, scope: bytes) -> Storming | None:
        """What opens in a scope, if it is counted."""
        value = self._state.get(_STORM_KEY + scope)
        return _decode_storm(value[_TIMED_BYTES:]) if value is not None else None

    def keep_storm(self, scope: bytes, storm: Storming) -> None:
        """Remember it. It is due when the storm is over by its rate; without one, when it counts nothing any more."""
        at = storm.over_at if storm.incident_id else storm.idle_at
        self._put_timed(_STORM_KEY + scope, _STORM, at, _encode(storm))

    def drop_storm(self, scope: bytes) -> None:
        """Count anew."""
        self._state.delete(_STORM_KEY + scope)

    def waiting(self, key: bytes) -> bytes | None:
        """The alerts of a group that are too few for an incident, as streams.stages.thresholds wrote them."""
        value = self._state.get(_WAITING_KEY + key)
        return value[_TIMED_BYTES:] if value is not None else None

    def keep_waiting(self, key: bytes, until: int, alerts: bytes) -> None:
        """Remember them until a time in milliseconds, 0 for as long as before."""
        until = until or due(self._state.get(_WAITING_KEY + key) or b"")
        self._put_timed(_WAITING_KEY + key, _WAITING, until, alerts)

    def drop_waiting(self, key: bytes) -> None:
        """They have an incident, or are over."""
        self._state.delete(_WAITING_KEY + key)

    def widen(self, found: Open) -> None:
        """Let any alert be a member of the incident; the caller must call `keep` next."""
        if found.repeats != SEVERAL:
            repeats, found.repeats = found.repeats, SEVERAL
            self._state.put(found.incident.correlation_key, _member(found, repeats))

    def merge(self, source: Open, target: Open, look_at: int) -> None:
        """Make the members of one incident those of another, which must be widened; `look_at` is when to see whether
        that one is over. The caller must `resolve` the source before.
        """
        key, target_id = source.incident.correlation_key, target.incident.incident_id
        if source.repeats != SEVERAL:
            self._state.put(key, _member(target, source.repeats))
        else:
            self._put_timed(_INCIDENT_KEY + source.incident.incident_id, _MOVED, look_at, target_id)

    def repeats_in(self, fingerprint: bytes, found: Open) -> int | None:
        """How often an alert repeated, None if it is no open member of the incident, which must have several."""
        place = self._place_in(fingerprint, found)
        value = self._state.get(place) if place else None
        return int.from_bytes(value[1 + _ID_BYTES :], "big") if value is not None else None

    def move(self, fingerprint: bytes, source: Open, target: Open) -> None:
        """Make an open member of one incident one of another; both must have several."""
        repeats = self.repeats_in(fingerprint, source)
        assert repeats is not None
        self._state.put(self._place_in(fingerprint, source), _member(target, repeats))

    def _place_in(self, fingerprint: bytes, found: Open) -> bytes:
        """The key of the member's entry, empty if it is no member of the incident."""
        for place in (fingerprint, _MEMBER_KEY + fingerprint):
            value = self._state.get(place)
            if value is None or value[:1] != _MEMBER:
                continue
            if self._now(_member_of(value)) == found.incident.incident_id:
                return place
        return b""

    def forget(self, key: bytes, look_at: int) -> bytes | None:
        """Delete what is due under this key: the id of the incident that is forgotten, None for another entry.

        An entry that leads to an incident which is not over stays until `look_at`, in milliseconds.
        """
        value = self._state.get(key) or b""
        if value[:1] == _MOVED:
            target_id = self._now(value[_TIMED_BYTES:])
            if self._state.get(_INCIDENT_KEY + target_id) is not None or self.is_resolved(target_id):
                self._put_timed(key, _MOVED, look_at, target_id)
                return None
        if value[:1] not in _TIMED:
            return None
        self._state.delete(key)
        return key.removeprefix(_RESOLVED_KEY) if value[:1] == _RESOLVED else None

    def _now(self, incident_id: bytes) -> bytes:
        """The id of the incident, or of the one that it was merged into."""
        while (value := self._state.get(_INCIDENT_KEY + incident_id)) is not None and value[:1] == _MOVED:
            incident_id = value[_TIMED_BYTES:]
        return incident_id

    def _put_timed(self, key: bytes, kind: bytes, at: int, rest: bytes) -> None:
        self._state.put(key, kind + at.to_bytes(8, "big") + rest, at)


def storm_scope(key: bytes) -> bytes | None:
    """The scope whose storm has an entry under this key; None for another kind of entry."""
    return key.removeprefix(_STORM_KEY) if key.startswith(_STORM_KEY) else None


def _member(found: Open, repeats: int) -> bytes:
    return _MEMBER + found.incident.incident_id + repeats.to_bytes(8, "big")


def _member_of(value: bytes) -> bytes:
    return value[1 : 1 + _ID_BYTES]


def _member_place(key: bytes, fingerprint: bytes) -> bytes:
    return key if key == fingerprint else _MEMBER_KEY + fingerprint


def _place(found: Open) -> bytes:
    incident = found.incident
    return _INCIDENT_KEY + incident.incident_id if found.repeats == SEVERAL else incident.correlation_key
