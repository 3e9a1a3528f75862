"""Sentry (https://docs.sentry.io/organization/integrations/integration-platform/webhooks/).

Issue alerts, metric alerts and issue hooks of the integration platform, distinguished by `Sentry-Hook-Resource`, and
the unsigned legacy webhooks plugin. An issue alert has no end of its own: the issue hook closes it by the issue id.

`Sentry-Hook-Timestamp` is when Sentry reported this very change. The body has no such time: `firstSeen` of an issue
never changes, and `lastSeen` is the time of an event, which a resolve does not change and which is counted with a
delay.
"""

import re

from schemas.wire.alert import Action, Severity
from streams.policy.signature import HmacHex
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
from streams.providers._fields import Fields, as_object, labels_of, link, read_json
from streams.providers._time import epoch_ms

_RESOURCE = "sentry-hook-resource"
_TIMESTAMP = "sentry-hook-timestamp"
#: The number of an issue in its URL.
_ISSUE_URL = re.compile(r"/issues/(\d+)")
#: The part of `data` that each resource has.
_PARTS = {"event_alert": "event", "metric_alert": "metric_alert", "issue": "issue"}
_ISSUE_ACTIONS = {
    "created": Action.TRIGGER,
    "unresolved": Action.TRIGGER,
    "assigned": Action.ACKNOWLEDGE,
    "resolved": Action.RESOLVE,
    "archived": Action.RESOLVE,
    "ignored": Action.RESOLVE,
}
#: The action of an issue hook that has only a status.
_STATUSES = {"unresolved": "unresolved", "resolved": "resolved", "ignored": "archived"}
_METRIC_ACTIONS = {
    "critical": Action.TRIGGER,
    "warning": Action.TRIGGER,
    "open": Action.TRIGGER,
    "resolved": Action.RESOLVE,
}
_LEVELS = {"fatal": Severity.CRITICAL}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    root = as_object(value)
    data = root.object("data")
    if not data.values and root.text("project", "project_slug", "project_name"):
        return [_issue(root, root.object("event"), Action.TRIGGER, details, context)]
    resource = context.headers.get(_RESOURCE) or next((name for name in _PARTS if data.object(_PARTS[name]).values), "")
    if resource not in _PARTS:
        raise NoAlert("ignored")
    part, action = data.object(_PARTS[resource]), root.text("action").lower()
    if not part.values:
        raise BadBody(f"data.{_PARTS[resource]}", "is required")
    if resource == "metric_alert":
        return [_metric(part, data, action, details, context)]
    if resource == "event_alert":
        return [_issue(part, part, Action.TRIGGER, details, context)]
    action = action or _STATUSES.get(part.text("status").lower(), "")
    if action not in _ISSUE_ACTIONS:
        raise NoAlert("ignored")
    return [_issue(part, part, _ISSUE_ACTIONS[action], details, context)]


def _issue(issue: Fields, event: Fields, action: Action, details: bytes, context: Context) -> Draft:
    """An issue, from an event (`issue_id`), from the issue hook or from the plugin (`id`)."""
    key = _issue_key(issue)
    labels = labels_of(event.get("tags"))
    level = (issue.text("level") or event.text("level")).lower()
    project = issue.text("project.slug", "project.name", "project_slug", "project_name", "project")
    return make_draft(
        dedup_key=joined_key(key),
        action=action,
        severity=_LEVELS.get(level) or context.severity(level),
        summary=issue.text("title", "message", "culprit") or event.text("title") or f"Sentry issue {key}",
        source=labels.get("server_name") or project or "sentry",
        component=issue.text("culprit"),
        group=issue.text("environment") or labels.get("environment", ""),
        class_=project,
        labels=labels,
        details=details,
        links=link(issue.text("web_url", "url", "permalink"), "Sentry"),
        starts_at=epoch_ms(issue.text("firstSeen", "datetime") or event.get("received")),
        ends_at=epoch_ms(issue.text("lastSeen")),
        sent_at=epoch_ms(context.headers.get(_TIMESTAMP)),
    )


def _issue_key(issue: Fields) -> str:
    """The issue's number, else the number in its URL, else its title and place. Raises BadBody for `id`.

    The `id` of an event, which has an `event_id` too, is new each time.
    """
    number = issue.text("issue_id", "groupID") or ("" if issue.text("event_id") else issue.text("id"))
    address = _ISSUE_URL.search(issue.text("issue_url", "web_url", "permalink", "url"))
    if number or address:
        return number or (address[1] if address else "")
    title = issue.text("title", "message", "culprit")
    if not title:
        raise BadBody("id", "is required without title")
    return joined_key("title", title, issue.text("culprit"))


