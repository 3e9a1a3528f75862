"""Grafana alerting (https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/).

Three shapes on one URL: unified alerting and a plain Alertmanager (`alerts`, where the status of each alert counts),
and legacy alerting up to version 10 (`ruleId`, `state`), which sends no times. An alert and its end have the same
`startsAt`; an alert that fires again may have it too.
"""

from typing import Any, NamedTuple

import msgspec

from schemas.wire.alert import Action
from streams.policy.signature import TimestampedHmac
from streams.providers import prometheus
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    joined_key,
    make_draft,
)
from streams.providers._fields import labels_of, link, text
from streams.providers._json import decode, decode_with_text

_STATES = {"alerting": Action.TRIGGER, "no_data": Action.TRIGGER, "ok": Action.RESOLVE}
_QUIET = {"pending", "paused"}


class Alert(prometheus.Alert, gc=False, rename="camel"):
    """One alert of unified alerting: Alertmanager's fields and Grafana's own."""

    dashboard_url: str | None = msgspec.field(default=None, name="dashboardURL")
    panel_url: str | None = msgspec.field(default=None, name="panelURL")
    image_url: str | None = msgspec.field(default=None, name="imageURL")
    value_string: str | None = None
    values: Any = None


class Body(msgspec.Struct, gc=False, rename="camel"):
    """The fields of all shapes; legacy alerting has no `alerts`, the others no `rule_id`."""

    alerts: list[Alert] | None = None
    group_key: Any = None
    org_id: Any = None
    rule_id: Any = None
    rule_name: Any = None
    rule_url: Any = None
    state: Any = None
    message: Any = None
    tags: Any = None
    eval_matches: Any = None


class Group(NamedTuple):
    """The alerts of a body, and their group, which is the same for an alert and its end."""

    order_key: str
    drafts: list[Draft]


_decoder = msgspec.json.Decoder(Body)
_any = msgspec.json.Decoder(Any)


def _decode(body: bytes, context: Context) -> Group:
    value = decode(_decoder, body)
    if value.alerts is None:
        _, details = decode_with_text(_any, body)  # the details are the whole body, so all of it must be valid
        draft = _legacy(value, details, context)
        return Group(draft.dedup_key, [draft])
    prometheus.check(value.alerts)
    group_key = text(value.group_key)
    if group_key.startswith("test-") and (value.alerts[0].labels or {}).get("alertname") == "TestAlert":
        raise NoAlert("test")
    drafts = [_draft(alert, context) for alert in value.alerts]
    return Group(group_key or drafts[0].dedup_key, drafts)


def _draft(alert: Alert, context: Context) -> Draft:
    given = (("values", alert.values), ("valueString", alert.value_string), ("imageURL", alert.image_url))
    draft = prometheus.draft(alert, {name: value for name, value in given if value}, context, "Grafana")
    links = link(alert.dashboard_url or "", "Dashboard") + link(alert.panel_url or "", "Panel")
    group = draft.labels.get("grafana_folder", draft.group)
    return msgspec.structs.replace(draft, group=group, links=draft.links + links)


def _legacy(body: Body, details: bytes, context: Context) -> Draft:
    rule, name = text(body.rule_id), text(body.rule_name)
    if not rule:
        raise BadBody("alerts", "is required, or ruleId of legacy alerting")
    if name == "Test notification":
        raise NoAlert("test")
    state = text(body.state).lower()
    if state in _QUIET:
        raise NoAlert("ignored")
    if state not in _STATES:
        raise BadBody("state", "is not alerting, no_data, ok, pending or paused")
    labels = labels_of(body.tags)
    return make_draft(
        dedup_key=joined_key("rule", text(body.org_id), rule),
        action=_STATES[state],
        severity=context.severity(labels.get("severity", "")),
        summary=name or text(body.message) or f"Grafana rule {rule}",
        source=_instance(body.eval_matches) or labels.get("instance") or "grafana",
        class_=name,
        labels=labels,
        details=details,
        links=link(text(body.rule_url), "Grafana"),
    )


def _instance(matches: Any) -> str:
    """The instance of the first series that matched; a rule that is OK again has none."""
    first = matches[0] if isinstance(matches, list) and matches else None
    tags = labels_of(first.get("tags")) if isinstance(first, dict) else {}
    return tags.get("instance") or tags.get("host") or ""


def _parse(group: Group, context: Context) -> list[Draft]:
    return group.drafts


def _order_key(group: Group, context: Context) -> str:
    return group.order_key


