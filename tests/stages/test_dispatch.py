"""Who is told of an incident, and when: silences, maintenance, inhibition, escalation and targets, in the stages."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
import pytest

from schemas.fingerprint import uuid_text
from schemas.wire.command import CommandAction
from schemas.wire.incident import Status
from schemas.wire.notification import Delivery
from tests.stages.path import START, Path, control

PAGE = ("rule/default/all", {"id": "all", "route": ["ops"]})


def at(seconds: float) -> str:
    """A time after the start, as a configuration has it."""
    return datetime.fromtimestamp(START / 1000 + seconds, UTC).isoformat()


def silence(begin: float, end: float, *match: str) -> tuple[str, dict[str, Any]]:
    """A silence between two seconds after the start."""
    fields = {"match": match or ('service="web"',), "author": "ada", "reason": "a test"}
    return "silence/default/quiet", {"id": "quiet", "starts_at": at(begin), "ends_at": at(end), **fields}


def told(path: Path) -> list[tuple[str, str]]:
    """What people heard, in order."""
    return [(str(each.transition), each.destination) for each in path.notifications]


def kept(path: Path) -> list[tuple[str, str, str]]:
    """What people did not hear, and why."""
    return [(str(each.transition), each.destination, each.error) for each in path.deliveries]


class TestSilence:
    """A silence keeps beginnings from people, and nothing else."""

    def test_what_is_still_open_when_it_ends_is_told(self) -> None:
        """The incident is kept, the reason is in its timeline, and it is told once the silence is over."""
        path = Path(control(PAGE, silence(0, 300)))
        path.push("trigger", "cpu")
        path.tick(290)
        assert told(path) == []
        assert kept(path) == [("triggered", "ops", "silence/quiet")]
        path.tick(11)
        assert told(path) == [("triggered", "ops")]

    def test_what_ended_meanwhile_is_not_told(self) -> None:
        """An incident that opened and resolved in the silence is told to nobody; both rows say why."""
        path = Path(control(PAGE, silence(0, 300)))
        path.push("trigger", "cpu")
        path.tick(60)
        path.push("resolve", "cpu")
        path.tick(600)
        assert told(path) == []
        assert kept(path) == [("triggered", "ops", "silence/quiet"), ("resolved", "ops", "silence/quiet")]

    def test_the_end_of_what_was_told_is_told(self) -> None:
        """Told, silenced, resolved: the resolve goes out, or people would work on what is over."""
        path = Path(control(PAGE, silence(10, 300)))
        path.push("trigger", "cpu")
        path.tick(20)
        path.push("resolve", "cpu")
        assert told(path) == [("triggered", "ops"), ("resolved", "ops")]

    def test_a_rise_is_kept(self) -> None:
        """What was told and rises in the silence is told of that when the silence is over."""
        path = Path(control(PAGE, silence(10, 300)))
        path.push("trigger", "cpu", "warning")
        path.tick(20)
        path.push("trigger", "cpu", "critical")
        assert told(path) == [("triggered", "ops")]
        assert kept(path) == [("escalated", "ops", "silence/quiet")]
        path.tick(281)
        assert told(path) == [("triggered", "ops"), ("escalated", "ops")]

    def test_one_that_is_deleted_ends_at_once(self) -> None:
        """A changed configuration is looked at within seconds."""
        path = Path(control(PAGE, silence(0, 3000)))
        path.push("trigger", "cpu")
        path.control.apply("silence/default/quiet", None)
        path.tick(11)
        assert told(path) == [("triggered", "ops")]

    def test_it_concerns_only_what_it_matches(self) -> None:
        """Another service is told at once."""
        path = Path(control(PAGE, silence(0, 300)))
        path.push("trigger", "cpu", service="db")
        assert told(path) == [("triggered", "ops")]


class TestInhibition:
    """An open source keeps its targets from people, whichever came first."""

    RULE = (
        "inhibition/default/down",
        {
            "id": "down",
            "source": ['labels.kind="down"'],
            "target": ['labels.kind="slow"'],
            "equal": ["service"],
            "hold": 10,
        },
    )

    def push(self, path: Path, action: str, kind: str, service: str = "web") -> None:
        """One event of a key of this kind."""
        path.push(action, f"{kind}/{service}", service=service, custom_details={}, **{"class": kind})

    @pytest.mark.parametrize("delay", [-60, -1, 0, 9])
    def test_the_order_does_not_matter(self, delay: int) -> None:
        """A source up to `hold` later than its target still keeps it from people."""
        path = Path(control(PAGE, self.by_class()))
        first, second = ("slow", "down") if delay > 0 else ("down", "slow")
        self.push(path, "trigger", first)
        path.tick(abs(delay))
        self.push(path, "trigger", second)
        path.tick(120)
        assert [each.incident.dedup_key for each in path.notifications] == ["down/web"]
        assert kept(path) == [("triggered", "ops", "inhibition/down")]

    def test_a_target_without_a_source_is_told_after_its_hold(self) -> None:
        """Nobody waits longer than the declared hold."""
        path = Path(control(PAGE, self.by_class()))
        self.push(path, "trigger", "slow")
        path.tick(9)
        assert told(path) == []
        path.tick(1)
        assert told(path) == [("triggered", "ops")]

    def test_the_end_of_the_last_source_decides_again(self) -> None:
        """A target that outlives its source is told."""
        path = Path(control(PAGE, self.by_class()))
        self.push(path, "trigger", "down")
        self.push(path, "trigger", "slow")
        path.tick(60)
        self.push(path, "resolve", "down")
        path.tick(11)
        assert [each.incident.dedup_key for each in path.notifications] == ["down/web", "down/web", "slow/web"]

    def test_other_values_are_not_inhibited(self) -> None:
        """The `equal` fields must be equal."""
        path = Path(control(PAGE, self.by_class()))
        self.push(path, "trigger", "down", "db")
        self.push(path, "trigger", "slow", "web")
        path.tick(11)
        assert len(path.notifications) == 2

    def by_class(self) -> tuple[str, dict[str, Any]]:
        """The inhibition; the kinds are in the key."""
        key, fields = self.RULE
        return key, {**fields, "source": ['dedup_key=~"down/.*"'], "target": ['dedup_key=~"slow/.*"']}


def people(**policy: Any) -> list[tuple[str, dict[str, Any]]]:
    """A service whose escalation pages ada, then bob five minutes later."""
    steps = [{"users": ["ada"], "delay": 300}, {"users": ["bob"], "delay": 300}]
    return [
        ("user/default/ada", {"id": "ada", "destinations": [{"destination": "ada-phone"}], "accounts": ["cli:ada"]}),
        ("user/default/bob", {"id": "bob", "destinations": [{"destination": "bob-phone"}]}),
        ("escalation/default/crew", {"id": "crew", "steps": steps, **policy}),
        ("service/default/web", {"id": "web", "escalation": "crew"}),
    ]


class TestEscalation:
    """The next step is paged until somebody acknowledges."""

    def test_each_step_is_paged_in_its_time(self) -> None:
        """The first step at once, the second after its delay, then nobody any more."""
        path = Path(control(*people()))
        path.push("trigger", "cpu")
        assert told(path) == [("triggered", "ada-phone")]
        path.tick(299)
        assert len(told(path)) == 1
        path.tick(1)
        assert told(path)[1:] == [("triggered", "bob-phone")]
        path.tick(3600)
        assert len(told(path)) == 2

    def test_repeats_are_reminders_with_ids_of_their_own(self) -> None:
        """A policy that repeats pages the same people again, as what is still open."""
        path = Path(control(*people(repeat=1)))
        path.push("trigger", "cpu")
        path.tick(3600)
        assert told(path) == [
            ("triggered", "ada-phone"), ("triggered", "bob-phone"), ("reminder", "ada-phone"), ("reminder", "bob-phone")
        ]  # fmt: skip
        assert len({each.notification_id for each in path.notifications}) == 4
        assert [each.place for each in path.notifications] == sorted(each.place for each in path.notifications)

    @pytest.mark.parametrize("action", [CommandAction.ACKNOWLEDGE, CommandAction.RESOLVE])
    def test_a_command_stops_it(self, action: CommandAction) -> None:
        """Who acts before the next step keeps it from the others."""
        path = Path(control(*people()))
        path.push("trigger", "cpu")
        path.tick(299)
        path.command(action, path.incident)
        path.tick(3600)
        assert {destination for _, destination in told(path)} == {"ada-phone"}

    @pytest.mark.parametrize("moment", [-1, 0, 1])
    def test_resolve_beats_a_late_acknowledge(self, moment: int) -> None:
        """A millisecond before a step, at it, and after it; then nobody is paged or reminded, whoever acknowledges."""
        path = Path(control(*people(acknowledge_timeout=600, remind_after=60)))
        path.push("trigger", "cpu")
        incident = path.incident
        path.tick(299)
        path.now += 1000 + moment
        path.push("resolve", "cpu")
        path.command(CommandAction.ACKNOWLEDGE, incident)
        path.tick(3600)
        paged = [destination for change, destination in told(path) if change in {"triggered", "reminder"}]
        assert paged == (["ada-phone"] if moment < 0 else ["ada-phone", "bob-phone"])
        assert told(path)[-1][0] == "resolved"

    def test_a_forgotten_acknowledgement_ends(self) -> None:
        """After its timeout the incident is open again, and the steps begin anew."""
        path = Path(control(*people(acknowledge_timeout=600)))
        path.push("trigger", "cpu")
        path.command(CommandAction.ACKNOWLEDGE, path.incident)
        path.tick(599)
        assert path.incident.status == Status.ACKNOWLEDGED
        path.tick(2)
        assert path.incident.status == Status.OPEN
        assert [event.actor for event in path.events if event.kind == "unacknowledged"] == ["stormweir"]
        path.tick(310)
        assert ("triggered", "bob-phone") in told(path)

    def test_a_new_acknowledgement_is_not_ended_with_the_old_one(self) -> None:
        """The command that ends one names it: what somebody took over meanwhile stays theirs."""
        path = Path(control(*people(acknowledge_timeout=600)))
        path.push("trigger", "cpu")
        path.command(CommandAction.ACKNOWLEDGE, path.incident)
        path.tick(601)
        lapse = [each for each in path.logs["alerts.unique"] if dict(each.headers).get("command") is not None][-1]
        path.command(CommandAction.ACKNOWLEDGE, path.incident, by="cli:bob")
        again = msgspec.msgpack.decode(lapse.value or b"")
        again[0] = b"n" * 16  # another command, about the acknowledgement of before
        path.append("alerts.unique", msgspec.msgpack.encode(again), lapse.key, lapse.headers)
        path.run()
        assert path.incident.status == Status.ACKNOWLEDGED

    def test_maintenance_stops_it(self) -> None:
        """In maintenance nobody is paged; what is still open at its end is."""
        window = {"starts_at": at(100), "ends_at": at(1000), "author": "ada", "reason": "a test", "services": ["web"]}
        path = Path(control(*people(), ("maintenance/default/move", {"id": "move", **window})))
        path.push("trigger", "cpu")
        path.tick(990)
        assert told(path) == [("triggered", "ada-phone")]
        path.tick(20)
        assert told(path) == [("triggered", "ada-phone"), ("triggered", "bob-phone"), ("reminder", "ada-phone")]
        assert path.notifications[-1].note == "maintenance/move is over; open incidents that it hid: 1"

    def test_nobody_on_call_is_in_the_timeline(self) -> None:
        """A step that reaches nobody says so, and pages the fallback."""
        gone = ("escalation/default/crew", {"id": "crew", "steps": [{"users": ["eve"]}], "fallback": ["boss"]})
        path = Path(control(*people(), gone))
        path.push("trigger", "cpu")
        assert told(path) == [("triggered", "boss")]


class TestTargets:
    """A target that is missed is told exactly once (contract C94)."""

    def service(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        """A service whose incidents are to be acknowledged within 5 minutes."""
        target = {"severities": ["error"], "acknowledge_within": 300}
        return "service/default/web", {"id": "web", "destinations": ["ops"], "sla": [target], **fields}

    def test_one_breach_at_its_time(self) -> None:
        """No acknowledge: one message at five minutes, and no second one."""
        path = Path(control(self.service()))
        path.push("trigger", "cpu")
        path.tick(299)
        assert told(path) == [("triggered", "ops")]
        path.tick(3600)
        assert told(path) == [("triggered", "ops"), ("sla_breach", "ops")]

    def test_an_acknowledge_before_it(self) -> None:
        """Acknowledged in time: none."""
        path = Path(control(self.service()))
        path.push("trigger", "cpu")
        path.tick(200)
        path.push("acknowledge", "cpu")
        path.tick(3600)
        assert told(path) == [("triggered", "ops"), ("acknowledged", "ops")]

    def test_the_flag_is_off(self) -> None:
        """The flag `sla_breach` of the service keeps it from people, and the timeline says so."""
        path = Path(control(self.service(notify={"sla_breach": False})))
        path.push("trigger", "cpu")
        path.tick(3600)
        assert told(path) == [("triggered", "ops")]
        assert kept(path) == [("sla_breach", "ops", "flag_off")]


class TestCause:
    """An open incident upstream keeps those downstream from people: one page for the root."""

    MAP = (
        ("service/default/db", {"id": "db"}),
        ("service/default/api", {"id": "api", "depends_on": ["db"]}),
        ("service/default/web", {"id": "web", "depends_on": ["api"]}),
        ("service/default/mail", {"id": "mail"}),
    )

    def heard(self, path: Path) -> list[tuple[str, str]]:
        """What people heard, and about which service."""
        return [(str(each.transition), each.incident.service) for each in path.notifications]

    @pytest.mark.parametrize("order", [("db", "api", "web"), ("web", "api", "db"), ("api", "db", "web")])
    def test_any_order_pages_the_root_alone(self, order: tuple[str, ...]) -> None:
        """Effects may be seen before their cause; what names them is the cause."""
        path = Path(control(PAGE, *self.MAP))
        for service in order:
            path.push("trigger", "down", service=service)
            path.tick(4)
        path.tick(300)
        assert self.heard(path) == [("triggered", "db"), ("updated", "db")]
        assert {other.service for other in path.notifications[-1].related} == {"api", "web"}
        root = next(each for each in path.incidents.values() if each.service == "db")
        assert {(service_of(path, each), each.error) for each in path.deliveries} == {
            ("api", f"cause/{uuid_text(root.incident_id)}"),
            ("web", f"cause/{uuid_text(root.incident_id)}"),
        }

    def test_the_root_is_told_at_once_and_others_wait_for_it(self) -> None:
        """What depends on nothing is told at once; what does waits its hold, and is told if no cause shows."""
        path = Path(control(PAGE, *self.MAP))
        path.push("trigger", "down", service="mail")
        path.push("trigger", "down", service="web")
        assert self.heard(path) == [("triggered", "mail")]
        path.tick(14)
        assert len(path.notifications) == 1
        path.tick(1)
        assert self.heard(path) == [("triggered", "mail"), ("triggered", "web")]

    def test_what_outlives_its_cause_is_told(self) -> None:
        """The root is resolved and its effects stay open: after a while one of them is told for all."""
        path = Path(control(PAGE, *self.MAP))
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.push("trigger", "slow", service="web")
        path.tick(60)
        path.push("resolve", "down", service="db")
        path.tick(60)
        assert self.heard(path) == [("triggered", "db"), ("updated", "db"), ("resolved", "db")]
        path.tick(90)
        assert self.heard(path)[3:] == [("triggered", "web"), ("updated", "web")]

    def test_a_cause_of_long_ago_is_none(self) -> None:
        """Beyond the tenant's window two incidents have nothing to do with each other."""
        path = Path(control(PAGE, *self.MAP))
        path.push("trigger", "down", service="db")
        path.tick(301)
        path.push("trigger", "down", service="web")
        path.tick(16)
        assert self.heard(path) == [("triggered", "db"), ("triggered", "web")]

    def test_the_way_up_may_take_longer_than_the_window(self) -> None:
        """Each service fails within the window of the one that it needs: the first is the cause of all."""
        path = Path(control(PAGE, *self.MAP))
        for service in ("db", "api", "web"):
            path.push("trigger", "down", service=service)
            path.tick(250)
        triggered = [service for transition, service in self.heard(path) if transition == "triggered"]
        assert triggered == ["db"]
        (root,) = [each for each in path.incidents.values() if each.service == "db"]
        assert {each.error for each in path.deliveries} == {f"cause/{uuid_text(root.incident_id)}"}

    def test_a_service_on_the_way_may_be_silent(self) -> None:
        """The middle one has no alert: what is at the top is the cause all the same."""
        path = Path(control(PAGE, *self.MAP))
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.tick(16)
        assert self.heard(path)[0] == ("triggered", "db")
        assert ("triggered", "web") not in self.heard(path)

    LIMITS: ClassVar[dict[str, int]] = {"above": 3, "below": 1, "wait": 20}
    STORMS = (
        ("tenant/default", {"id": "default", "topology_causes": "storms", "topology_hold": 0}),
        *(
            (
                f"service/default/{name}",
                {"id": name, "depends_on": needs, "storm": {"above": 3, "below": 1, "wait": 20}},
            )
            for name, needs in (("db", []), ("api", ["db"]))
        ),
    )

    def test_where_storms_are_causes_a_single_incident_is_none(self) -> None:
        """One alert upstream holds what is downstream while it may become a storm, and hides nothing."""
        path = Path(control(PAGE, *self.STORMS))
        path.push("trigger", "slow", service="db")
        path.tick(5)
        path.push("trigger", "slow", service="api")
        path.tick(14)
        assert self.heard(path) == [("triggered", "db")]
        path.tick(2)
        assert self.heard(path) == [("triggered", "db"), ("triggered", "api")]

    def test_where_storms_are_causes_nothing_waits_for_silent_services(self) -> None:
        """No incident upstream: without a hold the page leaves at once."""
        path = Path(control(PAGE, *self.STORMS))
        path.push("trigger", "slow", service="api")
        assert self.heard(path) == [("triggered", "api")]

    def test_where_storms_are_causes_a_storm_is_one(self) -> None:
        """The storm upstream takes what is downstream, which was held for it."""
        path = Path(control(PAGE, *self.STORMS))
        path.push("trigger", "port-0", service="db")
        path.push("trigger", "down", service="api")
        for number in (1, 2):
            path.push("trigger", f"port-{number}", service="db")
        path.tick(25)
        assert self.heard(path) == [("triggered", "db"), ("escalated", "db")]
        path.tick(60)
        assert ("triggered", "api") not in self.heard(path)

    def test_a_cause_that_nobody_hears_of_hides_nothing(self) -> None:
        """If the root reaches nobody, its effects are told."""
        only = ("rule/default/all", {"id": "all", "route": ["ops"], "match": ['service="web"']})
        path = Path(control(only, *self.MAP))
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.tick(16)
        assert self.heard(path) == [("triggered", "web")]

    def cause_of(self, path: Path, service: str) -> str:
        """The service of the incident that is the cause of this service's, by the newest reason."""
        error = next(each.error for each in reversed(path.deliveries) if service_of(path, each) == service)
        by_reason = {f"cause/{uuid_text(each.incident_id)}": each.service for each in path.incidents.values()}
        return by_reason[error]

    def test_of_several_causes_the_last_before_is_it(self) -> None:
        """A failure that has been there for minutes has passed on already; the one of just now is the cause."""
        both = ("service/default/shop", {"id": "shop", "depends_on": ["db", "mail"]})
        path = Path(control(PAGE, *self.MAP, both))
        for service, seconds in (("db", 200), ("mail", 10), ("shop", 16)):
            path.push("trigger", "down", service=service)
            path.tick(seconds)
        assert self.heard(path)[:2] == [("triggered", "db"), ("triggered", "mail")]
        assert self.cause_of(path, "shop") == "mail"

    def test_a_cause_stays_while_it_is_open(self) -> None:
        """What was between a cause and its effect is over, and nobody is told of the effect for that."""
        path = Path(control(PAGE, *self.MAP))
        for service in ("db", "api", "web"):
            path.push("trigger", "down", service=service)
            path.tick(250)
        path.push("resolve", "down", service="api")
        path.tick(300)
        assert ("triggered", "web") not in self.heard(path)
        assert self.cause_of(path, "web") == "db"
        path.push("resolve", "down", service="db")
        path.tick(90)
        assert self.heard(path)[-2:] == [("resolved", "db"), ("triggered", "web")]

    def test_a_service_with_many_open_incidents_still_is_a_cause(self) -> None:
        """The newest are remembered as well as the earliest; who knows of the first one is told for all."""
        path = Path(control(PAGE, *self.MAP))
        for number in range(250):
            path.push("trigger", f"disk-{number}", service="db")
            path.tick(3)
        path.push("trigger", "down", service="web")
        path.tick(20)
        (told,) = [each.incident for each in path.notifications if each.transition == "triggered"]
        assert told.dedup_key == "disk-0"
        reasons = {each.error for each in path.deliveries if service_of(path, each) == "web"}
        assert reasons == {f"cause/{uuid_text(told.incident_id)}"}

    def test_a_dependency_that_is_taken_away_hides_nothing(self) -> None:
        """The file says that web does not need api: within seconds it is told."""
        known = control(PAGE, *self.MAP)
        path = Path(known)
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.tick(100)
        assert ("triggered", "web") not in self.heard(path)
        known.apply("service/default/web", b'{"id": "web", "depends_on": ["mail"]}')
        path.tick(100)
        assert ("triggered", "web") in self.heard(path)

    def test_a_cause_in_maintenance_hides_nothing(self) -> None:
        """Nobody is told of it, so what depends on it is told; one that people knew of before stays the cause."""
        window = {"id": "work", "author": "ada", "reason": "disks", "services": ["db"]}
        times = {"starts_at": at(0), "ends_at": at(1000)}
        path = Path(control(PAGE, *self.MAP, ("maintenance/default/work", {**window, **times})))
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="api")
        path.push("trigger", "down", service="web")
        path.tick(60)
        assert [service for transition, service in self.heard(path) if transition == "triggered"] == ["api"]
        assert self.cause_of(path, "web") == "api"

    def test_a_cause_that_is_silenced_later_stays_one(self) -> None:
        """People know of it."""
        known = control(PAGE, *self.MAP)
        path = Path(known)
        path.push("trigger", "down", service="db")
        path.push("trigger", "down", service="web")
        path.tick(20)
        key, quiet = silence(0, 1000, 'service="db"')
        assert known.apply(key, msgspec.json.encode(quiet)) is None
        path.tick(200)
        assert ("triggered", "web") not in self.heard(path)


