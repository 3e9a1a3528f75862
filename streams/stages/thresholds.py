"""A group whose incident opens only once enough different alerts of it fired within a time.

Until then the group has an entry with its newest alerts, one for each key that is open. A resolve takes its alert out.
A straggler counts where it belongs in time, and never makes the time longer.
"""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.control.life import Threshold
from schemas.wire.alert import Alert, RuledUrgency, Severity, UniqueAlert
from schemas.wire.incident import urgency_of
from streams.policy import incidents
from streams.policy.incidents import Counted
from streams.stages.changes import Change, Reached, reach
from streams.stages.correlate_table import Open, Table

#: Why an alert that waits for others is not told.
REASON = "life:threshold"


class Waiter(msgspec.Struct, array_like=True, gc=False):
    """An alert that waits for others since `at`, in milliseconds, and what rules decided on it."""

    at: int
    fingerprint: bytes
    repeats: int
    severity: Severity
    urgency: RuledUrgency
    routes: list[str]
    rule: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Waiter]).decode


def count(table: Table, key: bytes, limit: Threshold, unique: UniqueAlert, alert: Alert) -> list[Waiter] | None:
    """Count one more alert of a group: those that waited for it if it is enough now, else None."""
    urgency = unique.urgency or urgency_of(unique.severity)
    mine = Waiter(
        alert.received_at, alert.fingerprint, unique.repeats, unique.severity, urgency, unique.routes, unique.rule
    )
    others = [each for each in _waiting(table, key) if each.fingerprint != alert.fingerprint]
    newest = sorted([*others, mine], key=lambda each: each.at)[-limit.count :]
    within = limit.within * 1000
    if len(newest) == limit.count and newest[-1].at - newest[0].at <= within:
        table.drop_waiting(key)
        return [each for each in newest if each is not mine]
    last = newest[-1].at
    table.keep_waiting(key, last + within + 1, _encode([each for each in newest if each.at >= last - within]))
    return None


def end(table: Table, key: bytes, fingerprint: bytes) -> bool:
    """Take out an alert that is over; whether it waited."""
    waiting = _waiting(table, key)
    left = [each for each in waiting if each.fingerprint != fingerprint]
    if len(left) == len(waiting):
        return False
    if left:
        table.keep_waiting(key, 0, _encode(left))
    else:
        table.drop_waiting(key)
    return True


def repeat(table: Table, key: bytes, unique: UniqueAlert) -> None:
    """Note how often an alert repeated that waits."""
    waiting = _waiting(table, key)
    for each in waiting:
        if each.fingerprint == unique.fingerprint:
            each.repeats = max(each.repeats, unique.repeats)
            table.keep_waiting(key, 0, _encode(waiting))


def counted(waiters: Sequence[Waiter]) -> Counted:
    """What these alerts add to an incident."""
    return Counted(
        len(waiters),
        sum(each.repeats for each in waiters),
        max(each.severity for each in waiters),
        "high" if any(each.urgency == "high" for each in waiters) else "low",
    )


def join(table: Table, key: bytes, found: Open, waiters: Sequence[Waiter], *, known: bool) -> Iterator[Change]:
    """Make these alerts members of the incident; `known` says that it has counted them. The caller must tell each
    change as it comes.
    """
    if not waiters:
        return
    for each in waiters:
        table.drop_left(key, each.fingerprint)
        table.keep_member(key, each.fingerprint, found, each.repeats)
    found.open_members += len(waiters)
    if not known:
        found.incident = incidents.gather(incidents.renew(found.incident), counted(waiters))
    yield Change(found, None)
    yield from reach(found, None, _reached(waiters))


def _reached(waiters: Sequence[Waiter]) -> Reached:
    """What rules decided on these alerts."""
    return Reached(
        max(each.severity for each in waiters),
        list(dict.fromkeys(name for each in waiters for name in each.routes)),
        ",".join(dict.fromkeys(name for each in waiters for name in each.rule.split(",") if name)),
        sorted({int(each.severity) for each in waiters if not each.routes}),
    )


def _waiting(table: Table, key: bytes) -> list[Waiter]:
    value = table.waiting(key)
    return _decode(value) if value is not None else []
