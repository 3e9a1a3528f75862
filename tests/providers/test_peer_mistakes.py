"""Bodies that other systems read wrongly, and what is right: docs/peers.md has the list.

Each docstring names who is wrong, then what that system makes of the body.
"""

import json
from typing import Any

import pytest

from schemas.control import FieldMapping
from schemas.wire.alert import Action, Severity
from streams.providers import Draft
from tests.providers.test_clouds import alarm, azure
from tests.providers.test_examples import EVENT_ID, drafts, trigger
from tests.providers.test_repositories import github, pipeline, run, status
from tests.providers.test_vendors import silence

TRIGGER, ACKNOWLEDGE, RESOLVE = Action.TRIGGER, Action.ACKNOWLEDGE, Action.RESOLVE


def one(slug: str, body: object, **mapping: Any) -> Draft:
    """The only alert of a body."""
    (draft,) = drafts(slug, body, FieldMapping(**mapping) if mapping else None)
    return draft


class TestKeep:
    """What Keep's adapters do."""

    def test_datadog_tags_without_a_bare_monitor(self) -> None:
        """Keep: `tags` without the tag `monitor` raise ValueError, and the event is lost."""
        assert one("datadog", {"title": "Disk", "tags": "env:prod,service:web"}).action is TRIGGER

    def test_datadog_priority(self) -> None:
        """Keep: reads `severity`, which is not there, so that every alert is info."""
        assert one("datadog", {"title": "Disk", "priority": "P1"}).severity is Severity.CRITICAL

    def test_grafana_resolved_in_a_firing_group(self) -> None:
        """Keep: takes the status of the group, so a resolved alert of a firing group stays on."""
        alert = {"labels": {"alertname": "Disk", "pod": "a"}, "fingerprint": "1"}
        group = {
            "receiver": "r",
            "status": "firing",
            "alerts": [
                {**alert, "status": "resolved", "endsAt": "2026-11-02T08:15:00Z"},
                {**alert, "status": "firing", "fingerprint": "2"},
            ],
        }
        assert [draft.action for draft in drafts("grafana", group)] == [RESOLVE, TRIGGER]

    def test_newrelic_without_a_source(self) -> None:
        """Keep: no `source` raises UnboundLocalError."""
        assert one("newrelic", {"id": "i", "state": "ACTIVATED", "priority": "CRITICAL"}).action is TRIGGER

    def test_newrelic_activated_is_known(self) -> None:
        """Keep: `ACTIVATED` is not in its map, and fires by default only; what is closed has the same key and ends."""
        first, last = (one("newrelic", {"id": "i", "state": state}) for state in ("ACTIVATED", "CLOSED"))
        assert (first.action, last.action, first.dedup_key == last.dedup_key) == (TRIGGER, RESOLVE, True)

    def test_appdynamics_close_event(self) -> None:
        """Keep: a close event is a second firing alert with another fingerprint, and nothing ever resolves."""
        rule = {"name": "Slow", "id": 7}
        first, last = (
            one("appdynamics", {"event": {"eventType": kind, "healthRule": rule}})
            for kind in ("POLICY_OPEN_CRITICAL", "POLICY_CLOSE_CRITICAL")
        )
        assert (first.action, last.action, first.dedup_key == last.dedup_key) == (TRIGGER, RESOLVE, True)

    def test_pingdom_importance(self) -> None:
        """Keep: its map of severities is empty, so the importance is ignored."""
        body = {"check_id": 1, "check_name": "a", "current_state": "DOWN"}
        high, low = (one("pingdom", {**body, "importance_level": level}).severity for level in ("HIGH", "LOW"))
        assert high > low

    def test_cloudwatch_severity(self) -> None:
        """Keep: every alarm is info."""
        assert one("cloudwatch", alarm()).severity is Severity.CRITICAL

    def test_cloudwatch_accounts_and_regions(self) -> None:
        """Keep: an alarm's name is its key, so two accounts or regions are one alert."""
        arns = [f"arn:aws:cloudwatch:{where}:alarm:disk" for where in ("eu-north-1:1", "eu-north-1:2", "us-east-1:1")]
        keys = {one("cloudwatch", alarm(AlarmArn=arn, AWSAccountId=arn.split(":")[4])).dedup_key for arn in arns}
        assert len(keys) == 3

    def test_azure_rules_with_several_targets(self) -> None:
        """Keep: a rule's name is its key, so all its targets are one alert."""
        one_vm, other = (one("azure", azure(alertId=f"/s/1/Alerts/{each}")).dedup_key for each in "ab")
        assert one_vm != other

    def test_pagerduty_events(self) -> None:
        """Keep: an Events v2 body is "unknown title", info, and has one fingerprint for all."""
        first = one("events_v2", {**trigger(severity="critical", summary="Disk is full"), "dedup_key": "a"})
        assert (first.summary, first.severity, first.dedup_key) == ("Disk is full", Severity.CRITICAL, "a")

    def test_the_same_event_twice(self) -> None:
        """Keep (wazuh): a random id for each event, so the same event twice is never one."""
        event = {"rule": {"id": "550"}, "agent": {"name": "web-7"}}
        mapping = {"dedup_key": "rule.id", "summary": "agent.name"}
        assert one("webhook", event, **mapping).dedup_key == one("webhook", event, **mapping).dedup_key

    def test_kibana_severity(self) -> None:
        """Keep: its map of severities is empty, so everything is info."""
        body = {"rule": {"id": "r", "name": "Slow"}, "alert": {"id": "a", "actionGroup": "threshold met"}}
        assert one("elastic", {**body, "severity": "critical"}).severity is Severity.CRITICAL

    def test_gcp_label_of_the_policy(self) -> None:
        """Keep: ignores the severity in the labels of the policy, and says info."""
        incident = {
            "incident_id": "0.x",
            "state": "open",
            "policy_name": "Disk",
            "policy_user_labels": {"severity": "critical"},
        }
        assert one("gcp", {"incident": incident, "version": "1.2"}).severity is Severity.CRITICAL

    def test_fields_of_a_key_have_a_separator(self) -> None:
        """Keep (generic): hashes values without a separator, so ("ab", "c") is ("a", "bc")."""
        first, other = (
            one("custom", {"title": title, "description": "d", "service": service}).dedup_key
            for title, service in (("ab", "c"), ("a", "bc"))
        )
        assert first != other

    @pytest.mark.parametrize(
        ("slug", "body", "field", "values"),
        [
            ("zabbix", {"event_source": "0", "event_value": "1", "event_name": "Disk"}, "host_name", ("a", "b")),
            ("nagios", {"notification_type": "PROBLEM", "service_desc": "disk"}, "host_name", ("a", "b")),
            (
                "icinga",
                {"notification_type": "PROBLEM", "service": {"name": "disk"}},
                "host",
                ({"name": "a"}, {"name": "b"}),
            ),
            ("uptimekuma", {"msg": "down"}, "monitor", ({"id": 1, "name": "web"}, {"id": 2, "name": "web"})),
        ],
    )
    def test_hosts_do_not_fall_together(self, slug: str, body: dict[str, Any], field: str, values: Any) -> None:
        """Keep (zabbix, checkmk, icinga2, uptimekuma and twelve others): the name alone is the key."""
        extra = {"heartbeat": {"status": 0, "monitorID": 1}} if slug == "uptimekuma" else {}
        first, other = (one(slug, {**body, **extra, field: value}).dedup_key for value in values)
        assert first != other

    def test_pingdom_without_a_state_names_the_field(self) -> None:
        """Keep: a body without `current_state` raises AttributeError."""
        with pytest.raises(Exception, match="current_state"):
            drafts("pingdom", {"check_id": 1, "check_name": "a"})


