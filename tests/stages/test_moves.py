"""Merge and split: members of one incident become those of another, and are followed there."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.fingerprint import fingerprint, uuid7, uuid_text
from schemas.wire.command import CommandAction, CommandEnd
from schemas.wire.incident import Incident, Status
from tests.stages.path import RETENTION_MS, Path, control
from tests.stages.test_storm_life import GROUPED, fire, open_members, storms, web

MERGE, SPLIT = CommandAction.MERGE, CommandAction.SPLIT
PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})
PLAIN = ("service/default/web", {"id": "web", "straggler_hold": 0})


def of(path: Path, title: str) -> Incident:
    """The newest incident with this title."""
    return [incident for incident in path.incidents.values() if incident.title == title][-1]


def two(*records: tuple[str, dict[str, Any]], **second: Any) -> tuple[Path, Incident, Incident]:
    """Two incidents, of the alerts `a` and `b`."""
    path = Path(control(*records))
    path.push("trigger", "a", "warning", source="host-a")
    path.push("trigger", "b", source="host-b", **second)
    return path, of(path, "a is broken"), of(path, "b is broken")


@pytest.mark.parametrize("service", [PLAIN, ("service/default/web", {**PLAIN[1], **GROUPED})], ids=["single", "groups"])
def test_a_merge_moves_the_members(service: tuple[str, dict[str, Any]]) -> None:
    """The source is over, the target has all alerts, and ends with the last of them."""
    path, a, b = two(PAGE, service)
    path.push("trigger", "b", "critical")
    command_id = uuid7(path.now)
    result = path.command(MERGE, b, other=a, note="same switch", by="cli:ada", command_id=command_id)
    assert (result.end, result.status) == (CommandEnd.DONE, "resolved")
    source, target = path.incidents[b.incident_id], path.incidents[a.incident_id]
    assert (source.status, source.resolved_at) == (Status.RESOLVED, path.now)
    assert (target.status, target.severity.name, target.member_count) == (Status.OPEN, "CRITICAL", 2)
    assert (target.alert_count, target.repeat_count) == (3, 1)
    lines = {event.incident_id: event for event in path.events if event.event_id == command_id}
    end, took = lines[b.incident_id], lines[a.incident_id]
    assert (end.kind, end.actor, end.note) == ("merged", "cli:ada", f"into {uuid_text(a.incident_id)}: same switch")
    assert (took.kind, took.note) == ("escalated", f"from {uuid_text(b.incident_id)}: same switch")
    path.push("resolve", "a")
    assert path.incidents[a.incident_id].status is Status.OPEN
    path.push("acknowledge", "b")
    assert path.incidents[a.incident_id].status is Status.ACKNOWLEDGED
    path.push("resolve", "b")
    assert path.incidents[a.incident_id].status is Status.RESOLVED
    assert not open_members(path)


def test_people_hear_that_the_source_is_over_and_of_the_target() -> None:
    """Destinations of the source are told of its end, and of the target if they were not yet."""
    rules = [
        ("rule/default/a", {"id": "a", "match": ['source="host-a"'], "route": ["one"]}),
        ("rule/default/b", {"id": "b", "match": ['source="host-b"'], "route": ["two"]}),
    ]
    path, a, b = two(PLAIN, *rules)
    before = len(path.notifications)
    path.command(MERGE, b, other=a)
    told = [(str(n.transition), n.destination, n.incident.title) for n in path.notifications[before:]]
    assert told[0] == ("resolved", "two", "b is broken")
    assert ("triggered", "two", "a is broken") in told
    path.push("resolve", "a")
    path.push("resolve", "b")
    ended = [
        n.destination for n in path.notifications if n.incident.title == "a is broken" and n.transition == "resolved"
    ]
    assert sorted(ended) == ["one", "two"]


def test_default_routes_come_along() -> None:
    """Destinations by severity hear of the target too, for each severity that the source had."""
    tenant = {"id": "default", "severity_routes": {"warning": ["chat"], "error": ["desk"], "critical": ["phone"]}}
    path, a, b = two(PLAIN, ("tenant/default", tenant))
    path.push("trigger", "b", "critical")
    path.command(MERGE, b, other=a)
    told = {
        n.destination for n in path.notifications if n.incident.title == "a is broken" and n.transition == "triggered"
    }
    assert told == {"chat", "desk", "phone"}


def test_a_command_takes_effect_once() -> None:
    """The same command again is done, and nothing changes."""
    path, a, b = two(PLAIN)
    command_id = uuid7(path.now)
    path.command(MERGE, b, other=a, command_id=command_id)
    before = path.incidents, len(path.events)
    assert path.command(MERGE, b, other=a, command_id=command_id).end is CommandEnd.DONE
    assert (path.incidents, len(path.events)) == before
    assert path.command(MERGE, b, other=a).end is CommandEnd.NOT_FOUND


def test_what_cannot_be_merged() -> None:
    """Into itself, into another service's or a resolved one, or into nothing: nothing changes."""
    path, a, b = two(PLAIN)
    path.push("trigger", "db", service="db")
    path.push("trigger", "c")
    path.push("resolve", "c")
    before = path.incidents
    for other in (b, of(path, "db is broken"), of(path, "c is broken"), None):
        assert path.command(MERGE, b, other=other).end is CommandEnd.NOT_FOUND
    assert path.incidents == before
    assert path.command(MERGE, b, other=a).end is CommandEnd.DONE
    assert path.command(MERGE, a, other=b).end is CommandEnd.NOT_FOUND, "not in a circle"


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_merges_in_a_row(order: str) -> None:
    """a into b, b into c: members of all are followed, in whatever order they end; two weeks do not change that."""
    path = Path(control(("service/default/web", {**PLAIN[1], **GROUPED})))
    for key in "abc":
        path.push("trigger", key, source=key)
    a, b, c = (of(path, f"{key} is broken") for key in "abc")
    path.command(MERGE, a, other=b)
    path.command(MERGE, b, other=c)
    for _ in range(2):
        path.now += RETENTION_MS
        path.run()
    for key in order:
        assert path.incidents[c.incident_id].status is Status.OPEN
        path.push("resolve", key)
    assert path.incidents[c.incident_id].status is Status.RESOLVED
    for _ in range(4):
        path.now += RETENTION_MS
        path.run()
    assert not len(path.correlation_state)


