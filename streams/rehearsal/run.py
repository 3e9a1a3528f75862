"""The facts of one run of a replay, as a report needs them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Set
from typing import NamedTuple

import msgspec

from schemas.wire.incident import Incident
from schemas.wire.notification import Delivery, Notification, Transition
from schemas.wire.rows import AlertOutcome, AlertRow
from streams.rehearsal.line import Listener
from streams.rehearsal.recorded import Recorded

#: Messages that say that something is wrong; the others say what became of it.
PAGES = frozenset({Transition.TRIGGERED, Transition.ESCALATED, Transition.REMINDER, Transition.SLA_BREACH})
NO_INCIDENT = bytes(16)
#: Differences that are remembered; all are counted.
SHOWN = 20


class Ended(NamedTuple):
    """What became of an alert."""

    outcome: AlertOutcome
    incident_id: bytes
    rule: str


class Difference(NamedTuple):
    """An alert that ended otherwise than it is recorded. `at` is when it arrived."""

    at: int
    service: str
    dedup_key: str
    recorded: Ended
    replayed: Ended


class Page(NamedTuple):
    """A message that says that something is wrong."""

    at: int
    destination: str
    transition: Transition
    incident_id: bytes


class Life(msgspec.Struct):
    """An incident: its first version, when somebody was first told of it (0 for never), whose keys are its members, and
    what kept it from people.
    """

    incident: Incident
    told_at: int = 0
    pages: int = 0
    keys: list[bytes] = []
    kept: dict[str, int] = {}


class Run(Listener):
    """Facts of the alerts that arrived, and the incidents that opened, from `since` on; before it is the warm-up.

    `suppressing` are the ids of the rules that suppress.
    """

    def __init__(self, since: int, suppressing: Set[str] = frozenset()) -> None:
        self._since = since
        self._suppressing = suppressing
        self._awaited: dict[bytes, tuple[Ended, int]] = {}
        self._hash = hashlib.sha256()
        self.alerts: Counter[AlertOutcome] = Counter()
        self.differences: list[Difference] = []
        self.different = 0
        self.lives: dict[bytes, Life] = {}
        self.incident_of: dict[bytes, bytes] = {}
        self.by_key: dict[bytes, list[bytes]] = {}
        self.suppressed: dict[bytes, str] = {}
        self.pages: list[Page] = []
        self.messages = 0
        self.matched: Counter[str] = Counter()
        self.hidden: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.firsts: dict[tuple[bytes, str], int] = {}

    def expect(self, each: Recorded) -> None:
        """The next alert is going to be taken: remember what is recorded of it."""
        if each.alert.received_at >= self._since:
            ended = Ended(each.outcome, each.incident_id, each.rule)
            self._awaited[each.alert.event_id] = ended, each.alert.received_at

    @property
    def undecided(self) -> int:
        """Alerts that have no outcome yet: they wait for what comes later."""
        return len(self._awaited)

    @property
    def opened(self) -> Iterator[Life]:
        """The incidents that count."""
        return (life for life in self.lives.values() if life.incident.opened_at >= self._since)

    @property
    def decisions(self) -> str:
        """A hash of everything that was decided, in order."""
        return self._hash.hexdigest()

    def ended(self, row: AlertRow, at: int) -> None:
        """Compare with the record, and count."""
        key, incident_id = bytes(row.fingerprint.data), bytes(row.incident_id.data)
        if incident_id != NO_INCIDENT:
            self._joins(key, incident_id)
        if row.received_at < self._since:
            return
        ended = Ended(row.outcome, incident_id, row.rule)
        event_id = bytes(row.event_id.data)
        self._hash.update(b"%b%b%b%d" % (event_id, incident_id, row.rule.encode("utf-8", "surrogatepass"), row.outcome))
        self.alerts[row.outcome] += 1
        if row.rule:
            self._ruled(key, row)
        expected = self._awaited.pop(event_id, None)
        if expected is not None and expected[0] != ended:
            self.different += 1
            if self.different <= SHOWN:
                self.differences.append(Difference(expected[1], row.service, row.dedup_key, expected[0], ended))

    def changed(self, incident: Incident, at: int) -> None:
        """Remember the first version of each incident."""
        if incident.incident_id not in self.lives:
            self.lives[incident.incident_id] = Life(incident)

    def told(self, notification: Notification, at: int) -> None:
        """Count the message."""
        if at < self._since:
            return
        incident_id, destination = notification.incident.incident_id, notification.destination
        self._note(notification.notification_id, at)
        self.messages += 1
        if notification.transition == Transition.TRIGGERED:
            self.firsts.setdefault((incident_id, destination), at)
        if notification.transition in PAGES:
            self.pages.append(Page(at, destination, notification.transition, incident_id))
            life = self.lives[incident_id]
            life.told_at = life.told_at or at
            life.pages += 1

    def skipped(self, delivery: Delivery, at: int) -> None:
        """Remember what kept the message from people."""
        if at < self._since:
            return
        self._note(delivery.notification_id, delivery.error, at)
        self.kept[delivery.error] += 1
        if delivery.transition in PAGES:
            self.lives[delivery.incident_id].kept.setdefault(delivery.error, at)

    def _ruled(self, key: bytes, row: AlertRow) -> None:
        rules = row.rule.split(",")
        self.matched.update(rules)
        if row.outcome is AlertOutcome.SUPPRESSED:
            hiding = [rule for rule in rules if rule in self._suppressing]
            self.hidden.update(hiding)
            self.suppressed[key] = ",".join(hiding)

    def _joins(self, key: bytes, incident_id: bytes) -> None:
        if self.incident_of.get(key) == incident_id:
            return
        self.incident_of[key] = incident_id
        self.by_key.setdefault(key, []).append(incident_id)
        life = self.lives.get(incident_id)
        if life is not None and key not in life.keys:
            life.keys.append(key)

    def _note(self, *values: object) -> None:
        self._hash.update(repr(values).encode("utf-8", "surrogatepass"))
