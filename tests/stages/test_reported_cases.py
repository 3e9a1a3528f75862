"""Reported cases in which order or identity decides: what becomes of them through all stages.

The bodies of the shared set are sent at the times it names; the same kinds, in other words, are here.
"""

import json
from datetime import datetime
from pathlib import Path as File
from typing import Any

import pytest

from schemas.wire.alert import Action
from schemas.wire.incident import Status
from streams.providers import PROVIDERS
from tests.providers.payload_set import ROOT
from tests.stages.path import Path

REPORTED = ROOT.parent / "payloads-2"
OPEN, RESOLVED = Status.OPEN, Status.RESOLVED
#: How the incidents of a case end, in the order they opened, an hour after its last request.
EXPECTED = {
    "02-ci-overlapping-runs": [OPEN, OPEN],
    "03-alertmanager-fires-again-with-the-old-startsat": [RESOLVED, OPEN],
    "13-sentry-regression-within-the-hour": [RESOLVED, OPEN],
    "15-pagerduty-trigger-again-with-the-time-of-the-condition": [RESOLVED, OPEN],
    "16-two-uptime-kumas-of-one-service": [RESOLVED, OPEN],
    "21-azure-resource-health-available-again": [RESOLVED],
    "22-azure-service-health-resolved-stage": [RESOLVED],
}


def milliseconds(text: str) -> int:
    """A time of the set."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def play(folder: File) -> Path:
    """Send the case's requests, each at its time, or a minute after the one before."""
    path = Path()
    path.now = milliseconds("2026-11-06T12:00:00+00:00")
    senders: dict[str, str] = {}
    for step in json.loads((folder / "request.json").read_text())["steps"]:
        path.now = milliseconds(step["at"]) if "at" in step else path.now + 60_000
        sender = senders.setdefault(step.get("integration", ""), f"{len(senders):032x}")
        headers = {name.lower(): value for name, value in step.get("headers", {}).items()}
        path.request(step["provider"], (folder / step["body_file"]).read_bytes(), sender=sender, headers=headers)
    path.tick(3600)
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_a_reported_case_ends_with_the_right_incidents(name: str) -> None:
    """A broken branch is open, what came back is open, a recovery of one server does not end another's outage."""
    folder = REPORTED / name
    if not folder.is_dir():
        pytest.skip("the reported cases are not here")
    path = play(folder)
    assert [incident.status for incident in path.incidents.values()] == EXPECTED[name]
    assert "stale" not in path.outcomes


def run(number: int, conclusion: str, started: str, ended: str) -> dict[str, Any]:
    """A run of GitHub Actions on the main branch."""
    whole = {
        "id": number, "name": "ci", "workflow_id": 3300, "head_branch": "main", "event": "push",
        "conclusion": conclusion, "run_attempt": 1,
        "run_started_at": started, "created_at": started, "updated_at": ended,
        "head_repository": {"full_name": "acme/till"},
    }  # fmt: skip
    return {"action": "completed", "workflow_run": whole, "repository": {"full_name": "acme/till"}}


def test_the_run_that_ended_last_decides_for_its_branch() -> None:
    """A run that fails after the end of another breaks the branch, though it began before; the other is late then."""
    path = Path()
    headers = {"x-github-event": "workflow_run"}
    first = run(1, "success", "2026-11-06T08:40:00Z", "2026-11-06T08:48:00Z")
    second = run(2, "failure", "2026-11-06T08:44:00Z", "2026-11-06T08:49:00Z")
    path.request("github", first, headers=headers)
    path.request("github", second, headers=headers)
    path.now += 1000
    path.request("github", first, headers=headers)
    assert path.outcomes == ["unmatched", "opened", "stale"]
    assert path.incident.status is OPEN


@pytest.mark.parametrize("provider", ["uptimekuma", "zabbix", "uptimerobot", "elastic"])
def test_a_recovery_ends_only_what_its_own_installation_began(provider: str) -> None:
    """Two installations whose ids are the same are two alerts: the end of one leaves the other open."""
    examples = {example.alerts: example for example in PROVIDERS[provider].examples if len(example.alerts) == 1}
    begins = next(alerts for alerts in examples if alerts[0][0] is Action.TRIGGER)
    ends = ((Action.RESOLVE, begins[0][1]),)
    path = Path()
    for sender, alerts in (("1" * 32, begins), ("2" * 32, begins), ("1" * 32, ends)):
        example = examples[alerts]
        headers = {name.lower(): value for name, value in example.headers.items()}
        path.request(provider, example.body, sender=sender, headers=headers)
        path.now += 120_000
    assert [incident.status for incident in path.incidents.values()] == [RESOLVED, OPEN]
