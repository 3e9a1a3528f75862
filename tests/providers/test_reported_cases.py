"""Cases of public reports (payloads-2 of the shared set): what a provider makes of each, decided by its vendor's rule.

The bodies of the set are read where it is, beside the shared payloads; the same kinds, in other words, are here.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from schemas.control import FieldMapping
from schemas.wire.alert import Action
from streams.providers import PATH, PROVIDERS, QUERY, BadBody, Context, Draft, NoAlert
from tests.providers.payload_set import ROOT
from tests.providers.test_examples import drafts, refused
from tests.providers.test_vendors import silence

TRIGGER, RESOLVE = Action.TRIGGER, Action.RESOLVE
REPORTED = ROOT.parent / "payloads-2"
Value = dict[str, Any]
#: What becomes of each step (`+` opens, `-` ends, `.` is no alert, `x` is refused), and the keys by a letter each.
EXPECTED = {
    "02-ci-overlapping-runs": ("-+-+", "aabb"),
    "03-alertmanager-fires-again-with-the-old-startsat": ("+-++", "aaaa"),
    "10-falco-cloudevents-all-fold-into-one": ("+++", "abc"),
    "12-azure-cost-budget": ("++", "ab"),
    "13-sentry-regression-within-the-hour": ("+-++", "aaaa"),
    "15-pagerduty-trigger-again-with-the-time-of-the-condition": ("+-+", "aaa"),
    "16-two-uptime-kumas-of-one-service": ("++-", "aaa"),
    "19-kibana-summary-of-alerts": ("++--", "abab"),
    "21-azure-resource-health-available-again": ("+-", "aa"),
    "22-azure-service-health-resolved-stage": ("+-.", "aa"),
    "23-cloudwatch-alarm-through-eventbridge": ("+-+", "aaa"),
    "27-github-merge-queue-branches": ("..", ""),
    "29-dynatrace-quoted-details-and-text-plain": ("++", "ab"),
    "32-prometheus-without-alertmanager": ("-x", "a"),
    "36-zabbix-tags-as-json-and-not-classified": ("+", "a"),
    "38-splunk-enterprise-webhook": ("x+", "a"),
}


class Outcome(NamedTuple):
    """What became of the requests of a case, in order."""

    marks: str
    drafts: list[Draft]


def outcome(name: str) -> Outcome:
    """What the providers make of the case's requests. Skips without the set."""
    folder = REPORTED / name
    if not folder.is_dir():
        pytest.skip("the reported cases are not here")
    request = json.loads((folder / "request.json").read_text())
    marks, found = "", []
    for step in request["steps"]:
        provider = PROVIDERS[step["provider"]]
        at = int(datetime.fromisoformat(step.get("at", "2026-11-06T12:00:00+00:00")).timestamp() * 1000)
        given = {name.lower(): value for name, value in step.get("headers", {}).items()}
        given |= {PATH: step.get("path", ""), QUERY: step.get("query", "")}
        headers = {name: value for name, value in given.items() if name in provider.headers}
        mapping = FieldMapping(**request.get("mapping", {})) if provider.slug == "webhook" else FieldMapping()
        context = Context(at.to_bytes(6, "big") + bytes(10), headers, mapping)
        try:
            alerts = provider.parse(provider.decode((folder / step["body_file"]).read_bytes(), context), context)
        except (NoAlert, BadBody) as nothing:
            marks += "." if isinstance(nothing, NoAlert) else "x"
            continue
        marks += "".join({TRIGGER: "+", RESOLVE: "-"}[draft.action] for draft in alerts)
        found += alerts
    return Outcome(marks, found)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_reported_case_ends_as_its_vendor_means_it(name: str) -> None:
    """Each request opens, ends, is ignored or refused as expected, and alerts are one where they are one thing."""
    marks, found = outcome(name)
    wanted, letters = EXPECTED[name]
    assert marks == wanted
    keys = dict(zip(letters, (draft.dedup_key for draft in found), strict=True))
    assert [draft.dedup_key for draft in found] == [keys[letter] for letter in letters]
    assert len(set(keys.values())) == len(keys)


