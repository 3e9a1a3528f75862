"""Elastic (https://www.elastic.co/guide/en/kibana/current/webhook-action-type.html): bodies that the customer writes.

Kibana rules (`rule`, `alert`, `context`; key: rule and alert id), Watcher (`watch_id`), and security alerts
(`kibana.alert.*`: one alert, a list, or a summary with lists of new, ongoing and recovered alerts). Mustache may turn
whole objects into JSON text, with HTML escapes.

`date` is when Kibana ran the action, `execution_time` when Watcher ran the watch, each for this very change;
`kibana.alert.start` is the same for an alert and its end.
"""

from collections.abc import Iterator
from html import unescape
from typing import Any

from schemas.wire.alert import Action
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    joined_key,
    make_draft,
)
from streams.providers._fields import Fields, as_object, labels_of, link, nested_json, read_json
from streams.providers._json import encode
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_RECOVERED = {"recovered", "resolved", "closed", "ok"}
#: The id of every alert of a rule without grouping.
_UNGROUPED = {"query matched", "*"}
#: The lists of a summary, and the action of their alerts.
_SUMMARY = (("new", Action.TRIGGER), ("ongoing", Action.TRIGGER), ("recovered", Action.RESOLVE))
#: The names of the bodies in `setup`, for texts in three braces, which mustache does not escape.
_NAMES = (
    *("rule", "alert", "context", "id", "name", "tags", "actionGroup", "reason", "message", "title", "date"),
    *("watch_id", "status", "metadata", "severity"),
)
#: A document of a security alert has one of these fields.
_DOCUMENT = ("kibana.alert.rule.uuid", "kibana.alert.uuid", "kibana.alert.instance.id", "kibana.alert.rule.name")


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_template(read_json, body, _NAMES)
    value = _plain(value)
    if isinstance(value, list):
        return _documents(value, None, context)
    fields = as_object(value)
    for path in ("alerts", "context.alerts"):
        alerts = _plain(fields.get(path))
        if isinstance(alerts, list):
            return _documents(alerts, None, context)
        if isinstance(alerts, dict) and any(name in alerts for name, _ in _SUMMARY):
            return _summary(alerts, context)
    return [_draft(fields, details, context)]


def _summary(alerts: dict[str, Any], context: Context) -> list[Draft]:
    """The alerts of a summary (https://www.elastic.co/guide/en/kibana/current/rule-action-variables.html)."""
    drafts: list[Draft] = []
    for name, action in _SUMMARY:
        part = _plain(alerts.get(name))
        listed = _plain(part.get("data")) if isinstance(part, dict) else part
        if isinstance(listed, list) and listed:
            drafts += _documents(listed, action, context)
    if not drafts:
        raise NoAlert("ignored")
    return drafts


def _documents(alerts: list[Any], action: Action | None, context: Context) -> list[Draft]:
    """The alerts of a list; `action` is that of all of them, if the list determines it."""
    if not alerts:
        raise NoAlert("ignored")
    values = [as_object(_plain(item), f"alerts.{index}") for index, item in enumerate(alerts)]
    return [_draft(fields, encode(fields.values), context, action) for fields in values]


def _draft(fields: Fields, details: bytes, context: Context, action: Action | None = None) -> Draft:
    if fields.text("watch_id"):
        return _watch(fields, details, context)
    if fields.text(*_DOCUMENT):
        return _security(fields, details, context, action)
    return _rule(fields, details, context, action)


def _rule(fields: Fields, details: bytes, context: Context, action: Action | None) -> Draft:
    rule, alert, about = _part(fields, "rule"), _part(fields, "alert"), _part(fields, "context")
    # The names before version 8 are flat.
    name = rule.text("name") or fields.text("ruleName", "rule_name", "alertName")
    rule_id = rule.text("id") or fields.text("ruleId", "rule_id", "alertId") or name
    instance = alert.text("id") or fields.text("alertInstanceId", "alert_id") or alert.text("uuid")
    if not (rule_id or instance):
        raise BadBody("rule.id", "is required without rule.name and alert.id, or watch_id of Watcher")
    labels = dict(_labels(rule))
    group = alert.text("actionGroup", "actionGroupName") or fields.text("alertActionGroup", "actionGroup", "status")
    place = "" if instance in _UNGROUPED else instance
    return make_draft(
        dedup_key=joined_key("rule", rule_id, instance),
        action=action or (Action.RESOLVE if group.lower() in _RECOVERED else Action.TRIGGER),
        severity=context.severity(fields.text("severity") or labels.get("severity", "")),
        summary=": ".join(part for part in (name, about.text("reason", "message", "title")) if part) or "Kibana alert",
        source=fields.text("host", "source") or place or name or "kibana",
        component=place,
        group=rule.text("spaceId"),
        class_=name or rule.text("type"),
        labels=labels,
        details=details,
        links=link(about.text("alertDetailsUrl", "link") or rule.text("url"), "Kibana"),
        starts_at=epoch_ms(about.text("timestamp") or fields.text("date")),
        ends_at=epoch_ms(fields.text("date")),
        sent_at=epoch_ms(fields.text("date")),
    )


