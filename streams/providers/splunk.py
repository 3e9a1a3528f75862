"""Splunk Observability, formerly SignalFx (https://docs.splunk.com/observability/en/admin/notif-services/webhook.html).

An alert and its end have the same incident id. Deliveries are repeated for a day until they are answered with 200, so
an old one may come late: `timestamp` is when the detector changed its state. Splunk Enterprise posts another format, of
searches that have no end (https://docs.splunk.com/Documentation/Splunk/latest/Alert/Webhooks).
"""

from schemas.wire.alert import Action
from streams.policy.signature import HmacBase64
from streams.providers._contract import (
    BadBody,
    Context,
    Draft,
    Example,
    Provider,
    as_decoded,
    first_key,
    joined_key,
    make_draft,
)
from streams.providers._fields import Fields, as_object, labels_of, link, read_json
from streams.providers._time import epoch_ms

_STATES = {
    "anomalous": Action.TRIGGER,
    "too high": Action.TRIGGER,
    "too low": Action.TRIGGER,
    "ok": Action.RESOLVE,
    "manually resolved": Action.RESOLVE,
    "stopped": Action.RESOLVE,
}
#: The answer to senders of the other format.
_ENTERPRISE = (
    "this type is Splunk Observability; alerts of Splunk Enterprise and Splunk Cloud go to an integration of the type "
    "webhook with the mapping summary: search_name, dedup_key: search_name, source: result.host"
)


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    if fields.text("search_name") and not fields.text("incidentId"):
        raise BadBody("incidentId", "is missing, and search_name is there: " + _ENTERPRISE)
    labels = labels_of(fields.get("dimensions"))
    rule, detector = fields.text("rule"), fields.text("detector")
    title = f"{rule} ({detector})" if rule and detector else rule or detector
    place = labels.get("host") or labels.get("host.name") or labels.get("service.name") or labels.get("service")
    return [
        make_draft(
            dedup_key=_key(fields, labels),
            action=_action(fields),
            severity=context.severity(fields.text("severity")),
            summary=title or fields.text("messageTitle") or "Splunk Observability alert",
            source=place or detector or "splunk",
            component=detector,
            class_=fields.text("originatingMetric"),
            labels=labels,
            details=details,
            # Splunk puts unescaped spaces into this URL ("is=manually resolved").
            links=link(fields.text("detectorUrl").replace(" ", "%20"), "Splunk Observability")
            + link(fields.text("runbookUrl"), "Runbook"),
            starts_at=epoch_ms(fields.get("timestamp")),
            ends_at=epoch_ms(fields.get("timestamp")),
            sent_at=epoch_ms(fields.get("timestamp")),
        )
    ]


def _key(fields: Fields, labels: dict[str, str]) -> str:
    """The incident, else detector, rule and dimensions."""
    incident = fields.text("incidentId")
    if incident:
        return joined_key(incident)
    detector, rule = fields.text("detectorId", "detector"), fields.text("rule")
    if not (detector or rule):
        raise BadBody("incidentId", "is required without detector and rule")
    return joined_key("rule", detector, rule, *(part for pair in sorted(labels.items()) for part in pair))


def _action(fields: Fields) -> Action:
    # If the word of statusExtended is unknown, the older field decides.
    words = (fields.text("statusExtended"), fields.text("status"))
    action = next((known for word in words if (known := _STATES.get(word.lower())) is not None), None)
    if action is None:
        raise BadBody("status", "is not anomalous, ok, manually resolved or stopped")
    return action


PROVIDER = Provider(
    slug="splunk",
    title="Splunk Observability",
    docs_url="https://docs.splunk.com/observability/en/admin/notif-services/webhook.html",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    signature=HmacBase64("x-sfx-signature"),
    setup=(
        "In Splunk Observability, open Data Management, Integrations, and add a webhook with the integration's URL "
        "and the default payload.",
        "Its shared secret is signature_secret here.",
        "Add the webhook as recipient of the detectors' rules.",
        "Splunk Enterprise and Splunk Cloud send another format: make an integration of the type webhook for them, "
        "with the mapping summary: search_name, dedup_key: search_name, source: result.host.",
    ),
    fields=(
        ("dedup_key", "`incidentId`, else `detector`, `rule` and `dimensions`"),
        (
            "action",
            "`statusExtended`, `status`: anomalous, too high and too low trigger; ok, manually resolved and "
            "stopped resolve",
        ),
        ("severity", "`severity`"),
        ("summary", "`rule` and `detector`, `messageTitle`"),
        ("source", "the dimensions `host`, `host.name`, `service.name`, `service`; `detector`"),
        ("component", "`detector`"),
        ("class", "`originatingMetric`"),
        ("labels", "`dimensions`"),
        ("links", "`detectorUrl`, `runbookUrl`"),
        ("starts_at", "`timestamp`"),
        ("ends_at", "`timestamp` of an end"),
        ("sent_at", "`timestamp`"),
    ),
    severity_note="Critical is critical, Major is error, Minor and Warning are warning, Info is info.",
    key_scope="installation",
    key_reason="incident ids count inside one organisation",
    retries=(429, 503),
    retries_note="Splunk Observability sends again for a day until it sees 200",
    examples=(
        Example(
            b'{"severity":"Minor","rule":"Latency","detector":"Edge","incidentId":"Fx77","statusExtended":"anomalous",'
            b'"status":"anomalous","dimensions":{"host":"edge-1"},"timestamp":"2026-11-06T11:48:32Z",'
            b'"detectorUrl":"https://example.com/#/detector/1?is=manually resolved","runbookUrl":null}',
            ((Action.TRIGGER, "Fx77"),),
        ),
        Example(
            b'{"severity":"Minor","rule":"Latency","incidentId":"Fx77","statusExtended":"manually resolved",'
            b'"dimensions":null,"timestamp":1793954578315}',
            ((Action.RESOLVE, "Fx77"),),
        ),
    ),
)
