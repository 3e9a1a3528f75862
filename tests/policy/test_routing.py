"""Routing: the leaves of an incident are those that Alertmanager's walk finds."""

from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Calendar, Route, control_key, dump
from schemas.control.route import MAX_DEPTH, MAX_ROUTES, Branch
from schemas.wire.alert import Severity
from streams.control import document
from streams.policy import matching
from streams.policy.calendars import Hours
from streams.policy.language import compile_incident
from streams.policy.routing import Leaf, Routes, Timers
from tests.policy.test_mutes import incident
from tests.policy.test_recurrence import ms


def route(name: str = "main", **fields: Any) -> Route:
    """A root, which tells `ops` unless it says something else."""
    return Route.model_validate({"id": name, "destinations": ["ops"], **fields})


def ids(routes: Routes, service: str = "web", **changes: Any) -> list[str]:
    """The leaves of an incident."""
    return [leaf.id for leaf in routes.match(incident(service, **changes))]


def leaf(**fields: Any) -> Leaf:
    """The leaf of a tree without branches."""
    (found,) = Routes([route(**fields)]).match(incident())
    return found


TREE = {
    "routes": [
        {"match": ['service="db"'], "destinations": ["dba"], "routes": [{"match": ['severity="critical"']}]},
        {"match": ['labels.team=~"web|shop"'], "destinations": ["web"], "continue": True},
        {"match": ['severity="critical"'], "destinations": ["pager"]},
        {"match": ['labels.team="web"'], "destinations": ["late"]},
    ]
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"service": "db"}, ["main/0"]),
        ({"service": "db", "severity": Severity.CRITICAL}, ["main/0/0"]),
        ({}, ["main"]),
        ({"severity": Severity.CRITICAL}, ["main/2"]),
        ({"labels": {"team": "web"}, "severity": Severity.CRITICAL}, ["main/1", "main/2"]),
        ({"labels": {"team": "web"}}, ["main/1", "main/3"]),
        ({"labels": {"team": "shop"}}, ["main/1"]),
        ({"tenant": "acme"}, []),
    ],
)
def test_the_deepest_match_wins_in_order(changes: dict[str, Any], expected: list[str]) -> None:
    """A parent takes what no route below it takes; `continue` tries the next siblings too."""
    assert ids(Routes([route(**TREE)]), **changes) == expected


def test_roots_are_siblings() -> None:
    """By order, then by id; the first that takes an incident ends the search unless it continues."""
    everyone = route("z", order=1, **{"continue": True})
    routes = Routes([route("b"), route("a", match=['service="db"']), everyone])
    assert ids(routes) == ["z", "b"]
    assert ids(routes, "db") == ["z", "a"]
    assert Routes().match(incident()) == []


def test_what_is_not_said_is_the_parents() -> None:
    """Timers and grouping one by one, destinations and escalation together; calendars, `continue` never."""
    root = route(
        escalation="page",
        group_by=["labels.cluster"],
        group_wait=1,
        mute_calendars=["night"],
        routes=[
            {"match": ['service="a"'], "group_interval": 2},
            {"match": ['service="b"'], "destinations": ["b"], "group_by": []},
            {"match": ['service="c"'], "escalation": "other", "routes": [{"repeat_interval": 3}]},
            {"match": ['service="d"'], "destinations": []},
        ],
    )
    routes = Routes([root])
    a, b, c, d = (routes.match(incident(service))[0] for service in "abcd")
    assert (a.destinations, a.escalation, a.group_by, a.mute_calendars) == (("ops",), "page", ("labels.cluster",), ())
    assert a.timers == Timers(1_000, 2_000, 4 * 3_600_000)
    assert (b.destinations, b.escalation, b.group_by) == (("b",), None, ())
    assert (c.id, c.destinations, c.escalation) == ("main/2/0", (), "other")
    assert c.timers == Timers(1_000, 300_000, 3_000)
    assert (d.destinations, d.escalation) == ((), None)
    assert leaf().timers == Timers(30_000, 300_000, 14_400_000)


