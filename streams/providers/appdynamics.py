"""AppDynamics HTTP request actions (https://docs.appdynamics.com/): a template that the customer writes.

The event's type determines the action; the event's own severity falls to INFO when a violation ends. Every event has a
new id, so the key is application, health rule and affected entity. One request may carry a list. `eventTime` is when
the controller raised this very event, so it orders events.
"""

import re

from schemas.wire.alert import Action, Severity
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
from streams.providers._fields import Fields, as_object, link, read_json
from streams.providers._json import encode
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_RESOLVED = re.compile(r"POLICY_(?:CLOSE|CANCELED)(?:_\w+)?")
#: The names of the payload in `setup`, whose texts the controller does not escape.
_NAMES = (
    *("event", "eventType", "summaryMessage", "displayName", "severity", "application", "tier", "node", "healthRule"),
    *("name", "deepLink", "eventTime", "eventMessage"),
)
_SUFFIXES = (
    ("_CRITICAL", Severity.CRITICAL),
    ("_WARNING", Severity.WARNING),
    ("_UPGRADED", Severity.CRITICAL),
    ("_DOWNGRADED", Severity.WARNING),
)
_SEVERITIES = {"ERROR": Severity.CRITICAL, "WARN": Severity.WARNING, "INFO": Severity.INFO}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_template(read_json, body, _NAMES)
    root = value if isinstance(value, list) else as_object(value).get("events")
    if isinstance(root, list):
        if not root:
            raise NoAlert("ignored")
        events = [as_object(item, f"events.{index}") for index, item in enumerate(root)]
        return [_draft(event, encode(event.values), context) for event in events]
    return [_draft(as_object(value), details, context)]


def _draft(fields: Fields, details: bytes, context: Context) -> Draft:
    event = next((found for name in ("event", "latestEvent") if (found := fields.object(name)).values), fields)
    kind = event.text("eventType", "eventTypeKey").upper()
    application, rule = event.text("application.name", "application"), event.text("healthRule.name", "healthRule")
    entity = next((name for item in event.objects("affectedEntities") if (name := item.text("name"))), "")
    node, tier = event.text("node.name", "node"), event.text("tier.name", "tier")
    entity = entity or node or tier or application
    summary = event.text("summaryMessage", "displayName") or rule or kind
    if not kind and not rule:
        raise BadBody("eventType", "is required without healthRule")
    at = epoch_ms(event.get("eventTime"))
    return make_draft(
        # Events without a health rule have no end; only their type distinguishes them.
        dedup_key=joined_key("rule", application, rule, entity)
        if rule
        else joined_key("event", application, _family(kind), entity),
        action=Action.RESOLVE if _RESOLVED.fullmatch(kind) else Action.TRIGGER,
        severity=_severity(kind, event.text("severity"), context),
        summary=summary,
        source=entity or "appdynamics",
        component=tier or node,
        group=application,
        class_=rule or kind,
        details=details,
        links=link(event.text("deepLink"), "AppDynamics"),
        starts_at=at,
        ends_at=at,
        sent_at=at,
    )


def _family(kind: str) -> str:
    """The part of the type that all events of one violation share."""
    return "POLICY" if kind.startswith("POLICY_") else kind


def _severity(kind: str, word: str, context: Context) -> Severity:
    known = next((severity for suffix, severity in _SUFFIXES if kind.endswith(suffix)), None)
    return known or _SEVERITIES.get(word.upper()) or context.severity(word)


def _order_key(drafts: list[Draft], context: Context) -> str:
    return drafts[0].group or drafts[0].dedup_key


PROVIDER = Provider(
    slug="appdynamics",
    title="AppDynamics",
    docs_url="https://docs.appdynamics.com/appd/24.x/latest/en/appdynamics-essentials/alert-and-respond/actions",
    decode=_decode,
    parse=as_decoded,
    order_key=_order_key,
    batch=True,
    setup=(
        "In AppDynamics, open Alert and Respond, HTTP Request Templates, and add a template: POST to the "
        "integration's URL, MIME type application/json, one request per event.",
        'As payload: {"event": {"eventType": "${latestEvent.eventType}", "summaryMessage": '
        '"${latestEvent.summaryMessage}", "severity": "${latestEvent.severity}", "application": {"name": '
        '"${latestEvent.application.name}"}, "tier": {"name": "${latestEvent.tier.name}"}, "node": {"name": '
        '"${latestEvent.node.name}"}, "healthRule": {"name": "${latestEvent.healthRule.name}"}, "deepLink": '
        '"${latestEvent.deepLink}"}}',
        "Add a policy that runs this action for health rule violations: started, continues, upgraded, downgraded, "
        "ended and canceled.",
    ),
    fields=(
        (
            "dedup_key",
            "`application.name`, `healthRule.name` and the entity; without a health rule the type of event "
            "instead of it",
        ),
        ("action", "`eventType`: POLICY_CLOSE and POLICY_CANCELED resolve, all others trigger"),
        ("severity", "`eventType`, `severity`"),
        ("summary", "`summaryMessage`, `displayName`, `healthRule.name`"),
        ("source", "`affectedEntities.*.name`, `node.name`, `tier.name`, `application.name`"),
        ("component", "`tier.name`, `node.name`"),
        ("group", "`application.name`"),
        ("class", "`healthRule.name`, `eventType`"),
        ("links", "`deepLink`"),
        ("starts_at", "`eventTime`"),
        ("ends_at", "`eventTime` of an end"),
        ("sent_at", "`eventTime`"),
    ),
    severity_note="The end of the event's type: CRITICAL and UPGRADED are critical, WARNING and DOWNGRADED are "
    "warning; else ERROR is critical, WARN is warning and INFO is info.",
    key_scope="installation",
    key_reason="applications, health rules and entities are names inside one controller",
    retries=(),
    retries_note="AppDynamics documents no second try of an HTTP request action",
    examples=(
        Example(
            b'{"event":{"eventType":"POLICY_OPEN_WARNING","id":"71","summaryMessage":"Heap is\nabove 80%",'
            b'"application":{"name":"Billing"},"tier":{"name":"jobs"},"node":{"name":"jobs-2"},'
            b'"healthRule":{"name":"JVM heap"},"severity":"WARN","deepLink":"https://example.com/e/71"}}',
            ((Action.TRIGGER, "rule|Billing|JVM heap|jobs-2"),),
        ),
        Example(
            b'[{"eventType":"POLICY_CLOSE_WARNING","application":{"name":"Billing"},"node":{"name":"jobs-2"},'
            b'"healthRule":{"name":"JVM heap"},"severity":"INFO"},{"eventType":"APPLICATION_ERROR","severity":"ERROR",'
            b'"application":{"name":"Billing"},"tier":{"name":"${latestEvent.tier.name}"}}]',
            (
                (Action.RESOLVE, "rule|Billing|JVM heap|jobs-2"),
                (Action.TRIGGER, "event|Billing|APPLICATION_ERROR|Billing"),
            ),
        ),
    ),
)