class TestOpsKnight:
    """What OpsKnight's functions do."""

    @pytest.mark.parametrize(("word", "action"), [("acknowledge", ACKNOWLEDGE), ("resolve", RESOLVE)])
    def test_events_that_need_no_payload(self, word: str, action: Action) -> None:
        """OpsKnight: refuses the examples of its own guide, because `payload` and `severity` are missing."""
        assert one("events_v2", {"event_action": word, "dedup_key": "a"}).action is action

    def test_an_event_without_a_severity(self) -> None:
        """OpsKnight: 400, since it requires the severity."""
        event = {"event_action": "trigger", "dedup_key": "a", "payload": {"summary": "Disk", "source": "web"}}
        assert one("events_v2", event).severity is Severity.ERROR

    @pytest.mark.parametrize("word", ["unresolved", "broken"])
    def test_words_that_contain_others(self, word: str) -> None:
        """OpsKnight: "unresolved" and "broken" contain "resolved" and "ok", so they resolve."""
        body = {"summary": "Disk", "action": word}
        assert silence("webhook", json.dumps(body).encode()) == "ignored", "its answer says so"
        assert one("webhook", body, trigger_values=(word,)).action is TRIGGER

    @pytest.mark.parametrize("kind", ["Recovered", "OK"])
    def test_datadog_recoveries(self, kind: str) -> None:
        """OpsKnight: `Recovered` and `OK` are triggers."""
        assert one("datadog", {"title": "Disk", "alert_transition": kind}).action is RESOLVE

    def test_datadog_tags_as_text_and_ids_as_text(self) -> None:
        """OpsKnight: tags in one text, or an id that is a text, are 400."""
        draft = one("datadog", {"title": "Disk", "tags": "env:prod,team:web", "alert_id": "7"})
        assert (draft.labels["env"], draft.labels["team"]) == ("prod", "web")

    def test_prometheus_info(self) -> None:
        """OpsKnight: info becomes warning."""
        alert = {"status": "firing", "labels": {"alertname": "Disk", "severity": "info"}}
        assert one("prometheus", {"status": "firing", "alerts": [alert]}).severity is Severity.INFO

    def test_prometheus_without_a_fingerprint(self) -> None:
        """OpsKnight: 400, and its hash of the labels is dead code."""
        groups = [
            {"status": "firing", "alerts": [{"status": "firing", "labels": {"alertname": "Disk", "pod": pod}}]}
            for pod in "aab"
        ]
        first, same, other = (one("prometheus", group).dedup_key for group in groups)
        assert first == same != other

    def test_grafana_severity_and_pods(self) -> None:
        """OpsKnight: always critical, and two alerts that differ in `pod` alone share a key."""
        alerts = [{"status": "firing", "labels": {"alertname": "D", "pod": p, "severity": "warning"}} for p in "ab"]
        first, other = drafts("grafana", {"receiver": "r", "status": "firing", "alerts": alerts})
        assert first.dedup_key != other.dedup_key
        assert first.severity is Severity.WARNING

    @pytest.mark.parametrize("state", ["paused", "pending"])
    def test_grafana_legacy_states(self, state: str) -> None:
        """OpsKnight: paused and pending are triggers."""
        assert silence("grafana", json.dumps({"ruleId": 7, "state": state}).encode()) == "ignored"

    def test_newrelic_workflow_body(self) -> None:
        """OpsKnight: the present body of a workflow is an "unknown format", acknowledged and dropped."""
        body = {"id": "i", "issueUrl": "https://one.newrelic.com/1", "title": "CPU", "state": "CREATED"}
        assert (one("newrelic", body).action, one("newrelic", body).summary) == (TRIGGER, "CPU")

    def test_sentry_nesting(self) -> None:
        """OpsKnight: Sentry's own nesting `data.issue` is an "unknown format", acknowledged and dropped."""
        body = {"action": "created", "data": {"issue": {"id": "1", "title": "TypeError", "level": "fatal"}}}
        (draft,) = drafts("sentry", body, headers={"sentry-hook-resource": "issue"})
        assert (draft.action, draft.severity) == (TRIGGER, Severity.CRITICAL)

    def test_github_cancelled(self) -> None:
        """OpsKnight: a run that somebody cancelled is critical."""
        body = json.dumps(run("workflow_run", conclusion="cancelled")).encode()
        assert silence("github", body, {"x-github-event": "workflow_run"}) == "ignored"

    def test_github_code_scanning(self) -> None:
        """OpsKnight: alerts of code scanning are not handled."""
        alert = {"number": 1, "rule": {"security_severity_level": "high", "description": "SQL"}}
        body = {"action": "created", "alert": alert, "repository": run()["repository"]}
        assert github("code_scanning_alert", body).action is TRIGGER

    def test_bitbucket_in_progress(self) -> None:
        """OpsKnight: a build that runs is a trigger."""
        assert silence("bitbucket", json.dumps(status(state="INPROGRESS")).encode()) == "ignored"

    def test_uptimerobot_pause(self) -> None:
        """OpsKnight: alert type 3 is taken for a pause, and is a trigger like a monitor that is down."""
        body = {"monitorID": "1", "monitorFriendlyName": "web", "alertTypeFriendlyName": "SSL"}
        expires, down = (one("uptimerobot", {**body, "alertType": kind}) for kind in ("3", "1"))
        assert expires.dedup_key != down.dedup_key

    @pytest.mark.parametrize("state", [2, 3])
    def test_uptimekuma_pending_and_maintenance(self, state: int) -> None:
        """OpsKnight: pending and maintenance are critical triggers."""
        body = {"heartbeat": {"status": state, "monitorID": 1}, "monitor": {"id": 1, "name": "web"}, "msg": "m"}
        assert silence("uptimekuma", json.dumps(body).encode()) == "ignored"

    def test_pagerduty_sources(self) -> None:
        """OpsKnight: makes the key of the summary and ignores the source, so hosts collide."""
        events = [{**trigger(summary="Disk", source=source)} for source in ("a", "b")]
        for event in events:
            event.pop("dedup_key", None)
        first, other = (one("events_v2", event) for event in events)
        assert first.source != other.source
        assert first.dedup_key == other.dedup_key == EVENT_ID.hex(), "the id of the event, which each has of its own"

    def test_gitlab_green_pipeline(self) -> None:
        """OpsKnight: the id of the pipeline is in the key, so a later green one cannot end the red one."""
        red, green = one("gitlab", pipeline(id=1)), one("gitlab", pipeline(id=2, status="success"))
        assert (red.dedup_key, red.action, green.action) == (green.dedup_key, TRIGGER, RESOLVE)
