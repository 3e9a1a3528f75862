"""docs/heartbeats.md: its commands work, its numbers are those of the code, its Alertmanager configuration beats."""

import json
import re

import pytest
import yaml

from streams.control.checks import _SAFE_GRACE_S
from streams.gateway.presence import PERIOD_S
from streams.stages.heartbeats import AWAY_MS, PATIENCE_MS
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section

PAGE = read("docs/heartbeats.md")
ADD, MATCH = blocks(PAGE, "bash")


def test_the_numbers_are_those_of_the_code() -> None:
    """Reports, the outage, the patience and the safe grace."""
    text = " ".join(section(PAGE, "When a monitor is missing").split())
    assert f"reports every {PERIOD_S:.0f} s" in text
    assert f"has reported for {AWAY_MS // 1000} s" in text
    assert PATIENCE_MS == 3_600_000
    assert "postponed by more than an hour" in text
    assert f"`grace` below {_SAFE_GRACE_S} s" in text


def test_alertmanagers_configuration_is_whole() -> None:
    """Each route has a receiver, and the beats come more often than the page's monitor expects them."""
    (example,) = blocks(PAGE, "yaml")
    configuration = yaml.safe_load(example)
    names = {receiver["name"] for receiver in configuration["receivers"]}
    (watchdog,) = configuration["route"]["routes"]
    assert {configuration["route"]["receiver"], watchdog["receiver"]} == names
    assert (watchdog["group_interval"], watchdog["repeat_interval"]) == ("1m", "50s")


@pytest.mark.stack
def test_the_commands_of_the_page(reader: Reader) -> None:
    """Both monitors are added, the address takes a beat as the page shows it, the list hides the key, delete ends."""
    told = reader.bash(ADD)
    (url,) = set(re.findall(r"https?://\S+/v1/heartbeats/[0-9a-f]{32}", told))
    key = url.rpartition("/")[2]
    address = f"http://127.0.0.1:{reader.settings.port('gateway')}/v1/heartbeats/{key}"
    answer = json.loads(reader.bash(f"curl --fail --silent --show-error --retry 20 --retry-all-errors {address}"))
    (example,) = blocks(PAGE, "json")
    shown = json.loads(example)
    assert answer | {"event_id": ""} == shown | {"event_id": ""}

    told = reader.bash(MATCH)
    assert 'labels.alertname="Watchdog"' in told
    listed = reader.bash("stormweir heartbeats list")
    assert "nightly-backup" in listed
    assert "prometheus" in listed
    assert key not in listed + reader.bash("stormweir heartbeats list --json")
    for name in ("nightly-backup", "prometheus"):
        assert reader.bash(f"stormweir heartbeats delete {name} --yes") == f"deleted {name}\n"
    assert codes(section(PAGE, "From Opsgenie or healthchecks.io"))[0] == "every"


@pytest.mark.stack
def test_the_query_of_the_page(reader: Reader) -> None:
    """A monitor that never beats is in its answer; once it is deleted it is not."""
    reader.bash("stormweir heartbeats add never --service backups --create-service --every 1 --grace 0")
    (query,) = blocks(PAGE, "sql")
    count = f"SELECT count() FROM ({query}) WHERE dedup_key = 'heartbeat/never'"
    reader.wait_for(count, "1")
    reader.bash("stormweir heartbeats delete never --yes")
    reader.wait_for(count, "0")
