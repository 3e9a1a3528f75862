"""`stormweir route-test`, `explain` and `replay`: their options, and what they print."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import _configured, explain, incidents, replay, route_test
from streams.control.document import ConfigurationError
from streams.control.state import Control
from streams.history import queries
from streams.history.replayed import text
from streams.process.errors import OperatorError
from tests.history.test_explain import TIMELINE, alert
from tests.stages.path import control

FILE = """
services: [{id: web, escalation: climb}]
destinations: [{id: pager, type: webhook, url: "https://example.com/a"}]
escalations: [{id: climb, steps: [{destinations: [pager]}]}]
"""
EVENT = UUID("0198c0de-0123-7456-89ab-cdef01234567")
INCIDENT = UUID("11111111-2222-3333-4444-555555555555")


def run(command: Callable[..., None], *words: str) -> str:
    """What a command prints; what it raises is raised."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration."""
    path = tmp_path / "stormweir.yaml"
    path.write_text(FILE)
    return str(path)


def test_an_alert_from_fields_and_from_a_file(file: str, tmp_path: Path) -> None:
    """Fields go over the file's; what is not given has a default; JSON has seconds."""
    sample = tmp_path / "sample.json"
    sample.write_text('{"service": "other", "labels": {"env": "prod"}, "severity": "info"}')
    words = ("-f", file, "--alert", str(sample), "--field", "service=web", "--field", "labels.a.b=\x1b[1m=")
    printed = run(route_test.command, *words).splitlines()
    assert printed == ["opened: web route-test, info; no rule matches", "+0:00:00  pager is told that it opened"]
    found = json.loads(run(route_test.command, *words, "--hours", "0", "--json"))
    assert found["messages"] == [
        {"after": 0.0, "transition": "triggered", "destination": "pager", "reason": None, "mentions": []}
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--field", "severity=error"), "the alert: Object missing required field `service`"),
        (("--field", "service"), "--field: 'service' is not NAME=VALUE"),
        (("--alert", "gone.json"), "gone.json: "),
        (("--field", "service=web", "--at", "soon"), "--at: a time is needed"),
    ],
)
def test_a_wrong_alert_is_refused(file: str, words: tuple[str, ...], reason: str) -> None:
    """The field, the file or the option is named."""
    with pytest.raises(OperatorError, match=reason):
        run(route_test.command, "-f", file, *words)


def test_the_configuration_on_kafka_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file."""
    monkeypatch.setattr(_configured, "current", lambda: control(("service/default/web", {"id": "web"})))
    assert run(route_test.command, "--field", "service=web").splitlines()[1] == "nobody is told within 24 h"


def test_a_file_alone_and_a_file_that_is_applied(tmp_path: Path, file: str) -> None:
    """Alone it must be whole; applied, other records stay, and --prune deletes as `apply` does."""
    part = tmp_path / "part.yaml"
    part.write_text("services: [{id: db, destinations: [pager]}]")
    with pytest.raises(ConfigurationError, match=r"services.0.destinations.0: no destination 'pager'"):
        _configured.alone(part)
    with pytest.raises(OperatorError, match="cannot be read"):
        _configured.alone(tmp_path / "gone")
    today = _configured.alone(Path(file))
    assert set(_configured.applied(part, today, prune=False).services) == {("default", "web"), ("default", "db")}
    pruned = _configured.applied(part, today, prune=True)
    assert (set(pruned.services), set(today.services)) == ({("default", "db")}, {("default", "web")})
    assert set(pruned.destinations) == {("default", "pager")}


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Rows by query, which commands read."""
    rows: dict[str, list[dict[str, Any]]] = {}

    async def query(sql: str, _: Mapping[str, object]) -> list[dict[str, Any]]:
        return rows.get(sql, [])

    monkeypatch.setattr(incidents, "asked", lambda work: asyncio.run(work(query)))
    return rows


def test_an_incident_is_explained(history: dict[str, list[dict[str, Any]]]) -> None:
    """Its alerts and its timeline, in order of time, and at last who was told."""
    row = {"incident_id": INCIDENT, "opened_at": datetime(2026, 11, 26, 12, tzinfo=UTC), "service": "web"}
    history[queries.INCIDENTS_BY_ID] = [row | {"severity": "critical", "title": "Disk\x1b full"}]
    history[queries.ALERTS_OF_INCIDENT] = [alert(incident_id=INCIDENT)]
    history[queries.TIMELINE] = TIMELINE
    lines = run(explain.command, str(INCIDENT)[:8]).splitlines()
    assert lines[0] == f"incident {INCIDENT} web critical Disk? full"
    assert lines[1].endswith("12:00:00.000+00:00  An alert came from events_v2 (5f0c2a...): web, key disk/1.")
    assert lines[-1].endswith("Told: mail.")
    found = json.loads(run(explain.command, str(INCIDENT), "--json"))
    assert (found["kind"], len(found["sentences"])) == ("incident", len(lines) - 1)


