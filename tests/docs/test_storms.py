"""docs/storms.md: its snippets apply, its table is the model, and incidents do what the page says."""

import shlex
from typing import Any

import pytest
import yaml

from schemas.control.storm import Storm
from schemas.wire.incident import Status
from streams.cli import incidents
from streams.control import document
from streams.stages.storms import MAX_RECENT
from tests.docs.page import blocks, codes, read, section, table
from tests.docs.test_configuration import _default
from tests.stages.path import Path, control

PAGE = read("docs/storms.md")


def _whole() -> dict[str, Any]:
    """The snippets as one file."""
    parts: dict[str, Any] = {}
    for block in blocks(PAGE, "yaml"):
        for name, entries in yaml.safe_load(block).items():
            parts.setdefault(name, []).extend(entries)
    return parts


def _path() -> Path:
    """The stages with the page's file, and a destination of everything."""
    records = [(f"service/default/{each['id']}", each) for each in _whole()["services"]]
    return Path(
        control(*records, ("tenant/default", _whole()["tenants"][0]), ("rule/default/a", {"id": "a", "route": ["ops"]}))
    )


def test_the_snippets_are_valid() -> None:
    """They pass every check of `stormweir apply`; the unknown and the cycle that it is told to refuse do not."""
    document.check(document.load(yaml.safe_dump(_whole())), {})
    for wrong in ("gone", "shop"):
        changed = yaml.safe_dump(_whole()).replace("- id: core-switch", f"- depends_on: [{wrong}]\n  id: core-switch")
        assert wrong in changed
        with pytest.raises(document.ConfigurationError, match=r"depends_on"):
            document.check(document.load(changed), {})


def test_the_table_is_the_model() -> None:
    """Fields in order, with their defaults."""
    rows = [(codes(row[0])[0], row[1]) for row in table(section(PAGE, "Storms"))]
    assert rows == [(name, _default(field)) for name, field in Storm.model_fields.items()]
    assert f"the newest {MAX_RECENT}" in PAGE


def test_the_commands_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their arguments are what the command line takes."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(incidents, "_command", lambda *args, **more: asked.append((*args, more)))
    for line in blocks(PAGE, "bash")[0].splitlines():
        program, group, *words = shlex.split(line)
        assert (program, group) == ("stormweir", "incidents")
        incidents.commands(words, standalone_mode=False)
    merge, split = asked
    assert merge[:3] == ("merge", "0198c0de", "the same switch")
    assert merge[-1]["into"] == "0198beef"
    assert split[:3] == ("split", "0198beef", "the disk of web-17")
    assert list(split[-1]["keys"]) == ["web-17", "web-18"]


def test_a_source_is_one_incident() -> None:
    """Grouping: equal sources, 300 s apart at most."""
    path = _path()
    for key, source in [("a", "one"), ("b", "one"), ("c", "two")]:
        path.push("trigger", key, service="network", source=source)
        path.tick(150)
    assert [each.member_count for each in path.incidents.values()] == [2, 1]
    path.tick(151)
    path.push("trigger", "d", service="network", source="one")
    assert len(path.incidents) == 3


@pytest.mark.parametrize(("seconds", "count"), [(600, 1), (601, 2)])
def test_a_report_is_the_same_within_ten_minutes(seconds: int, count: int) -> None:
    """Reopening: to the second."""
    path = _path()
    path.push("trigger", "late", service="reports")
    path.push("resolve", "late", service="reports")
    path.tick(seconds)
    path.push("trigger", "late", service="reports")
    assert len(path.incidents) == count
    assert ("reopened" in {event.kind for event in path.events}) == (count == 1)


def test_fifty_openings_are_a_storm() -> None:
    """Storms: 49 are not; the fiftieth makes them one, which is paged once, and it ends by itself."""
    path = _path()
    for n in range(50):
        assert not any(each.dedup_key == "storm/switches" for each in path.incidents.values())
        path.push("trigger", f"port-{n}", service="switches")
        path.now += 10
    (storm,) = [each for each in path.incidents.values() if each.status is Status.OPEN]
    assert storm.title.startswith("Storm of switches: ")
    assert storm.labels == {"stormweir.storm": "true"}
    assert storm.member_count == 50
    assert [each.transition for each in path.notifications] == ["triggered", "escalated"]
    for n in range(50):
        path.push("resolve", f"port-{n}", service="switches")
    assert path.incidents[storm.incident_id].status is Status.OPEN
    path.tick(60 + 120 + 1)
    assert path.incidents[storm.incident_id].status is Status.RESOLVED


def test_a_storm_of_a_tenant_is_told_as_one() -> None:
    """Storms of a tenant: 49 are not; with the fiftieth one is told for all, and one for what is left 180 s later."""
    limits = next(each for each in _whole()["tenants"] if each["id"] == "shops")["storm"]
    counted = ("tenant/default", {"id": "default", "storm": limits})
    few, path = (Path(control(counted, ("rule/default/a", {"id": "a", "route": ["ops"]}))) for _ in range(2))
    for number in range(50):
        path.push("trigger", "down", "critical" if number == 7 else "error", service=f"shop-{number}")
        if number < 49:
            few.push("trigger", "down", service=f"shop-{number}")
    few.tick(31)
    assert len(few.notifications) == 49
    path.tick(60 + 120 + 1)
    assert [(each.transition, each.incident.service) for each in path.notifications] == [
        ("triggered", "shop-0"),
        ("updated", "shop-0"),
        ("triggered", "shop-7"),
    ]
    assert path.notifications[1].note.startswith("a storm: 50 incidents opened, services: 50;")
    assert path.notifications[2].note == "the storm is over; incidents of it that are still open: 49"


def test_the_cause_is_told() -> None:
    """Topology: the shop waits 15 s; the switch is its cause, also if it comes later, and only it is told."""
    path = _path()
    path.push("trigger", "slow", service="shop")
    path.tick(10)
    path.push("trigger", "down", service="core-switch")
    path.tick(60)
    told = [(each.transition, each.incident.service) for each in path.notifications]
    assert told == [("triggered", "core-switch"), ("updated", "core-switch")]
    assert {each.error.partition("/")[0] for each in path.deliveries} == {"cause"}
    path.push("resolve", "down", service="core-switch")
    path.tick(80)
    assert ("triggered", "shop") in [(each.transition, each.incident.service) for each in path.notifications]
