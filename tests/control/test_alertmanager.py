"""`stormweir import`: what an alertmanager.yml did, with amtool as the judge of routes."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from schemas.control import Calendar, Inhibition, Route
from streams.cli import build
from streams.control import document
from streams.control.alertmanager import Imported, convert
from streams.control.alertmanager.matchers import lines
from streams.policy.language import compile_incident
from streams.policy.routing import Routes
from tests.policy.test_mutes import incident

HERE = Path(__file__).parent / "alertmanager"
DEBIAN = Path("/etc/prometheus/alertmanager.yml")
EXAMPLE = Path("/usr/share/doc/prometheus-alertmanager/examples/ha/alertmanager.yml")
FILES = {path.stem: path for path in HERE.glob("*.yml")} | {"debian": DEBIAN, "ha": EXAMPLE}
#: Values that people fill in, by the field that is marked.
FILLED = {
    "password": "change-me",
    "url": "https://hooks.example.com/x",
    "routing_key": "5f0c2a9d7e4b41c8a3d6f1b20e987c65",
    "bot_token": "xoxb-your-token",
    "Authorization": "Bearer x",
    "recipients": "ops@example.com",
}
LABELS: dict[str, list[dict[str, str]]] = {
    "kubernetes": [
        {},
        {"alertname": "Watchdog"},
        {"alertname": "InfoInhibitor", "namespace": "kube-system"},
        {"namespace": "kube-system", "severity": "critical"},
        {"namespace": "monitoring", "severity": "warning"},
        {"namespace": "xkube-system", "severity": "critical"},
        {"namespace": "kube-system", "alertname": "KubeCPUOvercommit", "severity": "warning"},
        {"namespace": "kube-system", "alertname": "KubeCPUOvercommit", "severity": "critical"},
    ],
    "teams": [
        {"owner": "x"},
        {"team": "db"},
        {"team": "db", "env": "dev"},
        {"team": "db", "env": "prod", "severity": "critical"},
        {"team": "db", "instance": "db-12.eu.example"},
        {"team": "db", "instance": "db-12xeu.example"},
        {"team": "db", "instance": "db-1.eu.x", "severity": "critical", "owner": "x"},
        {"team": "web", "owner": "x"},
        {"team": "web", "severity": "error"},
        {"path": 'C:\\logs\\"old"', "drive": "C:\\x"},
        {"path": 'C:\\logs\\"old"', "drive": "C:x"},
        {"severity": "critical"},
    ],
    "legacy": [
        {},
        {"job": "blackbox"},
        {"job": "blackbox", "probe": "http"},
        {"job": "blackbox", "probe": "http", "code": "500"},
        {"job": "blackbox", "probe": "http", "code": "503"},
        {"job": "blackbox", "probe": "http", "code": "404"},
        {"job": "blackbox", "probe": "icmp"},
        {"job": "node", "severity": "critical"},
        {"job": "kubelet", "severity": "error"},
        {"job": "node", "severity": "warning"},
    ],
    "debian": [
        {},
        {"service": "foo1"},
        {"service": "foo1", "severity": "critical"},
        {"service": "foo3"},
        {"service": "files", "severity": "critical"},
        {"service": "database"},
        {"service": "database", "owner": "team-Y"},
        {"service": "database", "owner": "team-X", "severity": "critical"},
    ],
    "ha": [{}, {"alertname": "x"}],
}


def imported(name: str) -> Imported:
    """What is made of one of the files."""
    return convert(FILES[name].read_text())


def filled(made: Imported) -> dict[str, Any]:
    """The file after people filled in what is marked, and made what they were told to make."""
    text = re.sub(r"(\w+): null  # FILL IN: .*", lambda found: f"{found[1]}: {FILLED[found[1]]}", made.text)
    whole: dict[str, Any] = yaml.safe_load(text)
    made_ids = {each["id"] for each in whole.get("destinations", [])}
    missing = {name for ids in made.receivers.values() for name in ids} - made_ids
    hooks = [{"id": name, "type": "webhook", "url": "https://hooks.example.com/x"} for name in sorted(missing)]
    return {**whole, "destinations": [*whole.get("destinations", []), *hooks]}


def receivers(path: Path, labels: Mapping[str, str]) -> list[str]:
    """Whom Alertmanager's own tool says an alert goes to."""
    pairs = [f"{name}={_quoted(value)}" for name, value in labels.items()]
    done = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={path}", *pairs], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(",")


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize(("name", "labels"), [(name, each) for name, listed in LABELS.items() for each in listed])
def test_an_alert_reaches_whom_it_reached(name: str, labels: dict[str, str]) -> None:
    """The same receivers in the same order as amtool says."""
    made = imported(name)
    (route,) = (each for each in document.load(yaml.safe_dump(filled(made))).values() if isinstance(each, Route))
    leaves = Routes([route]).match(incident("shop", labels=labels))
    expected = receivers(FILES[name], labels)
    assert [leaf.destinations for leaf in leaves] == [made.receivers[each] for each in expected]


