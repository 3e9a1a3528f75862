"""A field that is only nice to have may be missing: the alert is made of what is there, and its end finds it."""

import json
from typing import Any

import pytest

from schemas.wire.alert import Action
from streams.providers import PROVIDERS, BadBody
from tests.providers.test_examples import drafts
from tests.providers.test_vendors import silence

Value = dict[str, Any]
TRIGGER, RESOLVE = Action.TRIGGER, Action.RESOLVE


def azure(**essentials: object) -> Value:
    """A common schema alert with these essentials."""
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials}}


def sentry(action: str, **issue: object) -> Value:
    """An issue hook."""
    return {"action": action, "data": {"issue": {"title": "KeyError: sku", "culprit": "shop.views", **issue}}}


def kuma(status: object, word: str) -> Value:
    """A heartbeat of a monitor without id."""
    return {"heartbeat": {"status": status, "msg": word}, "monitor": {"name": "Till"}, "msg": f"[Till] [{word}] x"}


#: Bodies without what usually identifies an alert: its beginning and its end.
PAIRS: dict[str, tuple[Any, Any]] = {
    "appdynamics": (
        {"healthRule": {"name": "Heap"}, "severity": "WARN"},
        {"healthRule": {"name": "Heap"}, "eventType": "POLICY_CLOSE_WARNING"},
    ),
    "azure": (
        azure(alertRule="cpu", monitorCondition="Fired", alertTargetIDs=["/s/VM"]),
        azure(alertRule="cpu", monitorCondition="Resolved", alertTargetIDs=["/s/vm"]),
    ),
    "betterstack": tuple(
        {"event": event, "data": {"attributes": {"name": "Till", "url": "https://a", "cause": event}}}
        for event in ("started", "resolved")
    ),
    "bitbucket": tuple(
        {"repository": {"name": "till"}, "commit_status": {"name": "Unit", "state": state}}
        for state in ("FAILED", "SUCCESSFUL")
    ),
    "cloudevents": tuple(
        {"specversion": "1.0", "source": "/s", "type": f"a.disk.{word}"} for word in ("triggered", "resolved")
    ),
    "cloudwatch": ({"AlarmName": "a", "NewStateValue": "ALARM"}, {"AlarmName": "a", "NewStateValue": "OK"}),
    "datadog": tuple({"alert_id": "7", "alert_transition": word} for word in ("Triggered", "Recovered")),
    "dynatrace": tuple({"State": state, "ProblemTitle": "Slow"} for state in ("OPEN", "RESOLVED")),
    "elastic": tuple(
        {"rule": {"name": "CPU"}, "alert": {"id": "web-1", "actionGroup": group}} for group in ("fired", "recovered")
    ),
    "gcp": (
        {"incident": {"condition_name": "Queue", "state": "open", "summary": "900 messages"}},
        {"incident": {"condition_name": "Queue", "ended_at": 1793954999, "summary": "10 messages"}},
    ),
    "github": tuple(
        {"workflow_run": {"name": "ci", "conclusion": word, "head_sha": "a"}, "repository": {"name": "till"}}
        for word in ("failure", "success")
    ),
    "gitlab": tuple(
        {"object_kind": "pipeline", "object_attributes": {"status": word}, "project": {"path_with_namespace": "a/b"}}
        for word in ("failed", "success")
    ),
    "gitlab job": tuple(
        {"object_kind": "build", "build_status": word, "project_name": "a / b", "ref": "main"}
        for word in ("failed", "success")
    ),
    "gitlab alert": tuple(
        {"object_kind": "alert", "object_attributes": {"title": "Till", "status": word}}
        for word in ("triggered", "resolved")
    ),
    "grafana": tuple({"alerts": [{"status": word, "labels": {"a": "b"}}]} for word in ("firing", "resolved")),
    "honeycomb": tuple({"name": "Slow", "status": word} for word in ("TRIGGERED", "OK")),
    "icinga": tuple({"service": {"name": "db-2!disk"}, "notification_type": word} for word in ("PROBLEM", "RECOVERY")),
    "nagios": tuple({"host_address": "192.0.2.7", "notification_type": word} for word in ("PROBLEM", "RECOVERY")),
    "newrelic": tuple({"issueUrl": "https://a/i/1", "title": word, "state": word} for word in ("ACTIVATED", "CLOSED")),
    "newrelic legacy": tuple({"incident_id": 9, "current_state": word} for word in ("open", "closed")),
    "newrelic condition": tuple(
        {"condition_name": "CPU", "details": word, "current_state": word} for word in ("open", "closed")
    ),
    "pingdom": tuple({"check_name": "Till", "current_state": word} for word in ("DOWN", "UP")),
    "prometheus": tuple(
        {"alerts": [{"status": word, "labels": {"a": "b"}, "annotations": None}]} for word in ("firing", "resolved")
    ),
    "sentry": (sentry("created"), sentry("resolved")),
    "sentry address": tuple(sentry(word, permalink="https://a/issues/8120/") for word in ("created", "resolved")),
    "sentry status": (sentry("", status="unresolved", id=1), sentry("", status="resolved", id=1)),
    "sentry metric": tuple(
        {"action": word, "data": {"metric_alert": {"alert_rule": {"name": "Errors"}}}}
        for word in ("critical", "resolved")
    ),
    "splunk": tuple({"detector": "Edge", "rule": "Slow", "status": word} for word in ("anomalous", "ok")),
    "uptimekuma": (kuma(0, "🔴 Down"), kuma(1, "✅ Up")),
    "uptimekuma status": (kuma(None, "🔴 Down"), kuma(None, "✅ Up")),
    "uptimerobot": tuple({"monitorURL": "https://a", "alertTypeFriendlyName": word} for word in ("Down", "Up")),
    "zabbix": tuple({"triggerid": "77", "hostname": "db-2", "eventvalue": value} for value in "10"),
    "zabbix status": tuple({"eventid": "7", "eventstatus": word} for word in ("PROBLEM", "RESOLVED")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_alert_without_its_id_is_known_by_what_else_stays(name: str) -> None:
    """The beginning opens, the end has the same key, and nothing of the key is a text that differs between the two."""
    slug = name.split()[0]
    (begin,), (end,) = (drafts(slug, body) for body in PAIRS[name])
    assert (begin.action, end.action) == (TRIGGER, RESOLVE)
    assert begin.dedup_key == end.dedup_key
    assert begin.summary
    assert begin.source


def test_keys_of_other_things_stay_apart() -> None:
    """What an alert is known by without its id is not what another one has."""
    pairs: list[tuple[str, Value, Value]] = [
        ("pingdom", {"check_name": "Till"}, {"check_name": "VPN"}),
        ("honeycomb", {"name": "Slow"}, {"name": "Errors"}),
        ("zabbix", {"triggerid": "77", "hostname": "a"}, {"triggerid": "77", "hostname": "b"}),
    ]
    more = {"pingdom": {"current_state": "DOWN"}, "honeycomb": {"status": "TRIGGERED"}, "zabbix": {"eventvalue": "1"}}
    for slug, one, other in pairs:
        (first,), (second,) = (drafts(slug, {**body, **more[slug]}) for body in (one, other))
        assert first.dedup_key != second.dedup_key


@pytest.mark.parametrize(
    ("slug", "event", "body"),
    [
        ("github", "workflow_run", {"workflow_run": {"workflow_id": 1, "conclusion": "failure", "head_branch": "m"}}),
        ("github", "check_suite", {"check_suite": {"app": {"id": 1}, "conclusion": "failure", "head_branch": "m"}}),
        ("github", "dependabot_alert", {"action": "created", "alert": {"number": 1, "security_advisory": {}}}),
        ("github", "code_scanning_alert", {"action": "created", "alert": {"number": 1, "rule": {}}}),
        ("github", "secret_scanning_alert", {"action": "created", "alert": {"number": 1, "secret_type": "t"}}),
    ],
)
def test_a_header_that_a_proxy_dropped_is_guessed_from_the_body(slug: str, event: str, body: Value) -> None:
    """The key is the one that the header would have led to."""
    whole = {"repository": {"full_name": "a/b"}, **body}
    (told,), (guessed,) = drafts(slug, whole, None, {"x-github-event": event}), drafts(slug, whole)
    assert told == guessed


def test_github_enterprise_servers_are_told_apart() -> None:
    """The same repository and workflow on two servers are two builds; github.com's key has no host."""
    body = PROVIDERS["github"].examples[0].body
    event = {"x-github-event": "workflow_run"}
    hosts = ({}, {"x-github-enterprise-host": "git.a.example"}, {"x-github-enterprise-host": "git.b.example"})
    keys = [drafts("github", body, None, {**event, **host})[0].dedup_key for host in hosts]
    assert len(set(keys)) == 3
    assert keys[0] == "github|acme/till|workflow_run|3300|branch|main"


@pytest.mark.parametrize(
    ("slug", "body"),
    [
        ("prometheus", {"version": "4", "status": "firing", "alerts": []}),
        ("prometheus", []),
        ("grafana", {"alerts": []}),
        ("elastic", {"alerts": []}),
        ("elastic", []),
        ("elastic", {"alerts": {"new": {"count": 0, "data": []}, "recovered": {"count": 0}}}),
        ("appdynamics", []),
        ("appdynamics", {"events": []}),
        ("cloudevents", None),
    ],
)
def test_a_list_of_nothing_is_no_error(slug: str, body: object) -> None:
    """An empty group is answered with 2xx: its sender must not send it again for ever."""
    if body is None:
        assert PROVIDERS[slug].examples[-1].silence == "ignored"
    else:
        assert silence(slug, json.dumps(body).encode()) == "ignored"


@pytest.mark.parametrize("slug", sorted(set(PROVIDERS) - {"webhook", "sentry"}))
def test_what_says_nothing_is_still_refused(slug: str) -> None:
    """A body in which nothing can be found names the field that was looked for first."""
    with pytest.raises(BadBody) as caught:
        drafts(slug, {"hello": "world"})
    assert caught.value.path


#: Templates with a text in them that broke the JSON, and what the text says.
BROKEN = {
    "dynatrace": (b'{"State":"OPEN","PID":"1","ProblemTitle":"Process "java" is down","Tags":"a\nb"}', '"java"'),
    "appdynamics": (
        b'{"event":{"eventType":"POLICY_OPEN_WARNING","summaryMessage":"Heap of "jobs" is high",'
        b'"application":{"name":"Billing"},"healthRule":{"name":"Heap"}}}',
        '"jobs"',
    ),
    "icinga": (
        b'{"notification_type":"PROBLEM","host":{"name":"db-2"},"service":{"name":"disk"},"check_result":'
        b'{"state":"CRITICAL","output":"mount "/var" has\n 3%"}}',
        '"/var"',
    ),
    "nagios": (b'{"host_name":"db-2","state":"DOWN","output":"said "no route", twice"}', '"no route", twice'),
    "newrelic": (b'{"id":"1","state":"CREATED","title":"Apdex of "search" is low","priority":"HIGH"}', '"search"'),
    "zabbix": (b'{"eventid":"1","eventvalue":"1","eventname":"Free space on "C:" is low"}', '"C:"'),
    "elastic": (b'{"rule":{"id":"r","name":"CPU"},"alert":{"id":"a"},"context":{"reason":"95% on "web""}}', '"web"'),
    "uptimerobot": (b'{"monitorID":"1","alertType":"1","alertDetails":"said "502" once"}', '"502"'),
}


@pytest.mark.parametrize("slug", BROKEN)
def test_texts_that_break_a_template_are_read(slug: str) -> None:
    """Quotation marks and line breaks that a tool does not escape cost no alert, and its details are JSON."""
    body, words = BROKEN[slug]
    (draft,) = drafts(slug, body)
    assert draft.action is TRIGGER
    assert words in draft.summary
    assert json.loads(draft.details)


def test_a_template_that_cannot_be_read_says_where() -> None:
    """The answer names the place in the body as it was sent."""
    with pytest.raises(BadBody, match=r"body: .*\(byte \d+\)"):
        drafts("dynatrace", b'{"State":"OPEN",,"PID":"1"}')
    with pytest.raises(BadBody):
        drafts("dynatrace", b'{"State":"OPEN","PID":"1","ProblemTitle":"cut \\"')