PROVIDER = Provider(
    slug="grafana",
    title="Grafana",
    docs_url="https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/"
    "integrations/webhook-notifier/",
    decode=_decode,
    parse=_parse,
    order_key=_order_key,
    methods=("POST", "PUT"),
    batch=True,
    signature=TimestampedHmac(
        ("x-grafana-alerting-signature", "x-grafana-signature"), timestamp_header="x-grafana-alerting-timestamp"
    ),
    setup=(
        "In Grafana, open Alerting, Contact points, and add one of the type Webhook with the integration's URL.",
        "Leave resolved messages on.",
        "To sign, set the HMAC secret there and signature_secret here; as timestamp header, give "
        "X-Grafana-Alerting-Timestamp, so that old requests cannot be played again.",
        "Press Test (it is answered, and opens nothing), and route alerts to the contact point.",
    ),
    fields=(
        ("dedup_key", "`fingerprint`, else the labels; legacy: `orgId` and `ruleId`"),
        (
            "action",
            "`status` of each alert: firing triggers, resolved resolves; legacy: `state` alerting and no_data "
            "trigger, ok resolves",
        ),
        ("severity", "the label or tag `severity`"),
        (
            "summary",
            "the annotation `summary`, the label `alertname`, the annotation `description`; legacy: `ruleName`",
        ),
        (
            "source",
            "the labels `instance`, `service`, `job`; legacy: the first `evalMatches`' tag `instance` or `host`",
        ),
        ("component", "the labels `job`, `service`"),
        ("group", "the labels `grafana_folder`, `cluster`"),
        ("class", "the label `alertname`; legacy: `ruleName`"),
        ("labels", "`labels`; legacy: `tags`"),
        ("links", "`generatorURL`, `dashboardURL`, `panelURL`; legacy: `ruleUrl`"),
        ("starts_at", "`startsAt`"),
        ("ends_at", "`endsAt` of a resolved alert"),
        ("began_at", "`startsAt`"),
    ),
    severity_note="The label severity (legacy: the tag severity) in the words everyone knows; without it the "
    "integration's default.",
    key_scope="installation",
    key_reason="a fingerprint covers the uid of the rule, which provisioned Grafanas share, and ruleId is a small "
    "number",
    retries=(),
    retries_note="Grafana does not send a webhook again before its group is notified anew, minutes later",
    examples=(
        Example(
            b'{"version":"1","groupKey":"{}:{alertname=\\"Disk\\"}","state":"alerting","orgId":1,"alerts":[{'
            b'"status":"firing","labels":{"alertname":"Disk","instance":"nas-1","severity":"critical"},'
            b'"annotations":{"summary":"nas-1 has 2% left"},"startsAt":"2026-11-06T10:00:00Z",'
            b'"endsAt":"0001-01-01T00:00:00Z","fingerprint":"0f1e2d3c4b5a6978","values":{"A":98.1},'
            b'"dashboardURL":"https://example.com/d/1"},{"status":"resolved","labels":{"alertname":"Disk",'
            b'"instance":"nas-2"},"fingerprint":"8796a5b4c3d2e1f0","values":null}]}',
            ((Action.TRIGGER, "0f1e2d3c4b5a6978"), (Action.RESOLVE, "8796a5b4c3d2e1f0")),
        ),
        Example(
            b'{"version":"1","orgId":1,"alerts":[{"status":"firing","labels":{"alertname":"Disk","instance":"nas-2"},'
            b'"annotations":{"summary":"nas-2 has 4% left"},"startsAt":"2026-11-06T10:02:00Z",'
            b'"endsAt":"0001-01-01T00:00:00Z","fingerprint":"8796a5b4c3d2e1f0"}]}',
            ((Action.TRIGGER, "8796a5b4c3d2e1f0"),),
        ),
        Example(
            b'{"ruleId":31,"ruleName":"Queue length","orgId":2,"state":"ok","tags":{"severity":"warning"},'
            b'"evalMatches":null,"title":"[OK] Queue length","ruleUrl":"https://example.com/d/2"}',
            ((Action.RESOLVE, "rule|2|31"),),
        ),
        Example(
            b'{"version":"1","groupKey":"test-57febcfda4a2","alerts":[{"status":"firing",'
            b'"labels":{"alertname":"TestAlert","instance":"Grafana"},"fingerprint":"57febcfda4a2"}]}',
            (),
            silence="test",
        ),
    ),
)
