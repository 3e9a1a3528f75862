"""New Relic (https://docs.newrelic.com/docs/alerts/get-notified/notification-integrations/).

Two shapes: the workflow webhook's (`state`, key: issue id) and the legacy policy channel's (`current_state`, key:
account and incident), which also comes as the form field `alert`. Times are milliseconds. `updatedAt` is when the issue
entered this state (`closedAt` when it ended), `timestamp` when the incident did; `createdAt` is when the issue began.
"""

from typing import Any

from schemas.wire.alert import Action, Severity
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
from streams.providers._fields import Fields, as_object, labels_of, link, read, read_json, text
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_STATES = {
    "created": Action.TRIGGER,
    "activated": Action.TRIGGER,
    "acknowledged": Action.ACKNOWLEDGE,
    "closed": Action.RESOLVE,
}
_LEGACY_STATES = {"open": Action.TRIGGER, "acknowledged": Action.ACKNOWLEDGE, "closed": Action.RESOLVE}

#: The names of both shapes; a template that writes {{title}} instead of {{json title}} does not escape the text.
_NAMES = (
    *(
        "id",
        "issueId",
        "issueUrl",
        "title",
        "priority",
        "state",
        "impactedEntities",
        "createdAt",
        "updatedAt",
        "closedAt",
    ),
    *("alertPolicyNames", "alertConditionNames", "account_id", "incident_id", "current_state", "condition_name"),
    *("details", "severity", "policy_name", "timestamp", "incident_url", "runbook_url", "targets"),
)


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = read_template(lambda text: read(text, context), body, _NAMES)
    nested = fields.get("alert")
    if isinstance(nested, str):
        value, details = read_json(nested.encode())
        fields = as_object(value, "alert")
    legacy = bool(fields.text("current_state"))
    return [_legacy(fields, details, context) if legacy else _workflow(fields, details, context)]


def _workflow(fields: Fields, details: bytes, context: Context) -> Draft:
    key, state = fields.require("id", "issueId", "issueUrl", "title"), fields.require("state")
    action = _STATES.get(state.lower())
    if action is None:
        raise BadBody("state", "is not CREATED, ACTIVATED, ACKNOWLEDGED or CLOSED")
    entities, policies = _texts(fields.get("impactedEntities")), _texts(fields.get("alertPolicyNames"))
    conditions = _texts(fields.get("alertConditionNames"))
    return make_draft(
        dedup_key=joined_key(key),
        action=action,
        severity=_severity(fields.text("priority"), context),
        summary=fields.text("title") or f"New Relic issue {key}",
        source=", ".join(entities) or "newrelic",
        component=entities[0] if entities else "",
        group=policies[0] if policies else "",
        class_=conditions[0] if conditions else "",
        details=details,
        links=link(fields.text("issueUrl"), "New Relic"),
        starts_at=epoch_ms(fields.get("createdAt")),
        ends_at=epoch_ms(fields.get("updatedAt")),
        sent_at=(epoch_ms(fields.get("closedAt")) if action is Action.RESOLVE else 0)
        or epoch_ms(fields.get("updatedAt")),
    )


def _legacy(fields: Fields, details: bytes, context: Context) -> Draft:
    incident, account = fields.text("incident_id"), fields.text("account_id")
    if incident == "0":
        raise NoAlert("test")
    action = _LEGACY_STATES.get(fields.text("current_state").lower())
    if action is None:
        raise BadBody("current_state", "is not open, acknowledged or closed")
    targets = fields.objects("targets")
    names = [name for target in targets if (name := target.text("name"))]
    condition, said = fields.text("condition_name"), fields.text("details")
    if not (incident or condition or names):
        raise BadBody("incident_id", "is required without condition_name and targets")
    # Without ids, the key consists of fields that are the same for an incident and its end.
    about = ("incident", account, incident) if incident else ("condition", account, condition, *names)
    return make_draft(
        dedup_key=joined_key(*about),
        action=action,
        severity=_severity(fields.text("severity"), context),
        summary=": ".join(part for part in (condition, said) if part) or f"New Relic incident {incident}",
        source=", ".join(names) or "newrelic",
        component=names[0] if names else "",
        group=fields.text("policy_name"),
        class_=condition,
        labels=labels_of(targets[0].get("labels")) if targets else {},
        details=details,
        links=link(fields.text("incident_url"), "New Relic") + link(fields.text("runbook_url"), "Runbook"),
        starts_at=epoch_ms(fields.get("timestamp")),
        ends_at=epoch_ms(fields.get("timestamp")),
        sent_at=epoch_ms(fields.get("timestamp")),
    )


