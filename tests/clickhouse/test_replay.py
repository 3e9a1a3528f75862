"""A replay reads what ClickHouse has: it decides as is recorded, and says what another configuration would change."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from schemas.fingerprint import uuid_text
from schemas.topics import ALERTS_HISTORY
from schemas.wire.command import CommandAction
from schemas.wire.rows import AlertOutcome, AlertRow
from sinks.clickhouse.client import ClickHouse, ClickHouseError
from streams.cli import _configured, explain, incidents, replay
from streams.control.state import Control
from streams.history.replayed import Window, replayed, text
from streams.rehearsal.line import rows_of
from tests.clickhouse.conftest import Server
from tests.clickhouse.recording import write_history
from tests.clickhouse.samples import NOW
from tests.stages.path import Path, control

HOUR_MS = 3_600_000
START = NOW - 4 * HOUR_MS
PLACES = [("destination/default/pager", {"id": "pager", "type": "webhook", "url": "https://example.com/a"})]
TODAY: list[tuple[str, dict[str, Any]]] = [
    *PLACES,
    ("rule/default/page", {"id": "page", "match": ['severity=~"error|critical"'], "route": ["pager"]}),
    ("service/default/db", {"id": "db", "correlation": {"group_by": ["service"], "window": 600}}),
]
QUIET = ("rule/default/quiet", {"id": "quiet", "match": ['dedup_key="disk"'], "suppress": True})


def history(configured: Control) -> Path:
    """A key that fires before the window and on, one that people handle, a group, and what nobody handles."""
    path = Path(configured)
    path.now = START
    path.push("trigger", "old")
    path.tick(60)
    path.now = START + 2 * HOUR_MS
    path.push("trigger", "old")
    path.push("trigger", "disk", "critical")
    path.tick(30)
    path.push("trigger", "disk", "critical")
    disk = next(each for each in path.incidents.values() if each.dedup_key == "disk")
    path.command(CommandAction.ACKNOWLEDGE, disk, by="cli:ada")
    path.push("trigger", "a", "warning", service="db")
    path.push("trigger", "b", service="db", group="g", custom_details={"x": 1})
    path.tick(30)
    path.push("trigger", "noise")
    path.tick(400)
    path.push("resolve", "disk")
    path.push("resolve", "a", service="db")
    path.push("resolve", "nothing")
    path.push("trigger", "disk", "info")
    path.tick(20)
    return path


def window(path: Path) -> Window:
    """The last hours of the history."""
    return Window("default", START + HOUR_MS, START + 2 * HOUR_MS, path.now + 10_000, 300_000)


async def test_today_is_reproduced(clickhouse: ClickHouse) -> None:
    """Outcomes, incidents and first messages are those of the record; a key of before the warm-up is left out."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    report = await replayed(clickhouse, window(path), control(*TODAY), None)
    assert report["record"] == {
        "equal": True,
        "alerts": 9,
        "different_alerts": 0,
        "different_messages": 0,
        "differences": [],
    }
    today = report["today"]
    assert (today["carried_over"], today["undecided"], today["acts"]) == (1, 0, {"applied": 1, "not_applied": 0})
    assert (today["incidents"], today["by_destination"]) == (4, {"pager": 3})
    assert "decides all 9 alerts and first messages as recorded" in "\n".join(text(report))


async def test_a_rule_that_suppresses_shows_what_it_would_have_hidden(clickhouse: ClickHouse) -> None:
    """The incident that somebody acted on is missed, named with its trail; the same replay gives the same bytes."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    report = await replayed(clickhouse, window(path), control(*TODAY), control(*TODAY, QUIET))
    change = report["change"]
    assert change["keys"] == {"both": 3, "only_old": 1, "only_new": 0, "neither": 0}
    assert (change["missed"], change["late"], change["hidden_by"]) == (1, 0, {"rule/quiet": 1})
    assert report["new"]["rules"]["quiet"] == {"alerts": 2, "suppressed": 2}
    (worst,) = change["worst"]
    assert (worst["service"], worst["severity"], worst["acted_on"]) == ("web", "critical", True)
    assert worst["trail"][1].endswith("acknowledged by cli:ada")
    assert worst["trail"][-1] == "now nobody is told: suppressed by quiet"
    again = await replayed(clickhouse, window(path), control(*TODAY), control(*TODAY, QUIET))
    assert json.dumps(again) == json.dumps(report)
    lines = "\n".join(text(report))
    assert "keys told: 3 both, 1 only today, 0 only new" in lines
    assert "acted on by a person then: 1 missed, 0 told more than 300 s later" in lines


async def test_a_past_that_is_not_understood_stops_the_replay(clickhouse: ClickHouse) -> None:
    """The configuration was another one then: the differences are printed, the new one is not tried unless asked."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    other = control(*TODAY, QUIET)
    report = await replayed(clickhouse, window(path), other, control(*TODAY))
    assert (report["record"]["equal"], "new" in report) == (False, False)
    assert report["record"]["different_alerts"] == 4
    assert "web disk: recorded opened by page in " in report["record"]["differences"][0]
    assert "--anyway tries it" in "\n".join(text(report))
    assert "change" in await replayed(clickhouse, window(path), other, control(*TODAY), anyway=True)


