"""The other incidents that a message names, in words that all channels share."""

from schemas.wire.incident import Status
from schemas.wire.notification import Change, Related
from sinks.contract import Message

#: The heading of their list.
ALSO = "Also"
_WORDS = {
    Change.NEW: "new",
    Change.ESCALATED: "more severe",
    Change.FLAPPED: "opened and resolved",
    Change.RESOLVED: "resolved",
    Change.OPEN: "still open",
}


def word(related: Related) -> str:
    """What became of it since the message before."""
    if related.change is Change.FLAPPED and related.status is not Status.RESOLVED:
        return "resolved and opened again"
    return _WORDS[related.change]


def others(message: Message) -> str:
    """The end of a headline that says how many others there are: ` and 3 other incidents`; "" for none."""
    count = len(message.notification.related) + message.notification.more
    if not count:
        return ""
    return f" and {count} other incidents" if count > 1 else " and another incident"
