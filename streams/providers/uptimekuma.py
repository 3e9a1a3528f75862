"""Uptime Kuma (https://github.com/louislam/uptime-kuma/blob/master/server/notification-providers/webhook.js).

`heartbeat`, `monitor` and `msg` come as JSON, as JSON in the multipart field `data`, or as the query of a GET. The test
button and the warnings about certificates carry only `msg`; its words distinguish them. `heartbeat.time` is the time,
in UTC, of the beat that changed the state.
"""

import re
from collections.abc import Mapping
from typing import Any

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
from streams.providers._fields import Fields, as_object, link, read_json
from streams.providers._forms import form
from streams.providers._json import encode
from streams.providers._time import epoch_ms

_STATES = {
    "0": ("down", Action.TRIGGER, Severity.CRITICAL),
    "1": ("up", Action.RESOLVE, Severity.INFO),
}
#: Pending and maintenance.
_SILENT_STATES = {"2", "3"}
#: How the state, which is followed by the reason, stands in `msg`: `[Till] [🔴 Down] timeout`.
_STATE_IN_MESSAGE = re.compile(r"\[\W*(Up|Down)\]")
_EXPIRY = re.compile(r"\b(?:will expire|expires) in -?\d+ days?", re.IGNORECASE)


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = _read(body, context)
    message = fields.text("msg")
    if not (fields.get("heartbeat") or fields.get("monitor")):
        return [_warning(message, details, context)]
    monitor = fields.require("monitor.id", "heartbeat.monitorID", "monitor.name", "monitor.url", "monitor.hostname")
    state = fields.text("heartbeat.status") or _state_in(message)
    if state in _SILENT_STATES:
        raise NoAlert("ignored")
    if state not in _STATES:
        raise BadBody("heartbeat.status", "is not 0 to 3")
    word, action, severity = _STATES[state]
    name = fields.text("monitor.name", "monitor.pathName") or f"Monitor {monitor}"
    address = _address(fields)
    reason = fields.text("heartbeat.msg")
    at = epoch_ms(fields.get("heartbeat.time"))
    return [
        make_draft(
            dedup_key=joined_key("uptimekuma", monitor),
            action=action,
            severity=severity,
            summary=f"{name} is {word}: {reason}" if reason else f"{name} is {word}",
            source=address or name,
            component=fields.text("monitor.pathName") or name,
            class_=fields.text("monitor.type"),
            labels={tag.text("name"): tag.text("value") for tag in fields.objects("monitor.tags") if tag.text("name")},
            details=details,
            links=link(address, name),
            starts_at=at if action is Action.TRIGGER else 0,
            ends_at=at,
            sent_at=at,
        )
    ]


def _read(body: bytes, context: Context) -> tuple[Fields, bytes]:
    values = form(body, context.content_type)
    if values is not None:
        value, details = read_json(values.get("data", "").encode())
        return as_object(value, "data"), details
    if body.strip():
        value, details = read_json(body)
        return as_object(value), details
    query = context.query
    parts = {"heartbeat": _part("heartbeat", query), "monitor": _part("monitor", query), "msg": query.get("msg")}
    return Fields(parts), encode(parts)


def _part(name: str, query: Mapping[str, str]) -> Any:
    try:
        return read_json(query.get(name, "null").encode())[0]
    except BadBody as error:
        raise BadBody(name, error.reason) from None


def _warning(message: str, details: bytes, context: Context) -> Draft:
    if not message:
        raise BadBody("msg", "is required without heartbeat and monitor")
    expiry = _EXPIRY.search(message)
    if expiry is None and message.endswith("Testing"):
        raise NoAlert("test")
    about = message if expiry is None else message[: expiry.start()].rstrip()  # the number of days changes every day
    return make_draft(
        dedup_key=joined_key("uptimekuma", "message" if expiry is None else "expiry", about),
        action=Action.TRIGGER,
        severity=context.severity("") if expiry is None else Severity.WARNING,
        summary=message,
        source="uptimekuma",
        details=details,
    )