def _watch(fields: Fields, details: bytes, context: Context) -> Draft:
    watch, about = fields.text("watch_id"), _part(fields, "metadata")
    name = about.text("name", "title") or fields.text("name", "summary") or watch
    at = epoch_ms(fields.text("execution_time"))
    return make_draft(
        dedup_key=joined_key("watch", watch),
        action=Action.RESOLVE if fields.text("status", "state").lower() in _RECOVERED else Action.TRIGGER,
        severity=context.severity(fields.text("severity") or about.text("severity")),
        summary=name,
        source=fields.text("host", "source") or about.text("host") or watch,
        class_=watch,
        details=details,
        starts_at=at,
        ends_at=at,
        sent_at=at,
    )


def _security(fields: Fields, details: bytes, context: Context, action: Action | None) -> Draft:
    name = fields.text("kibana.alert.rule.name")
    rule, instance = fields.text("kibana.alert.rule.uuid") or name, fields.text("kibana.alert.instance.id")
    if not instance or instance in _UNGROUPED:
        # Alerts without grouping, such as those of detection rules, have an id of their own each.
        instance = fields.text("kibana.alert.uuid", "_id") or instance
    status = fields.text("kibana.alert.status").lower()
    return make_draft(
        dedup_key=joined_key("alert", rule, instance),
        action=action or (Action.RESOLVE if status in _RECOVERED else Action.TRIGGER),
        severity=context.severity(fields.text("kibana.alert.severity")),
        summary=fields.text("kibana.alert.reason") or name or f"Kibana alert {instance}",
        source=fields.text("host.name", "kibana.alert.instance.id") or name or "kibana",
        class_=name,
        details=details,
        links=link(fields.text("kibana.alert.url"), "Kibana"),
        starts_at=epoch_ms(fields.text("kibana.alert.start", "@timestamp")),
        ends_at=epoch_ms(fields.text("kibana.alert.end")),
        began_at=epoch_ms(fields.text("kibana.alert.start")),
    )


def _labels(rule: Fields) -> Iterator[tuple[str, str]]:
    tags = rule.get("tags")
    return iter(labels_of(_plain(tags) if isinstance(_plain(tags), list) else tags).items())


def _part(fields: Fields, name: str) -> Fields:
    value = _plain(fields.get(name))
    return Fields(value if isinstance(value, dict) else {})


def _plain(value: Any) -> Any:
    """A value as it was before mustache turned it into text; HTML escapes inside valid JSON are not undone."""
    if not isinstance(value, str):
        return value
    found = nested_json(value)
    return nested_json(unescape(value)) if found is None else found


def _order_key(drafts: list[Draft], context: Context) -> str:
    # The alerts in the lists of a rule are different each time.
    return drafts[0].class_ or drafts[0].dedup_key


