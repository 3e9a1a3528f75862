"""Better Stack, formerly Better Uptime (https://betterstack.com/docs/uptime/webhooks/): incidents, in JSON:API.

Changes of monitors and on-call calendars may come to the same URL and are not alerts. There is no severity. All events
of an incident carry its `started_at`.
"""

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
from streams.providers._fields import as_object, link, read_json
from streams.providers._time import epoch_ms

_EVENTS = {"started": Action.TRIGGER, "acknowledged": Action.ACKNOWLEDGE, "resolved": Action.RESOLVE}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    data = as_object(fields.get("data"), "data")
    action = _EVENTS.get(fields.require("event").lower())
    if (fields.text("data.type") or "incident") != "incident" or action is None:
        raise NoAlert("ignored")
    incident_id, incident = fields.text("data.id"), data.object("attributes")
    url = incident.text("url")
    if not (incident_id or incident.text("name") or url):
        raise BadBody("data.id", "is required without attributes.name and attributes.url")
    # Without an id, an incident is identified by its monitor.
    key = (incident_id,) if incident_id else ("monitor", incident.text("name"), url)
    name = incident.text("name", "url") or f"Incident {incident_id}"
    cause, team = incident.text("cause"), incident.text("team_name")
    return [
        make_draft(
            dedup_key=joined_key("betterstack", *key),
            action=action,
            severity=Severity.CRITICAL,
            summary=f"{name}: {cause}" if cause else name,
            source=url or name,
            component=name,
            group=team,
            class_=cause,
            labels={"team": team} if team else {},
            details=details,
            links=link(url, name) + link(incident.text("screenshot_url"), "Screenshot"),
            starts_at=epoch_ms(incident.get("started_at")),
            ends_at=epoch_ms(incident.get("resolved_at")),
            began_at=epoch_ms(incident.get("started_at")),
        )
    ]


PROVIDER = Provider(
    slug="betterstack",
    title="Better Stack",
    docs_url="https://betterstack.com/docs/uptime/webhooks/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    setup=(
        "In Better Stack, open Integrations, Exporting data, and add an outgoing webhook of type Incident with the "
        "integration's URL.",
        "Tick incident started, acknowledged and resolved.",
    ),
    fields=(
        ("dedup_key", "`data.id`, else `name` and `url`"),
        ("action", "`event`: started triggers, acknowledged acknowledges, resolved resolves"),
        ("severity", "none is sent"),
        ("summary", "`name` (else `url`) and `cause` of `data.attributes`"),
        ("source", "`url`, `name`"),
        ("component", "`name`"),
        ("group", "`team_name`"),
        ("class", "`cause`"),
        ("labels", "`team_name` as `team`"),
        ("links", "`url`, `screenshot_url`"),
        ("starts_at", "`started_at`"),
        ("ends_at", "`resolved_at`"),
        ("began_at", "`started_at`"),
    ),
    severity_note="Better Stack sends none: every incident is critical. A rule may lower it.",
    key_scope="installation",
    key_reason="incident ids count inside one account",
    retries=(),
    retries_note="Better Stack documents no second try",
    examples=(
        Example(
            b'{"event":"started","data":{"id":"5501","type":"incident","attributes":{"name":"Till","url":'
            b'"https://till.example.com","cause":"Timeout","started_at":"2026-11-02T08:15:00.000Z","resolved_at":null,'
            b'"team_name":"Shop"}}}',
            ((Action.TRIGGER, "betterstack|5501"),),
        ),
        Example(
            b'{"event":"resolved","data":{"id":5501,"type":"incident","attributes":{"name":"Till","resolved_at":'
            b'"2026-11-02T08:20:00.000Z"}}}',
            ((Action.RESOLVE, "betterstack|5501"),),
        ),
        Example(b'{"event":"updated","data":{"id":"9","type":"monitor","attributes":{}}}', (), silence="ignored"),
    ),
)
