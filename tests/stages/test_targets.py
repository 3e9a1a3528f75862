"""Targets: whom a miss is told, and that they stand still in maintenance."""

import json
from typing import Any

from tests.stages.path import Path, control
from tests.stages.test_dispatch import at, kept, people, silence, told

TARGET = {"severities": ["error"], "acknowledge_within": 300}
TREE = ("route/default/main", {"id": "main", "destinations": ["ops"]})


def web(**fields: Any) -> tuple[str, dict[str, Any]]:
    """A service whose incidents are to be acknowledged within 5 minutes."""
    return "service/default/web", {"id": "web", "sla": [TARGET], **fields}


def maintenance(begin: float, end: float) -> tuple[str, dict[str, Any]]:
    """Maintenance of the service between two seconds after the start."""
    fields = {"id": "move", "services": ["web"], "author": "eve", "reason": "a test"}
    return "maintenance/default/move", {**fields, "starts_at": at(begin), "ends_at": at(end)}


def breaches(path: Path) -> list[str]:
    """Who was told of a missed target."""
    return [destination for change, destination in told(path) if change == "sla_breach"]


class TestWho:
    """Who is told that a target is missed."""

    def test_the_members_of_a_group_are(self) -> None:
        """A route's destinations know of the incident by their group."""
        path = Path(control(web(), TREE))
        path.push("trigger", "cpu")
        path.tick(300)
        assert breaches(path) == ["ops"]

    def test_if_nobody_was_told_those_who_would_be_are(self) -> None:
        """An inhibition keeps the incident from people, and still it must be handled in time."""
        inhibition = {"id": "i", "source": ['dedup_key="down"'], "target": ['dedup_key="slow"'], "equal": ["service"]}
        for tell in ([TREE], [("rule/default/all", {"id": "all", "route": ["ops"]})]):
            path = Path(control(web(), *tell, ("inhibition/default/i", inhibition)))
            path.push("trigger", "down", "critical")
            path.push("trigger", "slow")
            path.tick(301)
            assert [(each.incident.dedup_key, each.destination) for each in path.notifications][1:] == [("slow", "ops")]

    def test_the_first_step_is_if_nobody_was_paged(self) -> None:
        """An escalation that an inhibition holds back."""
        inhibition = {"id": "i", "source": ['dedup_key="down"'], "target": ['dedup_key="slow"'], "equal": ["service"]}
        crew = [each for each in people() if not each[0].startswith("service/")]
        path = Path(control(web(escalation="crew"), *crew, ("inhibition/default/i", inhibition)))
        path.push("trigger", "down", "critical")
        path.push("trigger", "slow")
        path.tick(300)
        assert breaches(path) == ["ada-phone"]

    def test_a_silence_keeps_it_from_people(self) -> None:
        """The miss is a row with the reason."""
        path = Path(control(web(), TREE, silence(0, 3000)))
        path.push("trigger", "cpu")
        path.tick(310)
        assert told(path) == []
        assert kept(path)[-1] == ("sla_breach", "ops", "silence/quiet")


class TestMaintenance:
    """The clocks of a service stand still while people work on it."""

    def test_that_begins_later(self) -> None:
        """Two minutes before it, an hour of it, three minutes after it."""
        path = Path(control(web(), TREE, maintenance(120, 3720)))
        path.push("trigger", "cpu")
        path.tick(3720 + 179)
        assert breaches(path) == []
        path.tick(1)
        assert breaches(path) == ["ops"]

    def test_that_is_added_and_ends_early(self) -> None:
        """What is left of the target counts from when people stopped working."""
        path = Path(control(web(), TREE))
        path.push("trigger", "cpu")
        path.tick(60)
        path.control.apply(maintenance(120, 3720)[0], json.dumps(maintenance(120, 3720)[1]).encode())
        path.tick(600)
        path.control.apply(maintenance(120, 660)[0], json.dumps(maintenance(120, 660)[1]).encode())
        path.tick(179)
        assert breaches(path) == []
        path.tick(2)
        assert breaches(path) == ["ops"]

    def test_what_opens_in_it(self) -> None:
        """It has its whole time after the end."""
        path = Path(control(web(), TREE, maintenance(0, 600)))
        path.push("trigger", "cpu")
        path.tick(899)
        assert breaches(path) == []
        path.tick(2)
        assert breaches(path) == ["ops"]

    def test_another_service_is_not_concerned(self) -> None:
        """Its clocks run."""
        other = ("service/default/db", {"id": "db", "sla": [TARGET]})
        path = Path(control(web(), other, TREE, maintenance(0, 600)))
        path.push("trigger", "cpu", service="db")
        path.tick(300)
        assert breaches(path) == ["ops"]
