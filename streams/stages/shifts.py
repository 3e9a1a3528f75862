"""Hand-overs: who goes on call while incidents of a schedule are open is told of them.

Each schedule has an entry while incidents are open whose escalation names it. It looks from time to time, and at each
hand-over, who is on call. Overrides that are added or end early are noticed as well.
"""

from collections.abc import Sequence

import msgspec

from schemas.control import Escalation
from schemas.fingerprint import digest
from schemas.wire.notification import MAX_RELATED
from streams.policy.oncall import OnCall
from streams.stages.dispatch_table import Table, Told
from streams.stages.messages import Notice

#: Who is on call is looked up after this time: the configuration may have changed.
RECHECK_MS = 60_000
#: Open incidents of one schedule that are known by name, the earliest ones; of the others there is the number.
MAX_OPEN = 50
_KEY = b"shift:"
_DUE_BYTES = 8


class _Shift(msgspec.Struct, array_like=True, gc=False):
    """`users` are on call in the schedule, and were told; `look_at` is when to see who is, in milliseconds. `open` and
    `more` are its open incidents.
    """

    tenant: str
    schedule: str
    users: tuple[str, ...]
    look_at: int
    open: list[bytes] = []
    more: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Shift).decode


def follow(table: Table, told: Told, policy: Escalation | None, on_call: OnCall, now: int) -> None:
    """Have the incident be open in the schedules of its escalation, and in no other. The caller must keep it."""
    tenant, incident_id = told.incident.tenant, told.incident.incident_id
    wanted = sorted({name for step in policy.steps for name in step.schedules}) if policy is not None else []
    if wanted == told.schedules:
        return
    for schedule in set(told.schedules) - set(wanted):
        _leave(table, tenant, schedule, incident_id)
    for schedule in set(wanted) - set(told.schedules):
        found = _get(table, tenant, schedule)
        if found is None:
            users = on_call.at(tenant, schedule, now)
            found = _Shift(tenant, schedule, users, _next(on_call, tenant, schedule, now))
        if len(found.open) < MAX_OPEN:
            found.open.append(incident_id)
        else:
            found.more += 1
        _put(table, found)
    told.schedules = wanted


def is_shift(key: bytes) -> bool:
    """Whether the entry with this key is of a schedule."""
    return key.startswith(_KEY)


def look(table: Table, key: bytes, on_call: OnCall, now: int) -> Sequence[Notice]:
    """What those are to be told who went on call since the last look."""
    value = table.state.get(key)
    if value is None:
        return ()
    found = _decode(value[_DUE_BYTES:])
    users = on_call.at(found.tenant, found.schedule, now)
    new = [user for user in users if user not in found.users]
    found.users, found.look_at = users, _next(on_call, found.tenant, found.schedule, now)
    _put(table, found)
    if not new:
        return ()
    known = [
        told for each in found.open if (told := table.incident(each)) is not None and not (told.kept or told.waiting)
    ]
    known.sort(key=lambda told: -told.incident.severity)
    ids = [told.incident.incident_id for told in known[: MAX_RELATED + 1]]
    total = len(known) + found.more
    note = f"on call for {found.schedule} from now on; open incidents: {total}"
    return [Notice(found.tenant, user, note, ids, total, now) for user in new]


def _leave(table: Table, tenant: str, schedule: str, incident_id: bytes) -> None:
    found = _get(table, tenant, schedule)
    if found is None:
        return
    if incident_id in found.open:
        found.open.remove(incident_id)
    else:
        found.more -= 1
    if found.open or found.more > 0:
        _put(table, found)
    else:
        table.state.delete(_key(tenant, schedule))


def _get(table: Table, tenant: str, schedule: str) -> _Shift | None:
    value = table.state.get(_key(tenant, schedule))
    return _decode(value[_DUE_BYTES:]) if value is not None else None


def _next(on_call: OnCall, tenant: str, schedule: str, now: int) -> int:
    """When to look next: at the next hand-over if that is soon."""
    changes = on_call.handoffs(tenant, now, now + RECHECK_MS)
    return next((each.at for each in changes if each.schedule == schedule), now + RECHECK_MS)


def _put(table: Table, found: _Shift) -> None:
    key, at = _key(found.tenant, found.schedule), found.look_at
    table.state.put(key, at.to_bytes(_DUE_BYTES, "big") + _encode(found), at)


def _key(tenant: str, schedule: str) -> bytes:
    return _KEY + digest(tenant, schedule)
