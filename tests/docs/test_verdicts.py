"""docs/senders.md, "Was it a repeat?": the command is answered as shown; and incidents are there within seconds."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.docs.conftest import Reader
from tests.docs.page import blocks, read, section

SECTION = section(read("docs/senders.md"), "Was it a repeat?")

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def command(reader: Reader) -> str:
    """The command of the page, with the key of an integration that the gateway knows."""
    [shown] = blocks(SECTION, "bash")
    options = "-t events_v2 -s verdicts-page --create-service -n 'verdicts page' --rate-limit unlimited --json"
    made = json.loads(reader.bash(f"stormweir integrations create {options}"))
    reader.bash(f"until {made['test_request']} > /dev/null 2>&1; do sleep 0.1; done")
    return shown.replace("5f0c2a9d7e4b41c8a3d6f1b20e987c65", made["key"])


def test_a_waiting_request_is_answered_as_shown(reader: Reader, command: str) -> None:
    """Contract C66: the first is new, the second a repeat of its incident; both tell the same fields as the page."""
    [example] = blocks(SECTION, "json")
    shown = json.loads(example)
    first, second = json.loads(reader.bash(command)), json.loads(reader.bash(command))
    assert UUID(first["incident_id"])
    assert first == {**shown, "incident_id": first["incident_id"]}
    assert second == {**first, "deduplicated": True}


def test_an_alert_is_an_incident_within_three_seconds(reader: Reader, command: str) -> None:
    """Contract B11: from the request to the row in `incidents`, the slowest of eight."""

    def seconds(number: int) -> float:
        started = time.monotonic()
        told = json.loads(reader.bash(command.replace("db-2/disk", f"db-{number}/seconds")))
        reader.wait_for(f"SELECT count() FROM incidents FINAL WHERE incident_id = '{told['incident_id']}'", "1")
        return time.monotonic() - started

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(seconds, range(8))) <= 3
