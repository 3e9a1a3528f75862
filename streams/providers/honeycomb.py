"""Honeycomb triggers and burn alerts (https://docs.honeycomb.io/reference/honeycomb-ui/alerts/webhooks/).

One alert per trigger: the groups that made it fire are details. There is no severity, and no time that distinguishes
events.
"""

from schemas.wire.alert import Action
from streams.policy.signature import PlainToken
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    first_key,
    joined_key,
    make_draft,
)
from streams.providers._fields import as_object, labels_of, link, read_json

_STATES = {"triggered": Action.TRIGGER, "ok": Action.RESOLVE, "resolved": Action.RESOLVE}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    # Without an id, the key is a field that is the same for a trigger and its end.
    key = fields.require("id", "trigger_url", "name", "slo.name")
    if fields.get("is_test") is True or fields.text("summary").startswith("TRIGGER TEST"):
        raise NoAlert("test")
    action = _STATES.get(fields.require("status").lower())
    if action is None:
        raise BadBody("status", "is not TRIGGERED or OK")
    groups = fields.objects("result_groups_triggered")
    labels = labels_of(groups[0].get("Group")) if len(groups) == 1 else {}
    name = fields.text("name", "slo.name", "summary") or f"Honeycomb trigger {key}"
    return [
        make_draft(
            dedup_key=joined_key(key),
            action=action,
            severity=context.severity(fields.text("severity")),
            summary=": ".join(part for part in (name, fields.text("description")) if part),
            source=labels.get("host") or labels.get("service.name") or labels.get("service") or "honeycomb",
            component=fields.text("dataset", "slo.name"),
            class_=name,
            labels=labels,
            details=details,
            links=link(fields.text("result_url"), "Query result") + link(fields.text("trigger_url"), "Trigger"),
        )
    ]


PROVIDER = Provider(
    slug="honeycomb",
    title="Honeycomb",
    docs_url="https://docs.honeycomb.io/reference/honeycomb-ui/alerts/webhooks/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    signature=PlainToken(("x-honeycomb-webhook-token",)),
    setup=(
        "In Honeycomb, open Team Settings, Integrations, and add a webhook with the integration's URL.",
        "Its shared secret is signature_secret here.",
        "Add the webhook as recipient of each trigger and burn alert.",
    ),
    fields=(
        ("dedup_key", "`id`, else `trigger_url` or `name`"),
        ("action", "`status`: TRIGGERED triggers, OK and RESOLVED resolve"),
        ("severity", "`severity`, if your template has it"),
        ("summary", "`name` (else `slo.name`, `summary`) and `description`"),
        ("source", "the group's `host`, `service.name`, `service`, if there is one group"),
        ("component", "`dataset`, `slo.name`"),
        ("class", "`name`"),
        ("labels", "`result_groups_triggered.0.Group`, if there is one group"),
        ("links", "`result_url`, `trigger_url`"),
    ),
    severity_note="Honeycomb sends none: the integration's default, or a field severity of your own template.",
    key_scope="installation",
    key_reason="trigger ids count inside one environment",
    retries=(),
    retries_note="Honeycomb documents no second try",
    examples=(
        Example(
            b'{"version":"v0.1.0","id":"qZ81","name":"Checkout slow","status":"TRIGGERED","description":'
            b'"Currently greater than 500","result_url":"https://example.com/q","threshold":500,'
            b'"result_groups_triggered":[{"Group":{"service":"till"},"Result":731.2}]}',
            ((Action.TRIGGER, "qZ81"),),
        ),
        Example(b'{"id":"qZ81","name":"Checkout slow","status":"ok"}', ((Action.RESOLVE, "qZ81"),)),
        Example(b'{"id":"qZ81","name":"Checkout slow","status":"TRIGGERED","is_test":true}', (), silence="test"),
    ),
)
