"""Nagios notifications (https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/macrolist.html).

There is no webhook: a notification command posts the macros, as form fields, because plugin output breaks JSON
templates; JSON is read as well. Host and service identify a check. On a host's notification the service's macro stays
unexpanded, and PROBLEMID is 0 on recovery, so neither is part of the key. `timestamp` ($TIMET$) is when Nagios reported
this very change of state.
"""

from schemas.wire.alert import Action
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
from streams.providers._fields import Fields, read
from streams.providers._template import read_template
from streams.providers._time import epoch_ms

_TYPES = {
    "PROBLEM": Action.TRIGGER,
    "CUSTOM": Action.TRIGGER,
    "ACKNOWLEDGEMENT": Action.ACKNOWLEDGE,
    "RECOVERY": Action.RESOLVE,
}
_SILENT_TYPES = ("FLAPPING", "DOWNTIME")
_GOOD = {"OK", "UP"}
#: The names of a JSON template, into which a command puts the output of a plugin unescaped.
_NAMES = (
    *("notification_type", "host_name", "host_address", "host_display_name", "service_desc", "state", "output"),
    *("long_output", "timestamp"),
)


def notification_action(fields: Fields, state: str) -> Action:
    """The action of a notification (Nagios's or Icinga's); without a type, the state decides.

    Raises NoAlert for flapping and downtimes, BadBody for an unknown type.
    """
    kind = fields.text("notification_type").upper() or ("RECOVERY" if state.upper() in _GOOD else "PROBLEM")
    if kind.startswith(_SILENT_TYPES):
        raise NoAlert("ignored")
    if kind not in _TYPES:
        raise BadBody("notification_type", "is not a type of notification")
    return _TYPES[kind]


def state_word(state: str) -> str:
    """A check's state as a word of schemas.wire.severity: a host that is UP counts like a service that is OK."""
    return "ok" if state.upper() in _GOOD else state


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = read_template(lambda text: read(text, context), body, _NAMES)
    host, service = fields.require("host_name", "host_display_name", "host_address"), fields.text("service_desc")
    kind, state = fields.text("notification_type"), fields.text("state")
    if not (state or kind):
        raise BadBody("state", "is required without notification_type")
    action = notification_action(fields, state)
    state = state or kind
    output = fields.text("output")
    at = epoch_ms(fields.text("timestamp"))
    return [
        make_draft(
            dedup_key=joined_key("nagios", "service", host, service) if service else joined_key("nagios", "host", host),
            action=action,
            severity=context.severity(state_word(state)),
            summary=f"{service or 'Host'} on {host} is {state}" + (f": {output}" if output else ""),
            source=host,
            component=service,
            class_="service" if service else "host",
            labels={"address": address} if (address := fields.text("host_address")) else {},
            details=details,
            starts_at=at if action is Action.TRIGGER else 0,
            ends_at=at,
            sent_at=at,
        )
    ]


PROVIDER = Provider(
    slug="nagios",
    title="Nagios",
    docs_url="https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/notifications.html",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type",),
    setup=(
        "In Nagios, define a command: curl --silent --fail --data-urlencode 'notification_type=$NOTIFICATIONTYPE$' "
        "--data-urlencode 'host_name=$HOSTNAME$' --data-urlencode 'host_address=$HOSTADDRESS$' --data-urlencode "
        "'service_desc=$SERVICEDESC$' --data-urlencode 'state=$SERVICESTATE$' --data-urlencode "
        "'output=$SERVICEOUTPUT$' --data-urlencode 'timestamp=$TIMET$', and the integration's URL.",
        "Define a second one for hosts, without service_desc and with $HOSTSTATE$ and $HOSTOUTPUT$.",
        "Give them to a contact as service_notification_commands and host_notification_commands.",
    ),
    fields=(
        ("dedup_key", "`host_name` (else its address) and `service_desc`"),
        (
            "action",
            "`notification_type`: PROBLEM and CUSTOM trigger, ACKNOWLEDGEMENT acknowledges, RECOVERY resolves; "
            "without one the state",
        ),
        ("severity", "`state`"),
        ("summary", "`service_desc`, `host_name`, `state` and `output`"),
        ("source", "`host_name`"),
        ("component", "`service_desc`"),
        ("class", "service or host"),
        ("labels", "`host_address` as `address`"),
        ("starts_at", "`timestamp`"),
        ("ends_at", "`timestamp` of an end"),
        ("sent_at", "`timestamp`"),
    ),
    severity_note="CRITICAL and DOWN are critical, UNREACHABLE error, WARNING and UNKNOWN are warning, OK and UP info.",
    key_scope="installation",
    key_reason="hosts and services are names inside one Nagios",
    retries=(),
    retries_note="Nagios runs a notification command once",
    examples=(
        Example(
            b"notification_type=PROBLEM&host_name=db-2&service_desc=Disk+%2Fvar&state=WARNING&output=8%25+%7C+free%3D8"
            b"&timestamp=1793954578",
            ((Action.TRIGGER, "nagios|service|db-2|Disk /var"),),
            {"content-type": "application/x-www-form-urlencoded"},
        ),
        Example(
            b'{"notification_type":"RECOVERY","host_name":"db-2","service_desc":"$SERVICEDESC$","state":"UP",'
            b'"output":"PING OK","problem_id":"0"}',
            ((Action.RESOLVE, "nagios|host|db-2"),),
        ),
        Example(
            b'{"notification_type":"DOWNTIMESTART","host_name":"db-2","state":"UP"}',
            (),
            silence="ignored",
        ),
    ),
)