PROVIDER = Provider(
    slug="elastic",
    title="Elastic (Kibana, Watcher)",
    docs_url="https://www.elastic.co/guide/en/kibana/current/webhook-action-type.html",
    decode=_decode,
    parse=as_decoded,
    order_key=_order_key,
    methods=("POST", "PUT"),
    batch=True,
    setup=(
        "In Kibana, open Stack Management, Connectors, and add a webhook: POST to the integration's URL.",
        'In each rule add it twice, for the alert and for "Recovered", with this body: {"rule": {"id": '
        '"{{rule.id}}", "name": "{{rule.name}}", "tags": "{{rule.tags}}"}, "alert": {"id": "{{alert.id}}", '
        '"actionGroup": "{{alert.actionGroup}}"}, "context": {"reason": "{{context.reason}}"}, "date": "{{date}}"}',
        "Tag the rule severity:critical, severity:warning and so on.",
        'A summary of alerts is read as well: {"alerts": {"new": {"data": [{{alerts.new.data}}]}, "ongoing": '
        '{"data": [{{alerts.ongoing.data}}]}, "recovered": {"data": [{{alerts.recovered.data}}]}}}.',
        'In Watcher, add a webhook action with {"watch_id": "{{ctx.watch_id}}", "status": "active", "metadata": '
        '{"name": "{{ctx.metadata.name}}", "severity": "high"}}, and a second watch or condition with "recovered".',
    ),
    fields=(
        (
            "dedup_key",
            "`rule.id` (else `rule.name`) and `alert.id`; `watch_id`; `kibana.alert.rule.uuid` and the alert's "
            "instance id or `kibana.alert.uuid`",
        ),
        (
            "action",
            "`alert.actionGroup`, `status`, `state`, `kibana.alert.status`: recovered, resolved, closed and ok "
            "resolve, all others trigger; of a summary `alerts.new` and `alerts.ongoing` trigger, `alerts.recovered` "
            "resolves",
        ),
        ("severity", "`severity`, the tag `severity`, `metadata.severity`, `kibana.alert.severity`"),
        ("summary", "`rule.name` and `context.reason` (or `message`, `title`); `metadata.name`; `kibana.alert.reason`"),
        ("source", "`host`, `source`, `alert.id`; `metadata.host`, `watch_id`; `host.name`"),
        ("component", "`alert.id` of a grouped rule"),
        ("group", "`rule.spaceId`"),
        ("class", "`rule.name`, `rule.type`; `watch_id`; `kibana.alert.rule.name`"),
        ("labels", "`rule.tags`"),
        ("links", "`context.alertDetailsUrl`, `context.link`, `rule.url`; `kibana.alert.url`"),
        ("starts_at", "`context.timestamp`, `date`; `execution_time`; `kibana.alert.start`, `@timestamp`"),
        ("ends_at", "`date`; `execution_time`; `kibana.alert.end`"),
        ("sent_at", "`date`; `execution_time`"),
        ("began_at", "`kibana.alert.start`"),
    ),
    severity_note="The field severity, the tag severity:<word>, Watcher's metadata.severity or kibana.alert.severity "
    "in the words everyone knows; without one the integration's default.",
    key_scope="installation",
    key_reason="rule ids are copied with saved objects, and watches have names that people choose",
    retries=(),
    retries_note="Kibana's connector tries 429 and 5xx again three times, Watcher does not",
    examples=(
        Example(
            b'{"rule":{"id":"r-17","name":"Memory above 90%","tags":"[&quot;severity:high&quot;,&quot;blue&quot;]"},'
            b'"alert":{"id":"pod-4","actionGroup":"metrics.fired"},"context":{"reason":"93% on pod-4"},'
            b'"date":"2026-11-06T12:00:03.120Z"}',
            ((Action.TRIGGER, "rule|r-17|pod-4"),),
        ),
        Example(
            b'{"rule":{"id":"r-17","name":"Memory above 90%"},"alert":"{\\"id\\":\\"pod-4\\",'
            b'\\"actionGroup\\":\\"recovered\\"}","context":{"reason":"{{context.reason}}"}}',
            ((Action.RESOLVE, "rule|r-17|pod-4"),),
        ),
        Example(
            b'{"watch_id":"login_burst","status":"active","metadata":{"name":"Many logins","severity":"low"}}',
            ((Action.TRIGGER, "watch|login_burst"),),
        ),
        Example(
            b'[{"kibana.alert.rule.uuid":"u-1","kibana.alert.uuid":"a-1","kibana.alert.severity":"medium",'
            b'"kibana.alert.status":"active","kibana.alert.reason":"odd process","host":{"name":"pc-9"}},'
            b'{"kibana":{"alert":{"rule":{"uuid":"u-1"},"uuid":"a-2","status":"recovered"}}}]',
            ((Action.TRIGGER, "alert|u-1|a-1"), (Action.RESOLVE, "alert|u-1|a-2")),
        ),
    ),
)
