"""Pingdom uptime and transaction checks (https://www.pingdom.com/resources/webhooks/).

Transaction checks are SUCCESS or FAILING instead of UP or DOWN. `state_changed_timestamp` is when the check entered
this state.
"""

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

_STATES = {
    "DOWN": Action.TRIGGER,
    "FAILING": Action.TRIGGER,
    "UP": Action.RESOLVE,
    "SUCCESS": Action.RESOLVE,
}
_SILENT_STATES = {"UNCONFIRMED_DOWN", "UNKNOWN", "PAUSED"}
_IMPORTANCE = {"HIGH": "critical", "LOW": "warning"}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    check = fields.require("check_id", "check_name", "check_params.full_url", "check_params.hostname")
    state = fields.require("current_state").upper()
    if state in _SILENT_STATES:
        raise NoAlert("ignored")
    if state not in _STATES:
        raise BadBody("current_state", "is not UP, DOWN, SUCCESS or FAILING")
    name = fields.text("check_name") or f"Check {check}"
    url = fields.text("check_params.full_url", "check_params.url")
    reason = fields.text("description", "long_description")
    at = epoch_ms(fields.text("state_changed_timestamp", "state_changed_utc_time"))
    importance = fields.text("importance_level").upper()
    return [
        make_draft(
            dedup_key=joined_key("pingdom", check),
            action=_STATES[state],
            severity=severity_of(_IMPORTANCE.get(importance, "")) or context.severity(importance),
            summary=f"{name} is {state.lower()}" + (f": {reason}" if reason else ""),
            source=fields.text("check_params.hostname") or url or name,
            component=name,
            class_=fields.text("check_type"),
            labels=labels_of(fields.get("tags")),
            details=details,
            links=link(url, name),
            starts_at=at if _STATES[state] is Action.TRIGGER else 0,
            ends_at=at,
            sent_at=at,
        )
    ]


PROVIDER = Provider(
    slug="pingdom",
    title="Pingdom",
    docs_url="https://www.pingdom.com/resources/webhooks/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    setup=(
        "In Pingdom, open Integrations, Add integration, type Webhook, with the integration's URL.",
        "Tick the integration in each check.",
    ),
    fields=(
        ("dedup_key", "`check_id`, else `check_name` or its address"),
        (
            "action",
            "`current_state`: DOWN and FAILING trigger, UP and SUCCESS resolve, the others are answered and ignored",
        ),
        ("severity", "`importance_level`"),
        ("summary", "`check_name`, state and `description` (else `long_description`)"),
        ("source", "`check_params.hostname`, `check_params.full_url`, `check_params.url`"),
        ("component", "`check_name`"),
        ("class", "`check_type`"),
        ("labels", "`tags`"),
        ("links", "`check_params.full_url`, `check_params.url`"),
        ("starts_at", "`state_changed_timestamp`, `state_changed_utc_time`"),
        ("ends_at", "the same, of an end"),
        ("sent_at", "`state_changed_timestamp`, `state_changed_utc_time`"),
    ),
    severity_note="Importance HIGH is critical, LOW is warning; without one the integration's default.",
    key_scope="installation",
    key_reason="check ids count inside one account",
    retries=(),
    retries_note="Pingdom documents no second try",
    examples=(
        Example(
            b'{"check_id":5501,"check_name":"Till","check_type":"HTTP","check_params":{"hostname":"till.example.com",'
            b'"full_url":"https://till.example.com/"},"tags":["shop"],"previous_state":"UP","current_state":"DOWN",'
            b'"importance_level":"LOW","state_changed_timestamp":1793954578,"description":"Timeout","second_probe":{}}',
            ((Action.TRIGGER, "pingdom|5501"),),
        ),
        Example(
            b'{"check_id":"5501","check_name":"Till","check_type":"TRANSACTION","current_state":"SUCCESS"}',
            ((Action.RESOLVE, "pingdom|5501"),),
        ),
        Example(b'{"check_id":5501,"current_state":"PAUSED"}', (), silence="ignored"),
    ),
)
