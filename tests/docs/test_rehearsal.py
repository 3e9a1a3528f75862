"""docs/rehearsal.md: its example prints what the page says, its tables are those of the code, its commands work."""

import json
import re
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli import build
from streams.rehearsal.report import NIGHT_FROM, NIGHT_TO, WORST
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table

PAGE = read("docs/rehearsal.md")
CONFIGURATION = blocks(PAGE, "yaml")[0]
ROUTE_TEST, EXPLAIN, REPLAY = blocks(PAGE, "bash")

SEND = """
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": "127.0.0.1:8401", "enable.idempotence": True})
for key in KEYS:
    alert = '{"service": "web", "dedup_key": "%s", "summary": "s", "labels": {"env": "prod"}}' % key
    producer.produce("alerts.events", key=key, value=alert)
assert producer.flush(30) == 0
"""


def test_route_test_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's output, to the letter."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stormweir.yaml").write_text(CONFIGURATION)
    done = CliRunner().invoke(build(), ROUTE_TEST.split()[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout == blocks(PAGE, "text")[0]


def test_every_figure_is_described() -> None:
    """The parts of a report, and its bounds."""
    listed = {code for row in table(section(PAGE, "What if: replay")) for code in codes(row[0])}
    figures = {"incidents", "incidents_told", "pages", "messages", "by_destination", "by_person", "noise_ratio"}
    figures |= {"seconds_to_first_page", "rules", "kept_from_people"}
    assert listed == figures | {"keys", "missed", "late", "hidden_by", "worst", "hash"}
    assert f"from {NIGHT_FROM}:00 to 0{NIGHT_TO}:00" in PAGE
    assert f"up to {WORST} incidents" in PAGE


@pytest.mark.stack
def test_the_commands_of_the_page_work(reader: Reader, tmp_path: Path) -> None:
    """On a running stack: a new incident is explained, and what just happened is replayed as it was."""
    file = tmp_path / "stormweir.yaml"
    file.write_text(CONFIGURATION.replace("https://example.com", "http://127.0.0.1:1"))
    # What other pages' rules and routes tell goes to destinations that do not answer: it is not on record in time.
    reader.bash("echo '{rules: [], routes: []}' | stormweir apply -f /dev/stdin --prune")
    reader.bash(f"stormweir apply -f '{file}'")
    _until_it_holds(reader)
    since = datetime.now(UTC).isoformat(timespec="milliseconds")
    _send(reader, "disk", "disk", "memory")
    reader.wait_for("SELECT count() FROM alerts WHERE service = 'web' AND dedup_key IN ('disk', 'memory')", "3")
    told = "SELECT uniqExact(incident_id) FROM deliveries WHERE destination = 'pager' AND incident_id IN"
    reader.wait_for(f"{told} (SELECT incident_id FROM incidents WHERE dedup_key IN ('disk', 'memory'))", "2")
    explained = reader.bash(EXPLAIN.replace("jq -r '.[0].incident_id'", f"python {_first_id(tmp_path)}"))
    assert "The incident opened." in explained
    assert "pager that it opened failed, it is tried again: Nothing listens at this address." in explained
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text("rules: [{id: hush, match: ['dedup_key=\"disk\"'], suppress: true}]")
    command = REPLAY.strip().replace("15m", since).replace("stormweir.yaml", f"'{quiet}'")
    report = _replayed(reader, command)
    assert report["record"]["equal"], report["record"]
    assert (report["today"]["incidents"], report["new"]["incidents"]) == (2, 1)
    assert report["change"]["hidden_by"] == {"rule/hush": 1}
    assert re.search(r"^keys told: 1 both, 1 only today, 0 only new$", reader.bash(f"{command} --warm-up 1s"), re.M)


def _send(reader: Reader, *keys: str) -> None:
    reader.python(SEND.replace("KEYS", repr(keys)))


def _replayed(reader: Reader, command: str) -> dict[str, Any]:
    """The report, once history holds every delivery of what was just sent."""
    deadline = time.monotonic() + 60
    while True:
        report: dict[str, Any] = json.loads(reader.bash(f"{command} --warm-up 1s --json || true"))
        if report["record"]["equal"]:
            return report
        assert time.monotonic() < deadline, json.dumps(report["record"])


def _until_it_holds(reader: Reader) -> None:
    """Send alerts until one of them pages somebody: then the worker has the configuration."""
    deadline = time.monotonic() + 60
    for number in count():
        assert time.monotonic() < deadline
        _send(reader, f"probe-{number}")
        reader.wait_for(f"SELECT count() FROM alerts WHERE dedup_key = 'probe-{number}'", "1")
        if reader.sql("SELECT count() FROM deliveries WHERE destination = 'pager'").strip() != "0":
            return


def _first_id(directory: Path) -> str:
    """A program that prints the id of the first incident of this page, for who has no jq."""
    program = directory / "first.py"
    found = "next(each for each in json.load(sys.stdin) if each['dedup_key'] in ('disk', 'memory'))"
    program.write_text(f"import json, sys; print({found}['incident_id'])")
    return f"'{program}'"
