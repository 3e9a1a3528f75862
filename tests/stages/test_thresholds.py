"""A group opens once enough different alerts of it fired within a time."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.wire.alert import Severity
from schemas.wire.command import CommandAction
from schemas.wire.incident import Status
from tests.stages.path import Path, control
from tests.stages.test_dispatch import PAGE, told


def grouped(count: int = 3, within: int = 60, *rules: tuple[str, dict[str, Any]], **service: Any) -> Path:
    """A path whose service has groups of this threshold."""
    correlation = {"group_by": ["service"], "threshold": {"count": count, "within": within}}
    return Path(
        control(*(rules or (PAGE,)), ("service/default/web", {"id": "web", "correlation": correlation, **service}))
    )


def push(path: Path, *keys: str, severity: str = "error", pause: float = 1) -> None:
    """A trigger of each key, one after another."""
    for key in keys:
        path.push("trigger", key, severity)
        path.tick(pause)


def test_the_alert_that_makes_it_enough_opens() -> None:
    """All of them are members, and the first message has the whole count."""
    path = grouped()
    push(path, "a", "b")
    assert (told(path), path.incidents) == ([], {})
    push(path, "c")
    assert told(path) == [("triggered", "ops")]
    assert path.outcomes == ["suppressed", "suppressed", "opened"]
    assert path.column("rule")[:2] == ["life:threshold"] * 2
    first = path.notifications[0].incident
    assert (first.member_count, first.alert_count) == (3, 3)


def test_one_alert_many_times_is_one() -> None:
    """Repeats are no other alerts; they are counted when the incident opens."""
    path = grouped(2, 600)
    push(path, *["a"] * 9)
    assert told(path) == []
    path.tick(120)
    push(path, "b")
    assert path.incident.member_count == 2
    path.tick(120)
    assert path.incident.alert_count == 10


def test_too_slow_is_never_enough() -> None:
    """The time slides: three in 62 seconds are not three in 60."""
    path = grouped()
    push(path, *(f"k{number}" for number in range(9)), pause=31)
    assert told(path) == []


def test_what_is_resolved_does_not_count() -> None:
    """Nor is anything left of what is over."""
    path = grouped()
    push(path, "a", "b")
    for key in ("a", "b"):
        path.push("resolve", key)
    push(path, "c")
    assert told(path) == []
    assert path.outcomes == ["suppressed"] * 5
    path.tick(70)
    assert not list(path.correlation_state.items())


def test_all_members_must_end() -> None:
    """The incident is over when the last one of those is that waited, too."""
    path = grouped()
    push(path, "a", "b", "c")
    for key in ("c", "b"):
        path.push("resolve", key)
    assert path.incident.status == Status.OPEN
    path.push("resolve", "a")
    assert path.incident.status == Status.RESOLVED
    push(path, "d", "e")
    assert len(path.incidents) == 1, "and it counts anew"


def test_whom_the_waiting_ones_reach_is_told() -> None:
    """Rules of an alert that waited route its incident, and it has the highest severity."""
    rules = [(f"rule/default/{key}", {"id": key, "match": [f'dedup_key="{key}"'], "route": [key]}) for key in "abc"]
    path = grouped(3, 60, *rules)
    push(path, "a", severity="critical")
    push(path, "b", "c", severity="warning")
    assert {destination for _, destination in told(path)} == {"a", "b", "c"}
    assert path.incident.severity is Severity.CRITICAL
    assert all(each.incident.severity is Severity.CRITICAL for each in path.notifications)


def test_a_storm_takes_all_of_them() -> None:
    """If the group that is enough opens in a storm, its alerts are the storm's."""
    correlation = {"group_by": ["service", "class"], "threshold": {"count": 2, "within": 60}}
    storm = {"above": 2, "below": 1, "within": 60}
    path = Path(control(PAGE, ("service/default/web", {"id": "web", "correlation": correlation, "storm": storm})))
    for team in "xyz":
        for key in "ab":
            path.push("trigger", team + key, **{"custom_details": {}, "class": team})
    assert sum(each.member_count for each in path.incidents.values() if each.status == Status.OPEN) == 6


def test_after_a_person_resolved_it_counts_anew() -> None:
    """Alerts that fire on are as many as are needed again."""
    path = grouped(2, 60)
    push(path, "a", "b")
    path.command(CommandAction.RESOLVE, path.incident)
    push(path, "c")
    assert len(path.incidents) == 1
    push(path, "d")
    assert [each.status for each in path.incidents.values()] == [Status.RESOLVED, Status.OPEN]


STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.integers(0, 40)), max_size=25)


@settings(max_examples=120, deadline=None)
@given(STEPS, st.integers(2, 4), st.booleans())
def test_it_opens_when_a_count_by_hand_says_so(steps: list[tuple[str, bool, int]], count: int, restarts: bool) -> None:
    """Any triggers and resolves of five keys, with a restart before each: the model keeps all openings."""
    path = grouped(count, 60, dedup_window=3600)
    waiting: dict[str, int] = {}
    members: set[str] = set()
    seen: set[str] = set()
    for key, ends, pause in steps:
        if restarts:
            path.restart()
        path.tick(pause)
        path.push("resolve" if ends else "trigger", key)
        if ends:
            seen.discard(key)
            waiting.pop(key, None)
            members.discard(key)
        elif key not in seen:
            seen.add(key)
            if members:
                members.add(key)
            else:
                waiting[key] = path.now
                newest = sorted(waiting.values())[-count:]
                if len(newest) == count and newest[-1] - newest[0] <= 60_000:
                    enough = sorted(waiting, key=lambda each: waiting[each])[-count:]
                    members, waiting = set(enough), {each: waiting[each] for each in waiting if each not in enough}
        live = [each for each in path.incidents.values() if each.status != Status.RESOLVED]
        assert len(live) == bool(members), (key, ends)
