"""Zabbix, media type webhook (https://www.zabbix.com/documentation/current/en/manual/config/notifications/media/webhook).

A script inside Zabbix builds the body, so the names are those of the parameters of Zabbix's own PagerDuty media type,
in its older and its newer spelling. All values are text. A recovery has the event id of the problem. Discovery,
autoregistration and internal events only trigger. Times are the server's, without a zone, so they are not shown; a
recovery also has the date and time of the problem's event, so they show that the two belong together.
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
from streams.providers._fields import Fields, labels_of, link, nested_json, read, text
from streams.providers._json import encode
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

#: Zabbix's severity numbers; its words (Average, High, Disaster) are in schemas.wire.severity.
_SEVERITIES = {
    "0": Severity.INFO,
    "1": Severity.INFO,
    "2": Severity.WARNING,
    "3": Severity.WARNING,
    "4": Severity.ERROR,
    "5": Severity.CRITICAL,
}
_WORDS = {"not classified": Severity.INFO}
#: {EVENT.STATUS} and {TRIGGER.STATUS}, for a template without {EVENT.VALUE}.
_STATUSES = {"PROBLEM": "1", "RESOLVED": "0", "OK": "0"}
_TRIGGER_ONLY = {"1": "Discovery", "2": "Autoregistration", "3": "Internal event"}
_TAGS = ("eventtags", "event_tags", "eventtagsjson", "event_tags_json")
#: The parameters in `setup`, for a media type whose script does not escape their values.
_NAMES = (
    *("event_source", "eventid", "eventname", "eventvalue", "eventupdate", "eventack", "eventdate", "eventtime"),
    *("severity", "hostname", "hostip", "triggerid", "triggeropdata", "eventtags", "url"),
)
#: Parameters of the media type that are keys of the receiver.
_SECRETS = ("token", "api_token")


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = read_template(lambda text: read(text, context), body, _NAMES)
    if any(name in fields.values for name in _SECRETS):
        details = encode({name: value for name, value in fields.values.items() if name not in _SECRETS})
    # Without an event id, a problem is identified by its trigger, or by host and name, which its recovery repeats.
    event = fields.text("eventid", "event_id")
    host, address = fields.text("hostname", "host_name", "host"), fields.text("hostip", "host_ip")
    trigger = fields.text("triggerid", "trigger_id", "trigger_name", "eventname", "event_name")
    if not (event or trigger):
        raise BadBody("eventid", "is required without triggerid")
    action = _action(fields)
    name = fields.text("eventname", "event_name", "alert_subject", "trigger_name") or f"Zabbix event {event or trigger}"
    origin = _TRIGGER_ONLY.get(fields.text("event_source"), "")
    severity = fields.text("severity", "event_nseverity", "event_severity")
    return [
        make_draft(
            dedup_key=joined_key("zabbix", event)
            if event
            else joined_key("zabbix", "trigger", trigger, host or address),
            action=action,
            severity=_SEVERITIES.get(severity) or _WORDS.get(severity.lower()) or context.severity(severity),
            summary=name,
            source=host or address or origin or "zabbix",
            class_=origin,
            labels=labels_of(_tags(fields)),
            details=details,
            links=_links(fields, event),
            began_at=_began(fields),
        )
    ]


def _tags(fields: Fields) -> Any:
    """The tags as a list ({EVENT.TAGSJSON}, whose values may contain commas) or as text ({EVENT.TAGS})."""
    given = next((found for name in _TAGS if (found := fields.get(name))), "")
    listed = nested_json(given)
    return listed if isinstance(listed, list) else text(given)


def _began(fields: Fields) -> int:
    """Date and time of the event (2026.11.02 08:15:00), as if they were UTC: equal for a problem and its recovery."""
    date, time = fields.text("eventdate", "event_date"), fields.text("eventtime", "event_time")
    return epoch_ms(f"{date.replace('.', '-')}T{time}") if date and time else 0


def _action(fields: Fields) -> Action:
    if fields.text("event_source") in _TRIGGER_ONLY:
        return Action.TRIGGER
    value = fields.text("eventvalue", "event_value")
    value = value or _STATUSES.get(fields.text("eventstatus", "event_status", "trigger_status", "status").upper(), "")
    update = fields.text("eventupdate", "event_update_status")
    if value == "0":
        return Action.RESOLVE
    if not value:
        raise BadBody("eventvalue", "is required")
    if value != "1":
        raise BadBody("eventvalue", "is not 0 or 1")
    if update != "1":
        return Action.TRIGGER
    if fields.text("eventack", "event_ack").lower() == "yes":
        return Action.ACKNOWLEDGE
    raise NoAlert("ignored")  # a comment or a changed severity, before the problem was acknowledged


def _links(fields: Fields, event: str) -> list[dict[str, str]]:
    url, trigger = fields.text("url", "zabbix_url").rstrip("/"), fields.text("triggerid", "trigger_id")
    if trigger.isdecimal() and event.isdecimal():
        return link(f"{url}/tr_events.php?triggerid={trigger}&eventid={event}", "Zabbix")
    return link(url, "Zabbix")


PROVIDER = Provider(
    slug="zabbix",
    title="Zabbix",
    docs_url="https://www.zabbix.com/documentation/current/en/manual/config/notifications/media/webhook",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type",),
    setup=(
        "In Zabbix, open Alerts, Media types, and create one of type Webhook with these parameters: event_source "
        "{EVENT.SOURCE}, eventid {EVENT.ID}, eventname {EVENT.NAME}, eventvalue {EVENT.VALUE}, eventupdate "
        "{EVENT.UPDATE.STATUS}, eventack {EVENT.ACK.STATUS}, eventdate {EVENT.DATE}, eventtime {EVENT.TIME}, severity "
        "{EVENT.NSEVERITY}, hostname {HOST.NAME}, hostip {HOST.IP}, triggerid {TRIGGER.ID}, triggeropdata "
        "{EVENT.OPDATA}, eventtags {EVENT.TAGSJSON}, url {$ZABBIX.URL}, and endpoint with the integration's URL.",
        "As script: var p = JSON.parse(value), r = new HttpRequest(), u = p.endpoint; delete p.endpoint; "
        "r.addHeader('Content-Type: application/json'); var a = r.post(u, JSON.stringify(p)); "
        "if (r.getStatus() >= 300) throw a; return 'OK';",
        "Give a user this media type, and add the user to a trigger action with problem, recovery and update "
        "operations.",
    ),
    fields=(
        ("dedup_key", "`eventid`, `event_id`, else the trigger and the host"),
        (
            "action",
            "`eventvalue` (1 triggers, 0 resolves; else the status PROBLEM or RESOLVED), and `eventack` of an update "
            "acknowledges; other updates are answered and ignored",
        ),
        ("severity", "`severity`, `event_nseverity`, `event_severity`"),
        ("summary", "`eventname`, `event_name`, `alert_subject`, `trigger_name`"),
        ("source", "`hostname`, `host_name`, `host`, `hostip`"),
        ("class", "Discovery, Autoregistration or Internal event"),
        ("labels", "`eventtags`, `event_tags`, as JSON or as text"),
        ("links", "`url` with `triggerid` and `eventid`"),
        ("began_at", "`eventdate` and `eventtime`"),
    ),
    severity_note="Disaster is critical, High error, Average and Warning are warning, the others info.",
    key_scope="installation",
    key_reason="event ids are counters of one Zabbix",
    retries=(),
    retries_note="Zabbix tries a media type three times, ten seconds apart, which is less than a minute",
    examples=(
        Example(
            b'{"event_source":"0","eventid":"5501","eventname":"Disk full","eventvalue":"1","eventupdate":"0",'
            b'"eventack":"No","severity":"4","hostname":"db-2","hostip":"192.0.2.7","triggerid":"77","eventtags":'
            b'"team:shop, disk","url":"https://zabbix.example.com/","eventtime":"08:15:00"}',
            ((Action.TRIGGER, "zabbix|5501"),),
        ),
        Example(
            b'{"event_source":"0","event_id":"5501","event_value":"1","event_update_status":"1","event_ack":"Yes",'
            b'"event_nseverity":"4","host_name":"db-2","api_token":"not kept"}',
            ((Action.ACKNOWLEDGE, "zabbix|5501"),),
        ),
        Example(b'{"eventid":5501,"eventvalue":0,"hostname":"db-2"}', ((Action.RESOLVE, "zabbix|5501"),)),
        Example(b'{"eventid":"5501","eventvalue":"1","eventupdate":"1","eventack":"No"}', (), silence="ignored"),
    ),
)
