"""Who would be told of an alert, and when: one alert through the stages, then time passes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from schemas.records import Record
from schemas.topics import ALERTS_EVENTS, ALERTS_NORMALIZED, DEADLETTERS
from schemas.wire.alert import Alert
from schemas.wire.codec import decode_alert
from schemas.wire.notification import Delivery, Notification, Transition
from schemas.wire.rows import AlertRow
from streams.rehearsal.line import Line, Listener, Passed
from streams.rehearsal.reasons import MESSAGES, sentence
from streams.stages.configuration import Configuration, Nothing
from streams.stages.normalize import Normalize

#: Messages after which a rehearsal ends. It looks at the end of each step, so that it takes seconds at most.
MOST = 1_000
_STEP_MS = 60_000


class Message(NamedTuple):
    """A destination is told, or (with a `reason`) is not; `after` is milliseconds after the alert."""

    after: int
    transition: Transition
    destination: str
    reason: str = ""
    mentions: tuple[str, ...] = ()


class Told(NamedTuple):
    """What became of the alert: its outcome, severity after rules, the rules that matched, its messages in order.

    `others` are the destinations of its tenant that nothing names for it.
    """

    outcome: str
    severity: str
    rules: tuple[str, ...]
    messages: tuple[Message, ...]
    others: tuple[str, ...]


def alert_of(fields: Mapping[str, Any], at: int) -> Alert:
    """The alert of an event as a program of the company sends it (docs/producers.md), arrived at `at`, milliseconds.

    Raises ValueError that names the field.
    """
    record: Record = Passed(ALERTS_EVENTS.name, 0, 0, at, None, orjson.dumps(dict(fields)))
    (output,) = Normalize(Nothing()).events(None, [record], at)
    if output.topic == DEADLETTERS.name:
        raise ValueError(dict(output.headers)["error"].decode())
    assert output.topic == ALERTS_NORMALIZED.name
    return decode_alert(output.value or b"")


def rehearse(configuration: Configuration, destinations: Iterable[str], alert: Alert, lasts_ms: int) -> Told:
    """Let the alert come to stages that know of nothing else, and `lasts_ms` pass. `destinations` are its tenant's.

    It ends before that time after MOST messages. `messages` are the first ones then, and `others` is empty: they may
    be told later.
    """
    heard = _Heard(alert.received_at)
    line = Line(configuration, heard)
    line.take(alert, alert.received_at)
    end = alert.received_at + lasts_ms
    for at in (*range(alert.received_at + _STEP_MS, end, _STEP_MS), end):
        line.advance(at)
        if len(heard.messages) >= MOST:
            del heard.messages[MOST:]
            destinations = ()
            break
    named = {message.destination for message in heard.messages}
    others = sorted(set(destinations) - named)
    row = heard.row
    if row is None:
        return Told("undecided", alert.severity.name.lower(), (), tuple(heard.messages), tuple(others))
    rules = tuple(filter(None, row.rule.split(",")))
    return Told(row.outcome.name.lower(), row.severity.name.lower(), rules, tuple(heard.messages), tuple(others))


def sentences(told: Told, alert: Alert, hours: int) -> Iterator[str]:
    """The result in words."""
    rules = f"rules: {', '.join(told.rules)}" if told.rules else "no rule matches"
    yield f"{told.outcome}: {alert.service} {alert.dedup_key}, {told.severity}; {rules}"
    for message in told.messages:
        yield f"{_after(message.after)}  {_said(message)}"
    if len(told.messages) >= MOST:
        yield f"these are the first {MOST:,} messages: the rehearsal ended there"
    elif all(message.reason for message in told.messages):
        yield f"nobody is told within {hours} h"
    if told.others:
        yield f"not asked: {', '.join(told.others)}: no rule, service or escalation policy names them for this alert"


def _said(message: Message) -> str:
    what = MESSAGES[message.transition]
    if message.reason:
        who = f"{message.destination} is not" if message.destination else "nobody is"
        return f"{who} told that {what}: {sentence(message.reason) or message.reason}"
    mentions = f"; mentions {', '.join(message.mentions)}" if message.mentions else ""
    return f"{message.destination} is told that {what}{mentions}"


class _Heard(Listener):
    def __init__(self, start: int) -> None:
        self._start = start
        self.row: AlertRow | None = None
        self.messages: list[Message] = []

    def ended(self, row: AlertRow, at: int) -> None:
        self.row = row

    def told(self, notification: Notification, at: int) -> None:
        self.messages.append(
            Message(at - self._start, notification.transition, notification.destination, "", notification.mentions)
        )

    def skipped(self, delivery: Delivery, at: int) -> None:
        self.messages.append(Message(at - self._start, delivery.transition, delivery.destination, delivery.error))


def _after(milliseconds: int) -> str:
    """A time after the alert.

    >>> _after(3_725_000)
    '+1:02:05'
    """
    seconds = milliseconds // 1000
    return f"+{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
