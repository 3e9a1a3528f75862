"""What other systems decide wrongly, and what is right: docs/peers.md has the list, with the tests of other files.

Each docstring names who is wrong, then what happens there.
"""

import msgspec

from schemas.wire.command import CommandAction
from schemas.wire.incident import Status
from tests.stages.path import Path, control
from tests.stages.test_dispatch import PAGE, at, kept, people, silence, told

TREE = ("route/default/main", {"id": "main", "destinations": ["ops"], "group_wait": 30, "group_interval": 300})


class TestKeep:
    """What Keep does."""

    def test_the_same_alert_many_times_at_once(self) -> None:
        """Keep (5354): of 64 equal requests at once 18 become alerts, and one fails half-way."""
        path = Path(control(PAGE))
        for _ in range(64):
            path.push("trigger", "cpu")
        assert (len(path.incidents), told(path)) == (1, [("triggered", "ops")])
        path.tick(400)
        assert path.incident.alert_count == 64

    def test_duplicates_in_one_request(self) -> None:
        """Keep: ten equal alerts in one request are ten."""
        alert = {"status": "firing", "labels": {"alertname": "Disk", "pod": "a"}}
        path = Path(control(PAGE))
        path.request("prometheus", {"status": "firing", "alerts": [alert] * 10})
        assert (len(path.incidents), len(path.notifications)) == (1, 1)
        assert sorted(path.outcomes) == ["deduplicated"] * 9 + ["opened"]

    def test_one_rule_one_incident(self) -> None:
        """Keep: a rule without grouping makes three incidents of 600 alerts; the largest has 581 of them."""
        path = Path(control(PAGE, ("service/default/web", {"id": "web", "correlation": {"group_by": ["service"]}})))
        for number in range(600):
            path.push("trigger", f"k{number}", "critical")
        assert (len(path.incidents), path.incident.member_count) == (1, 600)

    def test_somebody_is_told_of_each_or_a_row_says_why_not(self) -> None:
        """Keep (6531, 6075): some alerts that match a workflow run none, and nothing says so."""
        path = Path(control(PAGE, TREE, silence(0, 10_000, 'dedup_key=~"k[13]"')))
        for number in range(50):
            path.push("trigger", f"k{number}", ("error", "critical")[number % 2])
        path.tick(60)
        named = {other.incident_id for each in path.notifications for other in each.related}
        heard = named | {each.incident.incident_id for each in path.notifications}
        grouped = sum(each.more for each in path.notifications)
        silent = {each.incident_id for each in path.deliveries}
        assert silent == {each.incident_id for each in path.incidents.values() if each.dedup_key in {"k1", "k3"}}
        assert len(heard) + grouped >= 48

    def test_every_alert_is_enriched(self) -> None:
        """Keep (5241): with several workers about 80 % of the alerts are enriched."""
        table = {"id": "owners", "key": "service", "rows": {"web": {"team": "shop"}}}
        rule = {"id": "own", "enrich": ["owners"]}
        path = Path(control(PAGE, ("lookup/default/owners", table), ("rule/default/own", rule)))
        for number in range(200):
            path.push("trigger", f"k{number}")
        assert {each.labels.get("team") for each in path.incidents.values()} == {"shop"}

    def test_the_same_alert_is_told_once(self) -> None:
        """Keep (5251): one alert is notified again and again."""
        path = Path(control(PAGE))
        for _ in range(50):
            path.push("trigger", "cpu")
            path.tick(60)
        assert told(path) == [("triggered", "ops")]

    def test_a_resolved_incident_takes_no_alert(self) -> None:
        """Keep (2481, 5196): a resolved incident accepts alerts, and nobody sees them."""
        path = Path(control(PAGE))
        path.push("trigger", "cpu")
        path.command(CommandAction.RESOLVE, path.incident)
        path.push("trigger", "cpu", "critical")
        first, second = path.incidents.values()
        assert (first.status, first.alert_count, second.status) == (Status.RESOLVED, 1, Status.OPEN)
        assert told(path) == [("triggered", "ops"), ("resolved", "ops"), ("triggered", "ops")]

    def test_maintenance_keeps_the_state(self) -> None:
        """Keep (5257, 5321): alerts in maintenance lose their state, and nobody says what is still broken."""
        window = {"starts_at": at(-60), "ends_at": at(300), "author": "a", "reason": "r"}
        path = Path(control(PAGE, ("maintenance/default/m", {"id": "m", "services": ["web"], **window})))
        for key in ("cpu", "disk"):
            path.push("trigger", key)
        path.push("resolve", "disk")
        assert [each.status for each in path.incidents.values()] == [Status.OPEN, Status.RESOLVED]
        path.tick(299)
        assert told(path) == []
        path.tick(1)
        assert [each.incident.dedup_key for each in path.notifications] == ["cpu"]

    def test_alerts_of_another_service_do_not_join(self) -> None:
        """Keep (6701): the update of an application's incident adds alerts of all services."""
        group = {"correlation": {"group_by": ["service"]}}
        services = [(f"service/default/{name}", {"id": name, **group}) for name in ("web", "db")]
        path = Path(control(PAGE, *services))
        for service in ("web", "db", "web"):
            path.push("trigger", f"k{len(path.outcomes)}", service=service)
        assert {(each.service, each.member_count) for each in path.incidents.values()} == {("web", 2), ("db", 1)}


