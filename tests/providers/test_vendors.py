"""What the vendors' formats leave to us, decided once: keys, actions and severities beyond the examples."""

from collections.abc import Mapping

import pytest

from schemas.control import FieldMapping
from schemas.wire.alert import Action, Severity
from streams.providers import PATH, PROVIDERS, QUERY, BadBody, Context, NoAlert
from tests.providers.test_examples import drafts, refused

CRITICAL, ERROR, WARNING, INFO = Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO
TRIGGER, ACKNOWLEDGE, RESOLVE = Action.TRIGGER, Action.ACKNOWLEDGE, Action.RESOLVE
Value = dict[str, object]


def silence(slug: str, body: bytes, headers: Mapping[str, str] | None = None) -> str:
    """Why there is no alert in this body."""
    with pytest.raises(NoAlert) as caught:
        PROVIDERS[slug].decode(body, Context(bytes(16), headers or {}, FieldMapping()))
    return caught.value.kind


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"alert_priority": "P1", "alert_type": "warning"}, CRITICAL),
        ({"priority": "P3", "alert_type": "error"}, WARNING),
        ({"alert_priority": "", "alert_type": "error"}, CRITICAL),
        ({"alert_priority": "$ALERT_PRIORITY", "alert_type": "warning"}, WARNING),
        ({"alert_type": "info"}, INFO),
        ({"title": "[P4] [Triggered] Disk"}, INFO),
        ({"alert_transition": "Re-Warn"}, WARNING),
        ({}, ERROR),
    ],
)
def test_datadog_severity_is_the_priority_then_the_type(fields: Value, severity: Severity) -> None:
    """Priority first, then the type, then a Warn transition, then the integration's default."""
    assert drafts("datadog", {"title": "Disk", **fields})[0].severity is severity


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"title": "[Triggered on {host:a}] Disk"}, {"title": "[P2] [Recovered on {host:a}] Disk"}, True),
        ({"title": "[Triggered on {host:a}] Disk"}, {"title": "[Triggered on {host:b}] Disk"}, False),
        ({"title": "[prod] Disk"}, {"title": "[test] Disk"}, False),
        (
            {"title": "a", "alert_id": 7, "alert_scope": "h:1"},
            {"title": "b", "alert_id": "7", "alert_scope": "h:1"},
            True,
        ),
        (
            {"title": "a", "alert_id": 7, "alert_scope": "h:1"},
            {"title": "a", "alert_id": 7, "alert_scope": "h:2"},
            False,
        ),
        ({"title": "a", "aggreg_key": "$AGGREG_KEY"}, {"title": "b", "aggreg_key": "$AGGREG_KEY"}, False),
        ({"title": "a", "alert_cycle_key": "k"}, {"title": "a", "aggreg_key": "k"}, False),
    ],
)
def test_datadog_keys_are_of_monitor_and_group(first: Value, second: Value, same: bool) -> None:
    """One monitor with groups is one alert per group, whatever the template tells of it."""
    assert (drafts("datadog", first)[0].dedup_key == drafts("datadog", second)[0].dedup_key) is same


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"alert_transition": "Re-No Data"}, TRIGGER),
        ({"alert_transition": "Recovered"}, RESOLVE),
        ({"alert_transition": "null", "title": "[Recovered] Disk"}, RESOLVE),
        ({"alert_type": "success"}, RESOLVE),
        ({"alert_type": "error"}, TRIGGER),
    ],
)
def test_datadog_actions(fields: Value, action: Action) -> None:
    """The transition, else the title's, else the type says whether it is over."""
    assert drafts("datadog", {"title": "Disk", **fields})[0].action is action


def test_datadog_uses_what_the_tags_say() -> None:
    """The service and environment of the tags, and times in milliseconds that are texts."""
    body = {"title": "[Triggered] Disk", "tags": "service:pay,env:prod,monitor", "date": "1763001000000"}
    (draft,) = drafts("datadog", body)
    assert (draft.source, draft.component, draft.group) == ("pay", "pay", "prod")
    assert draft.starts_at == 1_763_001_000_000


@pytest.mark.parametrize(
    ("state", "action"),
    [("alerting", TRIGGER), ("no_data", TRIGGER), ("ok", RESOLVE), ("pending", None), ("paused", None)],
)
def test_grafana_legacy_states(state: str, action: Action | None) -> None:
    """No data is a trigger; a pending or paused rule is nobody's business."""
    body = b'{"ruleId": 7, "ruleName": "CPU", "state": "%b"}' % state.encode()
    if action is None:
        assert silence("grafana", body) == "ignored"
    assert [draft.action for draft in drafts("grafana", body)] == ([] if action is None else [action])


def test_grafana_keys_of_legacy_rules_are_per_organisation() -> None:
    """Rule 7 of one organisation is not rule 7 of another."""
    one, two = ({"ruleId": 7, "orgId": org, "state": "alerting"} for org in (1, 2))
    assert drafts("grafana", one)[0].dedup_key != drafts("grafana", two)[0].dedup_key


