"""PagerDuty Events API v2 (https://developer.pagerduty.com/docs/events-api-v2-overview): one event per request.

Acknowledge and resolve need only `event_action` and `dedup_key`. A trigger without a `dedup_key` gets the request's
event id as its key, so the gateway can answer it and the stream derives the same key.

PagerDuty decides by the dedup key alone: a trigger after a resolve opens a new alert. `payload.timestamp` is when the
condition began; a trigger after a resolve may repeat it, so it is not used for ordering.
"""

from typing import Any, Literal

import msgspec

from schemas.wire.alert import Action
from schemas.wire.severity import DEFAULT_SEVERITY, SEVERITY_NAMES
from streams.providers._contract import (
    Address,
    BadBody,
    Context,
    Draft,
    Example,
    Provider,
    short_key,
    short_summary,
)
from streams.providers._fields import text
from streams.providers._json import decode, raw_text
from streams.providers._time import epoch_ms


class Payload(msgspec.Struct, gc=False):
    """What happened. A trigger requires `summary` and `source`; the other fields are optional."""

    summary: str | None = None
    source: str | None = None
    severity: Literal["critical", "error", "warning", "info"] | None = None
    timestamp: Any = None
    component: Any = None
    group: Any = None
    class_: Any = msgspec.field(default=None, name="class")
    custom_details: msgspec.Raw = msgspec.Raw(b"")


class Link(msgspec.Struct, gc=False):
    """A link (`href`, `text`) or an image (`src`, `href`, `alt`)."""

    href: str | None = None
    text: str | None = None
    src: str | None = None
    alt: str | None = None


class Event(msgspec.Struct, gc=False):
    """The body. The gateway reads `routing_key` (who sends) and `service_id` (which service)."""

    event_action: Literal["trigger", "acknowledge", "resolve"]
    routing_key: str | None = None
    service_id: str | None = None
    dedup_key: str | None = None
    payload: Payload | None = None
    links: list[Link] | None = None
    images: list[Link] | None = None
    client: str | None = None
    client_url: str | None = None


_decoder = msgspec.json.Decoder(Event)
_actions = {action.name.lower(): action for action in Action}
_nothing = Payload()


def _decode(body: bytes, context: Context) -> Event:
    event = decode(_decoder, body)
    if event.event_action != "trigger":
        if not event.dedup_key:
            raise BadBody("dedup_key", f"is required to {event.event_action}")
    else:
        payload = event.payload
        if payload is None:
            raise BadBody("payload", "is required to trigger")
        if not payload.summary or payload.summary.isspace():
            raise BadBody("payload.summary", "is required to trigger")
        if not payload.source or payload.source.isspace():
            raise BadBody("payload.source", "is required to trigger")
    if event.payload is not None and b"\\u" in body:
        raw_text(event.payload.custom_details, "payload.custom_details")
    return event


def dedup_key(event: Event, context: Context) -> str:
    """The key of the alert: the given one (hashed when too long), else the event id in hexadecimal."""
    return short_key(event.dedup_key) if event.dedup_key else context.event_id.hex()


def _parse(event: Event, context: Context) -> list[Draft]:
    payload = event.payload or _nothing
    summary, labels = short_summary(payload.summary or "", {})
    severity = payload.severity
    return [
        Draft(
            dedup_key=dedup_key(event, context),
            action=_actions[event.event_action],
            severity=DEFAULT_SEVERITY if severity is None else SEVERITY_NAMES[severity],
            summary=summary,
            source=payload.source or "",
            component=_text(payload.component),
            group=_text(payload.group),
            class_=_text(payload.class_),
            labels=labels,
            details=raw_text(payload.custom_details, "payload.custom_details"),
            links=_links(event) if event.links or event.images or event.client_url else [],
            starts_at=epoch_ms(payload.timestamp) if payload.timestamp is not None else 0,
        )
    ]


def _text(value: Any) -> str:
    """An optional field of any type, as text."""
    return value if isinstance(value, str) else text(value)


def _links(event: Event) -> list[dict[str, str]]:
    links = [_given(href=link.href, text=link.text) for link in event.links or ()]
    links += [_given(src=image.src, href=image.href, alt=image.alt) for image in event.images or ()]
    if event.client_url:
        links.append(_given(href=event.client_url, text=event.client))
    return [link for link in links if link]


def _given(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


PROVIDER = Provider(
    slug="events_v2",
    title="PagerDuty Events API v2",
    docs_url="https://developer.pagerduty.com/docs/events-api-v2-overview",
    decode=_decode,
    parse=_parse,
    order_key=dedup_key,
    addresses=(
        Address("/v2/enqueue", "Authorization: Token token="),
        Address("/api/events", "Authorization: Token token="),
    ),
    setup=(
        "Point the tool's PagerDuty integration at Stormweir instead: the events URL is /v2/enqueue of this gateway.",
        "Use the integration's 32-character key as routing key (integration key, service key).",
    ),
    fields=(
        ("dedup_key", "`dedup_key`; of a trigger on `/v2/enqueue` without one a new id, which the answer has"),
        ("action", "`event_action`: trigger, acknowledge, resolve"),
        ("severity", "`payload.severity`"),
        ("summary", "`payload.summary`"),
        ("source", "`payload.source`"),
        ("component", "`payload.component`"),
        ("group", "`payload.group`"),
        ("class", "`payload.class`"),
        ("links", "`links`, `images`, `client_url`"),
        ("starts_at", "`payload.timestamp`"),
    ),
    severity_note="critical, error, warning and info as they are; error for a trigger that names none.",
    key_scope="global",
    key_reason="the sender chooses dedup_key on purpose, and PagerDuty joins by it",
    retries=(429, 503),
    retries_note="PagerDuty tells clients of its Events API to send again after 429 and 5xx",
    examples=(
        Example(
            b'{"event_action":"trigger","dedup_key":"web-01/cpu","payload":{"summary":"High CPU on web-01",'
            b'"source":"web-01","severity":"critical","timestamp":"2026-11-06T08:42:58.315+0000",'
            b'"class":"cpu","custom_details":{"load avg":0.75}},"links":[{"href":"https://example.com/","text":"graph"}]}',
            ((Action.TRIGGER, "web-01/cpu"),),
        ),
        Example(b'{"event_action":"acknowledge","dedup_key":"web-01/cpu"}', ((Action.ACKNOWLEDGE, "web-01/cpu"),)),
        Example(b'{"event_action":"resolve","dedup_key":"web-01/cpu"}', ((Action.RESOLVE, "web-01/cpu"),)),
    ),
)