def test_groups_are_by_leaf_and_values() -> None:
    """Equal values, missing ones too, are one group; `...` is each incident by itself; no value runs into the next."""
    two = leaf(group_by=["labels.a", "b"])
    one = two.group_key(incident(labels={"a": "x", "b": "y"}))
    assert two.group_key(incident("db", labels={"a": "x", "b": "y", "c": "z"})) == one
    assert two.group_key(incident(labels={"a": "xy"})) != two.group_key(incident(labels={"a": "x", "b": "y"})) == one
    assert two.group_key(incident()) == two.group_key(incident(labels={"a": "", "b": ""}))
    each = leaf(group_by=["..."])
    assert each.group_key(incident()) != each.group_key(incident(incident_id=b"1" * 16))
    assert leaf(group_by=[]).group_key(incident()) == leaf(group_by=[]).group_key(incident("db"))
    assert leaf().group_key(incident()) != leaf().group_key(incident("db"))
    assert leaf(name="a").group_key(incident()) != leaf(name="b").group_key(incident())


def test_a_route_that_is_put_before_others_moves_no_group() -> None:
    """What a group is known by is what its routes match, not their places; of two that match the same, their order."""
    db, web, other = ({"match": [f'service="{name}"'], "destinations": [name]} for name in ("db", "web", "cart"))
    routes = [{**db, "continue": True}, web, {**db, "destinations": ["later"]}]
    before = Routes([Route.model_validate({"id": "main", "destinations": ["ops"], "routes": routes})])
    after = Routes([Route.model_validate({"id": "main", "destinations": ["ops"], "routes": [other, *routes]})])
    for service in ("db", "web"):
        old, new = (
            [each.group_key(incident(service)) for each in tree.match(incident(service))] for tree in (before, after)
        )
        assert old == new
    assert len({leaf.group_key(incident("db")) for leaf in before.match(incident("db"))}) == 2


def test_calendars_mute_a_leaf() -> None:
    """An open mute calendar, or no open active one. In doubt, with a calendar that is gone, people are told."""
    office = Calendar.model_validate({"id": "office", "zone": "UTC", "hours": {"mon": ["09:00-17:00"]}})
    hours = {("default", "office"): Hours(office)}
    inside, outside = ms("2026-11-02T10:00"), ms("2026-11-02T18:00")
    muted, active = leaf(mute_calendars=["office"]), leaf(active_calendars=["office"])
    assert [muted.muted_by(hours, at) for at in (inside, outside)] == ["calendar/office", ""]
    assert [active.muted_by(hours, at) for at in (inside, outside)] == ["", "calendar/office"]
    assert [each.muted_by({}, at) for each in (muted, active) for at in (inside, outside)] == [""] * 4
    assert leaf(active_calendars=["office", "gone"]).muted_by(hours, outside) == ""
    assert leaf().muted_by(hours, inside) == ""


NAMES = st.sampled_from(["service", "severity", "labels.team", "labels.env"])
VALUES = st.sampled_from(["a", "b", "critical", "error", ""])
LINES = st.builds(
    lambda name, operator, value: f'{name}{operator}"{value}"', NAMES, st.sampled_from(["=", "!=", "=~", "!~"]), VALUES
)
BRANCHES = st.recursive(
    st.fixed_dictionaries({"match": st.lists(LINES, max_size=2), "continue": st.booleans()}),
    lambda below: st.fixed_dictionaries(
        {"match": st.lists(LINES, max_size=2), "continue": st.booleans(), "routes": st.lists(below, max_size=4)}
    ),
    max_leaves=12,
)


def walk(branch: Branch, path: str, subject: Any) -> list[str]:
    """Alertmanager's Route.Match (dispatch/route.go), word for word."""
    if not compile_incident(branch.match)(subject):
        return []
    found: list[str] = []
    for index, below in enumerate(branch.routes):
        matches = walk(below, f"{path}/{index}", subject)
        found += matches
        if matches and not below.continue_:
            break
    return found or [path]


@settings(max_examples=300, deadline=None)
@given(
    roots=st.lists(BRANCHES, min_size=1, max_size=3),
    service=VALUES,
    severity=st.integers(1, 4),
    labels=st.dictionaries(st.sampled_from(["team", "env"]), VALUES),
)
def test_the_index_finds_what_a_walk_finds(
    roots: list[dict[str, Any]], service: str, severity: int, labels: dict[str, str]
) -> None:
    """The same leaves in the same order, whatever the trees are."""
    subject = incident(service, severity=Severity(severity), labels=labels)
    records = [route(f"r{number}", order=number, **root) for number, root in enumerate(roots)]
    expected: list[str] = []
    for record in records:
        matches = walk(record, record.id, subject)
        expected += matches
        if matches and not record.continue_:
            break
    assert [each.id for each in Routes(records).match(subject)] == expected