@pytest.mark.parametrize(
    ("priority", "severity"),
    [("CRITICAL", CRITICAL), ("HIGH", WARNING), ("MEDIUM", WARNING), ("LOW", INFO), ("?", ERROR)],
)
def test_newrelic_priorities(priority: str, severity: Severity) -> None:
    """HIGH is a warning, as in New Relic's own template."""
    assert drafts("newrelic", {"id": "i", "state": "CREATED", "priority": priority})[0].severity is severity


@pytest.mark.parametrize(("state", "action"), [("OPEN", TRIGGER), ("RESOLVED", RESOLVE), ("MERGED", RESOLVE)])
def test_dynatrace_states(state: str, action: Action) -> None:
    """A merged problem is over under its own number."""
    assert drafts("dynatrace", {"PID": "1", "State": state})[0].action is action


def test_dynatrace_details_in_quotation_marks_are_read() -> None:
    """A template of nothing but the details as text is enough; what is not JSON there does no harm."""
    details = '{"problemId": "1_2V2", "status": "OPEN", "severityLevel": "PERFORMANCE", "title": "Slow"}'
    (draft,) = drafts("dynatrace", {"ProblemDetailsJSONv2": details, "ImpactedEntities": "not JSON"})
    assert (draft.dedup_key, draft.severity, draft.summary) == ("1_2V2", WARNING, "Slow")


@pytest.mark.parametrize(
    ("kind", "action", "severity"),
    [
        ("POLICY_OPEN_WARNING", TRIGGER, WARNING),
        ("POLICY_CONTINUES_CRITICAL", TRIGGER, CRITICAL),
        ("POLICY_UPGRADED", TRIGGER, CRITICAL),
        ("POLICY_DOWNGRADED", TRIGGER, WARNING),
        ("POLICY_CANCELED_CRITICAL", RESOLVE, CRITICAL),
        ("POLICY_CLOSE_WARNING", RESOLVE, WARNING),
        ("APPLICATION_ERROR", TRIGGER, INFO),
    ],
)
def test_appdynamics_event_types(kind: str, action: Action, severity: Severity) -> None:
    """The type says action and severity; the event's own severity counts only where it does not."""
    (draft,) = drafts("appdynamics", {"event": {"eventType": kind, "severity": "INFO", "healthRule": {"name": "r"}}})
    assert (draft.action, draft.severity) == (action, severity)


@pytest.mark.parametrize("group", ["recovered", "Recovered"])
def test_elastic_groups_and_ungrouped_rules(group: str) -> None:
    """Any group but the recovered one is a trigger; an ungrouped rule is called by its name."""
    rule = {"id": "r", "name": "Log errors"}
    (over,) = drafts("elastic", {"rule": rule, "alert": {"id": "query matched", "actionGroup": group}})
    (open_,) = drafts("elastic", {"rule": rule, "alert": {"id": "query matched", "actionGroup": "fired"}})
    assert (over.action, open_.action, over.dedup_key) == (RESOLVE, TRIGGER, open_.dedup_key)
    assert open_.source == "Log errors"


@pytest.mark.parametrize(
    ("extended", "status", "action"),
    [
        ("anomalous", "anomalous", TRIGGER),
        ("manually resolved", "anomalous", RESOLVE),
        ("stopped", "ok", RESOLVE),
        (None, "too high", TRIGGER),
        ("never heard of", "ok", RESOLVE),
    ],
)
def test_splunk_states(extended: str | None, status: str, action: Action) -> None:
    """The newer field first, the older one where that says nothing."""
    body = {"incidentId": "i", "statusExtended": extended, "status": status}
    assert drafts("splunk", body)[0].action is action


@pytest.mark.parametrize(
    ("word", "action"),
    [
        ("created", TRIGGER),
        ("unresolved", TRIGGER),
        ("assigned", ACKNOWLEDGE),
        ("archived", RESOLVE),
        ("ignored", RESOLVE),
        ("exploded", None),
    ],
)
def test_sentry_issue_actions(word: str, action: Action | None) -> None:
    """The issue hook speaks of the same key as the issue alert."""
    body: Value = {"action": word, "data": {"issue": {"id": 12, "title": "t"}}}
    found = drafts("sentry", body, None, {"sentry-hook-resource": "issue"})
    assert [(draft.action, draft.dedup_key) for draft in found] == ([] if action is None else [(action, "12")])


def test_sentry_without_the_resource_header_looks_at_the_data() -> None:
    """A proxy that drops the header does no harm, and an issue is not a metric alert of the same number."""
    (issue,) = drafts("sentry", {"action": "created", "data": {"issue": {"id": "4"}}})
    (metric,) = drafts("sentry", {"action": "critical", "data": {"metric_alert": {"id": "4"}}})
    assert issue.dedup_key != metric.dedup_key


def test_opsgenie_takes_the_key_from_the_path() -> None:
    """Encoded aliases are decoded, long ones hashed alike; ids need no parameter; tiny ids do not exist here."""

    def close(name: str, query: str) -> str:
        return drafts("opsgenie", b"", None, {PATH: f"/v2/alerts/{name}/close", QUERY: query})[0].dedup_key

    (made,) = drafts("opsgenie", {"message": "m", "alias": "ä/" * 200})
    assert close("%C3%A4%2F" * 200, "identifierType=alias") == made.dedup_key
    (anonymous,) = drafts("opsgenie", {"message": "m"})
    assert close(anonymous.dedup_key, "") == anonymous.dedup_key
    with pytest.raises(BadBody):
        close("12", "identifierType=tiny")
    with pytest.raises(BadBody):
        close("%ff", "identifierType=alias")