class TestPeers:
    """Services of one domain fail together, though nobody wrote down who depends on whom."""

    STORM: ClassVar[dict[str, int]] = {"above": 3, "below": 1, "wait": 20}

    def path(self, seconds: int = 60, **more: object) -> Path:
        """Services a to c of the domain `rack`, d of another one, e of none; f of `rack` depends on g."""
        domains = {"a": "rack", "b": "rack", "c": "rack", "d": "hall", "e": None, "f": "rack", "g": "rack"}
        return Path(
            control(
                PAGE,
                ("tenant/default", {"id": "default", "topology_causes": "storms", "topology_peers": seconds, **more}),
                *(
                    (
                        f"service/default/{name}",
                        {
                            "id": name,
                            "domain": domain,
                            "storm": self.STORM,
                            "depends_on": ["g"] if name == "f" else [],
                        },
                    )
                    for name, domain in domains.items()
                ),
            )
        )

    def storm(self, path: Path, service: str) -> None:
        """A storm of the service, whose first page leaves at once."""
        for number in range(3):
            path.push("trigger", f"port-{number}", service=service)

    def triggered(self, path: Path) -> list[str]:
        """The services that people heard of."""
        return [each.incident.service for each in path.notifications if each.transition == "triggered"]

    def test_what_opens_after_a_storm_is_told_with_it(self) -> None:
        """Each within the time of the one before: the first storm is told for all of them."""
        path = self.path()
        for service in "abc":
            self.storm(path, service)
            path.tick(50)
        path.tick(300)
        assert self.triggered(path) == ["a"]
        assert {other.service for other in path.notifications[-1].related} == {"b", "c"}

    def test_others_are_told_by_themselves(self) -> None:
        """Another domain, none, and a service whose dependencies are known."""
        path = self.path()
        self.storm(path, "a")
        for service in "def":
            path.push("trigger", "down", service=service)
        path.tick(30)
        assert sorted(self.triggered(path)) == ["a", "d", "e", "f"]

    def test_later_is_by_itself(self) -> None:
        """What opens a minute after the last storm has another cause."""
        path = self.path()
        self.storm(path, "a")
        path.tick(61)
        path.push("trigger", "down", service="b")
        path.tick(30)
        assert self.triggered(path) == ["a", "b"]

    def test_a_single_incident_is_no_peer(self) -> None:
        """Without a storm nothing is hidden by a neighbour."""
        path = self.path()
        path.push("trigger", "down", service="a")
        path.push("trigger", "down", service="b")
        path.tick(30)
        assert self.triggered(path) == ["a", "b"]

    def test_off_unless_it_is_asked_for(self) -> None:
        """A domain alone hides nothing."""
        path = self.path(seconds=0)
        self.storm(path, "a")
        path.push("trigger", "down", service="b")
        path.tick(30)
        assert self.triggered(path) == ["a", "b"]

    def test_what_outlives_the_storm_is_told(self) -> None:
        """The first storm is over, the others are not: one of them is told for those."""
        path = self.path()
        self.storm(path, "a")
        path.tick(20)
        self.storm(path, "b")
        path.tick(30)
        for number in range(3):
            path.push("resolve", f"port-{number}", service="a")
        path.tick(400)
        assert self.triggered(path) == ["a", "b"]


