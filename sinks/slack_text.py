"""Text for Slack and for what reads Slack's format: nothing in an alert is markup, a mention or a link.

https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

from pydantic import Field

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Related, Transition
from sinks.contract import Message

ELLIPSIS = "\u2026"
#: The end of the year 9999, the last second that can be formatted.
_LAST_S = 253_402_300_799
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
#: What is kept although it is not printable: the joiner of the parts of one emoji, and the word joiner.
_JOINERS = "\u200d\u2060"
_MARKS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}
_CHANGES = {
    Transition.TRIGGERED: "triggered",
    Transition.ESCALATED: "more severe",
    Transition.ACKNOWLEDGED: "acknowledged",
    Transition.RESOLVED: "resolved",
    Transition.UNACKNOWLEDGED: "not acknowledged any more",
    Transition.REMINDER: "still open",
    Transition.SLA_BREACH: "not handled in time",
    Transition.UPDATED: "related incidents changed",
}

#: A member (U or W), a user group (S), or everybody: `channel` is all members of the channel, `here` the active ones.
_MENTION_ID = r"(channel|here|[UWS][A-Z0-9]{2,20})"
MentionId = Annotated[str, Field(pattern=f"^{_MENTION_ID}$")]
MAX_MENTIONS = 20


def escaped(text: str, most: int) -> str:
    """`text` on one line with `& < >` as entities, at most `most` UTF-16 code units long.

    Vendors do not say whether they count characters or code units; code units are never fewer. A longer text is cut
    at a whole character and ends in an ellipsis.
    """
    # The time that this takes must not grow with what somebody sends: more than this cannot be shown.
    head = text[: 4 * most]
    line = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in head).split())
    pieces = [_ENTITIES.get(character, character) for character in line]
    sizes = [units(piece) for piece in pieces]
    size = sum(sizes)
    if size <= most and len(head) == len(text):
        return "".join(pieces)
    while size > most - len(ELLIPSIS):
        size -= sizes.pop()
    return "".join(pieces[: len(sizes)]) + ELLIPSIS


def units(text: str) -> int:
    """How many UTF-16 code units the text has."""
    return len(text) + sum(character > "\uffff" for character in text)


def mark(incident: Incident | Related) -> str:
    """One character that shows how bad it is, or that it is over."""
    return "✅" if incident.status == Status.RESOLVED else _MARKS[incident.severity]


def change(message: Message) -> str:
    """What happened since the last message, in words: `Triggered, resolved`."""
    return ", ".join(_CHANGES[transition] for transition in message.told).capitalize()


def moment(at_ms: int) -> str:
    """A time that Slack shows in the reader's zone; other readers show its UTC text."""
    seconds = min(max(at_ms // 1000, 0), _LAST_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{text}>"


def mentions(own: Iterable[str], rules: Iterable[str]) -> str:
    """The markup that notifies those whom a destination's settings name, and those whom rules do, each once.

    Rules may name people in the words of other channels: what is no id of Slack's is left out.
    """
    named = (name.removeprefix("@") for name in rules)
    ids = dict.fromkeys((*own, *(name for name in named if re.fullmatch(_MENTION_ID, name))))
    return " ".join(_mention(name) for name in islice(ids, MAX_MENTIONS))


def _mention(name: str) -> str:
    if name in ("channel", "here"):
        return f"<!{name}>"
    return f"<!subteam^{name}>" if name.startswith("S") else f"<@{name}>"