@pytest.mark.parametrize(
    ("event", "action"),
    [
        ({"type": "a.disk.triggered"}, TRIGGER),
        ({"type": "a.disk.full"}, TRIGGER),
        ({"type": "a.disk.full", "data": {"status": "Resolved"}}, RESOLVE),
        ({"type": "a.disk.triggered", "data": {"status": "odd"}}, TRIGGER),
        ({"type": "a.disk.full", "data": {"status": "odd"}}, None),
        ({"type": "a.disk.full", "data": '{"status": "ok"}'}, RESOLVE),
        ({"type": "a.disk.full", "data_base64": "eyJzdGF0dXMiOiAib2sifQ=="}, RESOLVE),
    ],
)
def test_cloudevents_actions(event: Value, action: Action | None) -> None:
    """The status of the data, else the type's last word, else a trigger; an unknown status alone is no alert."""
    found = drafts("cloudevents", {"specversion": "1.0", "id": "1", "source": "/s", **event})
    assert [draft.action for draft in found] == ([] if action is None else [action])


@pytest.mark.parametrize(
    ("number", "severity"),
    [(24, CRITICAL), (21, CRITICAL), ("17", ERROR), (16, WARNING), (12, INFO), (0, ERROR), (25, ERROR)],
)
def test_cloudevents_severity_numbers(number: object, severity: Severity) -> None:
    """OpenTelemetry's scale; what is outside of it is the default."""
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "severitynumber": number}
    assert drafts("cloudevents", event)[0].severity is severity


def test_webhook_maps_the_senders_own_severity_words() -> None:
    """The mapping's words come first, in any case."""
    mapping = FieldMapping(severity_map={"Sev1": "critical", "info": "warning"})
    for word, severity in (("SEV1", CRITICAL), ("info", WARNING), ("fatal", CRITICAL), ("?", ERROR)):
        assert drafts("webhook", {"severity": word}, mapping)[0].severity is severity


@pytest.mark.parametrize(
    ("slug", "body", "path"),
    [
        ("datadog", {"body": "x"}, "title"),
        ("datadog", {"title": "$EVENT_TITLE"}, "title"),
        ("datadog", {"title": "x", "alert_transition": "odd"}, "alert_transition"),
        ("grafana", {}, "alerts"),
        ("grafana", {"ruleId": 1, "state": "odd"}, "state"),
        ("newrelic", {"state": "CLOSED"}, "id"),
        ("newrelic", {"id": "x", "state": "{{state}}"}, "state"),
        ("newrelic", {"current_state": "open", "account_id": 4}, "incident_id"),
        ("newrelic", {"alert": "[]"}, "alert"),
        ("dynatrace", {"State": "OPEN", "PID": "{PID}"}, "PID"),
        ("dynatrace", {"State": "{State}", "PID": "1"}, "State"),
        ("appdynamics", {"event": {}}, "eventType"),
        ("appdynamics", [{"eventType": "A"}, 3], "events.1"),
        ("elastic", {}, "rule.id"),
        ("honeycomb", {"status": "OK"}, "id"),
        ("honeycomb", {"id": "x", "status": "odd"}, "status"),
        ("splunk", {"status": "ok"}, "incidentId"),
        ("splunk", {"incidentId": "x"}, "status"),
        ("sentry", {"action": "odd", "data": {"metric_alert": {"id": 1}}}, "action"),
        ("sentry", {"project": "p"}, "id"),
        ("opsgenie", {"alias": "a"}, "message"),
        ("cloudevents", {"id": "1"}, "specversion"),
        ("cloudevents", {"specversion": "1.0", "id": "1", "type": "t"}, "source"),
        ("change_events", {"payload": {"summary": " "}}, "payload.summary"),
    ],
)
def test_refusals_name_the_field(slug: str, body: object, path: str) -> None:
    """What cannot be used is refused with the path that a person has to look at."""
    assert refused(slug, body) == path


WITH_DEFAULT: dict[str, object] = {
    "grafana": {"alerts": [{"status": "firing", "labels": {"a": "b"}}]},
    "prometheus": {"alerts": [{"status": "firing", "labels": {"a": "b"}}]},
    "honeycomb": {"id": "x", "status": "TRIGGERED"},
    "elastic": {"watch_id": "w"},
    "datadog": {"title": "t"},
    "splunk": {"incidentId": "i", "status": "anomalous"},
}


@pytest.mark.parametrize("slug", WITH_DEFAULT)
def test_without_a_severity_the_integrations_default_counts(slug: str) -> None:
    """Tools that send none get what the integration says, error if it says nothing."""
    body = WITH_DEFAULT[slug]
    assert drafts(slug, body)[0].severity is ERROR
    assert drafts(slug, body, FieldMapping(default_severity="warning"))[0].severity is WARNING
