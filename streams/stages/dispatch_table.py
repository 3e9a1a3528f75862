"""Dispatch's table: an entry for each open incident that somebody may have to be told of, for each inhibition with the
number of its open sources, and for each service of the topology with its open, urgent incidents.

Also a group of a route, when a service was paged last, and the incident that is told for those that outlived a cause.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from schemas.fingerprint import digest
from schemas.records import State
from schemas.wire.incident import Incident
from streams.policy import escalation, grouping, sla
from streams.policy.escalation import Ladder
from streams.policy.grouping import Group
from streams.policy.sla import Sla

_INCIDENT_KEY, _SOURCES_KEY, _SERVICE_KEY = b"incident:", b"sources:", b"service:"
_PAGE_KEY, _GROUP_KEY, _HEIR_KEY = b"page:", b"group:", b"heir:"
#: Open incidents of one service that are remembered as possible causes, with an id and a time each: half of them are
#: the earliest, which people know of, the others the newest, from which a failure passes on.
MAX_CAUSES = 64
#: When an incident opened, and its id.
Opening = tuple[int, bytes]
_CAUSE = struct.Struct(">q16s")
_DUE_BYTES = 8
#: A page is remembered for longer than any storm is waited for.
_PAGE_MS = 600_000


class Told(msgspec.Struct, array_like=True, gc=False):
    """An open incident, and who was told of it.

    `since` is when it was first seen here. `destinations` are those that hear of it. Among them `waiting` are not told
    while something keeps it from them: `kept` says what, until `look_at`. Quiet hours keep it from `unheard` until it
    gets more severe. `rules` are the ids, comma-separated, of the rules that matched its alerts. `number` counts the
    messages that the time caused. `sources` are the inhibitions that it is a source of. Nobody is paged before
    `quiet_until`. `told_at` is when its beginning was told last. `risen` know of it, and not that it got more severe,
    because it was muted then. `parent` is the incident that is its cause, `family` the cause at the top of the chain
    when it was seen first. `groups` are the keys of the groups that tell of it, once it is `grouped`. It has been
    without its cause since `alone_at`. `counted_by` is the cause that counts it (streams.stages.effects), `muted_by` is
    the list of a mute that has it (streams.stages.muted), `schedules` have it open (streams.stages.shifts). At
    `targets_at` its targets are computed anew. Times are milliseconds since 1970 UTC, 0 for none.
    """

    incident: Incident
    since: int
    destinations: list[str] = []
    waiting: list[str] = []
    unheard: list[str] = []
    rules: str = ""
    kept: str = ""
    look_at: int = 0
    number: int = 0
    sources: list[bytes] = []
    ladder: Ladder | None = None
    sla: Sla | None = None
    quiet_until: int = 0
    told_at: int = 0
    risen: list[str] = []
    parent: bytes = b""
    groups: list[bytes] = []
    grouped: bool = False
    alone_at: int = 0
    family: bytes = b""
    counted_by: bytes = b""
    muted_by: bytes = b""
    schedules: list[str] = []
    targets_at: int = 0

    @property
    def due(self) -> int:
        """When time alone changes something here, 0 for never."""
        pages = self.ladder is not None and not self.waiting and not self.muted_by
        page = escalation.due(self.ladder) if self.ladder is not None and pages else 0
        breach = sla.due(self.sla) if self.sla is not None else 0
        page = page and max(page, self.quiet_until)
        return min(filter(None, (self.look_at, page, breach, self.targets_at)), default=0)


class Grouped(msgspec.Struct, array_like=True, gc=False):
    """A group: the route that it is of (a leaf's key), whom it tells, its state, and what mutes it."""

    tenant: str
    leaf: str
    destinations: list[str]
    group: Group
    muted: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode
_decode_group = msgspec.msgpack.Decoder(Grouped).decode


def group_of(key: bytes) -> bytes | None:
    """The key of the group whose entry has this key."""
    return key.removeprefix(_GROUP_KEY) if key.startswith(_GROUP_KEY) else None


def due(value: bytes) -> int:
    """When time alone changes the entry with this value, in milliseconds; 0 for never."""
    return int.from_bytes(value[:_DUE_BYTES], "big")


class Table:
    """The entries, over one partition's state. A value begins with its deadline."""

    def __init__(self, state: State) -> None:
        self.state = state

    def incident(self, incident_id: bytes) -> Told | None:
        """The open incident with this id, if it is known here."""
        return self.at(_INCIDENT_KEY + incident_id)

    def at(self, key: bytes) -> Told | None:
        """The open incident whose entry has this key."""
        value = self.state.get(key)
        return _decode(value[_DUE_BYTES:]) if value is not None and key.startswith(_INCIDENT_KEY) else None

    def keep(self, told: Told) -> None:
        """Remember the incident."""
        at = told.due
        self.state.put(_INCIDENT_KEY + told.incident.incident_id, at.to_bytes(_DUE_BYTES, "big") + _encode(told), at)

    def forget(self, incident_id: bytes) -> None:
        """Delete the entry of a resolved incident."""
        self.state.delete(_INCIDENT_KEY + incident_id)

    def sources(self, key: bytes) -> int:
        """How many open incidents are sources of this inhibition."""
        value = self.state.get(_SOURCES_KEY + key)
        return int.from_bytes(value[_DUE_BYTES:], "big") if value is not None else 0

    def add_source(self, key: bytes, change: int) -> None:
        """One more open source, or (-1) one less."""
        count = self.sources(key) + change
        if count > 0:
            self.state.put(_SOURCES_KEY + key, bytes(_DUE_BYTES) + count.to_bytes(4, "big"))
        else:
            self.state.delete(_SOURCES_KEY + key)

    def group(self, key: bytes) -> Grouped | None:
        """The group with this key."""
        value = self.state.get(_GROUP_KEY + key)
        return _decode_group(value[_DUE_BYTES:]) if value is not None else None

    def keep_group(self, key: bytes, grouped: Grouped) -> None:
        """Remember the group."""
        at = grouping.due(grouped.group)
        self.state.put(_GROUP_KEY + key, at.to_bytes(_DUE_BYTES, "big") + _encode(grouped), at)

    def forget_group(self, key: bytes) -> None:
        """Delete a group that is over."""
        self.state.delete(_GROUP_KEY + key)

    def page(self, *scope: str) -> int:
        """When somebody was told of an incident of this scope last, if that is not long ago: a tenant, or a tenant and
        a service of it.
        """
        value = self.state.get(_PAGE_KEY + digest(*scope))
        return int.from_bytes(value[_DUE_BYTES:], "big") if value is not None else 0

    def keep_page(self, at: int, *scope: str) -> None:
        """Remember that somebody is told of an incident of this scope."""
        until = at + _PAGE_MS
        value = until.to_bytes(_DUE_BYTES, "big") + at.to_bytes(8, "big")
        self.state.put(_PAGE_KEY + digest(*scope), value, until)

    def heir(self, cause: bytes) -> bytes:
        """The incident that is told for those which outlived this cause, empty for none."""
        value = self.state.get(_HEIR_KEY + cause)
        return value[_DUE_BYTES:] if value is not None else b""

    def keep_heir(self, cause: bytes, incident_id: bytes, until: int) -> None:
        """Remember the incident that is told for those which outlived this cause."""
        self.state.put(_HEIR_KEY + cause, until.to_bytes(_DUE_BYTES, "big") + incident_id, until)

    def expire(self, key: bytes) -> None:
        """Delete what is remembered for a time only, if `key` is of that."""
        if key.startswith((_PAGE_KEY, _HEIR_KEY)):
            self.state.delete(key)

    def causes(self, *scope: str) -> Sequence[Opening]:
        """The open incidents of a scope that may be causes, the earliest first: a tenant and a service of it, or what
        else `add_cause` was told.
        """
        value = self.state.get(_causes_key(*scope))
        return list(_CAUSE.iter_unpack(value[_DUE_BYTES:])) if value is not None else ()

    def add_cause(self, incident: Incident, *scope: str) -> None:
        """The incident may be the cause of others from now on."""
        key = _causes_key(*scope)
        value = before = self.state.get(key) or bytes(_DUE_BYTES)
        mine = _CAUSE.pack(incident.opened_at, incident.incident_id)
        # Entries are of one size and in order, so most come last, and those that are here are found as bytes.
        if mine in value and mine in _entries(value):
            return
        if value[-_CAUSE.size :] < mine or len(value) == _DUE_BYTES:
            value += mine
        else:
            value = value[:_DUE_BYTES] + b"".join(sorted([*_entries(value), mine]))
        if len(value) > _DUE_BYTES + MAX_CAUSES * _CAUSE.size:
            middle = _DUE_BYTES + MAX_CAUSES // 2 * _CAUSE.size
            value = value[:middle] + value[middle + _CAUSE.size :]
        if value != before:  # else it was the one in the middle
            self.state.put(key, value)

    def drop_cause(self, incident: Incident, *scope: str) -> None:
        """The incident is over."""
        causes = self.causes(*scope)
        left = [cause for cause in causes if cause[1] != incident.incident_id]
        if len(left) < len(causes):
            self._keep_causes(left, *scope)

    def _keep_causes(self, causes: Sequence[Opening], *scope: str) -> None:
        key = _causes_key(*scope)
        if causes:
            self.state.put(key, bytes(_DUE_BYTES) + b"".join(_CAUSE.pack(*cause) for cause in causes))
        else:
            self.state.delete(key)


def _entries(value: bytes) -> list[bytes]:
    return [value[at : at + _CAUSE.size] for at in range(_DUE_BYTES, len(value), _CAUSE.size)]


@lru_cache(maxsize=4096)
def _causes_key(*scope: str) -> bytes:
    return _SERVICE_KEY + digest(*scope)
