"""The storm of a service: one incident takes what opens, and ends when the rate fell and its members are resolved."""

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.fingerprint import uuid_text
from schemas.wire.command import CommandAction, CommandEnd
from schemas.wire.incident import Incident, Status
from streams.stages.correlate_table import Open
from tests.stages.path import Path, control

PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})
LIMITS = {"above": 5, "within": 60, "below": 2, "quiet": 30, "wait": 0}
GROUPED = {"correlation": {"group_by": ["service", "source"], "window": 600, "max_window": 3600}}


def web(**fields: Any) -> tuple[str, dict[str, Any]]:
    """The service, of which five openings a minute are a storm."""
    return "service/default/web", {"id": "web", "storm": LIMITS, "straggler_hold": 0, **fields}


def fire(path: Path, count: int, first: int = 0, **fields: Any) -> None:
    """So many alerts with keys of their own, a tenth of a second apart."""
    for n in range(first, first + count):
        path.push("trigger", f"k{n}", **fields)
        path.tick(0.1)


def storms(path: Path) -> list[Incident]:
    """The incidents of storms."""
    return [incident for incident in path.incidents.values() if incident.dedup_key == "storm/web"]


def kinds(path: Path, incident: Incident) -> list[str]:
    """The timeline of one incident."""
    return [event.kind for event in path.events if event.incident_id == incident.incident_id]


def open_members(path: Path) -> dict[bytes, int]:
    """How many members are open of each incident in the table."""
    values = [value[1:] for _, value in path.correlation_state.items() if value[:1] == b"\x01"]
    found = [msgspec.msgpack.decode(value, type=Open) for value in values]
    return {each.incident.incident_id: each.open_members for each in found}


def test_what_opens_above_the_rate_is_one_incident() -> None:
    """The fifth opening in a minute makes the first incident a storm, which takes in the others, and the rest joins."""
    path = Path(control(PAGE, web()))
    fire(path, 200)
    (storm,) = storms(path)
    assert (len(path.incidents), open_members(path)) == (4, {storm.incident_id: 200})
    assert (storm.member_count, storm.alert_count, storm.service, storm.source) == (200, 200, "web", "")
    assert path.outcomes == ["opened"] * 4 + ["correlated"] * 196
    assert path.notifications[-1].incident.title.startswith("Storm of web: 5 incidents at once")


def test_the_openings_that_led_to_it_lead_to_it() -> None:
    """The first becomes the storm; the others are over, with a line that names it."""
    path = Path(control(PAGE, web()))
    fire(path, 6)
    (storm,) = storms(path)
    for incident in path.incidents.values():
        if incident.incident_id != storm.incident_id:
            assert kinds(path, incident) == ["triggered", "merged"]
    notes = {event.note for event in path.events if event.kind == "merged"}
    assert notes == {f"into {uuid_text(storm.incident_id)}"}


def test_one_that_is_acknowledged_does_not_become_the_storm() -> None:
    """Somebody has that one in hand, and not the storm: another one becomes it, which nobody has."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "k0")
    path.push("acknowledge", "k0")
    fire(path, 4, 1)
    (storm,) = storms(path)
    assert storm.status is Status.OPEN
    assert kinds(path, storm)[:2] == ["triggered", "escalated"]
    assert sum(event.kind == "merged" for event in path.events) == 3


def test_what_becomes_the_storm_is_a_member_as_before() -> None:
    """Its alert resolves and fires again inside the storm, and a person's command finds it."""
    path = Path(control(PAGE, web()))
    fire(path, 1)
    first = path.incident
    fire(path, 6, 1)
    (storm,) = storms(path)
    assert (storm.incident_id, storm.labels) == (first.incident_id, {"stormweir.storm": "true"})
    path.push("resolve", "k0")
    assert open_members(path) == {storm.incident_id: 6}
    path.push("trigger", "k0")
    assert open_members(path) == {storm.incident_id: 7}
    assert path.command(CommandAction.ACKNOWLEDGE, first).end is CommandEnd.DONE
    assert storms(path)[0].status is Status.ACKNOWLEDGED