def test_the_cost_grows_with_what_matches() -> None:
    """Of 600 routes by service and 600 by teams, an incident is compared with its own alone."""
    asked: list[Sequence[str]] = []

    def counted(lines: Sequence[str]) -> Any:
        matches = compile_incident(lines)
        return lambda subject: asked.append(lines) or matches(subject)

    below = [
        {"match": [f'service="s{number}"'], "routes": [{"match": ['labels.env="test"'], "destinations": []}]}
        for number in range(600)
    ]
    below += [{"match": [f'labels.team=~"a{number}|b{number}"']} for number in range(600)]
    with patch.object(matching, "compile_incident", counted):
        routes = Routes([route(routes=below)])
    assert ids(routes, "s7", labels={"env": "test"}) == ["main/7/0"]
    assert asked == [(), ('service="s7"',), ('labels.env="test"',)]
    asked.clear()
    assert ids(routes, "web", labels={"team": "b3"}) == ["main/603"]
    assert asked == [(), ('labels.team=~"a3|b3"',)]


def test_a_route_that_does_not_compile_leaves_it_to_its_parent() -> None:
    """People are told by somebody, although `apply` refuses such a route."""
    assert ids(Routes([route(routes=[{"match": ["service=~"], "destinations": []}])])) == ["main"]


def test_a_tree_survives_the_topic() -> None:
    """It is written with `continue`, and read as the same."""
    record = route(**{"continue": True}, routes=[{"continue": True, "group_by": []}])
    assert b'"continue":true' in dump(record)
    assert Route.model_validate_json(dump(record)) == record
    changes = document.plan({control_key(record): record}, {})
    assert "    continue: true" in changes.lines
    key, other = control_key(record), record.model_copy(update={"continue_": False})
    assert document.plan({key: other}, {key: record}).lines == [f"~ {key}", "    continue: true -> false"]


def _chain(depth: int) -> dict[str, Any]:
    return {"routes": [_chain(depth - 1)]} if depth else {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"destinations": None}, "destinations or an escalation is needed"),
        (_chain(MAX_DEPTH + 1), f"deeper than {MAX_DEPTH} levels"),
        ({"routes": [{"routes": [{}] * 1000}] * 3}, f"more than {MAX_ROUTES} routes"),
        ({"group_by": ["...", "service"]}, "stands alone"),
        ({"group_by": ["service", "service"]}, "twice"),
        ({"group_by": ["a b"]}, "no field of an incident"),
        ({"routes": [{"group_wait": -1}]}, "greater than or equal to 0"),
        ({"routes": [{"id": "x"}]}, "Extra inputs"),
    ],
)
def test_a_wrong_tree_is_refused(fields: dict[str, Any], message: str) -> None:
    """With what is wrong; a tree as deep as allowed is not."""
    with pytest.raises(ValidationError, match=message):
        route(**fields)
    route(**_chain(MAX_DEPTH))


def _problems(*records: Route, **others: Any) -> Iterator[str]:
    declared = {control_key(record): record for record in records}
    try:
        yield from document.check(declared, others)
    except document.ConfigurationError as error:
        yield from (line.strip() for line in str(error).splitlines()[1:])


def test_apply_names_the_path_of_what_is_wrong() -> None:
    """Unknown records and conditions anywhere in the tree; what can never match is a warning."""
    deep = {"routes": [{"destinations": ["gone"], "mute_calendars": ["never"], "routes": [{"match": ["x"]}]}]}
    assert [each.partition(": ")[0] for each in _problems(route(**deep))] == [
        "routes.0.destinations.0",
        "routes.0.routes.0.destinations.0",
        "routes.0.routes.0.mute_calendars.0",
        "routes.0.routes.0.routes.0.match.0",
    ]
    assert list(_problems(route(escalation="e", destinations=None))) == ["routes.0.escalation: no escalation 'e'"]
    nobody = {"destinations": []}
    unreached = route("a", **nobody, routes=[{}, {"match": ['service="x"']}])
    assert list(_problems(unreached, route("b", **nobody))) == [
        "routes.0.routes.1: can take nothing: every incident is taken by routes.0",
        "routes.1.order: can take nothing: every incident is taken by a",
    ]
