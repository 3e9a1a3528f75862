"""Opsgenie's Alert API (https://docs.opsgenie.com/docs/alert-api): create, acknowledge and close.

The alias is the key; an alert created without one gets the event id. Acknowledge and close have the key in the path:
`/v2/alerts/<alias>/close?identifierType=alias`; a deleted alert comes as a closed one. Every other action of the API
(notes, another message, description or priority) changes no alert here. The API gives an alert no time of its own.
"""

import re
from urllib.parse import unquote

from schemas.fingerprint import uuid_text
from schemas.wire.alert import Action
from streams.providers._contract import (
    PATH,
    QUERY,
    Address,
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    first_key,
    make_draft,
    short_key,
)
from streams.providers._fields import Fields, as_object, labels_of, read_json

_PATH = re.compile(r".*/v2/alerts/(?P<id>[^/]+)/(?P<verb>[a-z]+)/?")
_VERBS = {"acknowledge": Action.ACKNOWLEDGE, "close": Action.RESOLVE}


def _decode(body: bytes, context: Context) -> list[Draft]:
    found = _PATH.fullmatch(context.headers.get(PATH, ""))
    # Clients omit the body of acknowledge and close.
    value, details = read_json(body) if body or found is None else ({}, b"{}")
    fields = as_object(value)
    if found is None:
        return [_created(fields, details, context)]
    if found["verb"] not in _VERBS:
        raise NoAlert("ignored", b'{"result":"Request will be processed","took":0.0}')
    try:
        key = unquote(found["id"], errors="strict").strip()
    except UnicodeDecodeError:
        raise BadBody("path", "is not UTF-8") from None
    kind = context.query.get("identifierType", "id").lower()
    if kind not in {"id", "alias"} or not key:
        raise BadBody("identifierType", "is not id or alias")
    return [
        make_draft(
            dedup_key=short_key(key.lower() if kind == "id" else key),
            action=_VERBS[found["verb"]],
            severity=context.severity(""),
            summary=fields.text("note") or f"Opsgenie alert {key}",
            source=fields.text("source") or "opsgenie",
            details=details,
        )
    ]


def _created(fields: Fields, details: bytes, context: Context) -> Draft:
    message, source = fields.require("message", "description"), fields.text("source")
    tags = fields.get("tags")
    return make_draft(
        dedup_key=short_key(fields.text("alias") or uuid_text(context.event_id)),
        action=Action.TRIGGER,
        # Opsgenie's own default.
        severity=context.severity(fields.text("priority") or "P3"),
        summary=message,
        source=fields.text("entity") or source or "opsgenie",
        component=fields.text("entity"),
        group=source,
        labels=labels_of(tags) | labels_of(fields.get("details")),
        details=details,
    )


PROVIDER = Provider(
    slug="opsgenie",
    title="Opsgenie Alert API",
    docs_url="https://docs.opsgenie.com/docs/alert-api",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=(PATH, QUERY),
    methods=("POST", "PUT", "DELETE"),
    addresses=(Address("/v2/alerts", "Authorization: GenieKey "),),
    setup=(
        "In the tool, set the Opsgenie API URL to this gateway (its alerts are at /v2/alerts), and the API key to the "
        "integration's key (Authorization: GenieKey <key>).",
        "Let it give alerts an alias, by which it closes them.",
    ),
    fields=(
        ("dedup_key", "`alias`, else a new id; of acknowledge and close the identifier in the path"),
        ("action", "creating triggers; `/acknowledge` acknowledges, `/close` and DELETE resolve"),
        ("severity", "`priority`"),
        ("summary", "`message`, `description`; of the others `note`"),
        ("source", "`entity`, `source`"),
        ("component", "`entity`"),
        ("group", "`source`"),
        ("labels", "`tags`, `details`"),
    ),
    severity_note="P1 is critical, P2 error, P3 warning, P4 and P5 info; P3 for an alert that names none.",
    key_scope="global",
    key_reason="the sender chooses alias on purpose, and Opsgenie joins by it",
    retries=(429, 503),
    retries_note="Opsgenie tells clients of its API to send again after 429 and 5xx; Alertmanager's receiver does",
    examples=(
        Example(
            b'{"message":"Backup of mail-1 failed","alias":"backup mail-1","entity":"mail-1","priority":"P2",'
            b'"tags":["backup"],"details":{"run":"31"},"source":"cron"}',
            ((Action.TRIGGER, "backup mail-1"),),
        ),
        Example(
            b'{"note":"done by hand"}',
            ((Action.RESOLVE, "backup mail-1"),),
            {PATH: "/v2/alerts/backup%20mail-1/close", QUERY: "identifierType=alias"},
        ),
        Example(
            b'{"user":"kim"}',
            ((Action.ACKNOWLEDGE, "00010203-0405-0607-0809-0a0b0c0d0e0f"),),
            {PATH: "/v2/alerts/00010203-0405-0607-0809-0A0B0C0D0E0F/acknowledge"},
        ),
        Example(b'{"note":"n"}', (), {PATH: "/v2/alerts/backup/notes"}, "ignored"),
    ),
)
