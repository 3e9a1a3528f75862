"""A storm of a whole tenant: one incident is told for what opens in all of its services."""

import json
import uuid
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.control import Service, Tenant
from schemas.fingerprint import digest, uuid_text
from schemas.records import Output
from schemas.wire.command import CommandAction
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import MAX_RELATED
from streams.control import document
from streams.policy.reach import Reach
from streams.stages import dispatch_table, effects, tenant_storms
from streams.stages.dispatch import Dispatch
from tests.stages.path import Path, control
from tests.stages.table import TableState
from tests.stages.test_dispatch import PAGE, kept, people, silence, told

LIMITS = {"above": 5, "below": 2, "within": 60, "quiet": 60, "wait": 30}
#: A storm whose last opening was just now is over then, in seconds: its window, the time for which it is calm, a cell.
OVER_S = 122


def tenant(**limits: Any) -> tuple[str, dict[str, Any]]:
    """A tenant with a storm of these limits."""
    return "tenant/default", {"id": "default", "storm": {**LIMITS, **limits}}


def storm(path: Path, services: int = 20, severity: str = "error", prefix: str = "s") -> None:
    """One opening in each of so many services, at once."""
    for number in range(services):
        path.push("trigger", "down", severity, service=f"{prefix}{number}")


def heard(path: Path) -> list[tuple[str, str, str]]:
    """What people heard: the change, the service, and where."""
    return [(str(each.transition), each.incident.service, each.destination) for each in path.notifications]


def of(path: Path, service: str) -> Incident:
    """The newest incident of a service."""
    return [each for each in path.incidents.values() if each.service == service][-1]


class TestOn:
    """It begins with so many openings, in whichever services."""

    def test_one_first_page_and_an_update(self) -> None:
        """20 services fail at once: the first is told, and later how many there are; nothing else is."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        assert heard(path) == [("triggered", "s0", "ops")]
        path.tick(40)
        assert heard(path) == [("triggered", "s0", "ops"), ("updated", "s0", "ops")]
        news = path.notifications[-1]
        assert news.note == "a storm: 20 incidents opened, services: 20; others are not told by themselves"
        assert len(news.related) + news.more == 19

    def test_each_that_is_not_told_has_the_lead_as_the_reason(self) -> None:
        """Its row names the incident that is told for it, once."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.tick(40)
        assert kept(path) == [("triggered", "ops", f"storm/{uuid_text(of(path, 's0').incident_id)}")] * 19

    def test_one_less_is_none(self) -> None:
        """Below the rate each is told by itself, the first at once and the others after the wait."""
        path = Path(control(PAGE, tenant()))
        storm(path, 4)
        assert len(path.notifications) == 1
        path.tick(29)
        assert len(path.notifications) == 1
        path.tick(1)
        assert sorted(heard(path)) == [("triggered", f"s{number}", "ops") for number in range(4)]

    def test_openings_beyond_the_window_are_none(self) -> None:
        """So many, but slowly."""
        path = Path(control(PAGE, tenant(wait=0)))
        for number in range(10):
            path.push("trigger", "down", service=f"s{number}")
            path.tick(20)
        assert len(path.notifications) == 10

    def test_repeats_and_muted_ones_do_not_count(self) -> None:
        """What is silenced would page nobody, and a repeat opens nothing."""
        path = Path(control(PAGE, tenant(wait=0), silence(0, 300, 'service=~"m.*"')))
        storm(path, 20, prefix="m")
        for _ in range(20):
            path.push("trigger", "down", service="s0")
        path.push("trigger", "down", service="s1")
        assert heard(path) == [("triggered", "s0", "ops"), ("triggered", "s1", "ops")]

    def test_another_tenant_is_not_counted(self) -> None:
        """Without the setting each is told at once, and nothing is kept of a storm."""
        path = Path(control(PAGE))
        storm(path)
        assert len(path.notifications) == 20
        assert not any(tenant_storms.is_storm(key) for key, _ in path.dispatch_state.items())

    def test_what_waits_in_a_group_is_taken_out_of_it(self) -> None:
        """The group told its first incident, which leads; what waited for its next message is no part of it."""
        tree = ("route/default/main", {"id": "main", "destinations": ["team"], "group_by": [], "group_wait": 20})
        path = Path(control(tree, tenant(wait=0)))
        for number in range(6):
            path.push("trigger", "down", service=f"s{number}")
            path.tick(1)
        path.tick(60)
        assert heard(path) == [("triggered", "s0", "team"), ("updated", "s0", "team")]
        assert not [each for each in path.notifications if each.related and not each.note]

    def test_the_worst_that_was_told_leads(self) -> None:
        """Of what was told before the storm began the most severe leads."""
        path = Path(control(PAGE, tenant(wait=0)))
        path.push("trigger", "down", "error", service="mild")
        path.push("trigger", "down", "critical", service="bad")
        storm(path)
        path.tick(40)
        assert [each.incident.service for each in path.notifications if each.transition == "updated"] == ["bad"]

    @pytest.mark.parametrize("order", sorted(set(permutations(["error", "critical", "warning", "error"]))))
    def test_order_does_not_matter(self, order: tuple[str, ...]) -> None:
        """However openings of one severity interleave: one first page, and the update names the same."""
        path = Path(control(PAGE, tenant()))
        path.push("trigger", "root", "critical", service="root")
        for number, severity in enumerate(order):
            path.push("trigger", "down", severity, service=f"{severity}{number}")
        path.tick(60)
        assert [change for change, *_ in heard(path)] == ["triggered", "updated"]
        assert {each.service for each in path.notifications[-1].related} == {
            each.service for each in path.incidents.values() if each.service != "root"
        }


