"""Icinga 2 notifications (https://icinga.com/docs/icinga-2/latest/doc/03-monitoring-basics/#notification-commands).

A notification command posts host, service and check result as nested JSON. A service's full name is `host!service`; a
host's notification has no service. `execution_end` is by the clock of the satellite that ran the check, so it is not
used for ordering.
"""

from schemas.wire.alert import Action
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
from streams.providers._fields import as_object, read_json
from streams.providers._template import read_template
from streams.providers._time import epoch_ms
from streams.providers.nagios import notification_action, state_word

#: The names of the payload in `setup`; a script may put the output of a check into it unescaped.
_NAMES = (
    *("notification_type", "host", "service", "check_result", "name", "display_name", "address", "state", "output"),
    *("execution_end", "check_command"),
)


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_template(read_json, body, _NAMES)
    fields = as_object(value)
    named, separator, _ = fields.text("service.name").partition("!")
    host = fields.text("host.name", "host.display_name", "host.address") or (named if separator else "")
    if not host:
        raise BadBody("host.name", "is required")
    service = fields.text("service.name").removeprefix(f"{host}!")
    state = fields.text("check_result.state", "service.state", "host.state")
    if not (state or fields.text("notification_type")):
        raise BadBody("check_result.state", "is required without notification_type")
    action = notification_action(fields, state)
    state = state or fields.text("notification_type")
    what, output = fields.text("service.display_name") or service or "Host", fields.text("check_result.output")
    at = epoch_ms(fields.get("check_result.execution_end"))
    return [
        make_draft(
            dedup_key=joined_key("icinga", "service", host, service) if service else joined_key("icinga", "host", host),
            action=action,
            severity=context.severity(state_word(state)),
            summary=f"{what} on {host} is {state}" + (f": {output}" if output else ""),
            source=host,
            component=service,
            class_=fields.text("service.check_command", "host.check_command"),
            labels={"address": address} if (address := fields.text("host.address")) else {},
            details=details,
            starts_at=at if action is Action.TRIGGER else 0,
            ends_at=at,
        )
    ]


PROVIDER = Provider(
    slug="icinga",
    title="Icinga",
    docs_url="https://icinga.com/docs/icinga-2/latest/doc/03-monitoring-basics/#notification-commands",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    setup=(
        "In Icinga 2, define a NotificationCommand whose script posts JSON to the integration's URL: "
        '{"notification_type": "$notification.type$", "host": {"name": "$host.name$", "address": "$host.address$"}, '
        '"service": {"name": "$service.name$"}, "check_result": {"state": "$service.state$", "output": '
        '"$service.output$"}}; let the script escape the output (jq does).',
        "For hosts the same without service, with $host.state$ and $host.output$.",
        "Apply Notification objects with this command to your hosts and services.",
    ),
    fields=(
        ("dedup_key", "`host.name` and `service.name`"),
        (
            "action",
            "`notification_type`: PROBLEM and CUSTOM trigger, ACKNOWLEDGEMENT acknowledges, RECOVERY resolves; "
            "without one the state",
        ),
        ("severity", "`check_result.state`"),
        ("summary", "`service.display_name` (else `service.name`), host, state and `check_result.output`"),
        ("source", "`host.name`"),
        ("component", "`service.name`"),
        ("class", "`service.check_command`, `host.check_command`"),
        ("labels", "`host.address` as `address`"),
        ("starts_at", "`check_result.execution_end`"),
        ("ends_at", "`check_result.execution_end` of an end"),
    ),
    severity_note="CRITICAL and DOWN are critical, UNREACHABLE error, WARNING and UNKNOWN are warning, OK and UP info.",
    key_scope="installation",
    key_reason="hosts and services are names inside one Icinga",
    retries=(),
    retries_note="Icinga runs a notification command once",
    examples=(
        Example(
            b'{"notification_type":"PROBLEM","host":{"name":"db-2","address":"192.0.2.7"},"service":{"name":"db-2!disk",'
            b'"display_name":"Disk"},"check_result":{"state":"UNKNOWN","output":"no data","execution_end":'
            b"1793954578.25}}",
            ((Action.TRIGGER, "icinga|service|db-2|disk"),),
        ),
        Example(
            b'{"notification_type":"RECOVERY","host":{"name":"db-2"},"check_result":{"state":"UP","output":"PING OK"}}',
            ((Action.RESOLVE, "icinga|host|db-2"),),
        ),
        Example(
            b'{"notification_type":"FLAPPINGSTART","host":{"name":"db-2"},"check_result":{"state":"UP"}}',
            (),
            silence="ignored",
        ),
    ),
)
