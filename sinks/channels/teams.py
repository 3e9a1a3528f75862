"""The Microsoft Teams channel: an Adaptive Card to a workflow (Power Automate), which posts it.

https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook and
https://adaptivecards.io/explorer. Every text of an incident is a TextRun: Teams reads no Markdown and no mention in it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import orjson
from pydantic import ConfigDict, Field, HttpUrl, field_validator

from schemas.control import Destination, SecretUrl
from schemas.fingerprint import digest as fingerprint
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Related
from sinks.contract import Channel, Digest, End, Help, Message, Rate, Request, Verdict, by_status
from sinks.outbound import Answer
from sinks.related import ALSO, word
from sinks.render import incident_url, iso, page_url
from sinks.text import cut

#: Bytes of a message. Teams takes about 28 KB, and says so only in the run of the workflow, after our 202.
MAX_MESSAGE = 28_000
_MAX_TITLE = 500
_MAX_FACT = 200
_MAX_LABELS = 40
#: Hosts of the connectors, which Microsoft has switched off.
_RETIRED = ("webhook.office.com", "outlook.office.com", "outlook.office365.com")
_COLOURS = {
    Severity.CRITICAL: "Attention",
    Severity.ERROR: "Attention",
    Severity.WARNING: "Warning",
    Severity.INFO: "Accent",
}

Element = Mapping[str, Any]


class TeamsDestination(Destination):
    """A channel or chat of Microsoft Teams, by the address of its workflow."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["teams"] = "teams"
    url: SecretUrl = Field(
        description="The address of the workflow, with its `sig`; nothing of it but its host is shown."
    )

    @field_validator("url")
    @classmethod
    def _current(cls, url: HttpUrl) -> HttpUrl:
        host = (url.host or "").lower()
        if any(host == retired or host.endswith(f".{retired}") for retired in _RETIRED):
            raise ValueError(
                "is of an Office 365 connector, which Microsoft has switched off: make a workflow in Teams with "
                '"Send webhook alerts to a channel", and use its address'
            )
        return url


def render(message: Message, settings: TeamsDestination, handle: str) -> Sequence[Request]:
    """One card. Labels, then other incidents are left out, from the last, if it would be too large."""
    incident = message.incident
    colour = "Good" if incident.status is Status.RESOLVED else _COLOURS[incident.severity]
    told = ", ".join(message.told)
    facts = [
        _fact("Status", f"{told}{' (this is a test)' if message.test else ''}"),
        _fact("Severity", f"{incident.severity.name.lower()}, urgency {incident.urgency}"),
        _fact("Service", incident.service),
        _fact("Source", incident.source),
        _fact("Opened", iso(incident.opened_at) or ""),
        _fact("Alerts", f"{incident.alert_count}, of these {incident.repeat_count} repeats"),
    ]
    total = len(incident.labels)
    labels = [_fact(name, value) for name, value in islice(incident.labels.items(), _MAX_LABELS)]
    also = [_related(each, message.base_url) for each in message.notification.related]
    title = _shown(incident.title, _MAX_TITLE) or "An incident without a title"
    link = incident_url(message)
    note = [_line(_shown(message.notification.note))] if message.notification.note else []

    def card(count: int) -> bytes:
        named, shown = also[:count], labels[: max(0, count - len(also))]
        body = [_title(title, colour), *note, *facts, *named]
        if more := len(also) - len(named) + message.notification.more:
            body.append(_line(f"and {more} more incidents"))
        body += shown
        if more := total - len(shown):
            body.append(_line(f"and {more} more labels"))
        return _message(title, body, "Open the incident", link)

    return [_request(settings, _fitting(card, len(also) + len(labels)))]


def summarise(many: Digest, settings: TeamsDestination) -> Sequence[Request]:
    """One card in place of many: how many changed, and the worst by name, as many as fit."""
    counts = [(name, many.by_severity.get(name, 0)) for name in sorted(Severity, reverse=True)]
    title = f"{many.total} incidents changed"
    head = [
        _title(title, "Attention"),
        _line(", ".join(f"{count} {name.name.lower()}" for name, count in counts if count)),
        _line(f"{many.resolved} of them are resolved."),
    ]
    named = [_named(incident, many.base_url) for incident in many.incidents]

    def card(count: int) -> bytes:
        more = [_line(f"and {many.total - count} more")] if count < many.total else []
        return _message(title, [*head, *named[:count], *more], "Open Stormweir", many.base_url)

    return [_request(settings, _fitting(card, len(named)))]