class TestReach:
    """Whoever would have heard of a member hears of the storm."""

    def owned(self, *names: str, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
        """Services that each tell a team of their own."""
        return [(f"service/default/{name}", {"id": name, "destinations": [f"team-{name}"], **fields}) for name in names]

    def test_each_destination_hears_once(self) -> None:
        """Teams of other services are told of the lead, and that it is a storm; of its end as well."""
        names = [f"s{number}" for number in range(6)]
        path = Path(control(tenant(), *self.owned(*names)))
        storm(path, 6)
        path.push("trigger", "again", service="s3")
        path.tick(40)
        first = [each for each in path.notifications if each.transition == "triggered"]
        assert sorted(each.destination for each in first) == [f"team-{name}" for name in names]
        assert {each.incident.service for each in first} == {"s0"}
        assert all(each.note.startswith("a storm: ") for each in first[1:])
        path.push("resolve", "down", service="s0")
        ended = [each.destination for each in path.notifications if each.transition == "resolved"]
        assert sorted(ended) == [f"team-{name}" for name in names]

    def test_a_lead_in_quiet_hours_hides_nothing(self) -> None:
        """Where the lead would not be told, the member is."""
        quiet = [{"zone": "UTC", "hours": "00:00-24:00", "destinations": ["team-s1"]}]
        path = Path(control(tenant(), *self.owned("s1"), *self.owned("s0", quiet_hours=quiet), PAGE))
        storm(path, 6)
        path.tick(40)
        assert ("triggered", "s1", "team-s1") in heard(path)

    def test_a_group_that_a_calendar_mutes_is_not_told_of_the_lead(self) -> None:
        """Its destination hears of the lead for a member whose route is not muted."""
        always = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
        routes = [
            {"id": "night", "match": ['service="s0"'], "destinations": ["team"], "mute_calendars": ["always"]},
            {"id": "rest", "match": ['service=~"s[1-9]"'], "destinations": ["team"]},
        ]
        path = Path(
            control(
                tenant(),
                ("calendar/default/always", {"id": "always", "zone": "UTC", "hours": always}),
                ("service/default/s0", {"id": "s0", "destinations": ["own"]}),
                *((f"route/default/{each['id']}", each) for each in routes),
            )
        )
        storm(path, 6)
        path.tick(20)
        assert heard(path) == [("triggered", "s0", "own"), ("triggered", "s0", "team")]

    def test_what_is_urgent_is_not_hidden_by_what_is_not(self) -> None:
        """It is told, and leads from then on."""
        path = Path(control(PAGE, tenant()))
        storm(path, 6, "warning")
        path.tick(35)
        path.push("trigger", "down", "critical", service="bad")
        path.push("trigger", "down", "critical", service="bad-too")
        path.tick(40)
        assert [service for change, service, _ in heard(path) if change == "triggered"] == ["s0", "bad"]
        assert [each.incident.service for each in path.notifications if each.transition == "updated"][-1] == "bad"

    def test_an_escalation_is_hidden_only_by_one_that_escalates(self) -> None:
        """A service with a policy pages its people though another one leads, and then leads itself."""
        path = Path(control(PAGE, tenant(), *people()))
        storm(path, 6)
        path.push("trigger", "down", service="web")
        path.tick(40)
        pages = [(service, where) for change, service, where in heard(path) if change == "triggered"]
        assert pages == [("s0", "ops"), ("web", "ops"), ("web", "ada-phone")]
        path.push("trigger", "slow", service="web")
        path.tick(1)
        assert len([each for each in heard(path) if each[0] == "triggered"]) == 3
        path.tick(300)
        assert ("triggered", "web", "bob-phone") in heard(path)

    def test_a_member_is_no_cause(self) -> None:
        """An incident upstream of which nobody is told by itself is not the reason to hide one downstream."""
        path = Path(control(PAGE, tenant(), ("service/default/web", {"id": "web", "depends_on": ["db"]})))
        storm(path, 6)
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.tick(60)
        lead = uuid_text(of(path, "s0").incident_id)
        assert {each.error for each in path.deliveries} == {f"storm/{lead}"}


class TestEnd:
    """When the rate has fallen, what is still open is told."""

    def test_one_is_told_for_all(self) -> None:
        """In time, without a next event; the update names the others."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.push("trigger", "worst", "critical", service="s7")
        path.tick(OVER_S - 10)
        before = len(path.notifications)
        path.tick(12)
        assert heard(path)[before:] == [("triggered", "s7", "ops")]
        assert path.notifications[-1].note == "the storm is over; incidents of it that are still open: 20"
        path.tick(40)
        assert heard(path)[before + 1 :] == [("updated", "s7", "ops")]
        assert len(path.notifications[-1].related) + path.notifications[-1].more == 19

    def test_what_is_over_is_not_told(self) -> None:
        """Members that ended meanwhile are told to nobody, and nothing is left."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.tick(10)
        for number in range(20):
            path.push("resolve", "down", service=f"s{number}")
        path.tick(600)
        assert told(path) == [("triggered", "ops"), ("resolved", "ops")]
        assert not list(path.dispatch_state.items())

    def test_each_destination_hears_once(self) -> None:
        """Also of what is left."""
        teams = [
            (f"service/default/s{number}", {"id": f"s{number}", "destinations": [f"team-{number % 3}"]})
            for number in range(20)
        ]
        path = Path(control(tenant(), *teams))
        storm(path)
        path.tick(OVER_S - 5)
        before = len(path.notifications)
        path.tick(10)
        assert sorted(where for _, _, where in heard(path)[before:]) == ["team-0", "team-1", "team-2"]
        assert {change for change, *_ in heard(path)[before:]} == {"triggered"}

    def test_what_opens_afterwards_is_told_by_itself(self) -> None:
        """The storm is over: the next opening is an incident like any other."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.tick(OVER_S + 60)
        path.push("trigger", "new", service="later")
        path.tick(31)
        assert ("triggered", "later", "ops") in heard(path)

    def test_the_setting_is_removed(self) -> None:
        """What it hid is told within seconds."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.tick(40)
        before = len(path.notifications)
        path.control.apply("tenant/default", b'{"id": "default"}')
        path.tick(11)
        assert [change for change, *_ in heard(path)[before:]] == ["triggered"]

    def test_hysteresis(self) -> None:
        """One opening now and then, below the rate at which it begins, makes it go on."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        for number in range(20):
            path.tick(25)
            path.push("trigger", f"one-more-{number}", service="s1")
        assert {service for change, service, _ in heard(path) if change == "triggered"} == {"s0"}


class TestLead:
    """A lead that people do not see absorbs nobody."""

    @pytest.mark.parametrize("how", ["resolved", "silenced", "resolved by a person"])
    def test_another_one_takes_over(self, how: str) -> None:
        """The worst of the members is told for the others: after a silence in seconds, after an end in a minute."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.push("trigger", "worst", "critical", service="s7")
        path.tick(40)
        before = len(path.notifications)
        if how == "resolved":
            path.push("resolve", "down", service="s0")
        elif how == "silenced":
            name, fields = silence(0, 3600, 'service="s0"')
            path.control.apply(name, json.dumps(fields).encode())
        else:
            path.command(CommandAction.RESOLVE, of(path, "s0"))
        path.tick(61 if how.startswith("resolved") else 11)
        first = [each for each in heard(path)[before:] if each[0] == "triggered"]
        assert first == [("triggered", "s7", "ops")]
        lead = uuid_text(of(path, "s7").incident_id)
        reasons = [each.error for each in path.deliveries if each.transition == "triggered"]
        assert reasons.count(f"storm/{lead}") == 19

    def test_one_that_was_told_already_takes_over_silently(self) -> None:
        """What people know of leads next: they are not paged again."""
        path = Path(control(PAGE, tenant(wait=0)))
        storm(path)
        path.tick(40)
        path.push("resolve", "down", service="s0")
        path.tick(20)
        assert [service for change, service, _ in heard(path) if change == "triggered"] == ["s0", "s1", "s2", "s3"]

    def test_an_acknowledged_one_leads_on(self) -> None:
        """Somebody has it."""
        path = Path(control(PAGE, tenant()))
        storm(path)
        path.tick(2)
        path.command(CommandAction.ACKNOWLEDGE, of(path, "s0"))
        path.push("trigger", "more", service="s9")
        path.tick(40)
        assert [change for change, *_ in heard(path)] == ["triggered", "acknowledged", "updated"]


class TestMany:
    """A storm of thousands."""

    def test_the_entry_stays_small_and_the_rest_costs_nothing(self) -> None:
        """What the storm keeps of itself is bounded, and members are not looked at while it lasts."""
        path = Path(control(PAGE, tenant(quiet=600)))
        for number in range(1500):
            path.push("trigger", f"k{number}", service=f"s{number}")
        (entry,) = (value for key, value in path.dispatch_state.items() if tenant_storms.is_storm(key))
        assert len(entry) < 40 * tenant_storms.MAX_RECENT
        path.tick(40)
        news = path.notifications[-1]
        assert news.note.startswith("a storm: 1500 incidents opened, services: 500 or more;")
        assert (len(news.related), news.more) == (MAX_RELATED, 1499 - MAX_RELATED)
        counting = _Counting(dispatch_table.due, path.dispatch_state)
        path.dispatch_state = counting
        path.tick(100)
        assert counting.puts <= 12
        for number in range(1500):
            path.push("resolve", f"k{number}", service=f"s{number}")
        path.tick(900)
        assert not list(path.dispatch_state.items())

    def test_the_end_tells_in_slices(self) -> None:
        """No timer gives more than two outputs, and people hear of one incident."""
        path = Path(control(PAGE, tenant()))
        for number in range(500):
            path.push("trigger", f"k{number}", service=f"s{number}")
        path.tick(100)
        before, state, dispatch = len(path.notifications), path.dispatch_state, Dispatch(path.control)
        path.now += 1000 * (OVER_S - 95)
        fired: list[list[Output]] = []
        while due := state.fired(path.now):
            fired += [list(dispatch.on_due(state, [each], path.now)) for each in due]
        assert max(map(len, fired)) <= 2
        assert len(fired) > 498
        for outputs in fired:
            path.emit(outputs)
        assert [change for change, *_ in heard(path)[before:]] == ["triggered"]
        assert effects.total(dispatch_table.Table(state), digest("default")) == 498


#: Services with teams of their own, one with an escalation, one in quiet hours for its own team, two that depend.
TEAMS = [
    *(each for each in people() if not each[0].startswith("service/")),
    *(
        (f"service/default/{name}", {"id": name, "destinations": [f"team-{name}"], **fields})
        for name, fields in {
            "a": {},
            "b": {"quiet_hours": [{"zone": "UTC", "hours": "00:00-24:00", "destinations": ["team-a"]}]},
            "c": {"escalation": "crew"},
            "d": {"depends_on": ["a"]},
        }.items()
    ),
    ("route/default/main", {"id": "main", "match": ['service=~"[ad]"'], "destinations": ["team-route"]}),
]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["trigger", "trigger", "trigger", "resolve", "silence", "unsilence"]),
        st.sampled_from("abcd"),
        st.sampled_from(["k0", "k1"]),
        st.sampled_from(["warning", "error", "critical"]),
        st.sampled_from([0, 1, 20, 90]),
    ),
    min_size=3,
    max_size=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_nobody_is_left_out(actions: list[tuple[str, str, str, str, int]]) -> None:
    """Whatever opened, ended, and was silenced: in the end each team knows of what is open, or of what leads it."""
    path = Path(control(*TEAMS, tenant(above=3, wait=10, quiet=30)))
    for action, service, key, severity, pause in actions:
        if action == "silence":
            name, fields = silence(0, 100_000, f'service="{service}"')
            path.control.apply(name, json.dumps(fields).encode())
        elif action == "unsilence":
            path.control.apply("silence/default/quiet", None)
        else:
            path.push(action, key, severity, service=service)
        path.tick(pause)
    path.control.apply("silence/default/quiet", None)
    path.tick(400)
    known = {(each.incident.incident_id, each.destination) for each in path.notifications}
    standing = {each.incident_id: each for each in path.incidents.values() if each.status != Status.RESOLVED}
    for incident in standing.values():
        rows = [each.error for each in path.deliveries if each.incident_id == incident.incident_id]
        why, _, other = rows[-1].partition("/") if rows else ("", "", "")
        above = uuid.UUID(other).bytes if why in {"storm", "cause"} else b""
        stands_for = {incident.incident_id, *({above} & standing.keys())}
        teams = {destination for each, destination in known if each in stands_for}
        assert f"team-{incident.service}" in teams or (why == "cause" and teams), (incident.service, rows)


