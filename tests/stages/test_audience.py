"""Who is told of an incident, through all stages; every skip is a row that says why."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.control import dump
from schemas.wire.alert import Severity
from schemas.wire.codec import decode_notification
from schemas.wire.incident import Status
from schemas.wire.notification import Outcome
from streams.control import document
from streams.control.state import Control
from tests.docs.page import read
from tests.stages.path import Path, control

BERLIN = {"zone": "Europe/Berlin", "hours": "22:00-07:00"}
PAGE = ("rule/default/page", {"id": "page", "match": ['severity=~"critical|error"'], "route": ["ops"]})
Place = tuple[str, dict[str, Any]]


def web(**settings: object) -> Place:
    """The settings of the service that alerts are about."""
    return "service/default/web", {"id": "web", **settings}


def rule(name: str, **settings: object) -> Place:
    """A rule that matches everything unless it says more."""
    return f"rule/default/{name}", {"id": name, **settings}


def told(path: Path) -> list[tuple[str, str]]:
    """Changes and the destinations that hear of them."""
    return [(notification.transition.value, notification.destination) for notification in path.notifications]


def skips(path: Path) -> list[tuple[str, str, str]]:
    """Changes, the destinations that do not hear of them, and why."""
    assert all((row.outcome, row.attempt, row.sent_at) == (Outcome.SUPPRESSED, 0, 0) for row in path.deliveries)
    return [(row.transition.value, row.destination, row.error) for row in path.deliveries]


def lived(*records: Place) -> Path:
    """An incident's life under these settings: trigger, acknowledge, resolve."""
    path = Path(control(*records))
    for action in ("trigger", "acknowledge", "resolve"):
        path.push(action, "cpu")
        path.now += 1000
    return path


@pytest.mark.parametrize("flag", ["triggered", "acknowledged", "resolved"])
def test_a_flag_that_is_off_tells_nobody(flag: str) -> None:
    """Contract C91 to C93: the change is not told, the others are, and the row says why."""
    path = lived(PAGE, web(notify={flag: False}))
    assert told(path) == [(each, "ops") for each in ("triggered", "acknowledged", "resolved") if each != flag]
    assert skips(path) == [(flag, "ops", "flag_off")]
    assert path.incident.status == Status.RESOLVED
    assert [event.kind for event in path.events] == ["triggered", "acknowledged", "resolved"]


def test_the_flag_of_a_trigger_is_that_of_a_rise_in_severity() -> None:
    """A service that does not tell that an incident is there does not tell that it got worse."""
    path = Path(control(rule("all", route=["ops"]), web(notify={"triggered": False})))
    path.push("trigger", "cpu", "warning")
    path.push("trigger", "cpu", "critical")
    assert told(path) == []
    assert skips(path) == [("triggered", "ops", "flag_off"), ("escalated", "ops", "flag_off")]


def test_without_settings_nothing_is_skipped() -> None:
    """No row is written for who has no settings, also not for an incident that no rule routes."""
    path = lived(PAGE)
    path.push("trigger", "disk", "info")
    assert len(told(path)) == 3
    assert skips(path) == []


def test_a_service_tells_its_own_destinations_too() -> None:
    """Contract C90: each destination once, beside the rules' routes; another service has none of them."""
    path = Path(control(PAGE, web(destinations=["chat", "ops"])))
    path.push("trigger", "cpu", "critical")
    path.push("trigger", "disk", "info")
    path.push("trigger", "cpu", "info", service="db")
    assert told(path) == [("triggered", "ops"), ("triggered", "chat"), ("triggered", "chat"), ("triggered", "ops")]


def example() -> Control:
    """The example of default routes, as it is applied."""
    declared = document.load(read("examples/severity-routes.yaml"))
    document.check(declared, {})
    return control(*((key, msgspec.json.decode(dump(record))) for key, record in declared.items()))


def test_default_routes_by_severity() -> None:
    """Contract A20: critical goes to three, warning to one, info to none; all three are incidents."""
    path = Path(example())
    for severity in ("critical", "warning", "info"):
        path.push("trigger", severity, severity)
    names = {incident.incident_id: incident.title.split()[0] for incident in path.incidents.values()}
    heard = [names[notification.incident.incident_id] for notification in path.notifications]
    assert [heard.count(severity) for severity in ("critical", "warning", "info")] == [3, 1, 0]
    assert skips(path) == [("triggered", "", "severity_not_notified")]
    assert path.outcomes == ["opened"] * 3


def test_default_routes_are_for_what_nobody_else_routes() -> None:
    """A rule's routes or a service's destinations replace them; a severity that is not listed has no destination."""
    tenant = ("tenant/default", {"id": "default", "severity_routes": {"critical": ["pager"], "error": ["mail"]}})
    path = Path(control(tenant, rule("cpu", match=['dedup_key="cpu"'], route=["ops"]), web(destinations=["chat"])))
    path.push("trigger", "cpu", "critical", service="db")
    path.push("trigger", "disk", "critical", service="web")
    path.push("trigger", "fan", "critical", service="db")
    path.push("trigger", "door", "warning", service="db")
    assert told(path) == [("triggered", "ops"), ("triggered", "chat"), ("triggered", "pager")]
    assert skips(path) == [("triggered", "", "no_destination")]


def test_a_rise_in_severity_adds_the_default_routes_of_the_new_one() -> None:
    """Who is told of critical incidents hears of one that became critical."""
    routes = {"critical": ["chat", "pager"], "warning": ["chat"]}
    tenant = ("tenant/default", {"id": "default", "severity_routes": routes})
    path = Path(control(tenant))
    path.push("trigger", "cpu", "warning")
    path.push("trigger", "cpu", "critical")
    assert told(path) == [("triggered", "chat"), ("escalated", "chat"), ("triggered", "pager")]


