"""docs/senders.md and docs/not-arriving.md: their code runs, their questions are answered."""

import json

import pytest

from tests.docs.conftest import Reader
from tests.docs.page import blocks, read

SENDERS = read("docs/senders.md")
NOT_ARRIVING = read("docs/not-arriving.md")

pytestmark = pytest.mark.stack


def test_the_sender_of_the_page_sends(reader: Reader) -> None:
    """Contract C78: its trigger and resolve are stored, what can never be stored is given up at once."""
    made = json.loads(
        reader.bash(
            "stormweir integrations create -t events_v2 -s senders-page --create-service -n 'senders page' --json"
        )
    )
    [code] = blocks(SENDERS, "python")
    shown = code.partition('KEY = "')[2].partition('"')[0]
    # A key is known within a second; until then the page's sender would give up, as it should.
    wait = f"until {made['test_request']} > /dev/null 2>&1; do sleep 0.1; done"
    reader.bash(wait)
    told = reader.python(code.replace(shown, made["key"]))
    assert "event_action" in told
    reader.wait_for("SELECT groupUniqArray(action) = ['trigger', 'resolve'] OR length(groupUniqArray(action)) = 2 "
                    "FROM alerts WHERE service = 'senders-page' AND dedup_key = 'db-1/disk'", "1")  # fmt: skip


def test_a_waiting_sender_obeys_the_limit(reader: Reader) -> None:
    """Contract C76, C78: over the limit it waits as long as it is told, and then everything is stored."""
    made = json.loads(
        reader.bash(
            "stormweir integrations create -t events_v2 -s senders-limit --create-service -n 'senders limit' "
            "--rate-limit 60 --json"
        )
    )
    [code] = blocks(SENDERS, "python")
    shown = code.partition('KEY = "')[2].partition('"')[0]
    reader.bash(f"until {made['test_request']} > /dev/null 2>&1; do sleep 0.1; done")
    definitions = code.partition("event = ")[0].replace(shown, made["key"])
    reader.python(
        definitions
        + 'payload = {"summary": "Disk full", "source": "db-1"}\n'
        + 'event = {"event_action": "trigger", "dedup_key": "limit", "payload": payload}\n'
        + "assert all(send(event) for _ in range(62))\n"
    )
    reader.wait_for("SELECT count() FROM alerts WHERE service = 'senders-limit' AND dedup_key = 'limit'", "62")
    reader.wait_for(
        "SELECT sum(rejections.count) > 0 FROM rejections WHERE reason = 'rate_limited' "
        f"AND startsWith(integration, '{made['key'][:6]}')",
        "1",
    )


def test_what_to_look_for_can_be_found(reader: Reader) -> None:
    """Contract C121: every question and command of docs/not-arriving.md is answered."""
    for command in blocks(NOT_ARRIVING, "bash"):
        reader.bash(command)
    for query in blocks(NOT_ARRIVING, "sql"):
        reader.sql(query)