def test_all_services_of_the_tenant_are_one_domain() -> None:
    """Also those that depend on each other, or are named; without the setting these are apart."""
    services = [
        Service(id="web", depends_on=("db",)),
        Service(id="db"),
        Service(id="mail", domain="office"),
        Service(id="web", tenant="other", depends_on=("db",)),
    ]
    counted = [Tenant.model_validate(tenant()[1]), Tenant(id="other")]
    names = ("web", "db", "mail", "unknown")
    assert {Reach(counted, services).domain("default", name) for name in names} == {"default/"}
    assert len({Reach([Tenant(id="default")], services).domain("default", name) for name in names}) == 3
    assert Reach(counted, services).domain("other", "web") == "other/db"


def test_inhibitions_may_name_any_services() -> None:
    """They are one domain: `apply` refuses an inhibition across two domains only without the setting."""
    text = """
        services: [{id: web, depends_on: [db]}, {id: db}, {id: mail}]
        inhibitions: [{id: i, source: ['service="web"'], target: ['service="mail"']}]
        tenants: [{id: default, storm: {above: 20}}]
    """
    document.check(document.load(text), {})
    with pytest.raises(document.ConfigurationError, match=r"inhibitions\.0\.target"):
        document.check(document.load(text.replace(", storm: {above: 20}", "")), {})


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ("above: 5, below: 5", r"tenants\.0\.storm"),
        ("above: 1", r"tenants\.0\.storm\.above"),
        ("within: 0", r"tenants\.0\.storm\.within"),
        ("wait: 601", r"tenants\.0\.storm\.wait"),
        ("often: 3", r"tenants\.0\.storm\.often"),
    ],
)
def test_wrong_numbers_are_refused(wrong: str, path: str) -> None:
    """`apply` names the field."""
    with pytest.raises(document.ConfigurationError, match=path):
        document.check(document.load(f"tenants: [{{id: default, storm: {{{wrong}}}}}]"), {})


def test_a_restart_changes_nothing() -> None:
    """A stage made anew over the same table, at any second, tells the same."""
    whole, restarted = (Path(control(PAGE, tenant())) for _ in range(2))
    for path in (whole, restarted):
        storm(path)
        for second in range(300):
            if path is restarted:
                path.restart()
            if second == 50:
                path.push("resolve", "down", service="s0")
            path.tick(1)
    one, other = (
        [(str(each.transition), each.incident.service, each.queued_at) for each in path.notifications]
        for path in (whole, restarted)
    )
    assert [each for each in one if each[1] == "s0"] == [each for each in other if each[1] == "s0"]
    assert [(change, at) for change, _, at in one] == [(change, at) for change, _, at in other]


class _Counting(TableState):
    """A table that counts what is written."""

    def __init__(self, due: Any, other: TableState) -> None:
        super().__init__(due)
        for key, value in other.items():
            super().put(key, value, due(value))
        self.puts = 0

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Count it."""
        self.puts += 1
        super().put(key, value, due)