async def test_a_message_that_was_recorded_otherwise_is_a_difference(clickhouse: ClickHouse) -> None:
    """Alerts end alike if only who is told has changed: then the messages tell it."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    silent = control(*TODAY, ("service/default/web", {"id": "web", "notify": {"triggered": False}}))
    report = await replayed(clickhouse, window(path), silent, None)
    record = report["record"]
    assert (record["different_alerts"], record["different_messages"]) == (0, 2)
    assert record["differences"][0].endswith("web disk: pager was told, by the replay it is not")


@pytest.mark.parametrize("action", [CommandAction.ACKNOWLEDGE, CommandAction.RESOLVE])
async def test_what_people_did_follows_the_key(clickhouse: ClickHouse, action: CommandAction) -> None:
    """Grouped otherwise, the act reaches the incident that holds the key; who resolved a part does not resolve all."""
    path = Path(control(*TODAY))
    path.now = START
    path.push("trigger", "a")
    path.push("trigger", "b")
    path.tick(10)
    path.command(action, next(each for each in path.incidents.values() if each.dedup_key == "a"))
    path.tick(10)
    await write_history(clickhouse, path)
    grouped = control(*TODAY, ("service/default/web", {"id": "web", "correlation": {"group_by": ["service"]}}))
    span = Window("default", START, START, path.now, 300_000)
    report = await replayed(clickhouse, span, control(*TODAY), grouped)
    assert report["record"]["equal"]
    applied = action is CommandAction.ACKNOWLEDGE
    assert report["new"]["acts"] == {"applied": int(applied), "not_applied": int(not applied)}
    assert report["new"]["incidents"] == 1
    assert report["change"]["keys"] == {"both": 2, "only_old": 0, "only_new": 0, "neither": 0}


async def test_explanations_come_from_what_is_recorded(
    server: Server, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an incident's id, and by the beginning of an alert's; a repeat leads to the incident of its key."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    settings = replace(server.settings, clickhouse_database=clickhouse._database)
    monkeypatch.setattr(incidents, "_settings", lambda: settings)
    disk = next(each for each in path.incidents.values() if each.dedup_key == "disk")
    told = await explained(uuid_text(disk.incident_id))
    assert told[0] == "An alert came from events_v2 (000000...): web, key disk."
    assert "cli:ada acknowledged it; escalation stops." in told
    assert "pager was told that it opened." in told
    assert told[-1] == "Told: pager."
    repeat = next(row for row in all_rows(path) if (row.dedup_key, row.outcome) == ("disk", AlertOutcome.DEDUPLICATED))
    told = await explained(uuid_text(bytes(repeat.event_id.data))[:23])
    assert "It repeated an alert that was open already: people know of it by that one." in told
    assert told[0].endswith(f"It opened the incident {uuid_text(disk.incident_id)}.")
    assert told[-1] == "Told: pager."


async def explained(which: str) -> list[str]:
    """The sentences; the command has an event loop of its own."""
    _, sentences = await asyncio.to_thread(explain._explained, which, "default")
    return [each.text for each in sentences]


def all_rows(path: Path) -> list[AlertRow]:
    """What became of every alert."""
    return [row for record in path.logs[ALERTS_HISTORY.name] for row in rows_of(record.value or b"")]


async def test_the_command_ends_with_1_if_the_record_is_not_reproduced(
    server: Server, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath
) -> None:
    """And with 0 if it is, or if that does not matter; the new configuration is what `apply` would make."""
    path = history(control(*TODAY))
    await write_history(clickhouse, path)
    for name, value in replace(server.settings, clickhouse_database=clickhouse._database).environ().items():
        monkeypatch.setenv(name, value)
    times = (datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in window(path)[2:4])
    begin, end = times
    words = ["--from", begin, "--to", end, "--config", str(tmp_path / "new.yaml")]
    (tmp_path / "new.yaml").write_text("rules: [{id: quiet, match: ['dedup_key=\"disk\"'], suppress: true}]")
    app = typer.Typer()
    app.command()(replay.command)

    async def run(today: Control, *more: str) -> tuple[int, str]:
        monkeypatch.setattr(_configured, "current", lambda: today)
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *more])
        return done.exit_code, done.stdout

    status, printed = await run(control(*TODAY))
    assert (status, "hidden by rule/quiet: 1 keys" in printed) == (0, True), printed
    status, printed = await run(control(*TODAY, QUIET))
    assert (status, "does not decide as recorded" in printed, "keys told" in printed) == (1, True, False)
    status, printed = await run(control(*TODAY, QUIET), "--anyway", "--json")
    assert (status, json.loads(printed)["change"]["keys"]["both"]) == (0, 3)


async def test_rows_come_in_blocks(clickhouse: ClickHouse) -> None:
    """All of them, in order; an error of the server is a ClickHouseError."""
    sql = "SELECT number AS n, toString(number) AS text FROM numbers({count:UInt64})"
    rows = [row async for row in clickhouse.stream(sql, {"count": 100_000})]
    assert (len(rows), rows[-1]) == (100_000, {"n": 99_999, "text": "99999"})
    assert [row async for row in clickhouse.stream(sql, {"count": 0})] == []
    with pytest.raises(ClickHouseError):
        _ = [row async for row in clickhouse.stream("SELECT nothing")]