def test_only_what_is_open_and_of_the_burst_is_taken_in() -> None:
    """An incident that was resolved before, or opened long before, has nothing to do with it."""
    path = Path(control(PAGE, web()))
    fire(path, 1)
    path.tick(61)
    fire(path, 4, 1)
    path.push("resolve", "k2")
    fire(path, 2, 10)
    assert sum(event.kind == "merged" for event in path.events) == 2
    assert sorted(open_members(path).values()) == [1, 5]


def test_whom_the_earlier_ones_reached_hears_of_the_storm() -> None:
    """Destinations by rules, and by severity for each severity that they had: what is merged is nowhere else told."""
    tenant = {"id": "default", "severity_routes": {"warning": ["chat"], "critical": ["phone"]}}
    rule = ("rule/default/one", {"id": "one", "match": ['source="host-2"'], "route": ["two"]})
    path = Path(control(web(), ("tenant/default", tenant), rule))
    path.push("trigger", "a", "critical")
    path.push("trigger", "b", "warning", source="host-2")
    fire(path, 3, severity="warning")
    (storm,) = storms(path)
    told = {each.destination for each in path.notifications if each.incident.incident_id == storm.incident_id}
    assert told == {"chat", "phone", "two"}


def test_it_ends_when_the_rate_fell_and_its_members_are_resolved() -> None:
    """All members are resolved at once: the incident is open until the storm is over, for what comes next."""
    path = Path(control(PAGE, web()))
    fire(path, 8)
    for n in range(8):
        path.push("resolve", f"k{n}")
    (storm,) = storms(path)
    assert storm.status is Status.OPEN
    path.tick(59 + 30)
    assert storms(path)[0].status is Status.OPEN
    path.tick(3)
    (storm,) = storms(path)
    assert storm.status is Status.RESOLVED
    assert kinds(path, storm) == ["triggered", "escalated", "joined", "joined", "joined", "resolved"]
    assert storm.resolved_at <= path.now
    assert str(path.notifications[-1].transition) == "resolved"


def test_it_ends_with_its_last_member_after_the_rate_fell() -> None:
    """What opens after the storm is an incident of its own again; the members have time."""
    path = Path(control(PAGE, web()))
    fire(path, 6)
    path.tick(600)
    fire(path, 1, 10)
    assert path.outcomes[-1] == "opened"
    for n in range(6):
        assert storms(path)[0].status is Status.OPEN
        path.push("resolve", f"k{n}")
    assert storms(path)[0].status is Status.RESOLVED


def test_a_second_storm_joins_the_first_while_it_is_open() -> None:
    """One page, not one for each gust; when the first is over the next has an incident of its own."""
    path = Path(control(PAGE, web()))
    fire(path, 6)
    path.tick(600)
    fire(path, 6, 10)
    (storm,) = storms(path)
    assert storm.member_count == 12
    for n in [*range(6), *range(10, 16)]:
        path.push("resolve", f"k{n}")
    path.tick(600)
    assert storms(path)[0].status is Status.RESOLVED
    fire(path, 6, 20)
    assert [each.status for each in storms(path)] == [Status.RESOLVED, Status.OPEN]


def test_a_storm_is_open_again_within_reopen() -> None:
    """Its incident is one with a key like any other: it is the same one if it comes back soon."""
    path = Path(control(PAGE, web(reopen=3600)))
    fire(path, 6)
    for n in range(6):
        path.push("resolve", f"k{n}")
    path.tick(600)
    fire(path, 6, 10)
    (storm,) = storms(path)
    assert (storm.status, kinds(path, storm)) == (
        Status.OPEN,
        ["triggered", "escalated", "joined", "resolved", "reopened", "joined"],
    )


