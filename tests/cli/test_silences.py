"""`stormweir silences` and `maintenance`: what they write and show, and what a preview counts."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from schemas.control import Maintenance, Service, Silence, control_key, dump
from streams.cli import _periods, incidents, maintenance, silences
from streams.cli._when import instant, length
from streams.control.state import Control
from streams.control.write import Change
from streams.history.preview import preview, sentence
from streams.process.errors import OperatorError
from tests.policy.test_recurrence import ms

NOW = ms("2026-11-26T12:00")
DAY_MS = 86_400_000


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    """A configuration in memory that commands read and write."""
    control = Control()

    def transact(plan: Callable[[Control], tuple[Any, Change]]) -> Any:
        result, change = plan(control)
        for record in change.records:
            assert control.apply(control_key(record), dump(record)) is None
        for key in change.deletes:
            assert control.apply(key, None) is None
        return result

    assert control.apply("service/default/web", dump(Service(id="web"))) is None
    monkeypatch.setattr(_periods, "transact", transact)
    return control


def run(commands: typer.Typer, *words: str) -> str:
    """What a command prints; what it raises is raised."""
    done = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_silence_from_its_beginning_to_its_end(control: Control) -> None:
    """Added, listed as active, ended, listed only with `--all`."""
    told = run(silences.commands, "add", "--match", 'service="web"', "--match", 'env="a"', "--for", "2h",
               "--reason", "new\x1b[31m switch", "--by", "ada")  # fmt: skip
    name = told.split()[0]
    record = control.every(Silence)["default", name]
    assert record.match == ('service="web"', 'env="a"')
    assert record.ends_at - record.starts_at == timedelta(hours=2)
    assert abs(record.starts_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (record.author, record.reason) == ("ada", "new\x1b[31m switch")
    listed = run(silences.commands, "list").splitlines()
    assert listed[1].split()[:2] == [name, "active"]
    assert "new?[31m switch" in listed[1]
    (row,) = json.loads(run(silences.commands, "list", "--json"))
    assert (row["state"], row["match"], row["author"]) == ("active", 'service="web", env="a"', "ada")
    assert run(silences.commands, "list", "--tenant", "acme").count("\n") == 1
    # It began within this second, or a moment ago: then it is deleted or ended.
    assert run(silences.commands, "end", name).startswith(f"{name}  ")
    assert json.loads(run(silences.commands, "list", "--json")) == []


def test_who_acts_is_the_user_unless_said(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for commands on incidents."""
    monkeypatch.setattr(_periods, "getuser", lambda: "grace")
    run(silences.commands, "add", "--match", 'service="web"', "--for", "1d", "--reason", "r", "--json")
    (record,) = control.every(Silence).values()
    assert record.author == "cli:grace"


def test_a_planned_maintenance(control: Control) -> None:
    """Several services would be possible; before it begins, to end it deletes it."""
    start = ("--from", "2199-01-01T22:00+01:00")
    told = run(maintenance.commands, "start", "web", "--for", "90m", "--reason", "r", *start, "--json")
    shown = json.loads(told)
    assert (shown["services"], shown["starts_at"]) == (["web"], "2199-01-01T22:00:00+01:00")
    (row,) = json.loads(run(maintenance.commands, "list", "--json"))
    assert (row["state"], row["ends_at"]) == ("planned", "2199-01-01T22:30:00+00:00")
    assert "deleted, it had not begun" in run(maintenance.commands, "end", shown["id"])
    assert not control.every(Maintenance)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--match", 'severity="info"', "--for", "2h", "--reason", "r"], "may hide every incident"),
        (["--match", "severity", "--for", "2h", "--reason", "r"], "needs one of"),
        (["--match", 'service="web"', "--for", "2h", "--reason", " "], "reason: "),
        (["--match", 'service="web"', "--for", "2h", "--reason", "r", "--by", ""], "author: "),
        (["--match", 'service="web"', "--for", "0h", "--reason", "r"], "--for: a duration is needed"),
        (["--match", 'service="web"', "--for", "9999d", "--reason", "r"], "longer than 1830 days"),
        (["--match", 'service="web"', "--for", "2h", "--reason", "r", "--from", "noon"], "--from: a time is needed"),
    ],
)
def test_a_bad_silence_is_refused(control: Control, words: list[str], told: str) -> None:
    """And nothing is written."""
    with pytest.raises(OperatorError, match=told):
        run(silences.commands, "add", *words)
    assert not control.every(Silence)


def test_a_silence_that_may_hide_everything(control: Control) -> None:
    """Is possible if it is said."""
    run(silences.commands, "add", "--match", 'severity="info"', "--for", "2h", "--reason", "r", "--everything")
    assert len(control.every(Silence)) == 1


