"""Which times of a tool order its events: its own clock at this very change, the start that a whole episode shares."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from schemas.wire.alert import Action
from streams.providers import PROVIDERS
from tests.providers.test_examples import drafts

Value = dict[str, Any]

BEGAN, CHANGED, ENDED = "2026-11-06T08:00:00Z", "2026-11-06T08:05:00Z", "2026-11-06T08:20:00Z"
BEGAN_MS, CHANGED_MS, ENDED_MS = 1_793_952_000_000, 1_793_952_300_000, 1_793_953_200_000


def run(conclusion: str, ended: str) -> Value:
    """A run of GitHub that began long ago."""
    told = {"conclusion": conclusion, "run_started_at": BEGAN, "created_at": BEGAN, "updated_at": ended}
    return {"workflow_run": {"workflow_id": 1, "head_branch": "main", **told}, "repository": {"full_name": "a/b"}}


def suite(conclusion: str, ended: str) -> Value:
    """A check suite of GitHub that began long ago."""
    told = {"conclusion": conclusion, "head_branch": "main", "app": {"id": 1}, "created_at": BEGAN, "updated_at": ended}
    return {"action": "completed", "check_suite": told, "repository": {"full_name": "a/b"}}


def secret(action: str, changed: str) -> Value:
    """A leaked secret of GitHub that was found long ago."""
    alert = {"number": 2, "secret_type": "t", "created_at": BEGAN, "updated_at": changed}
    return {"action": action, "alert": alert, "repository": {"full_name": "a/b"}}


def pipeline(status: str, ended: str) -> Value:
    """A pipeline of GitLab that began long ago."""
    told = {"ref": "main", "status": status, "created_at": BEGAN, "finished_at": ended.replace("T", " ")}
    return {"object_kind": "pipeline", "project": {"id": 1}, "object_attributes": told}


def job(status: str, ended: str) -> Value:
    """A job of GitLab that began long ago."""
    told = {"build_name": "unit", "build_status": status, "build_started_at": BEGAN, "build_finished_at": ended}
    return {"object_kind": "build", "project_id": 1, "ref": "main", **told}


def status(state: str, ended: str) -> Value:
    """A build status of Bitbucket that was made long ago."""
    told = {"key": "unit", "refname": "main", "state": state, "created_on": BEGAN, "updated_on": ended}
    return {"repository": {"full_name": "a/b"}, "commit_status": told}


def alarm(state: str, at: str) -> Value:
    """An alarm of CloudWatch."""
    return {"AlarmName": "disk", "AWSAccountId": "1", "Region": "r", "NewStateValue": state, "StateChangeTime": at}


def azure(condition: str, ended: str | None) -> Value:
    """A metric alert of Azure, whose end repeats when it fired."""
    told = {"alertId": "/s/1", "monitorCondition": condition, "firedDateTime": CHANGED, "resolvedDateTime": ended}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": told}}


def incident(state: str, ended: str | None) -> Value:
    """An incident of Google Cloud, whose end repeats when it opened."""
    return {"incident": {"incident_id": "1", "state": state, "started_at": CHANGED, "ended_at": ended}}


def beat(state: int, at: str) -> Value:
    """A heartbeat of Uptime Kuma."""
    return {"heartbeat": {"monitorID": 1, "status": state, "time": at}}


def event(kind: str, at: str) -> Value:
    """A CloudEvent."""
    return {"specversion": "1.0", "id": "1", "source": "/s", "subject": "x", "type": f"a.{kind}", "time": at}


def hook(action: str, at: str) -> tuple[Value, dict[str, str]]:
    """An issue hook of Sentry; the issue was seen first long ago, and last before it was resolved."""
    issue = {"id": "7", "title": "t", "firstSeen": BEGAN, "lastSeen": CHANGED}
    headers = {
        "sentry-hook-resource": "issue",
        "sentry-hook-timestamp": str({CHANGED: CHANGED_MS, ENDED: ENDED_MS}[at]),
    }
    return {"action": action, "data": {"issue": issue}}, headers


SENT: dict[str, tuple[Any, Any]] = {
    "appdynamics": tuple(
        {"eventType": kind, "healthRule": {"name": "r"}, "eventTime": at}
        for kind, at in (("POLICY_OPEN_WARNING", CHANGED), ("POLICY_CLOSE_WARNING", ENDED))
    ),
    "azure": (azure("Fired", None), azure("Resolved", ENDED)),
    "bitbucket": (status("FAILED", CHANGED), status("SUCCESSFUL", ENDED)),
    "cloudevents": (event("fired", CHANGED), event("resolved", ENDED)),
    "cloudwatch": (alarm("ALARM", CHANGED), alarm("OK", ENDED)),
    "datadog": tuple(
        {"title": "Disk", "alert_transition": word, "date": BEGAN_MS, "last_updated": at}
        for word, at in (("Triggered", CHANGED_MS), ("Recovered", ENDED_MS))
    ),
    "elastic": tuple(
        {"rule": {"id": "r"}, "alert": {"id": "a", "actionGroup": group}, "date": at}
        for group, at in (("fired", CHANGED), ("recovered", ENDED))
    ),
    "gcp": (incident("open", None), incident("closed", ENDED)),
    "github": (run("failure", CHANGED), run("success", ENDED)),
    "github check_suite": (suite("failure", CHANGED), suite("success", ENDED)),
    "github secret": (secret("reopened", CHANGED), secret("resolved", ENDED)),
    "gitlab": (pipeline("failed", CHANGED), pipeline("success", ENDED)),
    "gitlab job": (job("failed", CHANGED), job("success", ENDED)),
    "nagios": tuple(
        {"host_name": "h", "state": state, "timestamp": str(at // 1000)}
        for state, at in (("DOWN", CHANGED_MS), ("UP", ENDED_MS))
    ),
    "newrelic": tuple(
        {"id": "i", "state": state, "createdAt": BEGAN_MS, "updatedAt": at}
        for state, at in (("ACTIVATED", CHANGED_MS), ("CLOSED", ENDED_MS))
    ),
    "newrelic legacy": tuple(
        {"incident_id": 9, "current_state": state, "timestamp": at}
        for state, at in (("open", CHANGED_MS), ("closed", ENDED_MS))
    ),
    "pingdom": tuple(
        {"check_id": 1, "current_state": state, "state_changed_timestamp": at // 1000}
        for state, at in (("DOWN", CHANGED_MS), ("UP", ENDED_MS))
    ),
    "sentry": (hook("unresolved", CHANGED), hook("resolved", ENDED)),
    "splunk": tuple(
        {"incidentId": "i", "status": word, "timestamp": at} for word, at in (("anomalous", CHANGED), ("ok", ENDED))
    ),
    "uptimekuma": (beat(0, CHANGED), beat(1, ENDED)),
    "uptimerobot": tuple(
        {"monitorID": "1", "alertType": kind, "alertDateTime": str(at // 1000)}
        for kind, at in (("1", CHANGED_MS), ("2", ENDED_MS))
    ),
}
BEGINNING: dict[str, tuple[Value, Value]] = {
    "betterstack": tuple(
        {"event": word, "data": {"id": 1, "attributes": {"started_at": BEGAN}}} for word in ("started", "resolved")
    ),
    "dynatrace": tuple(
        {"problemId": "1", "status": state, "startTime": BEGAN_MS, "endTime": end}
        for state, end in (("OPEN", -1), ("CLOSED", ENDED_MS))
    ),
    "elastic": tuple(
        {"kibana.alert.uuid": "u", "kibana.alert.status": state, "kibana.alert.start": BEGAN}
        for state in ("active", "recovered")
    ),
    "gitlab": tuple(
        {"object_kind": "alert", "object_attributes": {"url": "https://a", "status": state, "started_at": BEGAN}}
        for state in ("triggered", "resolved")
    ),
    "grafana": tuple(
        {"alerts": [{"status": state, "labels": {"a": "b"}, "startsAt": BEGAN}]} for state in ("firing", "resolved")
    ),
    "prometheus": tuple(
        {"alerts": [{"status": state, "labels": {"a": "b"}, "startsAt": BEGAN}]} for state in ("firing", "resolved")
    ),
    "zabbix": tuple(
        {"eventid": "1", "eventvalue": value, "eventdate": "2026.11.06", "eventtime": "08:00:00"} for value in "10"
    ),
}
#: Where nothing in a body is either, whatever times it has, and where there is nothing to order.
NEITHER = {"change_events", "custom", "events_v2", "honeycomb", "icinga", "opsgenie", "webhook"}


def test_every_provider_is_here() -> None:
    """So that a new one has to say which of its times order its events."""
    assert {name.split()[0] for name in SENT} | set(BEGINNING) | NEITHER == set(PROVIDERS)


@pytest.mark.parametrize("name", SENT)
def test_events_are_ordered_by_the_time_of_the_change(name: str) -> None:
    """`sent_at` is when this very change happened by the tool's clock, never when an object was made or a run began."""
    slug, found = name.split()[0], []
    for body in SENT[name]:
        value, headers = body if isinstance(body, tuple) else (body, None)
        found += drafts(slug, value, None, headers)
    trigger, resolve = found
    assert (trigger.action, resolve.action) == (Action.TRIGGER, Action.RESOLVE)
    assert trigger.dedup_key == resolve.dedup_key
    assert (trigger.sent_at, resolve.sent_at) == (CHANGED_MS, ENDED_MS)
    assert (trigger.began_at, resolve.began_at) == (0, 0)


