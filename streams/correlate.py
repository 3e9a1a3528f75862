"""What belongs together becomes one incident, and the right people hear of it.

Takes `alerts.unique` (key: correlation key). Gives incidents (their newest version), timeline events, one
notification per transition and routed destination, and the history row of every alert that ends here.
An alert joins the newest incident of its key while that one's rolling window is open; without grouping
the key is the fingerprint and the window never ends. An incident resolves when its last open member does.
"""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.alert import Action, Alert, UniqueAlert
from schemas.codec import decode_unique, encode
from schemas.control import Control
from schemas.fingerprint import digest
from schemas.incident import Incident, IncidentEvent, Status
from schemas.notification import Notification, Transition, notification_id
from schemas.records import Output, Record, State
from schemas.rows import AlertOutcome
from schemas.topics import INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS
from streams import incidents
from streams.history import History
from streams.rules import Rules

TRANSITIONS = frozenset(Transition)
#: Timeline lines for members that join, per incident; all are counted, all have their own history row.
MAX_JOINED_LINES = 100


class Open(msgspec.Struct, array_like=True, gc=False):
    """An incident that is not resolved: members (fingerprint -> repeats, -1 once resolved), windows, routes."""

    incident: Incident
    members: dict[bytes, int]
    window_end: int
    last_end: int
    routes: list[str]


_decode = msgspec.msgpack.Decoder(list[Open]).decode


class _Batch:
    """What one batch changed: the newest version of each incident, and everything said about them."""

    def __init__(self) -> None:
        self.history = History("correlate")
        self.incidents: dict[bytes, Incident] = {}
        self.outputs: list[Output] = []

    def change(self, incident: Incident, event: IncidentEvent | None, routes: Sequence[str], now: int) -> None:
        self.incidents[incident.incident_id] = incident
        if event is None:
            return
        key = incident.incident_id
        if event.kind != "joined" or incident.member_count <= MAX_JOINED_LINES:
            self.outputs.append(Output(INCIDENTS_EVENTS.name, key, encode(event)))
        if event.kind not in TRANSITIONS:
            return
        transition = Transition(event.kind)
        for destination in routes:
            notification = Notification(
                notification_id=notification_id(key, incident.version, transition, destination),
                tenant=incident.tenant,
                destination=destination,
                transition=transition,
                queued_at=now,
                incident=incident,
            )
            self.outputs.append(Output(NOTIFICATIONS.name, digest(destination, key.hex()), encode(notification)))

    def close(self, partition: int) -> Iterator[Output]:
        for key, incident in self.incidents.items():
            yield Output(INCIDENTS.name, key, encode(incident))
        yield from self.outputs
        yield from self.history.blocks(partition)


class Correlate:
    """The stage, with the followed control state for rules and grouping."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._rules = Rules(control)

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Take a batch; see the module."""
        batch = _Batch()
        marks = state.marks
        for record in records:
            unique = decode_unique(record.value or b"")
            if unique.alert is not None:
                lane = f"dedup/{unique.via_partition}"
                if unique.via <= marks.get(lane, -1):
                    continue
                marks[lane] = unique.via
            key = record.key or b""
            value = state.get(key)
            opens = _decode(value) if value is not None else []
            if unique.alert is None:
                _count(opens, unique, batch, now)
            elif unique.alert.action == Action.TRIGGER:
                self._trigger(opens, key, unique, unique.alert, record.offset, batch, now)
            else:
                _end(opens, unique, unique.alert, record.offset, batch, now)
            if opens:
                state.put(key, encode(opens))
            elif value is not None:
                state.delete(key)
        yield from batch.close(records[0].partition if records else 0)

    def _trigger(
        self, opens: list[Open], key: bytes, unique: UniqueAlert, alert: Alert, offset: int, batch: _Batch, now: int
    ) -> None:
        decision = self._rules.decide(alert)
        rule = ",".join(decision.rules)
        member = _of_member(opens, alert.fingerprint)
        if decision.suppress and member is None:
            batch.history.add(offset, alert, AlertOutcome.SUPPRESSED, severity=decision.severity, rule=rule)
            return
        correlation = self._control.service(alert.tenant, alert.service).correlation
        if member is not None:
            outcome, found = AlertOutcome.DEDUPLICATED, member
            new = max(0, unique.repeats - max(0, found.members[alert.fingerprint]))
            found.members[alert.fingerprint] = max(unique.repeats, found.members[alert.fingerprint])
            found.incident, event = incidents.repeat(found.incident, new, unique.last_seen, decision.severity)
            batch.change(found.incident, event, found.routes, now)
        elif opens and correlation is not None and alert.received_at <= opens[-1].window_end:
            outcome, found = AlertOutcome.CORRELATED, opens[-1]
            found.members[alert.fingerprint] = 0
            found.routes += [route for route in decision.routes if route not in found.routes]
            found.incident, joined = incidents.join(found.incident, alert, decision.severity)
            batch.change(found.incident, joined, found.routes, now)
        else:
            outcome = AlertOutcome.OPENED
            incident, opened = incidents.open_incident(alert, key, decision.severity, decision.labels)
            last_end = alert.received_at + correlation.max_window * 1000 if correlation is not None else 0
            found = Open(incident, {alert.fingerprint: 0}, 0, last_end, list(decision.routes))
            opens.append(found)
            batch.change(incident, opened, found.routes, now)
        if correlation is not None:
            rolled = min(alert.received_at + correlation.window * 1000, found.last_end)
            found.window_end = max(found.window_end, rolled)
        batch.history.add(
            offset, alert, outcome,
            severity=decision.severity, incident_id=found.incident.incident_id, rule=rule,
        )  # fmt: skip


def _count(opens: list[Open], unique: UniqueAlert, batch: _Batch, now: int) -> None:
    """Folded repeats: a total, so what is known already adds nothing."""
    found = _of_member(opens, unique.fingerprint)
    if found is None:
        return
    new = unique.repeats - found.members[unique.fingerprint]
    if new > 0:
        found.members[unique.fingerprint] = unique.repeats
        found.incident, event = incidents.repeat(found.incident, new, unique.last_seen, unique.severity)
        batch.change(found.incident, event, found.routes, now)


def _end(opens: list[Open], unique: UniqueAlert, alert: Alert, offset: int, batch: _Batch, now: int) -> None:
    """An acknowledge or a resolve of a member."""
    found = _of_member(opens, alert.fingerprint)
    if found is None:
        batch.history.add(offset, alert, AlertOutcome.UNMATCHED)
        return
    _count([found], unique, batch, now)
    incident_id = found.incident.incident_id
    if alert.action == Action.ACKNOWLEDGE:
        if found.incident.status == Status.OPEN:
            found.incident, event = incidents.acknowledge(found.incident, alert)
            batch.change(found.incident, event, found.routes, now)
        batch.history.add(offset, alert, AlertOutcome.ACKNOWLEDGED, incident_id=incident_id)
        return
    found.members[alert.fingerprint] = -1
    if all(repeats < 0 for repeats in found.members.values()):
        found.incident, event = incidents.resolve(found.incident, alert)
        batch.change(found.incident, event, found.routes, now)
        opens.remove(found)
    batch.history.add(offset, alert, AlertOutcome.RESOLVED, incident_id=incident_id)


def _of_member(opens: list[Open], fingerprint: bytes) -> Open | None:
    """The newest incident in which the fingerprint is an open member."""
    for found in reversed(opens):
        if found.members.get(fingerprint, -1) >= 0:
            return found
    return None
