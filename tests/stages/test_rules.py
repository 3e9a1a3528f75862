"""What rules do to alerts on their way through dedup and correlate."""

from typing import Any

from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from tests.stages.path import Path, control


def rules(*each: dict[str, Any], **services: dict[str, Any]) -> Path:
    """The path with these rules, in this order, and services."""
    entries: list[tuple[str, dict[str, Any]]] = [
        (f"rule/default/r{number}", {"id": f"r{number}", **fields}) for number, fields in enumerate(each)
    ]
    entries += [(f"service/default/{name}", {"id": name, **fields}) for name, fields in services.items()]
    hosts = {"id": "hosts", "key": "source", "rows": {f"host-{n}": {"rack": f"r{n % 2}"} for n in range(4)}}
    return Path(control(*entries, ("lookup/default/hosts", hosts)))


def test_a_dropped_alert_ends_with_the_id_of_its_rule() -> None:
    """It is stored as suppressed, its repeats are counted, nothing opens, and nobody is told."""
    path = rules({"route": ["ops"]}, {"match": ["source=host-1"], "drop": True})
    for _ in range(3):
        path.push("trigger", "cpu", source="host-1")
    path.push("resolve", "cpu")
    assert path.outcomes == ["suppressed"] * 4
    assert path.column("rule")[0] == "r1"
    assert not path.notifications
    path.push("trigger", "disk", source="host-2")
    assert [told.destination for told in path.notifications] == ["ops"]


def test_an_alert_that_is_moved_is_of_the_other_service() -> None:
    """Its incident, grouping and routes are; its fingerprint and the row in history are not."""
    path = rules(
        {"match": ['summary=~"db.*"'], "service": "database"},
        database={"destinations": ["dba"], "correlation": {"group_by": ["service"]}},
        web={"destinations": ["web"]},
    )
    path.push("trigger", "db-1")
    path.push("trigger", "db-2")
    assert path.outcomes == ["opened", "correlated"]
    assert path.incident.service == "database"
    assert [told.destination for told in path.notifications] == ["dba"]
    assert path.column("service") == ["web", "web"]
    path.push("resolve", "db-1")
    path.push("resolve", "db-2")
    assert path.incident.status == Status.RESOLVED


def test_a_lookup_table_gives_labels_that_alerts_are_grouped_by() -> None:
    """Alerts of hosts in one rack are one incident, in a service without grouping of its own."""
    path = rules({"enrich": ["hosts"], "group_by": ["labels.rack"]})
    for number in (0, 1, 2, 3):
        path.push("trigger", f"cpu-{number}", source=f"host-{number}")
    assert path.outcomes == ["opened", "opened", "correlated", "correlated"]
    assert {incident.labels["rack"] for incident in path.incidents.values()} == {"r0", "r1"}
    path.now += 301_000  # the default window
    path.push("trigger", "late", source="host-0")
    assert path.outcomes[-1] == "opened"


def test_a_resolve_finds_the_incident_of_a_rule() -> None:
    """The incident of a group that a rule made is resolved with its last member."""
    path = rules({"group_by": ["source"]})
    path.push("trigger", "a")
    path.push("trigger", "b")
    path.push("resolve", "b")
    assert path.incident.status == Status.OPEN
    path.push("resolve", "a")
    assert path.incident.status == Status.RESOLVED


def test_urgency_is_that_of_the_rule() -> None:
    """A rule makes a critical alert patient, counts leave it so, and a member that no rule made so ends it."""
    path = rules({"match": ['summary=~"batch.*"'], "urgency": "low"}, web={"correlation": {"group_by": ["service"]}})
    path.push("trigger", "batch-1", "critical")
    assert (path.incident.severity, path.incident.urgency) == (Severity.CRITICAL, "low")
    path.push("trigger", "batch-1", "critical")
    path.tick(60)
    assert (path.incident.repeat_count, path.incident.urgency) == (1, "low")
    path.push("trigger", "batch-2", "critical")
    assert path.incident.urgency == "low"
    path.push("trigger", "shop", "error")
    assert path.incident.urgency == "high"


def test_a_rule_may_make_a_warning_urgent() -> None:
    """And it stays so when the incident is resolved."""
    path = rules({"match": ["severity=warning"], "urgency": "high"})
    path.push("trigger", "cpu", "warning")
    assert path.incident.urgency == "high"
    path.push("resolve", "cpu")
    assert (path.incident.status, path.incident.urgency) == (Status.RESOLVED, "high")


def test_a_rule_that_cannot_be_read_leaves_the_one_before() -> None:
    """The record is refused, and the rules before still hold."""
    path = rules({"match": ["source=host-1"], "route": ["ops"]})
    assert path.control.apply("rule/default/r0", b'{"id": "r0", "match": ["source"], "route": ["chat"]}') is not None
    path.push("trigger", "cpu")
    assert [told.destination for told in path.notifications] == ["ops"]
