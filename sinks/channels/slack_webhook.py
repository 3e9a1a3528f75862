"""Slack-compatible incoming webhooks: of Slack, Mattermost and Rocket.Chat.

They give no time stamp, so there are no threads and no updates: every change is a message. `text` and `attachments`
are what all three read. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks ,
https://developers.mattermost.com/integrate/webhooks/incoming , https://docs.rocket.chat/docs/integrations
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import orjson
from pydantic import ConfigDict, Field

from schemas.control import Destination, SecretUrl
from schemas.fingerprint import digest as fingerprint
from schemas.wire.alert import Severity
from schemas.wire.incident import Status
from sinks.contract import DONE, Channel, Digest, End, Help, Message, Rate, Request, Verdict, by_status, no_answer
from sinks.outbound import Answer
from sinks.related import ALSO, others, word
from sinks.render import incident_url
from sinks.slack_text import MAX_MENTIONS, MentionId, change, escaped, mark, mentions

CONNECTED = "Slack is connected!"
MAX_TITLE = 300
MAX_FIELD = 300
MAX_RELATED_LINE = 95
_COLOURS = {
    Severity.CRITICAL: "#a30200",
    Severity.ERROR: "#de7c00",
    Severity.WARNING: "#daa038",
    Severity.INFO: "#3b82c4",
}
_RESOLVED = "#2eb886"


class SlackWebhookDestination(Destination):
    """An incoming webhook: its URL is the credential.

    `mentions` are notified when a critical incident opens, those of rules when any incident opens or gets worse.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["slack_webhook"] = "slack_webhook"
    url: SecretUrl = Field(description="The incoming webhook's address; nothing of it but its host is shown.")
    mentions: tuple[MentionId, ...] = Field(
        default=(),
        max_length=MAX_MENTIONS,
        description="Who is mentioned when a critical incident opens: ids, or `channel`, `here`.",
    )


def render(message: Message, settings: SlackWebhookDestination, handle: str) -> Sequence[Request]:
    """One message with one attachment."""
    if message.test:
        return [_request(settings, {"text": CONNECTED})]
    incident = message.incident
    own = settings.mentions if incident.severity == Severity.CRITICAL else ()
    opens = not {"triggered", "escalated"}.isdisjoint(message.told)
    named = mentions(own, message.notification.mentions) if opens else ""
    name = _inert(f"{mark(incident)} {incident.title}", MAX_TITLE)
    fields = {
        "Severity": incident.severity.name.lower(),
        "Status": incident.status.name.lower(),
        "Service": incident.service,
        "Condition": f"alert {incident.dedup_key}" + (f" from {incident.source}" if incident.source else ""),
        "Alerts": str(incident.alert_count),
        "Repeats": str(incident.repeat_count),
    }
    attachment = {
        "color": _RESOLVED if incident.status == Status.RESOLVED else _COLOURS[incident.severity],
        "title": name,
        "title_link": incident_url(message),
        "fallback": name,
        "mrkdwn_in": [],
        "fields": [
            *({"title": key, "value": _inert(value, MAX_FIELD), "short": True} for key, value in fields.items()),
            *_others(message),
        ],
    }
    text = f"{named} {change(message)}: {name}{others(message)}".lstrip()
    return [_request(settings, {"text": text, "attachments": [attachment]})]


def _others(message: Message) -> Sequence[Mapping[str, object]]:
    """A field with a line for each of the other incidents."""
    related, more = message.notification.related, message.notification.more
    lines = [_inert(f"{mark(each)} {word(each)}: {each.title} ({each.service})", MAX_RELATED_LINE) for each in related]
    if more:
        lines.append(f"and {more} more")
    return [{"title": ALSO, "value": "\n".join(lines), "short": False}] if lines else []


def digest(many: Digest, settings: SlackWebhookDestination) -> Sequence[Request]:
    """One message in place of many: the worst incidents by name, and how many more there are."""
    lines = [_inert(f"{mark(incident)} {incident.title}", 100) for incident in many.incidents]
    if more := many.total - len(lines):
        lines.append(f"and {more} more: {many.base_url}/incidents")
    return [_request(settings, {"text": f"{many.total} incidents changed\n" + "\n".join(lines)})]


def classify(answer: Answer) -> Verdict:
    """How a request ended: Slack says it in plain text, Mattermost and Rocket.Chat in JSON."""
    if (silent := no_answer(answer)) is not None:
        return silent
    body = _object(answer)
    if 200 <= answer.status < 300:
        return DONE if body.get("success", True) is True else Verdict(End.REFUSED, "rejected")
    said = answer.body[:200].decode("utf-8", "replace").strip()
    if answer.status < 500 and said in HELP:
        return Verdict(End.REFUSED, said, broken=said in _BROKEN)
    verdict = by_status(answer)
    wait = body.get("retry_after")
    if verdict.end is End.RETRY and verdict.retry_after_s is None and isinstance(wait, int | float):
        return verdict._replace(retry_after_s=float(wait))
    return verdict


def _inert(text: str, most: int) -> str:
    """`text` without markup, mentions and images, for Mattermost's Markdown too.

    An invisible space after `@`, and between the brackets of a link or image, takes their meaning away.
    """
    return escaped(text.replace("@", "@\u2060").replace("](", "]\u2060("), most)


def _request(settings: SlackWebhookDestination, content: Mapping[str, object]) -> Request:
    url = str(settings.url)
    rate = Rate(f"slack_webhook {fingerprint(url).hex()}", 1.0)
    return Request(url, orjson.dumps(content), {"Content-Type": "application/json"}, [rate])


def _object(answer: Answer) -> Mapping[str, object]:
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


_NEW = "Make a new webhook and put in its URL."
#: Answers after which no message can succeed before somebody changes something.
_BROKEN = frozenset({"invalid_token", "no_service", "no_active_hooks", "no_team", "channel_not_found",
                     "channel_is_archived", "action_prohibited"})  # fmt: skip
HELP: Mapping[str, Help] = {
    "invalid_payload": Help("The receiver does not take the message.", "Please report it with the receiver's version."),
    "no_text": Help("The receiver saw no text in the message.", "Please report it with the receiver's version."),
    "too_many_attachments": Help("The message has too many attachments.", "Please report it."),
    "invalid_token": Help("The webhook was removed or its URL is wrong.", _NEW),
    "no_service": Help("The webhook was removed or disabled.", _NEW),
    "no_active_hooks": Help("The webhook was disabled.", _NEW),
    "no_team": Help("The workspace does not exist any more.", _NEW),
    "channel_not_found": Help("The webhook's channel was deleted.", _NEW),
    "channel_is_archived": Help("The webhook's channel is archived.", "Unarchive it, or make another webhook."),
    "action_prohibited": Help("An owner of the workspace restricts the webhook.", "Ask an owner of the workspace."),
}

CHANNEL = Channel(
    slug="slack_webhook",
    title="Slack webhook (Mattermost, Rocket.Chat)",
    settings=SlackWebhookDestination,
    render=render,
    classify=classify,
    digest=digest,
    help=HELP,
    setup=(
        "Slack: add *Incoming Webhooks* to an app, choose the channel, and copy the webhook's URL into `url`.",
        "Mattermost: *Integrations*, *Incoming Webhooks*, *Add*; copy the URL.",
        "Rocket.Chat: *Administration*, *Integrations*, *New*, *Incoming*; enable it and copy the URL.",
    ),
    examples={
        "Slack": {"type": "slack_webhook", "url": "https://hooks.slack.com/services/T000/B000/your-key"},
        "Mattermost": {"type": "slack_webhook", "url": "https://chat.example.com/hooks/your-key"},
    },
)
