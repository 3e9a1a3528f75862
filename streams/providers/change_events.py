"""PagerDuty change events (https://developer.pagerduty.com/docs/send-change-event): deployments and other changes.

They never open an alert: a valid one is NoAlert of the kind `change`, which carries the change.
"""

from typing import Any, NoReturn

import msgspec

from streams.providers._contract import (
    SUMMARY_LIMIT,
    Address,
    BadBody,
    Change,
    Context,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    first_key,
)
from streams.providers._fields import link, text
from streams.providers._json import decode, encode
from streams.providers._time import epoch_ms


class Payload(msgspec.Struct, gc=False):
    """What changed."""

    summary: str
    source: str | None = None
    timestamp: str | int | float | None = None
    custom_details: dict[str, Any] | None = None


class Body(msgspec.Struct, gc=False):
    """The part of the body that is read. The gateway reads the routing key."""

    payload: Payload
    links: list[dict[str, Any]] | None = None


_decoder = msgspec.json.Decoder(Body)


def _decode(body: bytes, context: Context) -> NoReturn:
    found = decode(_decoder, body)
    payload = found.payload
    summary = payload.summary.strip()
    if not summary:
        raise BadBody("payload.summary", "is required")
    change = Change(
        summary=summary[:SUMMARY_LIMIT],
        source=(payload.source or "").strip(),
        details=encode(payload.custom_details) if payload.custom_details else b"",
        links=[one for each in found.links or () for one in link(text(each.get("href")), text(each.get("text")))],
        at=epoch_ms(payload.timestamp),
    )
    raise NoAlert("change", b'{"status":"success","message":"Change event processed"}', change=change)


PROVIDER = Provider(
    slug="change_events",
    title="PagerDuty change events",
    docs_url="https://developer.pagerduty.com/docs/send-change-event",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    addresses=(Address("/v2/change/enqueue", "Authorization: Token token="),),
    setup=("Point the tool's change integration at /v2/change/enqueue of this gateway, with the integration's key.",),
    fields=(
        ("summary", "`payload.summary`"),
        ("source", "`payload.source`"),
        ("details", "`payload.custom_details`"),
        ("links", "`links`"),
        ("at", "`payload.timestamp`"),
    ),
    severity_note="None: a change is not an alert.",
    key_scope="global",
    key_reason="a change has no dedup key",
    retries=(429, 503),
    retries_note="PagerDuty tells clients of its Events API to send again after 429 and 5xx",
    examples=(
        Example(
            b'{"routing_key":"0123456789abcdef0123456789abcdef","payload":{"summary":"shop 4.7.1 went live",'
            b'"source":"deployer","timestamp":"2026-11-06T08:42:58Z","custom_details":{"build":812}}}',
            (),
            silence="change",
        ),
        Example(b'{"payload":{"summary":"Firewall rule 14 removed"}}', (), silence="change"),
    ),
)
