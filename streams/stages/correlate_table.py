"""Correlation's table: entries for incidents, groups and members, each of bounded size.

The first byte of a value is its kind. The key of an incident without grouping is its correlation key, which is its
only member's fingerprint. The key of an incident of a group is its id. The group and each member have entries of their
own, so that the hundred-thousandth alert of a storm costs as much as the second.

A person may resolve an incident whose alerts still fire. Its members then keep their entries (the only member of an
incident without grouping gets one, under its fingerprint), and the incident is kept in its entry for resolved ones, so
that an alert which fires on is recognized.
"""

from typing import NamedTuple

import msgspec

from schemas.records import State
from schemas.wire.incident import Incident

_OPEN, _GROUP, _MEMBER, _RESOLVED = b"\x01", b"\x02", b"\x03", b"\x04"
#: Prefixes of keys; correlation keys have none and are 16 bytes.
_INCIDENT_KEY, _MEMBER_KEY, _RESOLVED_KEY = b"incident:", b"member:", b"resolved:"
_ID_BYTES = 16
#: The kind and the time at which the id is forgotten; the incident follows if a person resolved it.
_RESOLVED_BYTES = 9


class Open(msgspec.Struct, array_like=True, gc=False):
    """An incident that is not resolved. `repeats` counts its only member's repeats if it is not of a group.

    `commands` are the ids of the newest commands that took effect on it. `routes` are its destinations; `unheard` are
    those among them that quiet hours kept it from so far. `rules` are the ids, comma-separated, of the rules that
    matched its alerts.
    """

    incident: Incident
    open_members: int
    repeats: int
    routes: list[str]
    commands: tuple[bytes, ...] = ()
    unheard: list[str] = []
    rules: str = ""


class Group(NamedTuple):
    """The newest open incident of a group: alerts join it until `window_end`, which never moves past `last_end`."""

    incident_id: bytes
    window_end: int
    last_end: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Open).decode


def due(value: bytes) -> int:
    """When the entry with this value is to be deleted, in milliseconds; 0 for never."""
    return int.from_bytes(value[1:9], "big") if value[:1] == _RESOLVED else 0