@pytest.mark.parametrize("slug", BEGINNING)
def test_an_episode_shares_its_beginning(slug: str) -> None:
    """`began_at` is one and the same for an alert and its end, where the tool tells it with both."""
    (trigger,), (resolve,) = (drafts(slug, body) for body in BEGINNING[slug])
    assert (trigger.action, resolve.action) == (Action.TRIGGER, Action.RESOLVE)
    assert trigger.dedup_key == resolve.dedup_key
    assert trigger.began_at == resolve.began_at == BEGAN_MS
    assert (trigger.sent_at, resolve.sent_at) == (0, 0)


@pytest.mark.parametrize(
    ("slug", "body", "headers"),
    [
        ("events_v2", {"event_action": "trigger", "payload": {"summary": "s", "source": "x", "timestamp": BEGAN}}, {}),
        ("icinga", {"host": {"name": "h"}, "check_result": {"state": "DOWN", "execution_end": BEGAN_MS / 1000}}, {}),
        ("webhook", {"summary": "s", "timestamp": BEGAN, "startsAt": BEGAN}, {}),
        ("sentry", hook("unresolved", CHANGED)[0], {"sentry-hook-resource": "issue"}),
        ("opsgenie", {"message": "m", "createdAt": BEGAN_MS}, {}),
    ],
)
def test_a_time_of_the_condition_orders_nothing(slug: str, body: Value, headers: Mapping[str, str]) -> None:
    """The time of a condition, of a satellite or of an issue may be repeated after a resolve, so it is neither."""
    (draft,) = drafts(slug, body, None, headers)
    assert (draft.sent_at, draft.began_at) == (0, 0)


@pytest.mark.parametrize(
    "never", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:01Z", "9999-12-31"]
)
def test_what_means_never_is_no_time(never: str) -> None:
    """A placeholder of a year that cannot be orders nothing."""
    alerts = [{"status": "firing", "labels": {"a": "b"}, "startsAt": never}]
    assert drafts("prometheus", {"alerts": alerts})[0].began_at == 0
    assert drafts("cloudwatch", alarm("ALARM", never))[0].sent_at == 0


def test_a_time_ahead_of_ours_stays_as_it_is() -> None:
    """A sender's clock that is a day ahead is compared with itself alone, so it is not corrected."""
    assert (
        drafts(
            "pingdom",
            json.dumps({"check_id": 1, "current_state": "UP", "state_changed_timestamp": 4102444800}).encode(),
        )[0].sent_at
        == 4_102_444_800_000
    )
