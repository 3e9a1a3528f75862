"""The incidents that a silence or a maintenance keeps from people, listed by what mutes them.

A list has an entry that looks from time to time whether its mute is still the same, and entries with the ids, a few in
each. So what is muted costs nothing while it is, however many there are. When the mute is over, or was changed, every
incident of the list is looked at again, and is told unless something else keeps it from people. Of a mute that is over
its author hears what it hid.
"""

from collections.abc import Iterator

import msgspec

from schemas.fingerprint import digest
from schemas.wire.incident import Status
from schemas.wire.notification import MAX_RELATED
from streams.policy.mutes import Mute, Mutes
from streams.stages.dispatch_table import Table
from streams.stages.messages import Notice

#: A mute is compared with the configuration after this time: it may have been changed or deleted.
RECHECK_MS = 10_000
#: The author hears of it so long after those who are told what was hidden.
NOTICE_MS = 1_000
_ID_BYTES, _DUE_BYTES = 16, 8
#: The size of an entry with as many ids as it may have, which is 32.
_FULL = _DUE_BYTES + 32 * _ID_BYTES
_LIST_KEY, _IDS_KEY = b"mute:", b"muted:"


class _List(msgspec.Struct, array_like=True, gc=False):
    """The mute as it was when the list began. Entries `first` to `after` are those of its incidents. `left` entries are
    those of a mute that is over, or changed, and not yet looked at: `hidden` incidents of them were open, the `worst`
    by severity, then age. Times are milliseconds since 1970 UTC, 0 for none.
    """

    tenant: str
    mute: str
    author: str
    stamp: bytes
    until: int
    check_at: int = 0
    notice_at: int = 0
    first: int = 0
    after: int = 0
    left: int = 0
    over: bool = False
    hidden: int = 0
    worst: list[tuple[int, int, bytes]] = []

    @property
    def due(self) -> int:
        return min(filter(None, (self.check_at, self.notice_at)), default=0)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_List).decode


def add(table: Table, tenant: str, mute: Mute, incident_id: bytes, now: int) -> bytes:
    """List the incident; the name of the list, which the incident must keep."""
    name = list_name(tenant, mute)
    found = _get(table, name)
    if found is None:
        found = _List(tenant, mute.name, "", b"", 0)
    if found.first == found.after:
        found.author, found.stamp, found.until = mute.period.author, mute.period.stamp, mute.until_ms
        found.check_at = min(found.until, now + RECHECK_MS)
    after = append(table, name, found.first, found.after, incident_id)
    if after != found.after:
        found.after = after
        _put(table, name, found)
    return name


def append(table: Table, name: bytes, first: int, after: int, incident_id: bytes) -> int:
    """Put the incident, which must keep `name`, into the entries `first` to `after` of a list; `after` from now on."""
    ids = table.state.get(_ids_key(name, after - 1)) if first < after else None
    if ids is None or len(ids) >= _FULL:
        ids, after = bytes(_DUE_BYTES), after + 1
    table.state.put(_ids_key(name, after - 1), ids + incident_id)
    return after


def wake(table: Table, name: bytes, first: int, after: int, now: int) -> int:
    """Have the incidents of these entries of a list looked at again, in slices; how many entries there are."""
    found = 0
    for number in range(first, after):
        ids = table.state.get(_ids_key(name, number))
        if ids is not None:
            table.state.put(_ids_key(name, number), now.to_bytes(_DUE_BYTES, "big") + ids[_DUE_BYTES:], now)
            found += 1
    return found


def list_name(tenant: str, mute: Mute) -> bytes:
    """The name of the list of a mute."""
    return digest(tenant, mute.name)


def is_list(key: bytes) -> bool:
    """Whether the entry with this key is of a list."""
    return key.startswith((_LIST_KEY, _IDS_KEY))


def look(table: Table, mutes: Mutes, key: bytes, now: int) -> Notice | None:
    """Do what is due about this entry; what the author is to be told, if anything."""
    if key.startswith(_IDS_KEY):
        _wake(table, mutes, key, now)
        return None
    name = key.removeprefix(_LIST_KEY)
    found = _get(table, name)
    if found is None:
        return None
    if 0 < found.check_at <= now:
        _check(table, mutes, name, found, now)
    notice = None
    if 0 < found.notice_at <= now:
        worst = [incident_id for _, _, incident_id in found.worst]
        note = f"{found.mute} is over; open incidents that it hid: {found.hidden}"
        notice = Notice(found.tenant, found.author, note, worst, found.hidden, found.notice_at - NOTICE_MS)
        found.notice_at, found.hidden, found.worst, found.over = 0, 0, [], False
    _put(table, name, found)
    return notice


def _check(table: Table, mutes: Mutes, name: bytes, found: _List, now: int) -> None:
    """If the mute is not the same any more, have all entries of the list looked at."""
    mute = mutes.active(found.tenant, found.mute, now)
    if mute is not None and mute.period.stamp == found.stamp and now < found.until:
        found.check_at = min(found.until, now + RECHECK_MS)
        return
    found.left += wake(table, name, found.first, found.after, now)
    found.first, found.check_at = found.after, 0
    found.over = found.over or mute is None


def _wake(table: Table, mutes: Mutes, key: bytes, now: int) -> None:
    """Have the incidents of one entry looked at again."""
    name = key[len(_IDS_KEY) : len(_IDS_KEY) + _ID_BYTES]
    value = table.state.get(key) or b""
    table.state.delete(key)
    found = _get(table, name)
    for incident_id in _ids(value):
        told = table.incident(incident_id)
        if told is None or told.muted_by != name:
            continue
        told.muted_by, told.look_at = b"", now
        table.keep(told)
        incident = told.incident
        if found is not None and incident.status != Status.RESOLVED and mutes.find(incident, now) is None:
            found.hidden += 1
            rank = -incident.severity, incident.opened_at, incident_id
            found.worst = sorted([*found.worst, rank])[: MAX_RELATED + 1]
    if found is not None:
        found.left -= 1
        if not found.left:
            found.notice_at = now + NOTICE_MS if found.over and found.hidden else 0
            if not found.notice_at:
                found.hidden, found.worst, found.over = 0, [], False
        _put(table, name, found)


def _ids(value: bytes) -> Iterator[bytes]:
    return (value[at : at + _ID_BYTES] for at in range(_DUE_BYTES, len(value), _ID_BYTES))


def _get(table: Table, name: bytes) -> _List | None:
    value = table.state.get(_LIST_KEY + name)
    return _decode(value[_DUE_BYTES:]) if value is not None else None


def _put(table: Table, name: bytes, found: _List) -> None:
    """Keep the list, unless nothing is in it and nothing is due."""
    if found.first == found.after and not found.left and not found.notice_at:
        table.state.delete(_LIST_KEY + name)
    else:
        table.state.put(_LIST_KEY + name, found.due.to_bytes(_DUE_BYTES, "big") + _encode(found), found.due)


def _ids_key(name: bytes, number: int) -> bytes:
    return _IDS_KEY + name + number.to_bytes(8, "big")
