"""Datadog monitors (https://docs.datadoghq.com/integrations/webhooks/): a template that the customer edits.

The default template has neither transition nor monitor: there the title's prefix (`[Recovered on {host:a}] Disk full`)
says both. Every value is text, times are milliseconds, an absent value is the text `null` or the variable. Each
transition is an event of its own: `last_updated` (else `date`) is when Datadog wrote it.
"""

import re

from schemas.wire.alert import Action, Severity
from schemas.wire.severity import severity_of
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
from streams.providers._fields import Fields, labels_of, link, read
from streams.providers._time import epoch_ms

#: The beginning of a title: the monitor's priority, and a mark for a test of its notifications.
_PREFIX = re.compile(r"\A(?:\[(?:P[1-5]|TEST)\]\s*)*")
_TITLE = re.compile(r"\[(?P<state>[^\]{]*?)(?: on (?P<scope>\{.*?\}))?\]\s*(?P<name>.*)", re.DOTALL)
_TRANSITIONS = {
    "triggered": Action.TRIGGER,
    "re-triggered": Action.TRIGGER,
    "warn": Action.TRIGGER,
    "re-warn": Action.TRIGGER,
    "no data": Action.TRIGGER,
    "re-no data": Action.TRIGGER,
    "renotify": Action.TRIGGER,
    "recovered": Action.RESOLVE,
}
_ALERT_TYPES = {
    "error": Severity.CRITICAL,
    "warning": Severity.WARNING,
    "info": Severity.INFO,
    "success": Severity.INFO,
}


def _decode(body: bytes, context: Context) -> list[Draft]:
    fields, details = read(body, context)
    given = fields.text("title", "event_title")
    if not (given or fields.text("aggregation_key", "aggreg_key", "alert_cycle_key", "alert_id")):
        raise BadBody("title", "is required without alert_id")
    title = _PREFIX.sub("", given, count=1)
    prefix = given.removesuffix(title)
    if "TEST" in prefix:
        raise NoAlert("test")
    found = _TITLE.fullmatch(title)
    # Brackets without a transition are part of the monitor's own name.
    known = found if found is not None and found["state"].strip().lower() in _TRANSITIONS else None
    name = (known["name"].strip() if known is not None else title) or title
    state = fields.text("alert_transition", "transition").lower() or (known["state"].strip().lower() if known else "")
    scope = fields.text("alert_scope", "scope") or ((known["scope"] or "").strip("{}") if known else "")
    labels = labels_of(fields.text("tags")) or labels_of(scope)
    return [
        make_draft(
            dedup_key=_key(fields, name, scope),
            action=_action(state, fields),
            severity=_severity(fields, prefix[1:3], state, context),
            summary=name or fields.text("alert_title", "event_type") or "Datadog alert",
            source=fields.text("hostname", "host") or labels.get("host") or labels.get("service") or "datadog",
            component=labels.get("service", ""),
            group=labels.get("env", ""),
            class_=fields.text("event_type"),
            labels=labels,
            details=details,
            links=link(fields.text("link", "url"), "Datadog"),
            starts_at=epoch_ms(fields.text("date")),
            ends_at=epoch_ms(fields.text("last_updated")),
            sent_at=epoch_ms(fields.text("last_updated", "date")),
        )
    ]


def _key(fields: Fields, name: str, scope: str) -> str:
    if aggregation := fields.text("aggregation_key", "aggreg_key"):
        return joined_key(aggregation)
    if cycle := fields.text("alert_cycle_key"):
        return joined_key("cycle", cycle)
    if monitor := fields.text("alert_id"):
        return joined_key("monitor", monitor, scope)
    return joined_key("title", name, scope)


def _action(state: str, fields: Fields) -> Action:
    if state == "ok":  # templates that send the monitor's status; in a title it is part of a name
        return Action.RESOLVE
    if state:
        if state not in _TRANSITIONS:
            raise BadBody("alert_transition", "is no transition of a monitor")
        return _TRANSITIONS[state]
    return Action.RESOLVE if fields.text("alert_type").lower() == "success" else Action.TRIGGER