@pytest.mark.parametrize("name", FILES)
def test_what_is_made_applies_once_it_is_filled_in(name: str) -> None:
    """Every check of `apply` passes then, and before that it refuses each mark with its path."""
    made = imported(name)
    document.check(document.load(yaml.safe_dump(filled(made))), {})
    marks = made.text.count("null  # FILL IN: ")
    assert marks
    with pytest.raises(document.ConfigurationError) as refused:
        document.load(made.text)
    assert len(str(refused.value).splitlines()) >= marks


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_copied_or_shown(name: str) -> None:
    """Neither into the file nor into the report; nor are any in the file's errors."""
    made = imported(name)
    shown = "\n".join([made.text, *made.report])
    assert "CANARY" not in shown
    assert "STORMWEIR_FILL_IN" not in shown
    assert name in {"debian", "ha"} or "CANARY" in FILES[name].read_text()


def test_routes_carry_their_times_and_groups() -> None:
    """In seconds, within what routes take; calendars where their intervals could be carried over."""
    (root,) = (each for each in document.load(yaml.safe_dump(filled(imported("teams")))).values() if _is(each, Route))
    assert isinstance(root, Route)
    assert root.group_by == ("...",)
    db, chat, windows, nobody = root.routes
    assert (db.group_by, db.continue_) == (("labels.cluster", "labels.alertname"), True)
    assert db.match == ('labels.team="db"', 'labels.env!~"dev|test"')
    assert db.routes[0].repeat_interval == 1800
    assert db.routes[1].active_calendars == ("office-hours",)
    assert chat.mute_calendars == ("weekend",)
    assert nobody.active_calendars == ()
    assert nobody.match == ('labels.owner=""',)
    assert windows.match[0] == 'labels.path="C:\\\\logs\\\\\\"old\\""'
    legacy = yaml.safe_load(imported("legacy").text)["routes"][0]
    assert legacy["group_by"] == []
    assert [each.get("group_wait") for each in legacy["routes"][0]["routes"][0]["routes"]] == [None, 1, None]


def _is(record: object, model: type) -> bool:
    return isinstance(record, model)


def test_times_of_a_week_are_calendars() -> None:
    """Weekdays and hours in one zone."""
    records = document.load(yaml.safe_dump(filled(imported("teams")))).values()
    weekend, office = (each for each in records if isinstance(each, Calendar))
    assert (weekend.zone, weekend.hours.sat, weekend.hours.mon) == ("UTC", ("00:00-24:00",), ())
    assert (office.zone, office.hours.thu, office.hours.fri) == (
        "Europe/Berlin",
        ("09:00-12:00", "13:00-17:30"),
        ("09:00-15:00",),
    )


def test_inhibition_is_carried_over() -> None:
    """By labels; one without a source would hide everything, and is reported."""
    made = imported("kubernetes")
    first, second = (each for each in document.load(yaml.safe_dump(filled(made))).values() if _is(each, Inhibition))
    assert isinstance(first, Inhibition)
    assert (first.source, first.target) == (('labels.severity="critical"',), ('labels.severity=~"warning|info"',))
    assert first.equal == ("labels.namespace", "labels.alertname")
    assert "inhibit_rules.2: has no matchers" in "\n".join(made.report)
    assert second.id == "alertmanager-2"