def test_an_incident_that_opened_twice_is_taken_in_once() -> None:
    """Reopened on the way to the storm: one opening more, and one member."""
    path = Path(control(PAGE, web(reopen=3600)))
    for action in ("trigger", "resolve", "trigger"):
        path.push(action, "k0")
        path.now += 1
    fire(path, 3, 1)
    (storm,) = storms(path)
    assert open_members(path) == {storm.incident_id: 4}


def test_members_are_seen() -> None:
    """A repeat raises the storm's severity, a resolve is one of its member, and the history names the storm."""
    path = Path(control(PAGE, web()))
    fire(path, 7)
    (storm,) = storms(path)
    path.tick(120)
    path.push("trigger", "k6", "critical")
    assert storms(path)[0].severity.name == "CRITICAL"
    assert storms(path)[0].repeat_count == 1
    path.push("acknowledge", "k6")
    assert storms(path)[0].status is Status.ACKNOWLEDGED
    path.push("resolve", "k6")
    assert path.outcomes[-3:] == ["deduplicated", "acknowledged", "resolved"]
    path.push("trigger", "k6")
    assert path.outcomes[-1] == "opened", "the storm is over, so it is an incident of its own"
    assert path.incidents[storm.incident_id].member_count == 7


def test_open_incidents_keep_their_own() -> None:
    """A repeat, or an alert of a group that has an incident, is no opening: neither begins a storm nor joins one."""
    path = Path(control(PAGE, web(**GROUPED)))
    for n in range(30):
        path.push("trigger", f"k{n}")
        path.push("trigger", f"k{n}")
        path.tick(0.1)
    assert len(path.incidents) == 1
    assert not storms(path)


def test_groups_that_open_in_a_storm_are_members() -> None:
    """An alert of such a group joins the storm, without being one more opening."""
    path = Path(control(PAGE, web(**GROUPED)))
    for n in range(6):
        path.push("trigger", f"k{n}", source=f"host-{n}")
    for n in range(50):
        path.push("trigger", f"other{n}", source="host-5")
    (storm,) = storms(path)
    assert storm.member_count == 52, "groups of before keep their own life"
    path.tick(100)
    path.push("trigger", "late", source="host-9")
    assert path.outcomes[-1] == "opened", "the rate fell, whatever the groups of the storm do"
    for n in range(50):
        path.push("resolve", f"other{n}")
    path.push("resolve", "k4")
    path.push("resolve", "k5")
    assert storms(path)[0].status is Status.RESOLVED


def test_services_storm_apart() -> None:
    """Another service, without limits or with its own, is not concerned."""
    path = Path(control(PAGE, web(), ("service/default/db", {"id": "db", "storm": LIMITS})))
    for n in range(4):
        path.push("trigger", f"k{n}", service="web")
        path.push("trigger", f"k{n}", service="db")
        path.push("trigger", f"k{n}", service="other")
    assert not storms(path)


def test_a_person_ends_it() -> None:
    """What opens then, while it storms on, is a new storm's; members that fire on are members of that one."""
    path = Path(control(PAGE, web()))
    fire(path, 6)
    (storm,) = storms(path)
    assert path.command(CommandAction.RESOLVE, storm).end is CommandEnd.DONE
    fire(path, 2, 10)
    old, new = storms(path)
    assert (old.status, new.status, new.member_count) == (Status.RESOLVED, Status.OPEN, 2)


def test_without_the_setting_it_is_over_as_it_was_to_be() -> None:
    """The configuration changes in the storm: what opens is for itself, and the incident still ends."""
    path = Path(control(PAGE, web()))
    fire(path, 6)
    path.control.apply("service/default/web", b'{"id": "web", "straggler_hold": 0}')
    fire(path, 1, 10)
    assert path.outcomes[-1] == "opened"
    for n in range(6):
        path.push("resolve", f"k{n}")
    path.tick(120)
    assert storms(path)[0].status is Status.RESOLVED


