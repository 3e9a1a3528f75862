"""SLA targets: what counts, when a target is due, and that it is missed once."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Calendar, Maintenance, Service, SlaTarget
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from streams.policy import sla
from streams.policy.calendars import Hours
from streams.policy.pauses import Clocks
from streams.policy.sla import Breach, Kind, Sla
from tests.policy.test_recurrence import ms

MINUTE = 60_000
HOUR = 60 * MINUTE
#: A Monday, 08:00 in Berlin.
MORNING = ms("2026-06-01T06:00:00Z")


class Office:
    """08:00-16:00 UTC of every day, by arithmetic."""

    def business_ms(self, start_ms: int, end_ms: int) -> int:
        """Open milliseconds."""
        return self._until(end_ms) - self._until(start_ms)

    def add_business(self, start_ms: int, duration_ms: int) -> int:
        """By halving: the first instant by which so much is over."""
        low, high = start_ms, start_ms + 30 * 24 * HOUR
        while low < high:
            middle = (low + high) // 2
            if self.business_ms(start_ms, middle) < duration_ms:
                low = middle + 1
            else:
                high = middle
        return low

    @staticmethod
    def _until(at: int) -> int:
        day, rest = divmod(at, 24 * HOUR)
        return day * 8 * HOUR + min(max(rest - 8 * HOUR, 0), 8 * HOUR)


CALENDARS = {("default", "office"): Office()}


def worked(begin: int, end: int) -> Maintenance:
    """Maintenance between two instants."""
    starts_at, ends_at = (datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in (begin, end))
    fields = {"id": "m", "services": ["shop"], "author": "a", "reason": "r", "starts_at": starts_at, "ends_at": ends_at}
    return Maintenance.model_validate(fields)


def target(*severities: str, **fields: Any) -> SlaTarget:
    """A target of these severities."""
    return SlaTarget.model_validate({"severities": severities, **fields})


def incident(version: int, status: Status = Status.OPEN, severity: Severity = Severity.CRITICAL) -> Incident:
    """An incident in this state."""
    return Incident(
        tenant="default", incident_id=16 * b"i", version=version, status=status, severity=severity, service="shop",
        title="", dedup_key="", correlation_key=b"", opened_at=0, acknowledged_at=0, resolved_at=0, last_alert_at=0,
        alert_count=1, repeat_count=0, member_count=1,
    )  # fmt: skip


def fire(state: Sla, now: int) -> tuple[Sla, list[Breach]]:
    """The breaches of the incident above."""
    return sla.fire(state, 16 * b"i", now)


TARGETS = (
    target("critical", acknowledge_within=300, resolve_within=3600),
    target("error", acknowledge_within=900),
    target("warning", resolve_within=8 * 3600, calendar="office"),
)


def test_a_target_is_missed_once_at_its_time() -> None:
    """Contract C94: five minutes without an acknowledgement are one breach at five minutes, with an id of its own."""
    state = sla.start(TARGETS, incident(1), {}, MORNING)
    assert sla.due(state) == MORNING + 5 * MINUTE
    assert fire(state, MORNING + 5 * MINUTE - 1) == (state, [])
    state, breaches = fire(state, MORNING + 5 * MINUTE)
    assert breaches == [Breach(sla.breach_id(16 * b"i", Kind.ACKNOWLEDGE), Kind.ACKNOWLEDGE, 300, MORNING + 5 * MINUTE)]
    assert fire(state, MORNING + 6 * MINUTE) == (state, [])
    state = sla.changed(state, TARGETS, incident(2), {}, MORNING + 7 * MINUTE)
    assert sla.due(state) == MORNING + HOUR
    state, (resolve,) = fire(state, MORNING + HOUR)
    assert resolve.kind == Kind.RESOLVE
    assert resolve.id not in (breaches[0].id, sla.breach_id(16 * b"j", Kind.RESOLVE))
    assert sla.due(state) == 0


@pytest.mark.parametrize(("late", "missed"), [(-1, []), (0, [Kind.ACKNOWLEDGE]), (1, [Kind.ACKNOWLEDGE])])
def test_an_acknowledgement_around_the_due_time(late: int, missed: list[Kind]) -> None:
    """Contract C94: before it there is no breach; at it and after it there is, whether `fire` came before or not."""
    at = MORNING + 5 * MINUTE + late
    state = sla.start(TARGETS, incident(1), {}, MORNING)
    state = sla.changed(state, TARGETS, incident(2, Status.ACKNOWLEDGED), {}, at)
    state, breaches = fire(state, at + 1)
    assert [breach.kind for breach in breaches] == missed
    assert sla.due(state) == MORNING + HOUR


def test_a_resolved_incident_misses_nothing() -> None:
    """Both clocks stand still, and an older version does not start them again."""
    state = sla.changed(sla.start(TARGETS, incident(1), {}, HOUR), TARGETS, incident(3, Status.RESOLVED), {}, HOUR + 1)
    assert sla.due(state) == 0
    assert sla.changed(state, TARGETS, incident(2), {}, 3 * HOUR) == state


def test_clocks_resume_where_they_stood() -> None:
    """After somebody hands the incident back, maintenance, and a reopening."""
    state = sla.start(TARGETS, incident(1), {}, MORNING)
    state = sla.changed(state, TARGETS, incident(2, Status.ACKNOWLEDGED), {}, MORNING + 2 * MINUTE)
    assert state.acknowledge.due == 0
    state = sla.changed(state, TARGETS, incident(3), {}, MORNING + 10 * MINUTE)
    assert state.acknowledge.due == MORNING + 13 * MINUTE
    clocks = Clocks({}, [worked(MORNING + 11 * MINUTE, MORNING + 31 * MINUTE)])
    state = sla.again(state, TARGETS, incident(3), clocks, MORNING + 11 * MINUTE)
    assert (state.acknowledge.due, state.resolve.due) == (MORNING + 33 * MINUTE, MORNING + 80 * MINUTE)
    state = sla.changed(state, TARGETS, incident(4, Status.RESOLVED), clocks, MORNING + 32 * MINUTE)
    state = sla.changed(state, TARGETS, incident(5), clocks, MORNING + 100 * MINUTE)
    assert state.acknowledge.due == MORNING + 101 * MINUTE


def test_another_severity_has_another_target_and_what_was_used_stays() -> None:
    """A limit that is used up already is missed at once; a severity without a target uses up nothing."""
    state = sla.start(TARGETS, incident(1, severity=Severity.INFO), {}, MORNING)
    assert sla.due(state) == 0
    state = sla.changed(state, TARGETS, incident(2, severity=Severity.ERROR), {}, MORNING + 60 * MINUTE)
    assert sla.due(state) == MORNING + 75 * MINUTE
    state = sla.changed(state, TARGETS, incident(3), {}, MORNING + 70 * MINUTE)
    assert (state.acknowledge.due, state.resolve.due) == (MORNING + 70 * MINUTE, MORNING + 130 * MINUTE)
    state, (breach,) = fire(state, MORNING + 70 * MINUTE)
    assert (breach.kind, breach.within) == (Kind.ACKNOWLEDGE, 300)
    lower = sla.changed(state, TARGETS, incident(4, severity=Severity.ERROR), {}, MORNING + 71 * MINUTE)
    assert sla.due(lower) == 0, "the target to acknowledge was missed already"


def test_a_weekend_and_a_holiday_do_not_count() -> None:
    """GLPI 15605: eight business hours from Friday 14:00 in Berlin end on Tuesday, since Monday is a holiday."""
    week = {day: ["09:00-17:00"] for day in ("mon", "tue", "wed", "thu", "fri")}
    record = {"id": "office", "zone": "Europe/Berlin", "hours": week, "holidays": ["2026-10-26"]}
    calendars = {("default", "office"): Hours(Calendar.model_validate(record))}
    friday = ms("2026-10-23T12:00:00Z")
    warning = Severity.WARNING
    state = sla.start(TARGETS, incident(1, severity=warning), calendars, friday)
    # Three hours on Friday, clocks go back on Sunday, then five hours of Tuesday from 08:00Z on.
    assert sla.due(state) == ms("2026-10-27T13:00:00Z")
    monday = ms("2026-10-26T12:00:00Z")
    clocks = Clocks(calendars, [worked(monday, ms("2026-10-28T10:00:00Z"))])
    state = sla.again(state, TARGETS, incident(1, severity=warning), clocks, monday)
    assert state.resolve.consumed == 3 * HOUR
    assert sla.due(state) == ms("2026-10-28T15:00:00Z")


def test_a_calendar_that_is_gone_counts_every_hour() -> None:
    """A breach that is told too early is better than one that is not told."""
    night = 20 * HOUR
    state = sla.start(TARGETS, incident(1, severity=Severity.WARNING), CALENDARS, night)
    assert sla.due(state) == 40 * HOUR
    state = sla.start(TARGETS, incident(1, severity=Severity.WARNING), {}, night)
    assert sla.due(state) == 28 * HOUR


class Move(NamedTuple):
    """A change of the incident, so many minutes after the one before."""

    minutes: int
    status: Status
    severity: Severity
    paused: bool


moves = st.lists(
    st.builds(Move, st.integers(0, 600), st.sampled_from(Status), st.sampled_from(Severity), st.booleans()),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(moves, st.booleans())
def test_the_time_used_is_the_sum_of_the_minutes_that_count(moves: list[Move], eager: bool) -> None:
    """Any changes: each target is missed in the minute in which its running, open minutes reach the limit, once; the
    same whether `fire` is called at each due time or only after the next change.
    """
    targets = [
        target("critical", "error", acknowledge_within=40 * 60, resolve_within=100 * 60),
        target("warning", acknowledge_within=60 * 60, resolve_within=300 * 60, calendar="office"),
    ]
    at = 20_000 * 24 * HOUR + 7 * HOUR
    timeline = [(at, Status.OPEN, Severity.ERROR, False)]
    for move in moves:
        at += move.minutes * MINUTE
        timeline.append((at, move.status, move.severity, move.paused))
    timeline.append((at + 48 * HOUR, Status.RESOLVED, Severity.ERROR, False))

    worked_on = [worked(begin, end) for (begin, *_, paused), (end, *_) in pairwise(timeline) if paused and begin < end]
    clocks = Clocks(CALENDARS, worked_on)
    found: list[tuple[Kind, int]] = []
    state = Sla(0)
    for version, (now, status, severity, _) in enumerate(timeline, 1):
        if eager:
            while 0 < sla.due(state) <= now:
                state, breaches = fire(state, sla.due(state))
                found += [(breach.kind, breach.at) for breach in breaches]
        state = sla.changed(state, targets, incident(version, status, severity), clocks, now)
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Sla)
        state, breaches = fire(state, now)
        found += [(breach.kind, breach.at) for breach in breaches]

    wanted: list[tuple[Kind, int]] = []
    for kind in Kind:
        used, missed = 0, False
        for (begin, status, severity, paused), (end, *_) in pairwise(timeline):
            chosen = targets[severity == Severity.WARNING] if severity != Severity.INFO else None
            runs = status == Status.OPEN if kind == Kind.ACKNOWLEDGE else status != Status.RESOLVED
            if chosen is None or not runs:
                continue
            limit = chosen.acknowledge_within if kind == Kind.ACKNOWLEDGE else chosen.resolve_within
            assert limit is not None
            if used >= limit // 60 and not missed:
                wanted.append((kind, begin))
                missed = True
            for minute in range(begin, begin if paused else end, MINUTE):
                used += chosen.calendar is None or 8 * HOUR <= minute % (24 * HOUR) < 16 * HOUR
                if used >= limit // 60 and not missed:
                    wanted.append((kind, minute + MINUTE))
                    missed = True
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([{"severities": ["error"]}], "acknowledge_within or resolve_within is needed"),
        ([{"severities": [], "resolve_within": 60}], "at least 1 item"),
        ([{"severities": ["fatal"], "resolve_within": 60}], "'info', 'warning', 'error' or 'critical'"),
        ([{"severities": ["error"], "resolve_within": 0}], "greater than or equal to 1"),
        (2 * [{"severities": ["error"], "resolve_within": 60}], "a severity has one target: error"),
    ],
)
def test_wrong_targets_are_refused(wrong: list[dict[str, Any]], told: str) -> None:
    """Also a second target of a severity, which could never count."""
    with pytest.raises(ValidationError, match=told):
        Service.model_validate({"id": "shop", "sla": wrong})