def _request(settings: TeamsDestination, body: bytes) -> Request:
    """The connector takes 100 calls a minute of a connection; what is sent stays below that."""
    url = str(settings.url)
    rate = Rate(f"teams/{fingerprint('teams', url).hex()}", 1.5, 5)
    return Request(url, body, {"Content-Type": "application/json"}, (rate,))


def _fitting(card: Callable[[int], bytes], count: int) -> bytes:
    """The largest of the cards with `count` elements, half of them, and so on, that is not too large."""
    while len(body := card(count)) > MAX_MESSAGE and count:
        count //= 2
    return body


def _message(title: str, body: Sequence[Element], button: str, link: str) -> bytes:
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "msteams": {"width": "full"},
        "fallbackText": cut(title, _MAX_FACT),
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": button, "url": link}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return orjson.dumps({"type": "message", "attachments": [attachment]})


def _title(text: str, colour: str) -> Element:
    return _block({"text": text, "size": "Large", "weight": "Bolder", "color": colour})


def _fact(name: str, value: str) -> Element:
    return _block({"text": f"{_shown(name)}: ", "weight": "Bolder"}, {"text": _shown(value) or "-"})


def _line(text: str) -> Element:
    return _block({"text": text, "isSubtle": True})


def _named(incident: Incident, base_url: str) -> Element:
    opens = {"type": "Action.OpenUrl", "url": page_url(base_url, incident)}
    return _block(
        {"text": f"{incident.severity.name.lower()}: ", "weight": "Bolder", "color": _COLOURS[incident.severity]},
        {"text": _shown(incident.title) or "An incident without a title", "selectAction": opens},
    )


def _related(related: Related, base_url: str) -> Element:
    opens = {"type": "Action.OpenUrl", "url": page_url(base_url, related)}
    title = _shown(f"{related.title.strip() or 'An incident without a title'} ({related.service.strip()})")
    return _block({"text": f"{ALSO} {word(related)}: ", "weight": "Bolder"}, {"text": title, "selectAction": opens})


def _block(*runs: Element) -> Element:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}


def _shown(text: str, most: int = _MAX_FACT) -> str:
    return cut(text.strip(), most)


def classify(answer: Answer) -> Verdict:
    """202 says that the workflow has started; whether it could post is seen only in its runs."""
    code = _code(answer.body)
    if answer.status >= 400 and "NotEnabled" in code:
        return Verdict(End.REFUSED, "workflow_off", broken=True)
    match answer.status:
        case 400:
            return Verdict(End.REFUSED, "bad_message")
        case 401 | 403:
            return Verdict(End.REFUSED, "bad_signature", broken=True)
        case 404 | 410:
            return Verdict(End.REFUSED, "workflow_gone", broken=True)
    return by_status(answer)


def _code(body: bytes) -> str:
    """The code of a workflow's error: `{"error": {"code": ..., "message": ...}}`."""
    try:
        found = orjson.loads(body)
        return str(found["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return ""


CHANNEL = Channel(
    slug="teams",
    title="Microsoft Teams",
    settings=TeamsDestination,
    render=render,
    classify=classify,
    digest=summarise,
    setup=(
        "In Teams, open the channel's menu and choose Workflows.",
        'Choose the template "Send webhook alerts to a channel", and the team and channel that it posts to.',
        "Copy the address that is shown at the end into `url`, whole: what follows `sig=` is its credential.",
        "If the channel is private, open the workflow, and let it post as the user instead of as the Flow bot.",
        "Send a test and see it in the channel: Teams answers 202 before it knows whether it can post.",
    ),
    examples={
        "a channel": {
            "type": "teams",
            "url": "https://default0123.45.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/"
            "0123456789abcdef/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0"
            "&sig=Aq3-sample-0Xyz",
        }
    },
    help={
        "bad_message": Help(
            "The workflow does not take this message.",
            "Its trigger must be that of the template, which takes any JSON; a changed schema refuses ours.",
        ),
        "bad_signature": Help(
            "The `sig` in the address is wrong, or the trigger is not open to anyone.",
            "Copy the address again, whole; in the workflow's trigger, `Who can trigger the flow` must be Anyone.",
        ),
        "workflow_gone": Help(
            "The workflow was deleted, or its address is an old one of logic.azure.com.",
            "Copy the address from the workflow again, or make a new workflow.",
        ),
        "workflow_off": Help(
            "The workflow is switched off.", "Turn it on; Power Automate switches off what failed for weeks."
        ),
    },
)