def _state_in(message: str) -> str:
    """The status of the state that a message names. Raises BadBody for `heartbeat.status` if it names none."""
    found = _STATE_IN_MESSAGE.search(message)
    if found is None:
        raise BadBody("heartbeat.status", "is required")
    return "1" if found[1] == "Up" else "0"


def _address(fields: Fields) -> str:
    """The monitor's URL, or host and port; monitors without a URL have the text `https://` as URL."""
    url, host, port = fields.text("monitor.url"), fields.text("monitor.hostname"), fields.text("monitor.port")
    if url and url not in {"https://", "http://"}:
        return url
    return f"{host}:{port}" if host and port else host


PROVIDER = Provider(
    slug="uptimekuma",
    title="Uptime Kuma",
    docs_url="https://github.com/louislam/uptime-kuma/wiki/Notification-Methods",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type", QUERY),
    methods=("POST", "GET"),
    setup=(
        "In Uptime Kuma, open Settings, Notifications, Setup Notification, type Webhook, with the integration's URL "
        "and the preset application/json.",
        "Press Test: the answer is 200 and nothing is stored.",
        "Switch the notification on in each monitor, or apply it to all existing ones.",
    ),
    fields=(
        (
            "dedup_key",
            "`monitor.id`, `heartbeat.monitorID`, else `monitor.name`; of a certificate's warning its text "
            "without the days",
        ),
        (
            "action",
            "`heartbeat.status` (else the word in `msg`): 0 triggers, 1 resolves, 2 and 3 are answered and ignored",
        ),
        ("severity", "`heartbeat.status`"),
        ("summary", "`monitor.name`, state and `heartbeat.msg`; of a warning `msg`"),
        ("source", "`monitor.url`, `monitor.hostname` and `monitor.port`, `monitor.name`"),
        ("component", "`monitor.pathName`, `monitor.name`"),
        ("class", "`monitor.type`"),
        ("labels", "`monitor.tags`"),
        ("links", "`monitor.url`"),
        ("starts_at", "`heartbeat.time`"),
        ("ends_at", "`heartbeat.time` of an end"),
        ("sent_at", "`heartbeat.time`"),
    ),
    severity_note="Down is critical, an expiring certificate or domain is warning.",
    key_scope="installation",
    key_reason="monitor ids are small counters of one Uptime Kuma",
    retries=(),
    retries_note="Uptime Kuma sends once",
    examples=(
        Example(
            b'{"heartbeat":{"monitorID":7,"status":0,"time":"2026-11-02 08:15:00.123","msg":"timeout","ping":null},'
            b'"monitor":{"id":7,"name":"Till","url":"https://","hostname":"till.example.com","port":8443,"type":"port",'
            b'"tags":[{"name":"team","value":"shop"}]},"msg":"[Till] [Down] timeout"}',
            ((Action.TRIGGER, "uptimekuma|7"),),
        ),
        Example(
            b'--b0\r\nContent-Disposition: form-data; name="data"\r\n\r\n{"heartbeat":{"monitorID":7,"status":1},'
            b'"monitor":{"id":7,"name":"Till"},"msg":"[Till] [Up]"}\r\n--b0--\r\n',
            ((Action.RESOLVE, "uptimekuma|7"),),
            {"content-type": "multipart/form-data; boundary=b0"},
        ),
        Example(
            b'{"heartbeat":null,"monitor":null,"msg":"[Till][https://till.example.com] server certificate '
            b'till.example.com will expire in 14 days"}',
            (
                (
                    Action.TRIGGER,
                    "uptimekuma|expiry|[Till][https://till.example.com] server certificate till.example.com",
                ),
            ),
        ),
        Example(b'{"heartbeat":null,"monitor":null,"msg":"Storm Testing"}', (), silence="test"),
    ),
)