def activity(properties: Value, common: bool, **entry: object) -> Value:
    """An entry of Azure's activity log, in the common or in its own schema."""
    whole = {"eventTimestamp": "2026-11-06T08:10:00Z", "properties": properties, **entry}
    if common:
        told = {"signalType": "Activity Log", "monitorCondition": "Fired", "alertTargetIDs": ["/s/1/vm/7"]}
        essentials = {**told, "alertRule": "r", "alertId": f"/subscriptions/1/alerts/{entry}"}
        return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials, "alertContext": whole}}
    whole |= {"resourceId": "/s/1/vm/7", "subscriptionId": "1"}
    return {"schemaId": "Microsoft.Insights/activityLogs", "data": {"context": {"activityLog": whole}}}


@pytest.mark.parametrize("common", [True, False])
def test_azure_resource_health_ends_when_the_resource_is_available(common: bool) -> None:
    """Every state is a new alert that fired: the resource is the key, its health decides, in both schemas."""
    found = [
        drafts("azure", activity({"currentHealthStatus": state}, common, operationName=f"health/{state}"))[0]
        for state in ("Unavailable", "Degraded", "Unknown", "Available")
    ]
    assert [draft.action for draft in found] == [TRIGGER, TRIGGER, TRIGGER, RESOLVE]
    assert {draft.dedup_key for draft in found} == {"azure|resource-health|/s/1/vm/7"}
    assert {draft.sent_at for draft in found} == {1_793_952_600_000}


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize(
    ("stage", "action"),
    [("Active", TRIGGER), ("InProgress", TRIGGER), ("Resolved", RESOLVE), ("Complete", RESOLVE), ("Canceled", RESOLVE)],
)
def test_azure_service_health_ends_by_its_stage(stage: str, action: Action, common: bool) -> None:
    """All communications of an outage share a tracking id; the report afterwards opens nothing."""
    body = activity({"trackingId": "A-1", "stage": stage, "title": "Outage"}, common, operationName=stage)
    (draft,) = drafts("azure", body)
    assert (draft.action, draft.dedup_key) == (action, "azure|service-health|A-1")
    report = activity({"trackingId": "A-1", "stage": "RCA"}, common, status="Active")
    assert silence("azure", json.dumps(report).encode()) == "ignored"


@pytest.mark.parametrize(
    ("body", "source"),
    [
        (
            {"schemaId": "AIP Budget Notification", "data": {"BudgetName": "shop", "NotificationThresholdAmount": "8"}},
            "shop",
        ),
        ({"schemaId": "Microsoft.Insights/New", "data": {"alertRule": "cpu", "resourceId": "/s/VM-7"}}, "vm-7"),
    ],
)
def test_azure_takes_any_schema_that_names_what_it_is_about(body: Value, source: str) -> None:
    """An action group sends budgets and what comes next to the same URL: each is a trigger of the default severity."""
    (draft,) = drafts("azure", body, FieldMapping(default_severity="warning"))
    assert (draft.action, draft.severity.name, draft.source) == (TRIGGER, "WARNING", source)
    ended = {**body, "data": {**body["data"], "status": "Deactivated"}}
    assert drafts("azure", ended)[0].action is RESOLVE


def eventbridge(state: str, **event: object) -> Value:
    """A change of a CloudWatch alarm's state, as EventBridge tells it."""
    metric = {"name": "Used", "namespace": "Shop", "dimensions": {"InstanceId": "i-7"}}
    detail = {
        "alarmName": "disk",
        "state": {"value": state, "reason": "91 > 90", "timestamp": "2026-11-06T08:15:00.000+0000"},
        "configuration": {"metrics": [{"metricStat": {"metric": metric}}]},
    }
    return {"detail-type": "CloudWatch Alarm State Change", "account": "1", "region": "r", "detail": detail, **event}


def test_cloudwatch_and_eventbridge_speak_of_one_alarm() -> None:
    """The alarm's own notification and the event, bare or by way of SNS, have one key; OK ends it."""
    own = {"AlarmName": "disk", "AWSAccountId": "1", "Region": "r", "NewStateValue": "ALARM"}
    wrapped = {"Type": "Notification", "TopicArn": "arn:aws:sns:r:1:ops", "Message": json.dumps(eventbridge("OK"))}
    (first,), (second,), (end,) = (drafts("cloudwatch", body) for body in (own, eventbridge("ALARM"), wrapped))
    assert first.dedup_key == second.dedup_key == end.dedup_key == "cloudwatch|r|1|disk"
    assert [draft.action for draft in (first, second, end)] == [TRIGGER, TRIGGER, RESOLVE]
    assert (second.source, second.class_, second.component) == ("i-7", "Used", "Shop")
    assert second.sent_at == 1_793_952_900_000


