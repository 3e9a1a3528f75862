"""Cards of the Slack channel as Block Kit, within Slack's limits whatever an alert contains.

https://docs.slack.dev/reference/block-kit/blocks : 50 blocks, header 150, section 3000, field 2000 characters, 10
fields, button value 2000 and URL 3000 characters; all texts of a message together stay below about 13,200.
"""

from collections.abc import Mapping, Sequence

from schemas.wire.command import CommandAction
from schemas.wire.incident import Incident, Status
from schemas.wire.subject import Subject
from sinks.contract import Digest, Message
from sinks.related import ALSO, word
from sinks.render import incident_url, page_url
from sinks.slack_text import escaped, mark, moment, units

Block = dict[str, object]

MAX_HEADER = 150
MAX_SECTION = 3_000
#: Other incidents in a card's list; they have a section.
_RELATED_TITLE, _RELATED_SERVICE = 80, 40
#: Our own limits: a card is read at a glance, and all texts together stay far below what Slack takes.
MAX_FIELD = 300
MAX_CONDITION = 1_000
MAX_LABELS = 1_000
_SUMMARY_TITLE = 150


def card(message: Message, *, buttons: bool, mentions: str = "") -> list[Block]:
    """The card of an incident: name, severity, condition, metrics, labels, and buttons, each a block of that id."""
    incident = message.incident
    blocks: list[Block] = [{"type": "header", "block_id": "name", "text": _plain(title(incident, MAX_HEADER))}]
    if mentions:
        blocks.append(_section("mentions", mentions))
    if message.notification.note:
        blocks.append(_section("note", escaped(message.notification.note, MAX_CONDITION)))
    source = f" from {incident.source}" if incident.source else ""
    condition = escaped(f"alert {incident.dedup_key}{source}", MAX_CONDITION)
    known = {
        "Severity": incident.severity.name.lower(),
        "Status": incident.status.name.lower(),
        "Service": escaped(incident.service, MAX_FIELD),
    }
    metrics = {
        "Alerts": str(incident.alert_count),
        "Repeats": str(incident.repeat_count),
        "Distinct alerts": str(incident.member_count),
    }
    if incident.last_alert_at:
        metrics["Last alert"] = moment(incident.last_alert_at)
    blocks += [
        _fields("severity", known),
        _section("condition", f"*Condition*\n{condition}, opened {moment(incident.opened_at)}"),
        _fields("metrics", metrics),
    ]
    if incident.labels:
        labels = escaped(", ".join(f"{name}={value}" for name, value in incident.labels.items()), MAX_LABELS)
        blocks.append({"type": "context", "block_id": "labels", "elements": [_markup(labels)]})
    if message.notification.related:
        blocks.append(_section("also", f"*{ALSO}*\n{_others(message)}"))
    blocks.append(_actions(message, buttons=buttons))
    return blocks


def _others(message: Message) -> str:
    """A line for each of the other incidents, as many as fit, and how many more there are."""
    related, more = message.notification.related, message.notification.more
    lines = [
        f"{word(each)}: <{page_url(message.base_url, each)}|{escaped(f'{mark(each)} {each.title}', _RELATED_TITLE)}>"
        f" {escaped(each.service, _RELATED_SERVICE)}"
        for each in related
    ]
    return _fitting(lines, len(lines) + more)


def _fitting(lines: Sequence[str], total: int) -> str:
    """The first of `lines` that fit into a section, and how many more of `total` there are."""
    shown: list[str] = []
    size = 0
    for line in lines:
        size += units(line) + 1
        if size > MAX_SECTION - len("*Also*\nand 1000000 more"):
            break
        shown.append(line)
    if more := total - len(shown):
        shown.append(f"and {more} more")
    return "\n".join(shown)


def summary(digest: Digest) -> list[Block]:
    """The card of a summary: counts, then the worst incidents with links, and how many more there are."""
    worst_first = sorted(digest.by_severity.items(), reverse=True)
    counts = ", ".join(f"{count} {severity.name.lower()}" for severity, count in worst_first)
    if digest.resolved:
        counts += f"; {digest.resolved} of them resolved"
    lines = [f"<{page_url(digest.base_url, each)}|{title(each, _SUMMARY_TITLE)}>" for each in digest.incidents]
    return [
        {"type": "header", "block_id": "name", "text": _plain(f"{digest.total} incidents changed")},
        _section("counts", counts),
        _section("incidents", _fitting(lines, digest.total)),
    ]


def title(incident: Incident, most: int) -> str:
    """The incident's name behind its mark, escaped, at most `most` long."""
    return escaped(f"{mark(incident)} {incident.title}", most)


def _actions(message: Message, *, buttons: bool) -> Block:
    incident = message.incident
    value = Subject(incident.tenant, incident.incident_id, incident.correlation_key).text()
    offered: list[Block] = []
    if buttons and incident.status == Status.OPEN:
        offered.append(_button("Acknowledge", CommandAction.ACKNOWLEDGE, value=value, style="primary"))
    if buttons and incident.status != Status.RESOLVED:
        offered.append(_button("Resolve", CommandAction.RESOLVE, value=value))
    offered.append(_button("Open in Stormweir", "open", url=incident_url(message)))
    return {"type": "actions", "block_id": "actions", "elements": offered}


def _button(text: str, action: str, **fields: str) -> Block:
    return {"type": "button", "action_id": str(action), "text": _plain(text), **fields}


def _section(block_id: str, markup: str) -> Block:
    return {"type": "section", "block_id": block_id, "text": _markup(markup)}


def _fields(block_id: str, markups: Mapping[str, str]) -> Block:
    fields = [_markup(f"*{name}*\n{markup}") for name, markup in markups.items()]
    return {"type": "section", "block_id": block_id, "fields": fields}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _markup(text: str) -> Block:
    # `verbatim`: Slack adds no links and no mentions of its own to what an alert says.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