def test_alerts_of_a_merged_group_join_the_target() -> None:
    """As long as the group's window is open."""
    path, a, b = two(("service/default/web", {**PLAIN[1], **GROUPED}))
    path.command(MERGE, b, other=a)
    path.push("trigger", "b2", source="host-b")
    assert path.incidents[a.incident_id].member_count == 3
    path.tick(601)
    path.push("trigger", "b3", source="host-b")
    assert of(path, "b3 is broken").status is Status.OPEN


def test_what_a_person_resolves_after_a_merge_may_fire_on() -> None:
    """A member that fires opens an incident, as one of the target itself does."""
    path, a, b = two(("service/default/web", {**PLAIN[1], **GROUPED}))
    path.command(MERGE, b, other=a)
    path.command(CommandAction.RESOLVE, path.incidents[a.incident_id])
    path.tick(120)
    path.push("trigger", "b", source="host-b")
    assert sum(each.status is Status.OPEN for each in path.incidents.values()) == 1


def test_a_storm_is_merged_into_its_cause() -> None:
    """What opens goes on to join, there; it stays open until the storm is over and its members are resolved."""
    path = Path(control(web()))
    path.push("trigger", "k0")
    path.tick(61)
    fire(path, 6, 1)
    cause, (storm,) = of(path, "k0 is broken"), storms(path)
    path.command(MERGE, storm, other=cause)
    fire(path, 3, 10)
    cause = path.incidents[cause.incident_id]
    assert (cause.title, cause.member_count) == ("k0 is broken", 10)
    for key in ["k0", *(f"k{n}" for n in [1, 2, 3, 4, 5, 6, 10, 11, 12])]:
        path.push("resolve", key)
    assert path.incidents[cause.incident_id].status is Status.OPEN
    path.tick(100)
    assert path.incidents[cause.incident_id].status is Status.RESOLVED