def _severity(fields: Fields, priority: str, state: str, context: Context) -> Severity:
    given = severity_of(fields.text("alert_priority", "priority") or priority)
    given = given or _ALERT_TYPES.get(fields.text("alert_type").lower())
    if given is None and state.endswith("warn"):
        return Severity.WARNING
    return given or context.severity("")


PROVIDER = Provider(
    slug="datadog",
    title="Datadog",
    docs_url="https://docs.datadoghq.com/integrations/webhooks/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("content-type",),
    can_sign=False,
    setup=(
        "In Datadog, open Integrations, Webhooks, and add a webhook with the integration's URL.",
        'As payload: {"title": "$EVENT_TITLE", "body": "$EVENT_MSG", "alert_id": "$ALERT_ID", '
        '"alert_transition": "$ALERT_TRANSITION", "alert_type": "$ALERT_TYPE", "alert_priority": "$ALERT_PRIORITY", '
        '"alert_scope": "$ALERT_SCOPE", "aggreg_key": "$AGGREG_KEY", "hostname": "$HOSTNAME", "tags": "$TAGS", '
        '"link": "$LINK", "date": "$DATE", "last_updated": "$LAST_UPDATED"}. The default payload works as well, '
        "but knows a monitor by its title only.",
        "Mention @webhook-<name> in the message of each monitor.",
    ),
    fields=(
        (
            "dedup_key",
            "`aggregation_key`, `aggreg_key`, `alert_cycle_key`, `alert_id` with `alert_scope`, else the title's "
            "name and scope",
        ),
        (
            "action",
            "`alert_transition`, `transition`, else the title's prefix: Recovered resolves, all others trigger; "
            "without one `alert_type` success resolves",
        ),
        ("severity", "`alert_priority`, `priority`, the title's, `alert_type`"),
        ("summary", "`title` (or `event_title`) without its prefix, `alert_title`"),
        ("source", "`hostname`, `host`, the tags `host` and `service`"),
        ("component", "the tag `service`"),
        ("group", "the tag `env`"),
        ("class", "`event_type`"),
        ("labels", "`tags`, else the scope"),
        ("links", "`link`, `url`"),
        ("starts_at", "`date`"),
        ("ends_at", "`last_updated`"),
        ("sent_at", "`last_updated`, `date`"),
    ),
    severity_note="alert_priority, priority or the title's, P1 to P5; else alert_type: error is critical, warning "
    "is warning, info and success are info; else a Warn transition is warning, all others the integration's default.",
    key_scope="installation",
    key_reason="monitor ids and titles count inside one organisation",
    retries=(503,),
    retries_note="Datadog sends again after 5xx, five times, and never after 4xx (docs.datadoghq.com, Webhooks)",
    examples=(
        Example(
            b'{"title":"[Triggered on {host:cache-2}] Memory low","alert_id":"5501","alert_transition":"Triggered",'
            b'"alert_type":"error","alert_priority":"P2","alert_scope":"host:cache-2","aggreg_key":"5f0e77aa",'
            b'"hostname":"cache-2","tags":"env:staging,monitor,service:sessions","date":"1793954578315",'
            b'"link":"https://app.datadoghq.com/event/1"}',
            ((Action.TRIGGER, "5f0e77aa"),),
        ),
        Example(
            b'{"title":"[Recovered on {host:cache-2}] Memory low","aggreg_key":"$AGGREG_KEY","snapshot":"null"}',
            ((Action.RESOLVE, "title|Memory low|host:cache-2"),),
        ),
        Example(b'{"title":"[TEST] [Triggered on {host:cache-2}] Memory low"}', (), silence="test"),
        Example(
            b"title=%5BWarn%5D+Queue+long&alert_id=77&alert_scope=queue%3Amail",
            ((Action.TRIGGER, "monitor|77|queue:mail"),),
            {"content-type": "application/x-www-form-urlencoded"},
        ),
    ),
)