class TestAlertmanager:
    """What Alertmanager does."""

    def test_a_message_has_what_changed(self) -> None:
        """Alertmanager: each flush sends the whole group again, 7 to 10 times what came in."""
        path = Path(control(TREE))
        for number in range(300):
            path.push("trigger", f"k{number}")
        path.tick(31)
        path.push("trigger", "last")
        path.tick(400)
        assert len(path.notifications) <= 4
        assert path.notifications[-1].incident.dedup_key == "last"

    def test_a_changed_configuration_tells_nothing_again(self) -> None:
        """Alertmanager (627, 2417): a reload sends again what was told, or loses what waits."""
        path = Path(control(TREE))
        path.push("trigger", "cpu")
        path.push("trigger", "disk")
        path.tick(10)
        branch = {"match": ['service="other"'], "destinations": ["elsewhere"]}
        path.control.apply(TREE[0], msgspec.json.encode({**TREE[1], "routes": [branch]}))
        path.restart()
        path.tick(60)
        assert told(path) == [("triggered", "ops"), ("triggered", "ops")]
        assert [each.incident.dedup_key for each in path.notifications] == ["cpu", "disk"]

    def test_what_was_told_before_a_crash_is_not_told_again(self) -> None:
        """Alertmanager: after kill -9 the same alerts, sent again, are all notified again."""
        path = Path(control(PAGE))
        for number in range(100):
            path.push("trigger", f"k{number}")
        path.restart()
        for number in range(100):
            path.push("trigger", f"k{number}")
        path.tick(400)
        assert len(path.notifications) == len(path.incidents) == 100

    def test_the_first_message_of_a_new_alert_does_not_wait(self) -> None:
        """Alertmanager: waits `group_wait`, unless the alert says that it is old."""
        path = Path(control(TREE))
        path.push("trigger", "cpu")
        assert told(path) == [("triggered", "ops")]


class TestOnCall:
    """What on-call tools do."""

    def test_a_resolve_reaches_what_fires(self) -> None:
        """OnCall (5359), GoAlert (3094): the key of an alert is not passed on, so it fires for ever."""
        path = Path(control(PAGE))
        for key in ("a", "b"):
            path.push("trigger", key)
        path.push("resolve", "a")
        assert [each.status for each in path.incidents.values()] == [Status.RESOLVED, Status.OPEN]

    def test_groups_are_not_made_again(self) -> None:
        """OnCall (4998, 5091): groups are made again while one is open, and one key has two."""
        path = Path(control(PAGE, ("service/default/web", {"id": "web", "correlation": {"group_by": ["service"]}})))
        for number in range(30):
            path.push("trigger", f"k{number % 3}")
            path.push("resolve", f"k{(number + 1) % 3}")
            path.restart()
            live = [each for each in path.incidents.values() if each.status != Status.RESOLVED]
            assert len(live) == 1

    def test_a_silence_of_one_thing(self) -> None:
        """OnCall (1919, 2951): an integration is silenced as a whole, and not for a time to come."""
        path = Path(control(PAGE, silence(60, 300, 'dedup_key="cpu"')))
        path.push("trigger", "cpu", service="early")
        path.tick(61)
        for key in ("cpu", "disk"):
            path.push("trigger", key)
        assert [each.incident.dedup_key for each in path.notifications] == ["cpu", "disk"]
        assert [reason for _, _, reason in kept(path)] == ["silence/quiet"]

    def test_a_person_resolves_what_fires(self) -> None:
        """OnCall (5392): nobody can resolve an alert that fires."""
        path = Path(control(*people()))
        path.push("trigger", "cpu")
        path.command(CommandAction.RESOLVE, path.incident)
        path.tick(3600)
        assert path.incident.status == Status.RESOLVED
        assert told(path) == [("triggered", "ada-phone"), ("resolved", "ada-phone")]

    def test_repeats_do_not_end_a_silence(self) -> None:
        """Dispatch (4134, 4012, 3504): a duplicate of what is snoozed is told as new."""
        path = Path(control(PAGE, silence(0, 300)))
        for _ in range(10):
            path.push("trigger", "cpu")
            path.tick(20)
        assert told(path) == []
        path.tick(101)
        assert told(path) == [("triggered", "ops")]
        assert path.incident.alert_count == 10
