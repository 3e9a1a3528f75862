"""Change events from PagerDuty's route to the question that docs/analysts.md asks of them."""

import json

import pytest

from schemas.control import shown_sender
from tests.docs.conftest import Reader
from tests.docs.page import blocks, read

pytestmark = pytest.mark.stack

INCIDENT = """
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": "127.0.0.1:8401"})
alert = '{"service": "changed", "dedup_key": "changes/1", "summary": "s"}'
producer.produce("alerts.events", key="changes/1", value=alert)
assert producer.flush(30) == 0
"""


def test_a_change_explains_the_incident_after_it(reader: Reader) -> None:
    """What PagerDuty's clients post is a row with its time, details and links, before the incident of its service."""
    options = "-t change_events -s changed --create-service -n deploys --json"
    key = json.loads(reader.bash(f"stormweir integrations create {options}"))["key"]
    change = {
        "routing_key": key,
        "payload": {"summary": "changed 4.7.1 went live", "source": "deployer", "custom_details": {"build": "812"}},
        "links": [{"href": "https://example.com/builds/812", "text": "build"}],
    }
    told = reader.bash(
        "curl -sS --fail --retry 10 --retry-delay 1 --retry-all-errors http://127.0.0.1:8400/v2/change/enqueue"
        f" -d '{json.dumps(change)}'"
    )
    assert json.loads(told) == {"status": "success", "message": "Change event processed"}
    stored = "FROM change_events WHERE service = 'changed'"
    reader.wait_for(f"SELECT count() {stored}", "1")
    row = reader.sql(
        f"SELECT integration, source, JSONExtractString(details, 'build'), links, at = received_at {stored}"
    )
    links = '[{"href":"https://example.com/builds/812","text":"build"}]'
    assert row.strip().split("\t") == [shown_sender(key), "deployer", "812", links, "1"]
    assert reader.sql("SELECT count() FROM alerts WHERE service = 'changed'").strip() == "0"

    reader.python(INCIDENT)
    reader.wait_for("SELECT count() FROM incidents FINAL WHERE dedup_key = 'changes/1'", "1")
    [question] = [sql for sql in blocks(read("docs/analysts.md"), "sql") if "FROM change_events" in sql]
    found = reader.sql(question.replace("db-1/disk", "changes/1"))
    assert [line.split("\t")[1:3] for line in found.splitlines()] == [["changed 4.7.1 went live", "deployer"]]
