"""Heartbeats in stormweir.yaml and by command: what is refused, and with which path."""

from typing import Any

import pytest
import yaml

from schemas.control import Heartbeat, control_key, dump
from streams.control import document, edits
from streams.control.state import Control

KEY = "c" * 32
GOOD: dict[str, Any] = {"id": "cron", "service": "jobs", "every": 60, "key": KEY}


def check(*heartbeats: dict[str, Any]) -> list[str]:
    """The warnings about these heartbeats."""
    text = yaml.safe_dump({"services": [{"id": "jobs"}], "heartbeats": list(heartbeats)})
    return document.check(document.load(text), {})


def test_a_right_one_is_accepted() -> None:
    """By key, by conditions or by both."""
    assert check(GOOD, {"id": "b", "service": "jobs", "every": 60, "match": ['labels.alertname="Watchdog"']}) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"key": None}, "heartbeats.0: .*a key, a match or both"),
        ({"key": "short"}, "heartbeats.0.key: "),
        ({"every": 0}, "heartbeats.0.every: "),
        ({"grace": -1}, "heartbeats.0.grace: "),
        ({"severity": "bad"}, "heartbeats.0.severity: "),
        ({"service": "gone"}, "heartbeats.0.service: no service 'gone'"),
        ({"match": ['severity="info"', "alertname=="]}, "heartbeats.0.match.1: .*alertname"),
        ({"match": ['summary=~"("']}, "heartbeats.0.match.0: .*RE2"),
    ],
)
def test_a_wrong_one_is_refused_with_its_path(changes: dict[str, Any], problem: str) -> None:
    """Nothing of the file is applied."""
    with pytest.raises(document.ConfigurationError, match=problem) as refused:
        check({**GOOD, **changes})
    assert KEY not in str(refused.value)


def test_one_key_is_one_monitors() -> None:
    """Two monitors with one address are refused, and the key is not told."""
    with pytest.raises(document.ConfigurationError, match=r"heartbeats\.1\.key: is the same as that of") as refused:
        check(GOOD, {**GOOD, "id": "other"})
    assert KEY not in str(refused.value)


def test_a_short_grace_is_warned_about() -> None:
    """It is shorter than an outage that the stream can notice."""
    (warning,) = check({**GOOD, "grace": 5})
    assert warning.startswith("heartbeats.0.grace: below 10 s")


def test_the_command_makes_what_apply_would_accept() -> None:
    """With a key of its own, or with conditions and without one; taken ids and wrong conditions are refused."""
    control = Control()
    made, records = edits.new_heartbeat(control, {"id": "cron", "service": "jobs", "every": 60}, create_service=True)
    assert made.key is not None
    assert len(made.key) == 32
    assert [type(record).__name__ for record in records] == ["Service", "Heartbeat"]
    for record in records:
        assert control.apply(control_key(record), dump(record)) is None
    with pytest.raises(edits.FieldError, match="id: is taken"):
        edits.new_heartbeat(control, {"id": "cron", "service": "jobs", "every": 60})
    with pytest.raises(edits.FieldError, match=r"match\.0: .*needs one of"):
        edits.new_heartbeat(control, {"id": "b", "service": "jobs", "every": 60, "match": ["Watchdog"]})
    with pytest.raises(edits.FieldError, match="service: no service 'gone'"):
        edits.new_heartbeat(control, {"id": "b", "service": "gone", "every": 60})
    by_alerts, _ = edits.new_heartbeat(
        control, {"id": "b", "service": "jobs", "every": 60, "match": ['labels.alertname="Watchdog"']}
    )
    assert by_alerts.key is None
    assert edits.find_heartbeat(control, "default", "cron") == made == control.every(Heartbeat)["default", "cron"]
    with pytest.raises(edits.FieldError, match="no such heartbeat"):
        edits.find_heartbeat(control, "default", "b")