def test_a_long_silence_is_warned_of(control: Control) -> None:
    """On the standard error, and written."""
    done = CliRunner().invoke(
        silences.commands, ["add", "--match", 'service="web"', "--for", "91d", "--reason", "r"], catch_exceptions=False
    )
    assert "is more than 90 days after starts_at" in done.stderr
    assert len(control.every(Silence)) == 1


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    """In four units."""
    assert length("--for", text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0s", "2", "h", "-2h", "2h30m", "2 h", "1w", "99999999d"])
def test_what_is_no_duration(text: str) -> None:
    """Is refused with the option's name."""
    with pytest.raises(OperatorError, match="--for: a duration is needed"):
        length("--for", text)


def test_a_time_without_a_zone_is_utc() -> None:
    """As elsewhere on the command line."""
    assert instant("--from", "2026-11-26T13:00") == datetime(2026, 11, 26, 13, tzinfo=UTC)


def row(number: int, opened_at: int, status: str = "resolved", **changes: Any) -> dict[str, Any]:
    """A row of `INCIDENTS_SINCE`."""
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    return {
        "incident_id": uuid.UUID(int=number),
        "version": 1,
        "status": status,
        "severity": "error",
        "urgency": "high",
        "service": "web",
        "title": "Disk full",
        "dedup_key": "disk/1",
        "correlation_key": uuid.UUID(int=number),
        "opened_at": datetime.fromtimestamp(opened_at / 1000, UTC),
        "acknowledged_at": zero,
        "resolved_at": zero,
        "last_alert_at": zero,
        "alert_count": 1,
        "repeat_count": 0,
        "member_count": 1,
        "labels": {"env": "a"},
        "source": "",
    } | changes


SINCE = NOW - 30 * DAY_MS


def test_a_preview_counts_open_incidents_and_those_of_a_day() -> None:
    """An open incident from before the days is hidden, and is not one of theirs."""
    rows = [
        row(1, NOW - 60 * DAY_MS, "open"),
        row(2, NOW - DAY_MS, "acknowledged"),
        row(3, NOW - DAY_MS, "open", service="db"),
        *(row(10 + number, NOW - 5 * DAY_MS) for number in range(59)),
        row(99, NOW - DAY_MS, labels={}),
    ]
    found = preview(rows, ['service="web"', 'env="a"'], SINCE, NOW, 1000)
    assert [each["incident_id"].int for each in found.open] == [1, 2]
    assert found.rate == (2.0, 30.0)
    assert (
        sentence(len(found.open), found.rate)
        == "hides these 2 open incidents and about 2.0 a day (of the last 30 days)"
    )


def test_a_preview_of_a_status_counts_incidents_as_they_opened() -> None:
    """All that opened were open once; of those that are open now, what they are counts."""
    rows = [row(1, NOW - DAY_MS, "acknowledged"), row(2, NOW - DAY_MS, "open"), row(3, NOW - DAY_MS)]
    found = preview(rows, ['service="web"', 'status="open"'], NOW - 3 * DAY_MS, NOW, 1000)
    assert [each["incident_id"].int for each in found.open] == [2]
    assert sentence(len(found.open), found.rate) == "hides this open incident and about 1.0 a day (of the last 3 days)"


def test_a_preview_of_more_than_it_reads_counts_fewer_days() -> None:
    """The rate stays right: 400 of the last two days are 200 a day."""
    rows = [row(number, NOW - 2 * DAY_MS + number * 100_000) for number in range(400)]
    found = preview(rows, ['service="web"'], SINCE, NOW, 400)
    assert found.rate == (200.0, 2.0)
    assert sentence(len(found.open), found.rate) == "hides no open incident and about 200 a day (of the last 2 days)"
    rows = [row(number, NOW - 2 * DAY_MS + number * 100_000, "open") for number in range(400)]
    assert preview(rows, ['service="web"'], SINCE, NOW, 400).rate.a_day == 200.0
    none = preview([], ['service="web"'], SINCE, NOW, 400)
    assert sentence(0, none.rate).startswith("hides no open incident and about 0.0")


def test_the_command_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks ClickHouse with parameters only, and lists what is hidden, at most 50 lines."""
    asked: list[dict[str, Any]] = []
    now = int(datetime.now(UTC).timestamp() * 1000)

    def query(sql: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(params)
        assert "x'; DROP" not in sql
        return [row(number, now - DAY_MS, "open", title="a\x1bb") for number in range(60)]

    monkeypatch.setattr(incidents, "query", query)
    told = run(silences.commands, "preview", "--match", 'service="web"', "--tenant", "x'; DROP").splitlines()
    assert told[0] == "hides these 60 open incidents and about 2.0 a day (of the last 30 days)"
    assert told[-1] == "and 10 more; --json shows all"
    assert len(told) == 1 + 1 + 1 + 50 + 1
    assert "a?b" in told[3]
    assert asked[0]["tenant"] == "x'; DROP"
    shown = json.loads(run(silences.commands, "preview", "--match", 'service="web"', "--json"))
    assert (len(shown["open"]), shown["a_day"], shown["days"]) == (60, 2.0, 30.0)
    with pytest.raises(OperatorError, match=r"--match: .* needs one of"):
        run(silences.commands, "preview", "--match", "web")
