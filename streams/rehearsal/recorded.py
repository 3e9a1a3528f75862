"""What is recorded in ClickHouse, as a line takes it again: rows become alerts, and people's lines become commands."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.command import CommandAction
from schemas.wire.rows import AlertOutcome

#: The commands by the lines of a timeline that they cause.
_ACTIONS = {
    "acknowledged": CommandAction.ACKNOWLEDGE,
    "unacknowledged": CommandAction.UNACKNOWLEDGE,
    "resolved": CommandAction.RESOLVE,
    "note": CommandAction.NOTE,
}
#: What an alert only becomes if its key, or its incident, was there before.
_CONTINUES = frozenset(
    {AlertOutcome.DEDUPLICATED, AlertOutcome.ACKNOWLEDGED, AlertOutcome.RESOLVED, AlertOutcome.STALE}
)


class Recorded(NamedTuple):
    """An alert, and what became of it: `incident_id` is 16 zero bytes for none."""

    alert: Alert
    outcome: AlertOutcome
    incident_id: bytes
    rule: str


class Deed(NamedTuple):
    """What a person did with an incident, in the word of its timeline. Of a newer version the word may be unknown."""

    incident_id: bytes
    at: int
    kind: str
    actor: str
    command_id: bytes
    note: str

    @property
    def action(self) -> CommandAction | None:
        """The command that does it."""
        return _ACTIONS.get(self.kind)


class First(NamedTuple):
    """Whether a destination was told that an incident is there, and else why not."""

    incident_id: bytes
    destination: str
    at: int
    told: bool
    reasons: tuple[str, ...]


def recorded(row: Mapping[str, Any]) -> Recorded:
    """A row of `queries.ALERTS_IN_ORDER`. The alert is as dedup had it, but for `starts_at`, which is never 0."""
    alert = Alert(
        tenant=row["tenant"],
        service=row["service"],
        integration=row["integration"],
        provider=row["provider"],
        event_id=_id(row["event_id"]),
        dedup_key=row["dedup_key"],
        fingerprint=_id(row["fingerprint"]),
        action=Action(row["action"]),
        severity=Severity(row["severity"]),
        summary=row["summary"],
        source=row["source"],
        component=row["component"],
        group=row["alert_group"],
        class_=row["alert_class"],
        labels=dict(row["labels"]),
        details=row["details"].encode("utf-8", "surrogateescape"),
        links=msgspec.json.decode(row["links"]) if row["links"] else [],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        received_at=row["received_at"],
        origin_topic=row["kafka_topic"],
        origin_partition=row["kafka_partition"],
        origin_offset=row["kafka_offset"],
        origin_index=row["kafka_index"],
        sent_at=row["sent_ms"],
        began_at=row["began_ms"],
        ended_at=row["ended_ms"],
    )
    return Recorded(alert, AlertOutcome(row["outcome"]), _id(row["incident_id"]), row["rule"])


def deed(row: Mapping[str, Any]) -> Deed:
    """A row of `queries.HUMAN_EVENTS`."""
    return Deed(_id(row["incident_id"]), row["at"], row["kind"], row["actor"], _id(row["event_id"]), row["note"])


def first(row: Mapping[str, Any], skips: frozenset[str]) -> First:
    """A row of `queries.FIRST_DELIVERIES`; `skips` are reasons of the notifier, which had a message to send."""
    reasons = tuple(sorted(filter(None, row["reasons"])))
    told = row["attempts"] > 0 or not reasons or not skips.isdisjoint(reasons)
    return First(_id(row["incident_id"]), row["destination"], row["at"], told, () if told else reasons)


class Before:
    """Which alerts go on with what began before the first of them: a line cannot know what became of those."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._opened: set[bytes] = set()
        self._carried: set[bytes] = set()

    def holds(self, each: Recorded) -> bool:
        """Whether this alert does; ask in order."""
        key = each.alert.fingerprint
        if each.outcome is AlertOutcome.OPENED:
            self._opened.add(each.incident_id)
            self._carried.discard(key)
        elif each.outcome is AlertOutcome.CORRELATED:
            if each.incident_id in self._opened:
                self._carried.discard(key)
            else:
                self._carried.add(key)
        elif key not in self._seen and each.outcome in _CONTINUES:
            self._carried.add(key)
        self._seen.add(key)
        return key in self._carried


def _id(value: UUID) -> bytes:
    return value.bytes
