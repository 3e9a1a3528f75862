"""Google Cloud Monitoring, as webhook or through Pub/Sub push (https://cloud.google.com/monitoring/support/notification-options).

The same incident comes bare or as base64 in a Pub/Sub message. Deliveries repeat and may be out of order; the
incident's id connects them. An incident never opens again under its id, so `started_at` is when it opened, `ended_at`
when it closed, and an opening that arrives after its end is older than the end.
"""

from base64 import b64decode

from schemas.wire.alert import Action
from schemas.wire.severity import severity_of
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
from streams.providers._time import epoch_ms

_STATES = {"open": Action.TRIGGER, "closed": Action.RESOLVE, "acknowledged": Action.ACKNOWLEDGE}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    if isinstance(fields.get("message"), dict):
        value, details = read_json(_message(fields.get("message.data")))
        fields = as_object(value, "message.data")
    if fields.text("version").lower() == "test":
        raise NoAlert("test")
    incident = as_object(fields.get("incident"), "incident")
    ended = epoch_ms(incident.get("ended_at"))
    action = _STATES.get(incident.text("state").lower() or ("closed" if ended else "open"))
    if action is None:
        raise BadBody("incident.state", "is not open, closed or acknowledged")
    labels = {
        **labels_of(incident.get("resource.labels")),
        **labels_of(incident.get("metric.labels")),
        **labels_of(incident.get("policy_user_labels")),
    }
    started = epoch_ms(incident.get("started_at"))
    resource = incident.text("resource_id", "resource_name", "resource_display_name")
    condition, project = incident.text("condition_name", "condition.displayName"), incident.text("scoping_project_id")
    key = incident.text("incident_id")
    if not (key or condition or incident.text("policy_name")):
        raise BadBody("incident.incident_id", "is required without condition_name and policy_name")
    about = (key,) if key else ("condition", project, incident.text("policy_name"), condition, resource)
    return [
        make_draft(
            dedup_key=joined_key("gcp", *about),
            action=action,
            severity=severity_of(incident.text("severity")) or context.severity(labels.get("severity", "")),
            summary=incident.text("summary") or condition or incident.text("policy_name") or f"Incident {key}",
            source=incident.text("resource_display_name", "resource_name", "resource_id") or project or "gcp",
            component=incident.text("resource_type_display_name", "resource.type"),
            group=project,
            class_=condition or incident.text("policy_name"),
            labels=labels,
            details=details,
            links=link(incident.text("url"), "Google Cloud"),
            starts_at=started,
            ends_at=ended,
            sent_at={Action.TRIGGER: started, Action.RESOLVE: ended}.get(action, 0),
        )
    ]


def _message(data: object) -> bytes:
    try:
        return b64decode(data, validate=True) if isinstance(data, str) else b""
    except ValueError:
        raise BadBody("message.data", "is not base64") from None


PROVIDER = Provider(
    slug="gcp",
    title="Google Cloud Monitoring",
    docs_url="https://cloud.google.com/monitoring/support/notification-options",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    setup=(
        "In Google Cloud, open Monitoring, Alerting, Edit notification channels, and add a webhook with the "
        "integration's URL; or a Pub/Sub topic with a push subscription to that URL.",
        "Press Test connection: the answer is 200 and nothing is stored.",
        "Add the channel to each alerting policy, with a severity level.",
    ),
    fields=(
        ("dedup_key", "`incident.incident_id`, else project, policy, condition and resource"),
        ("action", "`incident.state`: open triggers, acknowledged acknowledges, closed resolves"),
        ("severity", "`incident.severity`, the label `severity`"),
        ("summary", "`incident.summary`, `incident.condition_name`, `incident.policy_name`"),
        (
            "source",
            "`incident.resource_display_name`, `incident.resource_name`, `incident.resource_id`, "
            "`incident.scoping_project_id`",
        ),
        ("component", "`incident.resource_type_display_name`, `incident.resource.type`"),
        ("group", "`incident.scoping_project_id`"),
        ("class", "`incident.condition_name`, `incident.policy_name`"),
        ("labels", "`incident.resource.labels`, `incident.metric.labels`, `incident.policy_user_labels`"),
        ("links", "`incident.url`"),
        ("starts_at", "`incident.started_at`"),
        ("ends_at", "`incident.ended_at`"),
        ("sent_at", "`incident.started_at` or, of an end, `incident.ended_at`"),
    ),
    severity_note="Critical, Error and Warning as they are; without one the policy's label severity, then the "
    "integration's default.",
    key_scope="global",
    key_reason="an incident id is unique in all of Google Cloud",
    retries=(),
    retries_note="Pub/Sub sends again until it is acknowledged; the webhook channel documents no second try",
    examples=(
        Example(
            b'{"version":"1.2","incident":{"incident_id":"0.p4q","state":"open","severity":"Error","summary":"Queue '
            b'mail has 900 messages.","condition_name":"Queue length","resource_display_name":"mail","started_at":'
            b'1793954578,"ended_at":null,"scoping_project_id":"shop","resource":{"type":"queue","labels":'
            b'{"zone":"b"}},"url":"https://console.cloud.google.com/monitoring"}}',
            ((Action.TRIGGER, "gcp|0.p4q"),),
        ),
        # {"version": "1.2", "incident": {"incident_id": "0.p4q", "state": "closed", "ended_at": 1793954999}}
        Example(
            b'{"message":{"data":"eyJ2ZXJzaW9uIjogIjEuMiIsICJpbmNpZGVudCI6IHsiaW5jaWRlbnRfaWQiOiAiMC5wNHEiLCAic3RhdGUi'
            b'OiAiY2xvc2VkIiwgImVuZGVkX2F0IjogMTc5Mzk1NDk5OX19","messageId":"7"},"subscription":"projects/shop/s"}',
            ((Action.RESOLVE, "gcp|0.p4q"),),
        ),
        Example(b'{"version":"test","incident":{"incident_id":"1","state":"OPEN"}}', (), silence="test"),
    ),
)