def test_nothing_is_left() -> None:
    """When all is resolved and the rate is idle, the table has the ids of incidents only."""
    path = Path(control(PAGE, web(**GROUPED)))
    for n in range(8):
        path.push("trigger", f"k{n}", source=f"host-{n}")
    for n in range(8):
        path.push("resolve", f"k{n}")
    path.now += 3_600_000
    path.run()
    assert all(incident.status is Status.RESOLVED for incident in path.incidents.values())
    assert sorted({key.partition(b":")[0] for key, _ in path.correlation_state.items()}) == [b"resolved"]
    assert len(path.correlation_state) == len(path.incidents)


def test_a_backlog_is_no_storm() -> None:
    """An hour of one opening a minute that is read at once: times are those of the alerts."""
    path = Path(control(PAGE, web()))
    held: list[Any] = []
    stage, path.run = path.run, lambda: held.append(None)  # type: ignore[method-assign]
    for n in range(60):
        path.push("trigger", f"k{n}")
        path.now += 60_000
    path.run = stage  # type: ignore[method-assign]
    for topic in path.logs.values():
        for record in topic:
            record.timestamp = path.now
    path.run()
    assert len(held) == len(path.incidents) == 60
    assert not storms(path)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("trigger"), st.sampled_from("abcdefghij"), st.sampled_from([0, 0, 0, 1, 20])),
        st.tuples(st.just("resolve"), st.sampled_from("abcdefghij"), st.sampled_from([0, 0, 1, 70])),
        st.tuples(st.just("restart"), st.just(""), st.sampled_from([0, 100])),
        st.tuples(st.just("all"), st.just(""), st.just(0)),
    ),
    max_size=60,
)


def _actions(steps: list[tuple[str, str, int]]) -> Iterator[tuple[str, str, int]]:
    for what, key, seconds in steps:
        if what == "all":
            yield from (("trigger", key, 0) for key in "abcdefgh")
        else:
            yield what, key, seconds


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, grouped=st.booleans(), reopen=st.sampled_from([0, 50]))
def test_any_order(steps: list[tuple[str, str, int]], grouped: bool, reopen: int) -> None:
    """An alert that fires is part of exactly one live incident, at most one storm is live, and all ends."""
    path = Path(control(PAGE, web(reopen=reopen, **(GROUPED if grouped else {}))))
    firing: set[str] = set()
    for what, key, seconds in _actions(steps):
        path.now += seconds * 1000 + 1
        if what == "restart":
            path.restart()
            path.run()
            continue
        path.push(what, key, source=f"host-{ord(key) % 4}") if what == "trigger" else path.push(what, key)
        firing = firing | {key} if what == "trigger" else firing - {key}
        live = [each for each in path.incidents.values() if each.status is not Status.RESOLVED]
        assert sum(each.dedup_key == "storm/web" for each in live) <= 1
        assert sum(open_members(path).values()) == len(firing)
        assert {each.incident_id for each in live} == set(open_members(path))
    for key in "abcdefghij":
        path.now += 1
        path.push("resolve", key)
    for _ in range(2):
        path.now += 3_600_000
        path.run()
    assert all(each.status is Status.RESOLVED for each in path.incidents.values())
    path.now += 24 * 3_600_000
    path.run()
    assert {key.partition(b":")[0] for key, _ in path.correlation_state.items()} <= {b"resolved"}
    triggers = [each for each in path.outcomes if each in {"opened", "correlated"}]
    merged = {event.incident_id for event in path.events if event.kind == "merged"}
    counted = [each for each in path.incidents.values() if each.incident_id not in merged]
    assert len(triggers) == sum(each.alert_count - each.repeat_count for each in counted)


def test_an_open_incident_costs_what_it_did() -> None:
    """Without storms and reopening there is one entry for an open incident, and nothing else: a million fit."""
    path = Path(control(PAGE))
    fire(path, 50)
    sizes = [len(key) + len(value) for key, value in path.correlation_state.items()]
    assert len(sizes) == 50
    assert max(sizes) <= 220