def _severity(word: str, context: Context) -> Severity:
    # New Relic's own legacy-compatible template writes HIGH as WARNING.
    return Severity.WARNING if word.lower() == "high" else context.severity(word)


def _texts(value: Any) -> list[str]:
    """The texts of a list, or of a list that a template turned into one text."""
    values = value if isinstance(value, list) else text(value).split(",")
    return [found for item in values if (found := text(item))]


PROVIDER = Provider(
    slug="newrelic",
    title="New Relic",
    docs_url="https://docs.newrelic.com/docs/alerts/get-notified/notification-integrations/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type",),
    setup=(
        "In New Relic, open Alerts, Destinations, and add a webhook with the integration's URL.",
        "Open Alerts, Workflows, add that destination, and keep the default payload.",
        "Tick activated, acknowledged and closed issues under the events to notify about.",
    ),
    fields=(
        (
            "dedup_key",
            "`id`, `issueId`, else `issueUrl` or `title`; legacy: `account_id` and `incident_id`, else condition and "
            "targets",
        ),
        (
            "action",
            "`state`: CREATED and ACTIVATED trigger, ACKNOWLEDGED acknowledges, CLOSED resolves; legacy: "
            "`current_state`",
        ),
        ("severity", "`priority`; legacy: `severity`"),
        ("summary", "`title`; legacy: `condition_name` and `details`"),
        ("source", "`impactedEntities`; legacy: names of `targets`"),
        ("component", "the first of them"),
        ("group", "`alertPolicyNames.0`; legacy: `policy_name`"),
        ("class", "`alertConditionNames.0`; legacy: `condition_name`"),
        ("labels", "legacy: `targets.0.labels`"),
        ("links", "`issueUrl`; legacy: `incident_url`, `runbook_url`"),
        ("starts_at", "`createdAt`; legacy: `timestamp`"),
        ("ends_at", "`updatedAt`; legacy: `timestamp` of an end"),
        ("sent_at", "`closedAt` of an end, `updatedAt`; legacy: `timestamp`"),
    ),
    severity_note="CRITICAL is critical, HIGH and MEDIUM are warning, LOW is info, as in New Relic's own templates; "
    "severity of the legacy shape in the words everyone knows.",
    key_scope="installation",
    key_reason="incident ids count inside one account, which old payloads do not always name",
    retries=(),
    retries_note="New Relic documents no second try that lasts for a minute",
    examples=(
        Example(
            b'{"id":"0b5d2c9e-9f3e-4a47-8d3c-2f8a37b6f001","title":"Apdex of search below 0.7","priority":"HIGH",'
            b'"state":"ACTIVATED","impactedEntities":["search"],"createdAt":1793954578315,"updatedAt":1793954579000,'
            b'"alertPolicyNames":["Web"],"alertConditionNames":["Apdex"],"issueUrl":"https://example.com/i/1"}',
            ((Action.TRIGGER, "0b5d2c9e-9f3e-4a47-8d3c-2f8a37b6f001"),),
        ),
        Example(
            b'{"account_id":711,"incident_id":9,"current_state":"closed","severity":"WARNING","condition_name":"CPU",'
            b'"details":"CPU > 90%","targets":[],"policy_name":"Hosts","timestamp":1793954578315,"runbook_url":null}',
            ((Action.RESOLVE, "incident|711|9"),),
        ),
        Example(
            b"alert=%7B%22account_id%22%3A711%2C%22incident_id%22%3A12%2C%22current_state%22%3A%22open%22%7D",
            ((Action.TRIGGER, "incident|711|12"),),
            {"content-type": "application/x-www-form-urlencoded"},
        ),
        Example(b'{"account_id":711,"incident_id":0,"current_state":"open","severity":"INFO"}', (), silence="test"),
    ),
)
