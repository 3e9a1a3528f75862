"""Storms of a service, and incidents that open again."""

from typing import Any

import pytest

from schemas.wire.command import CommandAction
from schemas.wire.incident import Incident, Status
from tests.stages.path import Path, control

PAGE = ("rule/default/all", {"id": "all", "route": ["ops"]})


def service(**fields: Any) -> tuple[str, dict[str, Any]]:
    """The service `web`."""
    return "service/default/web", {"id": "web", **fields}


STORM = service(storm={"above": 5, "below": 2, "within": 60, "quiet": 120})


def told(path: Path) -> list[tuple[str, str]]:
    """What people heard, in order, and of which key."""
    return [(str(each.transition), each.incident.dedup_key) for each in path.notifications]


def storm_of(path: Path) -> Incident:
    """The incident of the only storm."""
    (found,) = [each for each in path.incidents.values() if each.dedup_key == "storm/web"]
    return found


class TestStorm:
    """What opens above the rate is one incident."""

    def burst(self, path: Path, count: int, start: int = 0) -> None:
        """So many keys open, ten a second."""
        for number in range(start, start + count):
            path.push("trigger", f"port-{number}")
            path.now += 100

    def test_one_incident_and_one_page(self) -> None:
        """The first alert is paged at once and becomes the storm; what opened after it goes on inside."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 300)
        path.tick(60)
        found = storm_of(path)
        alive = [each for each in path.incidents.values() if each.status != Status.RESOLVED]
        assert alive == [found]
        assert (found.alert_count, found.member_count) == (300, 300)
        assert told(path) == [("triggered", "port-0"), ("escalated", "storm/web")]
        assert path.notifications[0].incident.incident_id == found.incident_id
        assert {(each.transition, each.error) for each in path.deliveries} == {("resolved", "merged")}
        assert path.outcomes.count("correlated") == 296

    def test_members_keep_their_repeats_and_ends(self) -> None:
        """A member that fires again is counted in the storm, and its resolve is its own."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 10)
        path.push("trigger", "port-1", "critical")
        path.push("trigger", "port-9", "critical")
        assert storm_of(path).alert_count == 12
        path.push("resolve", "port-1")
        assert path.outcomes[-1] == "resolved"
        assert storm_of(path).status == Status.OPEN

    def test_it_ends_when_the_rate_fell_and_its_members_are_resolved(self) -> None:
        """All resolved while the rate is high: it stays, and takes more in. Quiet for long enough: it ends, once."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 10)
        for number in range(10):
            path.push("resolve", f"port-{number}")
        assert storm_of(path).status == Status.OPEN
        self.burst(path, 1, 50)
        assert storm_of(path).member_count == 11
        path.push("resolve", "port-50")
        path.tick(300)
        assert storm_of(path).status == Status.RESOLVED
        assert [event.kind for event in path.events if event.incident_id == storm_of(path).incident_id].count(
            "resolved"
        ) == 1

    def test_one_whose_members_stay_open_stays(self) -> None:
        """When the rate has fallen, nothing new joins, and the last resolve ends it."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 6)
        path.tick(600)
        path.push("trigger", "later")
        assert len([each for each in path.incidents.values() if each.status == Status.OPEN]) == 2
        for number in range(6):
            path.push("resolve", f"port-{number}")
        assert storm_of(path).status == Status.RESOLVED

    def test_below_the_rate_each_is_its_own(self) -> None:
        """Fewer than the limit: incidents of their own; the later pages wait for a storm in vain."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 4)
        assert told(path) == [("triggered", "port-0")]
        path.tick(31)
        assert told(path) == [("triggered", f"port-{number}") for number in range(4)]

    def test_a_person_may_end_it(self) -> None:
        """A storm that somebody resolved is over; what opens next while it rages is a new storm at once."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 8)
        path.command(CommandAction.RESOLVE, storm_of(path))
        self.burst(path, 1, 20)
        storms = [each for each in path.incidents.values() if each.dedup_key == "storm/web"]
        assert sorted(each.status for each in storms) == [Status.OPEN, Status.RESOLVED]

    def test_another_service_is_not_in_it(self) -> None:
        """A storm is one service's."""
        path = Path(control(PAGE, STORM))
        self.burst(path, 8)
        path.push("trigger", "disk", service="db")
        assert len([each for each in path.incidents.values() if each.status == Status.OPEN]) == 2

    def test_a_restart_keeps_it(self) -> None:
        """The rate and the storm are in the table."""
        path = Path(control(PAGE, STORM))
        for number in range(20):
            path.restart()
            self.burst(path, 1, number)
        assert storm_of(path).member_count == 20


class TestReopen:
    """An alert that comes soon after its incident was resolved opens that one again."""

    @pytest.mark.parametrize(("pause", "same"), [(599, True), (601, False)])
    def test_within_the_time_it_is_the_same(self, pause: int, same: bool) -> None:
        """Same id, next version, not acknowledged any more; later it is a new incident."""
        path = Path(control(PAGE, service(reopen=600)))
        path.push("trigger", "cpu")
        path.push("acknowledge", "cpu")
        path.push("resolve", "cpu")
        path.tick(pause)
        path.push("trigger", "cpu")
        assert len(path.incidents) == (1 if same else 2)
        if same:
            assert (path.incident.version, path.incident.status, path.incident.acknowledged_at) == (4, Status.OPEN, 0)
            assert [event.kind for event in path.events] == ["triggered", "acknowledged", "resolved", "reopened"]
        assert told(path)[-1] == ("triggered", "cpu")

    def test_its_record_is_not_deleted(self) -> None:
        """The deletion of the resolved incident is called off."""
        path = Path(control(PAGE, service(reopen=600)))
        path.push("trigger", "cpu")
        path.push("resolve", "cpu")
        path.tick(60)
        path.push("trigger", "cpu")
        assert not [key for key, _ in path.correlation_state.items() if key.startswith(b"resolved:")]

    def test_a_group_reopens_too(self) -> None:
        """Its next member makes it open again, and others join."""
        group = {"group_by": ["source"], "window": 300}
        path = Path(control(PAGE, service(reopen=600, correlation=group)))
        path.push("trigger", "cpu")
        path.push("resolve", "cpu")
        path.tick(60)
        path.push("trigger", "disk")
        path.push("trigger", "net")
        assert (path.incident.status, path.incident.member_count) == (Status.OPEN, 3)