def _metric(alert: Fields, data: Fields, action: str, details: bytes, context: Context) -> Draft:
    key = alert.text("id", "identifier", "alert_rule.id", "alert_rule.name")
    if not key:
        raise BadBody("data.metric_alert.id", "is required without alert_rule")
    if action not in _METRIC_ACTIONS:
        raise BadBody("action", "is not critical, warning, open or resolved")
    name = alert.text("alert_rule.name") or data.text("description_title", "title") or f"Sentry metric alert {key}"
    projects = alert.get("projects")
    project = projects[0] if isinstance(projects, list) and projects and isinstance(projects[0], str) else ""
    return make_draft(
        dedup_key=joined_key("metric", key),
        action=_METRIC_ACTIONS[action],
        severity=context.severity(action if action in {"critical", "warning"} else ""),
        summary=": ".join(part for part in (name, data.text("description_text")) if part),
        source=project or "sentry",
        group=alert.text("alert_rule.environment"),
        class_=name,
        details=details,
        links=link(data.text("web_url"), "Sentry"),
        starts_at=epoch_ms(alert.text("date_started")),
        ends_at=epoch_ms(alert.text("date_closed")),
        sent_at=epoch_ms(context.headers.get(_TIMESTAMP)),
    )


PROVIDER = Provider(
    slug="sentry",
    title="Sentry",
    docs_url="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=(_RESOURCE, _TIMESTAMP),
    signature=HmacHex(("sentry-hook-signature",)),
    setup=(
        "In Sentry, open Settings, Custom Integrations, and create an internal integration with the integration's "
        "URL as webhook URL.",
        "Switch on Alert Rule Action, give it the permission to read issues, and tick the webhook for issues, which "
        "tells of resolved ones.",
        "Its Client Secret is signature_secret here.",
        "Add the integration as action of alert rules.",
    ),
    fields=(
        (
            "dedup_key",
            "`issue_id` of an event, `id` of an issue or metric alert, else the number in the address or the title",
        ),
        (
            "action",
            "an alert triggers; of an issue `action`: created and unresolved trigger, assigned acknowledges, "
            "resolved and archived resolve; of a metric alert critical, warning, resolved",
        ),
        ("severity", "`level`; of a metric alert `action`"),
        ("summary", "`title`, `message`, `culprit`; of a metric alert its rule's name and `description_text`"),
        ("source", "the tag `server_name`, the project"),
        ("component", "`culprit`"),
        ("group", "`environment`; of a metric alert `alert_rule.environment`"),
        ("class", "the project; of a metric alert its rule's name"),
        ("labels", "`tags`"),
        ("links", "`web_url`, `url`, `permalink`"),
        ("starts_at", "`firstSeen`, `datetime`, `received`; `date_started`"),
        ("ends_at", "`lastSeen`; `date_closed`"),
        ("sent_at", "the header `Sentry-Hook-Timestamp`"),
    ),
    severity_note="The level: fatal is critical, error, warning, info and debug are what they say; a metric alert's "
    "is its action, critical or warning.",
    key_scope="installation",
    key_reason="issue ids are small numbers of one Sentry, which may be self-hosted",
    retries=(),
    retries_note="Sentry documents no second try",
    examples=(
        Example(
            b'{"action":"triggered","data":{"event":{"issue_id":"8120","title":"KeyError: sku","level":"fatal",'
            b'"culprit":"shop.views","project":12,"tags":[["server_name","app-3"],["environment","test"]],'
            b'"web_url":"https://example.com/issues/8120/","received":1793954578.315},"triggered_rule":"all"}}',
            ((Action.TRIGGER, "8120"),),
            {_RESOURCE: "event_alert"},
        ),
        Example(
            b'{"action":"resolved","data":{"issue":{"id":"8120","title":"KeyError: sku","level":"fatal",'
            b'"project":{"slug":"shop"}}}}',
            ((Action.RESOLVE, "8120"),),
            {_RESOURCE: "issue"},
        ),
        Example(
            b'{"action":"warning","data":{"description_text":"120 errors","description_title":"Warning: Errors",'
            b'"metric_alert":{"id":"4411","alert_rule":{"name":"Errors"},"projects":["shop"]}}}',
            ((Action.TRIGGER, "metric|4411"),),
            {_RESOURCE: "metric_alert"},
        ),
        Example(
            b'{"id":"8121","project":"shop","level":"warning","message":"slow query","event":{"tags":[]}}',
            ((Action.TRIGGER, "8121"),),
        ),
        Example(b'{"action":"created","data":{"comment":"seen"}}', (), {_RESOURCE: "comment"}, "ignored"),
    ),
)
