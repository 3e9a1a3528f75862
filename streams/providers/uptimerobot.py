"""UptimeRobot alert contacts (https://help.uptimerobot.com/en/articles/11360880-how-to-set-up-webhook-notifications).

The default is a GET with everything in the query; a form or JSON in the body has priority. Every value is text, and a
variable without a value stays `*name*`. The expiry of a certificate or domain is a different alert from a monitor that
is down, and has no end. `alertDateTime` is when the monitor entered this state.
"""

from schemas.wire.alert import Action, Severity
from streams.providers._contract import (
    QUERY,
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
from streams.providers._fields import Fields, link, read
from streams.providers._json import encode
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_TYPES = {
    "1": ("Down", Action.TRIGGER, Severity.CRITICAL),
    "2": ("Up", Action.RESOLVE, Severity.INFO),
    "3": ("Expiry", Action.TRIGGER, Severity.WARNING),
}
#: The names of types in alertTypeFriendlyName.
_KINDS = {"down": "1", "up": "2"}
#: The types for a monitor that was started or paused.
_SILENT_TYPES = {"98", "99"}
#: The parameters of a query that are kept; the query contains the integration's key too.
_NAMES = (
    "monitorID",
    "monitorURL",
    "monitorFriendlyName",
    "alertType",
    "alertTypeFriendlyName",
    "alertDetails",
    "alertDuration",
    "alertFriendlyDuration",
    "alertDateTime",
    "monitorAlertContacts",
    "sslExpiryDate",
    "sslExpiryDaysLeft",
)


def _decode(body: bytes, context: Context) -> list[Draft]:
    if body.strip():
        fields, details = read_template(lambda text: read(text, context), body, _NAMES)
    else:
        query = context.query
        values = {name: query[name] for name in _NAMES if name in query}
        fields, details = Fields(values), encode(values)
    monitor = fields.require("monitorID", "monitorURL", "monitorFriendlyName")
    kind = fields.text("alertType") or _KINDS.get(fields.text("alertTypeFriendlyName").lower(), "")
    if kind in _SILENT_TYPES:
        raise NoAlert("ignored")
    if kind not in _TYPES:
        raise BadBody("alertType", "is not 1 (down), 2 (up) or 3 (expiry)")
    word, action, severity = _TYPES[kind]
    name = fields.text("monitorFriendlyName", "monitorURL") or f"Monitor {monitor}"
    url = fields.text("monitorURL")
    title = f"{name} is {word.lower()}" if kind != "3" else f"{name}: certificate or domain expires"
    at = epoch_ms(fields.text("alertDateTime"))
    return [
        make_draft(
            dedup_key=joined_key("uptimerobot", monitor, *(("expiry",) if kind == "3" else ())),
            action=action,
            severity=severity,
            summary=f"{title} ({reason})" if (reason := fields.text("alertDetails")) else title,
            source=url or name,
            component=name,
            class_=word,
            details=details,
            links=link(url, name),
            starts_at=at if action is Action.TRIGGER else 0,
            ends_at=at,
            sent_at=at,
        )
    ]


PROVIDER = Provider(
    slug="uptimerobot",
    title="UptimeRobot",
    docs_url="https://help.uptimerobot.com/en/articles/11360880-how-to-set-up-webhook-notifications",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type", QUERY),
    methods=("POST", "GET"),
    setup=(
        "In UptimeRobot, open Integrations & API, add a webhook, and enter the integration's URL.",
        'As POST value: {"monitorID": "*monitorID*", "monitorURL": "*monitorURL*", "monitorFriendlyName": '
        '"*monitorFriendlyName*", "alertType": "*alertType*", "alertDetails": "*alertDetails*", "alertDateTime": '
        '"*alertDateTime*"}, and tick Send as JSON. The default, everything in the query, works as well.',
        "Select the webhook in each monitor.",
    ),
    fields=(
        ("dedup_key", "`monitorID`, else `monitorURL`; the expiry of its certificate or domain has a key of its own"),
        (
            "action",
            "`alertType` (else `alertTypeFriendlyName`): 1 (down) and 3 (expiry) trigger, 2 (up) resolves, 98 and 99 "
            "are answered and ignored",
        ),
        ("severity", "`alertType`"),
        ("summary", "`monitorFriendlyName` (else `monitorURL`), state and `alertDetails`"),
        ("source", "`monitorURL`, `monitorFriendlyName`"),
        ("component", "`monitorFriendlyName`"),
        ("class", "Down, Up or Expiry"),
        ("links", "`monitorURL`"),
        ("starts_at", "`alertDateTime`"),
        ("ends_at", "`alertDateTime` of an end"),
        ("sent_at", "`alertDateTime`"),
    ),
    severity_note="Down is critical, the expiry of a certificate or domain is warning.",
    key_scope="installation",
    key_reason="monitor ids count inside one account",
    retries=(),
    retries_note="UptimeRobot documents no second try",
    examples=(
        Example(
            b'{"monitorID":"5501","monitorURL":"https://till.example.com","monitorFriendlyName":"Till","alertType":"1",'
            b'"alertDetails":"No response","alertDuration":"*alertDuration*","alertDateTime":"1793954578"}',
            ((Action.TRIGGER, "uptimerobot|5501"),),
        ),
        Example(
            b"monitorID=5501&monitorFriendlyName=Till&alertType=2&alertDateTime=1793954999",
            ((Action.RESOLVE, "uptimerobot|5501"),),
            {"content-type": "application/x-www-form-urlencoded"},
        ),
        Example(
            b"",
            ((Action.TRIGGER, "uptimerobot|5501|expiry"),),
            {QUERY: "integrationId=0&monitorID=5501&monitorFriendlyName=Till&alertType=3&sslExpiryDaysLeft=7"},
        ),
    ),
)