class Table:
    """The entries, over one partition's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def group(self, key: bytes) -> Group | None:
        """The group of this correlation key, if one of its incidents is open."""
        value = self._state.get(key)
        if value is None or value[:1] != _GROUP:
            return None
        times = value[1 + _ID_BYTES :]
        return Group(value[1 : 1 + _ID_BYTES], int.from_bytes(times[:8], "big"), int.from_bytes(times[8:], "big"))

    def keep_group(self, key: bytes, group: Group) -> None:
        """Remember the group."""
        times = group.window_end.to_bytes(8, "big") + group.last_end.to_bytes(8, "big")
        self._state.put(key, _GROUP + group.incident_id + times)

    def open(self, incident_id: bytes) -> Open | None:
        """The open incident of a group with this id."""
        value = self._state.get(_INCIDENT_KEY + incident_id)
        return _decode(value[1:]) if value is not None else None

    def find(self, key: bytes, incident_id: bytes) -> tuple[bytes, Open] | None:
        """The open incident with this id and correlation key, after the fingerprint of its only member, which is empty
        for an incident of a group.
        """
        of_group = self.open(incident_id)
        if of_group is not None:
            return b"", of_group
        value = self._state.get(key)
        if value is None or value[:1] != _OPEN:
            return None
        found = _decode(value[1:])
        return (key, found) if found.incident.incident_id == incident_id else None

    def is_resolved(self, incident_id: bytes) -> bool:
        """Whether the incident with this id is resolved and not forgotten yet."""
        return self._state.get(_RESOLVED_KEY + incident_id) is not None

    def resolved(self, incident_id: bytes) -> Open | None:
        """The incident that a person resolved, as it was then."""
        value = self._state.get(_RESOLVED_KEY + incident_id)
        return _decode(value[_RESOLVED_BYTES:]) if value is not None and len(value) > _RESOLVED_BYTES else None

    def left(self, key: bytes, fingerprint: bytes) -> Open | None:
        """The incident that a person resolved while this alert, its member, was open; None if there is none."""
        value = self._state.get(_member_place(key, fingerprint))
        return self.resolved(value[1 : 1 + _ID_BYTES]) if value is not None and value[:1] == _MEMBER else None

    def member(self, key: bytes, fingerprint: bytes) -> tuple[Open, int] | None:
        """The open incident that this alert is part of, and how often the alert repeated as far as is known."""
        if key == fingerprint:
            value = self._state.get(key)
            if value is None or value[:1] != _OPEN:
                return None
            found = _decode(value[1:])
            return found, found.repeats
        value = self._state.get(_MEMBER_KEY + fingerprint)
        if value is None:
            return None
        of_group = self.open(value[1 : 1 + _ID_BYTES])
        return (of_group, int.from_bytes(value[1 + _ID_BYTES :], "big")) if of_group is not None else None

    def keep_member(self, key: bytes, fingerprint: bytes, found: Open, repeats: int) -> None:
        """Remember that this alert is open and part of the incident; the caller must call `keep` next."""
        if key == fingerprint:
            found.repeats = repeats
        else:
            self._state.put(_MEMBER_KEY + fingerprint, _member(found, repeats))

    def drop_member(self, key: bytes, fingerprint: bytes) -> None:
        """Delete the member entry of a resolved alert."""
        if key != fingerprint:
            self._state.delete(_MEMBER_KEY + fingerprint)

    def drop_left(self, key: bytes, fingerprint: bytes) -> None:
        """Delete what `left` found, if anything: the alert is resolved now."""
        place = _member_place(key, fingerprint)
        if (value := self._state.get(place)) is not None and value[:1] == _MEMBER:
            self._state.delete(place)

    def keep(self, key: bytes, fingerprint: bytes, found: Open) -> None:
        """Remember the open incident that this alert is part of."""
        self._state.put(_place(key, fingerprint, found), _OPEN + _encode(found))

    def resolve(self, key: bytes, fingerprint: bytes, found: Open, forget_at: int) -> None:
        """Delete the incident, which is resolved; remember its id until `forget_at`, in milliseconds."""
        self._end(key, fingerprint, found, forget_at)

    def resolve_by_person(self, key: bytes, fingerprint: bytes, found: Open, forget_at: int) -> None:
        """Like `resolve`, but remember that its open members may fire on; `fingerprint` is as `find` gave it."""
        self._end(key, fingerprint, found, forget_at, _encode(found))
        if key == fingerprint:
            self._state.put(key, _member(found, found.repeats))

    def _end(self, key: bytes, fingerprint: bytes, found: Open, forget_at: int, left: bytes = b"") -> None:
        incident_id = found.incident.incident_id
        self._state.delete(_place(key, fingerprint, found))
        if key != fingerprint:
            group = self.group(key)
            if group is not None and group.incident_id == incident_id:
                self._state.delete(key)
        self._state.put(_RESOLVED_KEY + incident_id, _RESOLVED + forget_at.to_bytes(8, "big") + left, forget_at)

    def forget(self, key: bytes) -> bytes | None:
        """Delete the entry of a resolved incident by its key. Return its id, or None if `key` is no such entry."""
        if not key.startswith(_RESOLVED_KEY) or self._state.get(key) is None:
            return None
        self._state.delete(key)
        return key.removeprefix(_RESOLVED_KEY)


def _member(found: Open, repeats: int) -> bytes:
    return _MEMBER + found.incident.incident_id + repeats.to_bytes(8, "big")


def _member_place(key: bytes, fingerprint: bytes) -> bytes:
    return key if key == fingerprint else _MEMBER_KEY + fingerprint


def _place(key: bytes, fingerprint: bytes, found: Open) -> bytes:
    return key if key == fingerprint else _INCIDENT_KEY + found.incident.incident_id