def test_a_repeat_is_explained_by_the_alert_that_was_first(history: dict[str, list[dict[str, Any]]]) -> None:
    """It has no incident of its own: the one of its key is told of."""
    repeat = alert(
        event_id=EVENT, outcome="deduplicated", incident_id=UUID(int=0), fingerprint=EVENT, summary="s", rule=""
    )
    history[queries.ALERTS_BY_ID] = [repeat]
    history[queries.MEMBER_BEFORE] = [alert(event_id=INCIDENT, incident_id=INCIDENT)]
    history[queries.TIMELINE] = TIMELINE
    printed = run(explain.command, str(EVENT))
    assert f"The alert {INCIDENT} of the same key was the first. It opened the incident {INCIDENT}." in printed
    assert printed.rstrip().endswith("Told: mail.")
    history[queries.ALERTS_BY_ID] = [
        alert(outcome="suppressed", incident_id=UUID(int=0), fingerprint=EVENT, summary="s")
    ]
    assert run(explain.command, str(EVENT)).rstrip().endswith("it is stored, and nobody is told of it.")


def test_an_unknown_and_an_ambiguous_id(history: dict[str, list[dict[str, Any]]]) -> None:
    """Each is said."""
    with pytest.raises(OperatorError, match="no alert and no incident 0198c0de"):
        run(explain.command, "0198C0DE")
    with pytest.raises(OperatorError, match="8 to 36 characters"):
        run(explain.command, "0198")
    history[queries.ALERTS_BY_ID] = [{"event_id": EVENT}, {"event_id": INCIDENT}]
    with pytest.raises(OperatorError, match=f"is ambiguous: {EVENT}, {INCIDENT}"):
        run(explain.command, "0198c0de")


def test_a_window_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is named before anything is read."""
    monkeypatch.setattr(_configured, "current", lambda: Control())
    with pytest.raises(OperatorError, match="--to: is not after --from"):
        run(replay.command, "--from", "1h", "--to", "2h")
    with pytest.raises(OperatorError, match="--from: so long ago"):
        run(replay.command, "--from", "yesterday")
    with pytest.raises(OperatorError, match="--late: a duration is needed"):
        run(replay.command, "--from", "1h", "--late", "soon")


def test_a_report_in_words() -> None:
    """Figures of both configurations side by side, then what changes."""
    figures = {
        "alerts": {"opened": 1_000},
        "carried_over": 3,
        "undecided": 1,
        "incidents": 1_000,
        "incidents_told": 2,
        "pages": 3,
        "messages": 4,
        "noise_ratio": 0.5,
        "seconds_to_first_page": {"p50": 0.0, "p95": None},
        "by_destination": {"pager": 3},
        "by_person": {"ada": {"pages": 3, "at_night": 1}},
        "rules": {"page": {"alerts": 2, "suppressed": 0}},
        "kept_from_people": {"quiet_hours": 2},
    }
    new = {**figures, "by_destination": {}, "by_person": {}, "rules": {}, "kept_from_people": {"silence/x": 1}}
    change = {
        "keys": {"both": 1, "only_old": 2, "only_new": 0, "neither": 0},
        "missed": 1,
        "late": 0,
        "late_after_seconds": 300,
        "hidden_by": {"silence/x": 2},
        "worst": [{"incident_id": "i", "severity": "error", "service": "web", "title": "t", "trail": ["a", "b"]}],
    }
    record = {"equal": True, "alerts": 1_000}
    report = {"from": "f", "to": "t", "warm_up_from": "w", "tenant": "default", "record": record, "hash": "h"}
    assert list(text({**report, "today": figures, "new": new, "change": change})) == [
        "f to t, tenant default; warm-up from w",
        "3 alerts go on with what began before the warm-up: left out",
        "1 alerts at the end wait for what comes later: not compared",
        "today's configuration decides all 1,000 alerts and first messages as recorded",
        "",
        f"{'':<40}{'today':>12}{'new':>12}",
        f"{'incidents':<40}{'1,000':>12}{'1,000':>12}",
        f"{'incidents told':<40}{2:>12}{2:>12}",
        f"{'pages':<40}{3:>12}{3:>12}",
        f"{'messages':<40}{4:>12}{4:>12}",
        f"{'noise ratio':<40}{0.5:>12}{0.5:>12}",
        f"{'first page, s, p50':<40}{'0.0':>12}{'0.0':>12}",
        f"{'first page, s, p95':<40}{'-':>12}{'-':>12}",
        f"{'alerts opened':<40}{'1,000':>12}{'1,000':>12}",
        f"{'pages to pager':<40}{3:>12}{0:>12}",
        f"{'kept by quiet_hours':<40}{2:>12}{0:>12}",
        f"{'kept by silence/x':<40}{0:>12}{1:>12}",
        f"{'pages of ada':<40}{3:>12}{0:>12}",
        f"{'at night, pages of ada':<40}{1:>12}{0:>12}",
        f"{'matched by rule page':<40}{2:>12}{0:>12}",
        f"{'suppressed by rule page':<40}{0:>12}{0:>12}",
        "",
        "keys told: 1 both, 2 only today, 0 only new",
        "acted on by a person then: 1 missed, 0 told more than 300 s later",
        "hidden by silence/x: 2 keys",
        "",
        "i  error  web  t",
        "  a",
        "  b",
        "",
        "hash h",
    ]