def test_the_report_says_what_is_left() -> None:
    """What to fill in and where it was, what is lost and what people must do then, what behaves differently."""
    told = "\n".join(imported("teams").report)
    for expected in (
        "  receivers.db-pager.pagerduty_configs.0.service_key\n",
        "  receivers.chat.slack_configs.0.http_config.authorization\n",
        "  receivers.windows.webhook_configs.0.http_config.basic_auth\n",
        "  receivers.db-pager.opsgenie_configs: there is no such channel: make a destination db-pager-opsgenie,",
        "  receivers.nobody-owns-it.victorops_configs: there is no such channel: make a destination nobody-owns-it,",
        "  time_intervals.year-end: has days_of_month: what it muted is told",
        "  receivers.windows.webhook_configs.0.http_config: proxy_url: the notifier connects itself",
        "  slack_configs.channel: an incoming webhook has a channel of its own",
        "  send_resolved: false: the end of an incident is told",
    ):
        assert expected in told
    assert "  global.slack_api_url\n" in "\n".join(imported("kubernetes").report)
    assert "route.routes.0.routes.0.routes.1.repeat_interval: is 31622400 s" in "\n".join(imported("legacy").report)


def test_a_receiver_without_a_channel_is_never_silent() -> None:
    """Its routes name a destination that is not there, which `apply` refuses; a receiver for nobody stays one."""
    made = imported("legacy")
    text = re.sub(r"(\w+): null  # FILL IN: .*", lambda found: f"{found[1]}: {FILLED[found[1]]}", made.text)
    with pytest.raises(document.ConfigurationError, match="no destination 'web-pager'"):
        document.check(document.load(text), {})
    assert imported("kubernetes").receivers["null"] == ()


def test_newer_receivers() -> None:
    """Those that Debian's amtool does not know yet: Teams, by connector and by workflow."""
    made = convert(
        yaml.safe_dump(
            {
                "route": {"receiver": "teams"},
                "receivers": [
                    {
                        "name": "teams",
                        "msteams_configs": [{"webhook_url": "https://x.webhook.office.com/CANARY"}],
                        "msteamsv2_configs": [{"webhook_url_file": "/etc/teams"}],
                    }
                ],
            }
        )
    )
    assert [each["type"] for each in yaml.safe_load(made.text)["destinations"]] == ["teams", "teams"]
    assert "receivers.teams.msteamsv2_configs.0.webhook_url_file" in "\n".join(made.report)
    assert "make a workflow in Teams" in "\n".join(made.report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the file is a mapping"),
        ("receivers: []", "route: Field required"),
        ("route: {}", "route.receiver: is needed"),
        ("route: {receiver: x}", "route.receiver: no receiver 'x'"),
        ("route: {receiver: x, group_wait: soon}", "is no duration"),
        ("route: {receiver: x, matchers: ['a~b']}\nreceivers: [{name: x}]", "route: a matcher is no matcher"),
        ("route: {receiver: 'CANARY", "line 1"),
        ("route: {receiver: x, match: {a: [CANARY]}}", "valid string"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str) -> None:
    """With the path of what is wrong, and no value of it."""
    with pytest.raises(document.ConfigurationError, match=re.escape(message)) as refused:
        convert(text)
    assert "CANARY" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), other=st.text(max_size=5))
def test_any_value_of_a_label_can_be_matched(value: str, other: str) -> None:
    """Equality by both syntaxes, and the value as a regular expression: it matches that value and no other."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    literal = "".join(f"\\{each}" if each in r"\.+*?()|[]{}^$" else each for each in value)
    in_quotes = literal.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    for made in (
        lines({"a": value}, {}, []),
        lines({}, {}, [f'a="{quoted}"']),
        lines({}, {"a": literal}, ()),
        lines({}, {}, [f'{{a=~"{in_quotes}"}}']),
    ):
        matches = compile_incident(made)
        assert matches(incident(labels={"a": value}))
        assert matches(incident(labels={"a": other})) == (other == value)


def test_the_command_writes_a_file_once(tmp_path: Path) -> None:
    """With the report on its output; a file that is there is not overwritten."""
    output = tmp_path / "stormweir.yaml"
    done = CliRunner().invoke(build(), ["import", str(FILES["teams"]), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert output.read_text() == imported("teams").text
    assert "not carried over:" in done.output
    assert "CANARY" not in done.output
    again = CliRunner().invoke(build(), ["import", str(FILES["teams"]), "-o", str(output)])
    assert "cannot be written: File exists" in str(again.exception)
    gone = CliRunner().invoke(build(), ["import", str(tmp_path / "no"), "-o", str(output)])
    assert "cannot be read" in str(gone.exception)