def test_a_split_moves_members_out() -> None:
    """The new incident has them, is told like one that opens, and each of the two ends with its own."""
    path = Path(control(PAGE, ("service/default/web", {**PLAIN[1], **GROUPED})))
    for key in "abc":
        path.push("trigger", key)
    path.push("trigger", "c", "critical")
    whole = path.incident
    member = fingerprint("default", "web", "c")
    command_id = uuid7(path.now)
    result = path.command(SPLIT, whole, members=[member, bytes(16)], note="the disk", command_id=command_id)
    assert (result.end, result.status) == (CommandEnd.DONE, "open")
    rest, part = path.incidents[whole.incident_id], of(path, "the disk")
    assert (rest.member_count, rest.alert_count, rest.repeat_count) == (2, 2, 0)
    assert (part.member_count, part.alert_count, part.repeat_count, part.version) == (1, 2, 1, 1)
    assert (part.service, part.severity, part.opened_at) == ("web", whole.severity, path.now)
    lines = [(event.kind, event.note) for event in path.events if event.event_id == command_id]
    assert lines == [
        ("members_moved", f"1 to {uuid_text(part.incident_id)}"),
        ("triggered", f"from {uuid_text(whole.incident_id)}"),
    ]
    assert (str(path.notifications[-1].transition), path.notifications[-1].incident.title) == ("triggered", "the disk")
    path.push("resolve", "c")
    assert path.incidents[part.incident_id].status is Status.RESOLVED
    path.push("resolve", "a")
    path.push("resolve", "b")
    assert path.incidents[whole.incident_id].status is Status.RESOLVED


def test_what_cannot_be_split() -> None:
    """A single alert, alerts of another incident, those that are resolved, and all: nothing changes."""
    path, a, _ = two(("service/default/web", {**PLAIN[1], **GROUPED}))
    path.push("trigger", "c", source="host-a")
    path.push("resolve", "c")
    before = path.incidents
    mine, others, over = (fingerprint("default", "web", key) for key in "abc")
    for members in ([], [others], [over], [mine]):
        assert path.command(SPLIT, path.incidents[a.incident_id], members=members).end is CommandEnd.NOT_FOUND
    assert path.incidents == before
    single, alone, _ = two(PLAIN)
    assert single.command(SPLIT, alone, members=[mine]).end is CommandEnd.NOT_FOUND


def test_a_merge_is_undone_by_a_split() -> None:
    """Members that came by a merge go out again."""
    path, a, b = two(PLAIN)
    path.command(MERGE, b, other=a)
    path.command(SPLIT, path.incidents[a.incident_id], members=[fingerprint("default", "web", "b")], note="apart")
    assert sorted(open_members(path).values()) == [1, 1]
    path.push("resolve", "b")
    assert of(path, "apart").status is Status.RESOLVED
    assert path.incidents[a.incident_id].status is Status.OPEN


KEYS = "abcdef"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["trigger", "resolve"]), st.sampled_from(KEYS), st.just("")),
        st.tuples(st.just("merge"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
        st.tuples(st.just("split"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
        st.tuples(st.just("wait"), st.sampled_from(["", "long"]), st.just("")),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, grouped=st.booleans(), storm=st.booleans(), reopen=st.sampled_from([0, 500]))
def test_any_order(steps: list[tuple[str, str, str]], grouped: bool, storm: bool, reopen: int) -> None:
    """Whatever people do, each alert that fires is one open member of one live incident, and all ends, and is
    forgotten, when they do.
    """
    fields = {"reopen": reopen, **(GROUPED if grouped else {})}
    path = Path(control(PAGE, web(**fields) if storm else ("service/default/web", {**PLAIN[1], **fields})))
    firing: set[str] = set()
    for what, one, other in steps:
        path.now += 1
        live = [each for each in path.incidents.values() if each.status is not Status.RESOLVED]
        if what == "wait":
            path.now += 700_000 if one else 1000
            path.run()
        elif what == "trigger":
            path.push("trigger", one, source=f"host-{ord(one) % 3}")
            firing.add(one)
        elif what == "resolve":
            path.push("resolve", one)
            firing.discard(one)
        elif live and what == "merge":
            first, second = (live[KEYS.index(key) % len(live)] for key in (one, other))
            done = path.command(MERGE, first, other=second).end is CommandEnd.DONE
            assert done == (first is not second)
        elif live:
            members = [fingerprint("default", "web", key) for key in (one, other)]
            path.command(SPLIT, live[KEYS.index(one) % len(live)], members=members)
        assert sum(open_members(path).values()) == len(firing)
        live = [each for each in path.incidents.values() if each.status is not Status.RESOLVED]
        assert {each.incident_id for each in live} == set(open_members(path))
    for key in KEYS:
        path.now += 1
        path.push("resolve", key)
    for _ in range(2):
        path.now += 3_600_000
        path.run()
    assert not open_members(path)
    for _ in range(8):
        path.now += RETENTION_MS
        path.run()
    assert not dict(path.correlation_state.items())
