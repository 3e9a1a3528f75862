"""What dedup writes: alerts and counts for correlation, rows of alerts that end here, answers, and its own entries."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.fingerprint import digest
from schemas.records import Output, Record, State
from schemas.topics import ALERTS_UNIQUE
from schemas.wire.alert import Action, Alert, Severity, UniqueAlert
from schemas.wire.codec import decode_unique, encode
from schemas.wire.rows import AlertOutcome
from streams.policy.language import field
from streams.policy.rules import Decision
from streams.stages.dedup_entry import OPEN, SUPPRESSED, Entry, unpack
from streams.stages.history_rows import History
from streams.stages.replies import reply

Headers = Sequence[tuple[str, bytes]]

#: The decision on an alert that is not the first of its key: it changes nothing.
NOTHING = Decision(Severity.INFO, False, {}, (), ())


class Place(NamedTuple):
    """The place of an alert in its partition: the offset of its record, or the number of its release if `timed`."""

    partition: int
    number: int
    headers: Headers
    timed: bool = False


def correlation_key(alert: Alert, group_by: Sequence[str]) -> bytes:
    """What alerts of one incident have in common: tenant and the `group_by` fields with their values."""
    parts = [part for name in group_by for part in (name, field(name)(alert))]
    return digest("group", alert.tenant, *parts)


def place_of(record: Record) -> Place:
    """The place of a record."""
    return Place(record.partition, record.offset, record.headers)


def put(state: State, fingerprint: bytes, entry: Entry) -> None:
    """Keep the entry of a fingerprint."""
    state.put(fingerprint, entry.pack(fingerprint), entry.due)


def repeated(flags: int) -> AlertOutcome:
    """The outcome of a repeat of a key with these flags."""
    return AlertOutcome.SUPPRESSED if flags & SUPPRESSED else AlertOutcome.DEDUPLICATED


def hold(alert: Alert, place: Place) -> bytes:
    """The alert as an entry holds it."""
    return encode(UniqueAlert(place.partition, -1, alert.fingerprint, 0, 0, alert.severity, alert))


def end_held(entry: Entry, outcome: AlertOutcome, place: Place, history: History, rule: str = "") -> None:
    """Add the history row of the alert that was held, at the place of the record that decides it."""
    alert = decode_unique(entry.held).alert
    assert alert is not None
    history.add(place.number, alert, outcome, rule=rule)


def suppress(alert: Alert, decision: Decision, place: Place, history: History) -> None:
    """Add the row of an alert that the rules suppress."""
    rule = ",".join(decision.rules)
    history.add(place.number, alert, AlertOutcome.SUPPRESSED, severity=decision.severity, rule=rule)


def forward(
    correlation_key: bytes,
    scope: bytes,
    alert: Alert,
    repeats: int,
    last_seen: int,
    severity: Severity,
    place: Place,
    decision: Decision = NOTHING,
) -> Output:
    """The alert for correlation."""
    labels, routes, rules = decision.labels, list(decision.routes), ",".join(decision.rules)
    unique = UniqueAlert(
        place.partition, place.number, alert.fingerprint, repeats, last_seen, severity, alert,
        labels, routes, rules, place.timed, correlation_key, decision.urgency, decision.service,
    )  # fmt: skip
    return Output(ALERTS_UNIQUE.name, scope, encode(unique), None, place.headers)


def answer(state: State, alert: Alert, headers: Headers) -> Iterator[Output]:
    """The verdict on an alert that ended here, if a request waits for it."""
    value = state.get(alert.fingerprint)
    entry = unpack(value, alert.fingerprint) if value is not None else None
    if alert.action != Action.TRIGGER or entry is None or entry.status != OPEN:
        yield from reply(headers, deduplicated=False)
    elif entry.flags & SUPPRESSED:
        yield from reply(headers, deduplicated=entry.repeats > 0)
    else:
        # Send the count that was forwarded before: it changes nothing, and later repeats stay folded.
        yield counts(entry._replace(repeats=entry.forwarded), alert.fingerprint, headers)


def over(entry: Entry, at: int) -> str | None:
    """Why a key that is open ends at this time; "" if only its flapping ends, None if nothing does."""
    course = entry.course
    if course is None:
        return None
    if course.quiet and course.flips[-1] + course.quiet * 1000 <= at:
        return "" if course.is_open else "it was flapping, and has been resolved for a while"
    if course.silence and entry.last_seen + course.silence * 1000 <= at:
        return f"it did not fire for {course.silence} s"
    return None


def counts(entry: Entry, fingerprint: bytes, headers: Headers = (), ended: str = "") -> Output:
    """The number of repeats of a key, or (`ended`) that it ended without a resolve."""
    unique = UniqueAlert(
        0, -1, fingerprint, entry.repeats, entry.last_seen, Severity(entry.ruled),
        correlation_key=entry.correlation_key, ended=ended,
    )  # fmt: skip
    return Output(ALERTS_UNIQUE.name, entry.scope, encode(unique), None, headers)
