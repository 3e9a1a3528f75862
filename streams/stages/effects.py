"""What a cause knows of its effects: some by name, the others by their number.

It has an entry of its own, which is due when the cause must tell of them, so that an effect costs the cause nothing
else. An effect that is over, or that has another cause by now, is no longer counted.
"""

import struct
from typing import NamedTuple

from schemas.wire.incident import Incident
from schemas.wire.notification import MAX_RELATED, Change, Related
from streams.stages.dispatch_table import Table, Told

#: A cause waits so long before it tells of its effects, and then so long between two messages about them.
NEWS_WAIT_MS, NEWS_INTERVAL_MS = 30_000, 300_000
#: Effects of one cause that are known by name. A message names the most severe ones of them.
MAX_EFFECTS = 100
_KEY = b"effects:"
#: When the cause tells of them, and the time before which it does not, both 0 for none; how many have no name here.
_HEAD = struct.Struct(">qqI")
_ID_BYTES = 16


class _Effects(NamedTuple):
    """The entry of a cause; `named` has the ids of 16 bytes, one after another."""

    news_at: int = 0
    news_after: int = 0
    unnamed: int = 0
    named: bytes = b""


def affect(table: Table, told: Told, cause: bytes, now: int) -> None:
    """Have this cause of the incident tell that it is affected. The caller must keep the incident."""
    if told.counted_by == cause:
        return
    leave(table, told)
    told.counted_by = cause
    found, incident_id = _get(table, cause), told.incident.incident_id
    if len(found.named) < MAX_EFFECTS * _ID_BYTES:
        found = found._replace(named=found.named + incident_id)
    else:
        found = found._replace(unnamed=found.unnamed + 1)
    _put(table, cause, found._replace(news_at=found.news_at or max(now + NEWS_WAIT_MS, found.news_after)))


def leave(table: Table, told: Told) -> None:
    """The incident is over, or has another cause: the one that counted it does not any more."""
    if not told.counted_by:
        return
    found, incident_id = _get(table, told.counted_by), told.incident.incident_id
    if incident_id in (ids := _ids(found)):
        _put(table, told.counted_by, found._replace(named=b"".join(each for each in ids if each != incident_id)))
    elif found.unnamed:
        _put(table, told.counted_by, found._replace(unnamed=found.unnamed - 1))
    told.counted_by = b""


def end(table: Table, cause: bytes) -> None:
    """The cause is over: nothing is told of its effects any more."""
    table.state.delete(_KEY + cause)


def total(table: Table, cause: bytes) -> int:
    """How many effects the cause has by now."""
    found = _get(table, cause)
    return len(found.named) // _ID_BYTES + found.unnamed


def named(table: Table, cause: bytes) -> list[Told]:
    """The effects that are known by name."""
    return [effect for each in _ids(_get(table, cause)) if (effect := table.incident(each)) is not None]


def cause_of(key: bytes) -> bytes | None:
    """The id of the cause whose entry has this key."""
    return key.removeprefix(_KEY) if key.startswith(_KEY) else None


def wait(table: Table, cause: bytes, now: int) -> None:
    """The cause is not told itself yet: its effects are told later."""
    _put(table, cause, _get(table, cause)._replace(news_at=now + NEWS_WAIT_MS))


def news(table: Table, cause: bytes, now: int) -> tuple[tuple[Related, ...], int]:
    """What a cause tells of its effects: the most severe ones, and how many more there are."""
    found = _get(table, cause)
    known = [effect.incident for effect in named(table, cause)]
    known.sort(key=lambda incident: -incident.severity)
    first = tuple(related(incident, Change.NEW) for incident in known[:MAX_RELATED])
    _put(table, cause, found._replace(news_at=0, news_after=now + NEWS_INTERVAL_MS))
    return first, len(known) + found.unnamed - len(first)


def related(incident: Incident, change: Change) -> Related:
    """The incident as the message of another one names it."""
    return Related(
        incident_id=incident.incident_id,
        title=incident.title[:150],
        severity=incident.severity,
        status=incident.status,
        service=incident.service,
        change=change,
    )


def _get(table: Table, cause: bytes) -> _Effects:
    value = table.state.get(_KEY + cause)
    if value is None:
        return _Effects()
    news_at, news_after, unnamed = _HEAD.unpack_from(value)
    return _Effects(news_at, news_after, unnamed, value[_HEAD.size :])


def _ids(found: _Effects) -> list[bytes]:
    return [found.named[at : at + _ID_BYTES] for at in range(0, len(found.named), _ID_BYTES)]


def _put(table: Table, cause: bytes, found: _Effects) -> None:
    """Keep it until the cause is over; one that leads to no cause is gone with its last effect."""
    if not (found.named or found.unnamed) and table.incident(cause) is None:
        table.state.delete(_KEY + cause)
        return
    head = _HEAD.pack(found.news_at, found.news_after, found.unnamed)
    table.state.put(_KEY + cause, head + found.named, found.news_at)
