"""docs/commands.md: an incident from its trigger to its resolve by a person, as the page tells it."""

import json
from typing import Any

import pytest

from schemas.wire.command import MAX_ACTOR, MAX_NOTE, CommandEnd
from streams.gateway.commands import BUDGET_S
from streams.stages.commands import REMEMBERED
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table

PAGE = read("docs/commands.md")
LIST, EXAMPLES = blocks(PAGE, "bash")

SEND = """
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": "127.0.0.1:8401", "enable.idempotence": True})
alert = '{"service": "commands", "dedup_key": "KEY", "summary": "switch =cmd() is down", "action": "ACTION"}'
producer.produce("alerts.events", key="KEY", value=alert)
assert producer.flush(30) == 0
"""


def send(reader: Reader, key: str, action: str = "trigger") -> None:
    """One event of a producer in the company."""
    reader.python(SEND.replace("KEY", key).replace("ACTION", action))


def opened(reader: Reader, key: str) -> str:
    """The id of the incident that a new alert opened, once ClickHouse has it."""
    send(reader, key)
    count = f"SELECT count() FROM incidents FINAL WHERE dedup_key = '{key}'"
    reader.wait_for(count, "1")
    return reader.sql(f"SELECT incident_id FROM incidents FINAL WHERE dedup_key = '{key}'").strip()


def command(reader: Reader, *words: str) -> dict[str, Any]:
    """What a command that ends with status 0 answers."""
    answer: dict[str, Any] = json.loads(reader.bash(f"stormweir incidents {' '.join(words)} --json"))
    return answer


def timeline(reader: Reader, incident: str, lines: int) -> list[dict[str, Any]]:
    """The timeline of `show`, once it has so many lines."""
    reader.wait_for(f"SELECT count() FROM incident_events FINAL WHERE incident_id = '{incident}'", str(lines))
    found: list[dict[str, Any]] = command(reader, "show", incident)["timeline"]
    return found


def test_every_answer_is_explained() -> None:
    """The table has each end, and the bounds are those of the code."""
    told = {code for row in table(section(PAGE, "Answers")) for code in codes(row[2])}
    assert {str(end) for end in CommandEnd} <= told
    assert f"at most {MAX_ACTOR} characters, a note at most {MAX_NOTE:,}." in PAGE
    assert f"newest {REMEMBERED} commands" in PAGE
    assert f"no answer within {BUDGET_S:.0f} s" in PAGE


@pytest.mark.stack
def test_an_incident_from_its_trigger_to_its_resolve(reader: Reader) -> None:
    """Each command is answered in time with the new version, a second one is told that it is done, and the timeline
    names who did what.
    """
    incident = opened(reader, "commands/1")
    acknowledged = command(reader, "ack", incident[:13], "--as", "'ada <!channel>'", "--note", "'on it {{ 7*7 }}'")
    assert (acknowledged["end"], acknowledged["version"], acknowledged["status"]) == ("done", 2, "acknowledged")
    assert acknowledged["title"] == "switch =cmd() is down"
    assert command(reader, "ack", incident)["end"] == "already"
    assert command(reader, "unack", incident)["version"] == 3
    assert command(reader, "note", incident, "'called the vendor'")["version"] == 4
    assert command(reader, "resolve", incident)["end"] == "done"
    again = command(reader, "resolve", incident)
    assert (again["end"], again["version"], again["status"]) == ("already", 5, "resolved")
    reader.bash(f"stormweir incidents ack {incident} || test $? = 2")
    lines = timeline(reader, incident, 5)
    assert [line["kind"] for line in lines] == ["triggered", "acknowledged", "unacknowledged", "note", "resolved"]
    assert (lines[0]["actor"], lines[1]["actor"], lines[1]["note"]) == ("stream", "ada <!channel>", "on it {{ 7*7 }}")
    assert all(line["actor"].startswith("cli:") for line in lines[2:])
    assert incident not in reader.bash(LIST)
    assert incident in reader.bash("stormweir incidents list --all --limit 1000")


@pytest.mark.stack
def test_the_commands_of_the_page_work(reader: Reader) -> None:
    """With the id of an open incident, which is listed before."""
    incident = opened(reader, "commands/2")
    assert incident in reader.bash(LIST)
    shown = reader.bash(EXAMPLES.replace("0198c0de", incident[:18]))
    assert "acknowledged, version 2: switch =cmd() is down" in shown
    assert "resolved, version 5: switch =cmd() is down" in shown
    assert timeline(reader, incident, 5)[-1]["actor"] == "ada (on the phone)"


@pytest.mark.stack
def test_what_is_no_open_incident_is_status_two(reader: Reader) -> None:
    """An unknown id, too short a beginning, and an incident that its alert resolved."""
    reader.bash("stormweir incidents ack 00000000-0000 2>&1 || test $? = 2")
    reader.bash("stormweir incidents ack 0000000 2>&1 || test $? = 2")
    incident = opened(reader, "commands/3")
    send(reader, "commands/3", "resolve")
    reader.wait_for(f"SELECT toString(status) FROM incidents FINAL WHERE incident_id = '{incident}'", "resolved")
    assert command(reader, "resolve", incident)["end"] == "already"
    told = reader.bash(f"stormweir incidents note {incident} late || test $? = 2")
    assert "is not open: resolved" in told