class TestRoutes:
    """Routes put incidents into groups that share messages."""

    TREE = (
        "route/default/main",
        {
            "id": "main",
            "destinations": ["ops"],
            "group_by": ["service"],
            "group_wait": 30,
            "group_interval": 300,
            "repeat_interval": 3600,
            "routes": [{"match": ['severity="critical"'], "destinations": ["pager"]}],
        },
    )

    def shown(self, path: Path) -> list[tuple[str, str, list[str]]]:
        """What people heard: the change, the key, and what else the message names."""
        return [
            (str(each.transition), each.incident.dedup_key, [f"{other.title.split()[0]} {other.change}"
            for other in each.related]) for each in path.notifications
        ]  # fmt: skip

    def test_the_first_is_told_at_once_and_the_next_together(self) -> None:
        """The first message leaves at once, what comes after it waits and is one message."""
        path = Path(control(self.TREE))
        for key in ("cpu", "disk", "net"):
            path.push("trigger", key)
        assert self.shown(path) == [("triggered", "cpu", [])]
        path.tick(29)
        assert len(path.notifications) == 1
        path.tick(1)
        assert self.shown(path)[1:] == [("triggered", "disk", ["net new", "cpu open"])]

    def test_the_end_of_what_was_told_is_told(self) -> None:
        """Also when the incident is long over, and with its last state."""
        path = Path(control(self.TREE))
        path.push("trigger", "cpu")
        path.push("resolve", "cpu")
        path.tick(400)
        assert self.shown(path) == [("triggered", "cpu", []), ("resolved", "cpu", [])]
        assert path.notifications[-1].incident.status == Status.RESOLVED
        assert not list(path.dispatch_state.items()), "nothing is left in the table"

    def test_what_opened_and_ended_unseen_is_told_as_both(self) -> None:
        """In two messages, in order: PagerDuty opens an alert and closes it."""
        path = Path(control(self.TREE))
        for key in ("cpu", "disk"):
            path.push("trigger", key)
            path.tick(10)
            path.push("resolve", key)
            path.tick(30)
        path.tick(60)
        assert self.shown(path)[2:] == [("triggered", "disk", []), ("resolved", "disk", [])]
        first, second = (each.place for each in path.notifications[2:])
        assert first < second

    def test_what_is_kept_from_people_takes_no_other_with_it(self) -> None:
        """A service whose beginnings are not told is in no message that names another one."""
        name, tree = self.TREE
        quiet = ("service/default/db", {"id": "db", "notify": {"triggered": False}})
        path = Path(control((name, {**tree, "group_by": []}), quiet))
        path.push("trigger", "cpu", service="web")
        path.push("trigger", "slow", "error", service="db")
        path.push("trigger", "disk", "warning", service="web")
        path.tick(40)
        assert self.shown(path) == [("triggered", "cpu", []), ("triggered", "disk", ["cpu open"])]

    def test_what_stays_open_is_repeated(self) -> None:
        """After the repeat interval, not at a multiple of the group's."""
        path = Path(control(self.TREE))
        path.push("trigger", "cpu")
        path.tick(3599)
        assert len(path.notifications) == 1
        path.tick(1)
        assert self.shown(path)[1:] == [("reminder", "cpu", [])]

    def test_an_acknowledge_is_told_at_once(self) -> None:
        """What people do is no news that waits for a group."""
        path = Path(control(self.TREE))
        path.push("trigger", "cpu")
        path.command(CommandAction.ACKNOWLEDGE, path.incident)
        assert told(path) == [("triggered", "ops"), ("acknowledged", "ops")]

    def test_the_deepest_match_decides(self) -> None:
        """A critical incident goes to the pager, and nowhere else."""
        path = Path(control(self.TREE))
        path.push("trigger", "cpu", "critical")
        assert told(path) == [("triggered", "pager")]

    def test_a_silenced_incident_joins_when_the_silence_ends(self) -> None:
        """It is not in the group before, so nobody reads of it."""
        path = Path(control(self.TREE, silence(0, 300, 'dedup_key="cpu"')))
        path.push("trigger", "cpu")
        path.push("trigger", "disk")
        path.tick(200)
        assert self.shown(path) == [("triggered", "disk", [])]
        assert kept(path) == [("triggered", "ops", "silence/quiet")]
        path.tick(200)
        assert self.shown(path)[1:] == [("triggered", "cpu", ["disk open"])]


def service_of(path: Path, delivery: Delivery) -> str:
    """The service of the incident that a row is about."""
    return path.incidents[delivery.incident_id].service


def test_a_restart_changes_nothing() -> None:
    """A stage made anew over the same table, at any second, tells the same."""
    whole, restarted = (Path(control(*people(repeat=1, acknowledge_timeout=600))) for _ in range(2))
    for path in (whole, restarted):
        path.push("trigger", "cpu")
        for second in range(1200):
            if path is restarted:
                path.restart()
            if second == 100:
                path.command(CommandAction.ACKNOWLEDGE, path.incident, command_id=b"c" * 16)
            path.tick(1)
    assert told(whole) == told(restarted)
    assert [each.place for each in whole.notifications] == [each.place for each in restarted.notifications]