def at(text: str) -> int:
    """An instant as milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("place", ["rule", "service"])
@pytest.mark.parametrize(
    ("utc", "quiet"),
    [
        ("2026-06-05T21:00", True),  # 23:00 in summer
        ("2026-06-06T04:59", True),  # 06:59 the morning after
        ("2026-06-06T05:00", False),
        ("2026-03-29T04:59", True),  # the night on which summer time begins
        ("2026-03-29T05:00", False),
        ("2026-10-25T05:59", True),  # the night on which it ends
        ("2026-10-25T06:00", False),
    ],
)
def test_quiet_hours(place: str, utc: str, quiet: bool) -> None:
    """Contract A12: nothing is sent, the incident and a row with the reason are there."""
    hours = {"quiet_hours": [BERLIN]}
    of_rule, of_service = (hours if place == each else {} for each in ("rule", "service"))
    path = Path(control(rule("all", route=["slack"], **of_rule), web(**of_service)))
    path.now = at(utc)
    path.push("trigger", "cpu", "error")
    assert path.incident.status == Status.OPEN
    assert path.outcomes == ["opened"]
    assert told(path) == ([] if quiet else [("triggered", "slack")])
    assert skips(path) == ([("triggered", "slack", "quiet_hours")] if quiet else [])


def test_who_never_heard_of_an_incident_does_not_hear_its_end() -> None:
    """A trigger that quiet hours kept back: the acknowledge and the resolve in the morning are skipped as well."""
    path = Path(control(rule("all", route=["slack"], quiet_hours=[BERLIN])))
    path.now = at("2026-06-06T04:59")
    path.push("trigger", "cpu", "error")
    path.now = at("2026-06-06T06:00")
    path.push("acknowledge", "cpu")
    path.push("resolve", "cpu")
    assert told(path) == []
    assert skips(path) == [
        ("triggered", "slack", "quiet_hours"), ("acknowledged", "slack", "not_told"), ("resolved", "slack", "not_told"),
    ]  # fmt: skip


def test_an_incident_that_becomes_critical_is_told_at_night() -> None:
    """From then on the destination knows of it, so it hears the end, but not within quiet hours of its own."""
    path = Path(control(rule("all", route=["slack"], quiet_hours=[BERLIN]), web(dedup_window=0)))
    path.now = at("2026-06-05T21:00")
    path.push("trigger", "cpu", "warning")
    path.push("trigger", "cpu", "error")
    path.push("trigger", "cpu", "critical")
    path.push("resolve", "cpu")
    assert told(path) == [("escalated", "slack"), ("resolved", "slack")]
    assert skips(path) == [("triggered", "slack", "quiet_hours"), ("escalated", "slack", "quiet_hours")]


def test_a_destination_is_quiet_if_every_rule_that_routes_to_it_is() -> None:
    """A rule without quiet hours makes it hear, and so does a service that names it as its own."""
    night = rule("night", route=["slack", "mail"], quiet_hours=[BERLIN | {"destinations": ["slack"]}])
    for other, hears in (
        (rule("loud", match=['service="web"'], route=["slack"]), True),
        (web(destinations=["slack"]), True),
        (rule("other", match=['service="db"'], route=["slack"]), False),
    ):
        path = Path(control(night, other))
        path.now = at("2026-06-05T21:00")
        path.push("trigger", "cpu", "error")
        assert told(path) == [("triggered", "slack")] * hears + [("triggered", "mail")], other


def test_a_later_alert_with_another_rule_makes_an_incident_heard() -> None:
    """The rules of all alerts of an incident count, so that a group is told once a loud rule matches a member."""
    always = BERLIN | {"severities": ["warning", "error", "critical"]}
    path = Path(
        control(
            rule("night", match=['severity!="critical"'], route=["slack"], quiet_hours=[always]),
            rule("loud", match=['severity="critical"'], route=["slack"]),
            web(correlation={"group_by": ["source"]}),
        )
    )
    path.now = at("2026-06-05T21:00")
    path.push("trigger", "a", "warning")
    path.push("trigger", "b", "error")
    path.push("trigger", "c", "critical")
    assert told(path) == [("escalated", "slack")]
    assert [reason for *_, reason in skips(path)] == ["quiet_hours", "quiet_hours"]


def test_mentions_and_channels_by_rule() -> None:
    """Contract A10 and A11: each rule's destination gets its own messages, with the mentions of the rules to it."""
    path = Path(
        control(
            rule("db", match=['service="db"'], route=["db-team"], mentions=["U024BE7LH", "@channel"]),
            rule("db-too", match=['service="db"'], route=["db-team"], mentions=["@channel", "S0614TZR7"]),
            rule("web", match=['service="web"'], route=["web-team"]),
        )
    )
    path.push("trigger", "cpu", service="db")
    path.push("trigger", "cpu", service="web")
    path.push("resolve", "cpu", service="db")
    path.push("resolve", "cpu", service="web")
    assert [(n.destination, n.incident.service, n.mentions) for n in path.notifications] == [
        ("db-team", "db", ("U024BE7LH", "@channel", "S0614TZR7")),
        ("web-team", "web", ()),
        ("db-team", "db", ("U024BE7LH", "@channel", "S0614TZR7")),
        ("web-team", "web", ()),
    ]


def test_what_was_written_before_these_settings_is_read() -> None:
    """Waiting notifications of an older version have no mentions."""
    path = Path(control(PAGE))
    path.push("trigger", "cpu")
    record = path.logs[topics.NOTIFICATIONS.name][0]
    shorter = msgspec.msgpack.encode(msgspec.msgpack.decode(record.value or b"")[:-1])
    assert decode_notification(shorter).mentions == ()
    assert path.incident.severity == Severity.ERROR
