"""Any tool that posts JSON or a form, or sends a GET with a query: the integration's mapping says where the fields are.

Fallbacks: without an action, the alert is a trigger, while an action in none of the value lists is no alert (it is
ignored, and the answer says so); without a severity, or with an unknown one, it has the mapping's default; without a
summary, its summary names the key or source; without a dedup key, the key is a hash of summary and source, so a resolve
with the same words finds its alert, and without those two the event id. A GET, which browsers and link previews send
too, is an alert only if it has the mapping's summary or dedup key.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from schemas.control import FieldMapping
from schemas.fingerprint import digest
from schemas.wire.alert import Action, Severity
from schemas.wire.severity import SEVERITY_NAMES
from streams.policy.signature import GENERAL
from streams.providers._contract import (
    QUERY,
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    short_key,
    short_summary,
)
from streams.providers._forms import form
from streams.providers._json import decode_with_text, encode


class Body(NamedTuple):
    """A JSON object or a form's fields, its JSON text, which becomes the alert's details, and its action."""

    values: dict[str, Any]
    text: bytes
    action: Action


_decoder = msgspec.json.Decoder(dict[str, Any])


def _decode(body: bytes, context: Context) -> Body:
    values, text = _read(body, context)
    word = _text(values, context.mapping.action).strip().lower()
    action = _action(word, context.mapping)
    if action is None:
        reason = f"the value of {context.mapping.action} neither triggers, acknowledges nor resolves"
        raise NoAlert("ignored", encode({"status": "ignored", "reason": reason}))
    return Body(values, text, action)


def _read(body: bytes, context: Context) -> tuple[dict[str, Any], bytes]:
    """The fields of a JSON object, of a form, or of the query if there is no body; and their JSON text."""
    values: dict[str, Any] | None
    if body:
        values = form(body, context.content_type) if body[:1] != b"{" else None
        return decode_with_text(_decoder, body) if values is None else (values, encode(values))
    values = dict(context.query)
    if not _text(values, context.mapping.summary) and not _text(values, context.mapping.dedup_key):
        raise BadBody(
            "body", f"is empty, and the query has neither {context.mapping.summary} nor {context.mapping.dedup_key}"
        )
    return values, encode(values)


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _text(values: dict[str, Any], path: str) -> str:
    """The value at a dotted path as text, "" if there is no scalar; so 991 and "991" are one key.

    A name that contains the dots itself has priority.
    """
    value: Any = values
    for part in (path,) if path in values else _parts(path):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 7 and int(part) < len(value):
            value = value[int(part)]
        else:
            return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) else ""


@lru_cache(maxsize=4096)
def _action_values(triggers: tuple[str, ...], acks: tuple[str, ...], resolves: tuple[str, ...]) -> dict[str, Action]:
    # If a value is in two lists, the last list wins: resolving by mistake is worse than triggering again.
    lists = ((Action.RESOLVE, resolves), (Action.ACKNOWLEDGE, acks), (Action.TRIGGER, triggers))
    return {value.strip().lower(): action for action, values in lists for value in values}


def _action(word: str, mapping: FieldMapping) -> Action | None:
    if not word:
        return Action.TRIGGER
    return _action_values(mapping.trigger_values, mapping.acknowledge_values, mapping.resolve_values).get(word)


def _key(body: Body, context: Context) -> str:
    mapping = context.mapping
    given = _text(body.values, mapping.dedup_key)
    if given:
        return short_key(given)
    summary, source = _text(body.values, mapping.summary), _text(body.values, mapping.source)
    return digest(summary, source).hex() if summary or source else context.event_id.hex()


def _severity(body: Body, context: Context) -> Severity:
    word = _text(body.values, context.mapping.severity)
    mapped = context.mapping.severity_map.get(word.strip().lower())
    return context.severity(word) if mapped is None else SEVERITY_NAMES[mapped]


def _parse(body: Body, context: Context) -> list[Draft]:
    mapping = context.mapping
    source = _text(body.values, mapping.source)
    given = _text(body.values, mapping.summary).strip()
    summary, labels = short_summary(given or f"Alert {source or _key(body, context)}", {})
    return [
        Draft(
            dedup_key=_key(body, context),
            action=body.action,
            severity=_severity(body, context),
            summary=summary,
            source=source or "webhook",
            labels=labels,
            details=body.text,
        )
    ]


PROVIDER = Provider(
    slug="webhook",
    title="Generic webhook",
    docs_url="",
    decode=_decode,
    parse=_parse,
    order_key=_key,
    headers=("content-type", QUERY),
    methods=("POST", "PUT", "GET"),
    signature=GENERAL,
    setup=(
        "In the tool, add a webhook that posts JSON or a form to the integration's URL, or a GET with a query.",
        "Set the integration's mapping, in stormweir.yaml or with --mapping <file>: the dotted paths of summary, "
        "severity, dedup_key, action and source, and the values that trigger, acknowledge and resolve.",
        "If the tool can sign, set signature_secret here and the same secret there: HMAC-SHA256 of the body in "
        "hexadecimal, in X-Signature or X-Webhook-Signature.",
    ),
    fields=(
        ("dedup_key", "the mapping's `dedup_key`, else a hash of summary and source"),
        ("action", "the mapping's `action` and its lists of values; none is a trigger"),
        ("severity", "the mapping's `severity`"),
        ("summary", "the mapping's `summary`"),
        ("source", "the mapping's `source`"),
    ),
    severity_note="The mapping's severity_map, then the words everyone knows, then its default_severity.",
    key_scope="global",
    key_reason="the sender chooses the key on purpose",
    retries=(429, 503),
    retries_note="the sender's author decides: docs/senders.md tells to send again after Retry-After",
    examples=(
        Example(
            b'{"summary":"Batch job late","severity":"P1","dedup_key":991,"action":"Firing","source":"b-3"}',
            ((Action.TRIGGER, "991"),),
        ),
        Example(b'{"summary":"Batch job late","dedup_key":"991","action":"OK"}', ((Action.RESOLVE, "991"),)),
        Example(b'{"summary":"Batch job late","dedup_key":"991","action":"unresolved"}', (), silence="ignored"),
        Example(
            b"summary=Till+is+down&dedup_key=till&action=firing",
            ((Action.TRIGGER, "till"),),
            {"content-type": "application/x-www-form-urlencoded"},
        ),
        Example(b"", ((Action.RESOLVE, "till"),), {QUERY: "summary=Till+is+up&dedup_key=till&action=ok"}),
    ),
)