def test_a_changed_definition_of_an_alarm_is_no_change_of_its_state() -> None:
    """EventBridge tells both with the alarm's state, and only one of them is an alert."""
    body = eventbridge("ALARM", **{"detail-type": "CloudWatch Alarm Configuration Change"})
    body["detail"]["operation"] = "update"
    assert silence("cloudwatch", json.dumps(body).encode()) == "ignored"


def test_other_events_of_eventbridge_are_known_by_what_they_are_about() -> None:
    """Their text has ids and times, so it is no key; an event of AWS Health ends by its status."""
    base = {"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "resources": ["arn:i-1"]}
    (one,), (again,) = (drafts("cloudwatch", {**base, "id": text, "time": text}) for text in ("a", "b"))
    assert one.dedup_key == again.dedup_key != drafts("cloudwatch", {**base, "resources": ["arn:i-2"]})[0].dedup_key
    health = {"detail-type": "AWS Health Event", "source": "aws.health"}
    (open_,), (closed,) = (
        drafts("cloudwatch", {**health, "detail": {"eventArn": "arn:e", "statusCode": code}})
        for code in ("open", "closed")
    )
    assert (open_.action, closed.action, open_.dedup_key) == (TRIGGER, RESOLVE, closed.dedup_key)


@pytest.mark.parametrize("event", ["workflow_run", "check_suite"])
@pytest.mark.parametrize("branch", ["gh-readonly-queue/main/pr-1-9c6d", "mergify/merge-queue/0f1e"])
def test_a_merge_queue_breaks_no_branch(event: str, branch: str) -> None:
    """Its branches are built once, so an alert of them would never end."""
    body = {event: {"head_branch": branch, "conclusion": "failure"}, "repository": {"full_name": "a/b"}}
    assert silence("github", json.dumps(body).encode(), {"x-github-event": event}) == "ignored"


def test_a_merge_train_breaks_no_branch() -> None:
    """GitLab's merge trains are the same."""
    run = {"ref": "refs/merge-requests/5/train", "status": "failed"}
    body = {"object_kind": "pipeline", "object_attributes": run, "project": {"id": 1}}
    assert silence("gitlab", json.dumps(body).encode()) == "ignored"


def document(instance: str, status: str, **more: object) -> Value:
    """An alert of Kibana as a document."""
    fields = {"rule.uuid": "r", "rule.name": "CPU", "instance.id": instance, "status": status, **more}
    return {f"kibana.alert.{name}": value for name, value in fields.items()}


def test_kibana_summaries_have_the_keys_of_single_documents() -> None:
    """New and ongoing documents open, recovered ones end, whatever of it mustache made a text of."""
    new, gone = document("web-1", "active"), document("web-2", "active")
    plain: Value = {"new": {"data": [new]}, "ongoing": {"data": []}, "recovered": {"data": [gone]}}
    texts = {name: {"count": "1", "data": json.dumps(part["data"])} for name, part in plain.items()}
    for alerts in (plain, texts, json.dumps(plain), {"new": [json.dumps(new)], "recovered": json.dumps([gone])}):
        found = drafts("elastic", {"rule": {"id": "r"}, "alerts": alerts})
        assert [(draft.action, draft.dedup_key) for draft in found] == [
            (TRIGGER, drafts("elastic", new)[0].dedup_key),
            (RESOLVE, drafts("elastic", gone)[0].dedup_key),
        ]


def test_kibana_sections_may_be_json_in_texts() -> None:
    """A section in a string is read, with the quotation marks and HTML escapes that belong to its texts."""
    sections: Value = {
        "rule": {"id": "r-17", "name": 'CPU &quot;high&quot; on "web"', "tags": ["severity:critical"]},
        "alert": {"id": "web-1", "actionGroup": "fired"},
        "context": {"reason": "95 %"},
    }
    (plain,) = drafts("elastic", sections)
    (texts,) = drafts("elastic", {name: json.dumps(value) for name, value in sections.items()})
    (whole,) = drafts("elastic", json.dumps(json.dumps(sections)).encode())
    for draft in (texts, whole):
        assert (draft.dedup_key, draft.summary, draft.severity) == (plain.dedup_key, plain.summary, plain.severity)


def test_kibana_detection_rules_have_an_alert_for_each_document() -> None:
    """Their instance id is the same for all, so that is not what an alert is."""
    one, other = (drafts("elastic", document("*", "active", uuid=uuid))[0] for uuid in ("a", "b"))
    assert one.dedup_key != other.dedup_key


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_falco_has_an_alert_for_each_rule_and_host(mode: str) -> None:
    """Without a subject the rule and the host tell alerts apart, from data or from extension attributes."""

    def falco(rule: str, host: str, time: str) -> Draft:
        attributes = {"specversion": "1.0", "id": time, "source": "https://falco.org", "type": "falco.rule.output.v1"}
        attributes |= {"rule": rule, "priority": "Alert", "hostname": host}
        if mode == "structured":
            return drafts("cloudevents", {**attributes, "data": {"output": f"{time}: {rule}"}})[0]
        headers = {f"ce-{name}": value for name, value in attributes.items()} | {"content-type": "application/json"}
        return drafts("cloudevents", {"output": f"{time}: {rule}"}, None, headers)[0]

    first, again = falco("Terminal shell", "a", "1"), falco("Terminal shell", "a", "2")
    assert first.dedup_key == again.dedup_key
    others = {falco("Terminal shell", "b", "1").dedup_key, falco("Kernel module", "a", "1").dedup_key, first.dedup_key}
    assert len(others) == 3
    assert (first.action, first.severity.name) == (TRIGGER, "CRITICAL")
    assert "Terminal shell" in first.summary


def test_cloudevents_that_name_nothing_are_alerts_of_their_own() -> None:
    """Source and id are all that identifies such an event; one that can end keeps its family's key."""

    def key(**event: object) -> str:
        return drafts("cloudevents", {"specversion": "1.0", "source": "/s", **event})[0].dedup_key

    assert key(id="1", type="a.seen.v1") != key(id="2", type="a.seen.v1")
    assert key(id="1", type="a.seen.v1") == key(id="1", type="a.seen.v1")
    assert key(id="1", type="a.run.failed.v1") == key(id="2", type="a.run.succeeded.v1")


def test_splunk_enterprise_is_told_where_to_go() -> None:
    """Its body has no incident: the answer names the type and the mapping that take it, and the page does."""
    body = {"search_name": "Failed logins", "sid": "1", "result": {"host": "web-1"}}
    with pytest.raises(BadBody, match=r"Splunk Enterprise .* type webhook with the mapping summary: search_name"):
        drafts("splunk", body)
    assert any("Splunk Enterprise" in step for step in PROVIDERS["splunk"].setup)
    mapping = FieldMapping(summary="search_name", dedup_key="search_name", source="result.host")
    (draft,) = drafts("webhook", body, mapping)
    assert (draft.action, draft.dedup_key, draft.source) == (TRIGGER, "Failed logins", "web-1")


@pytest.mark.parametrize(
    "tags",
    [
        '[{"tag": "team", "value": "shop"}, {"tag": "target", "value": "http,https"}]',
        [{"tag": "team", "value": "shop"}, {"tag": "target", "value": "http,https"}],
    ],
)
def test_zabbix_tags_may_be_json(tags: object) -> None:
    """Commas of a value are no ends then, and the lowest severity's word is known."""
    body = {"eventid": "7", "eventvalue": "1", "eventtags": tags, "severity": "Not classified"}
    (draft,) = drafts("zabbix", body)
    assert draft.labels == {"team": "shop", "target": "http,https"}
    assert draft.severity.name == "INFO"


def test_an_alert_posted_to_alertmanagers_api_ends_by_its_end() -> None:
    """Relative to the arrival, so that a replay decides the same; the key is one with and without annotations."""
    arrival = int(datetime.fromisoformat("2026-11-06T10:05:00+00:00").timestamp() * 1000)
    context = Context(arrival.to_bytes(6, "big") + bytes(10), {}, FieldMapping())
    provider, keys = PROVIDERS["prometheus"], set()
    for end, action in (("10:08:00", TRIGGER), ("10:05:00", RESOLVE), ("10:04:59", RESOLVE), (None, TRIGGER)):
        alert = {"labels": {"alertname": "a"}, "startsAt": "2026-11-06T10:00:00Z"}
        alert |= {"endsAt": f"2026-11-06T{end}Z"} if end else {"endsAt": "0001-01-01T00:00:00Z"}
        group = provider.decode(json.dumps([alert]).encode(), context)
        (draft,) = provider.parse(group, context)
        assert draft.action is action
        assert provider.order_key(group, context) == "alerts"
        keys.add(draft.dedup_key)
    assert len(keys) == 1
    assert refused("prometheus", [{"annotations": {}}]) == "alerts.0.labels"
