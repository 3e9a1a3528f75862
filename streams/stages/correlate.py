"""What belongs together becomes one incident, and the right people hear of it.

Takes `alerts.unique` (key: correlation key). Gives incidents (their newest version), timeline events, one
notification per transition and routed destination, and the history row of every alert that ends here.
An alert joins the newest incident of its key while that one's rolling window is open; without grouping
the key is the fingerprint and the window never ends. An incident resolves when its last open member does.
A request that waits for one of the alerts hears here what became of it.
"""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.fingerprint import digest
from schemas.records import Output, Record, State
from schemas.topics import INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS
from schemas.wire.alert import Action, Alert, UniqueAlert
from schemas.wire.codec import decode_unique, encode
from schemas.wire.incident import Incident, IncidentEvent, Status
from schemas.wire.notification import Notification, Transition, notification_id
from schemas.wire.rows import AlertOutcome
from streams.control.state import Control
from streams.policy import incidents
from streams.policy.rules import RuleSet
from streams.stages.history_rows import History
from streams.stages.replies import reply

TRANSITIONS = frozenset(Transition)
#: Prefix of a member's table key; an incident's is its 16-byte correlation key.
MEMBER = b"member:"
#: Timeline lines for members that join, per incident; all are counted, all have their own history row.
MAX_JOINED_LINES = 100

#: What became of a record, for the verdict: whether its alert is a duplicate, and its incident, empty for none.
Ended = tuple[bool, bytes]


class Open(msgspec.Struct, array_like=True, gc=False):
    """An incident that is not resolved. `repeats` is its member's where the key is the fingerprint itself."""

    incident: Incident
    open_members: int
    repeats: int
    window_end: int
    last_end: int
    routes: list[str]


_decode = msgspec.msgpack.Decoder(list[Open]).decode


class _Members:
    """Open members of the incidents of one key: fingerprint -> (incident, repeats so far).

    Without grouping the only member lies in the incident itself. Members of a group have entries of their
    own, so that the hundred-thousandth alert of a storm costs as much as the second.
    """

    def __init__(self, state: State, key: bytes, opens: list[Open]) -> None:
        self._state = state
        self._key = key
        self._opens = opens

    def find(self, fingerprint: bytes) -> tuple[Open, int] | None:
        if fingerprint == self._key:
            return (self._opens[-1], self._opens[-1].repeats) if self._opens else None
        value = self._state.get(MEMBER + fingerprint)
        if value is None:
            return None
        incident_id = value[:16]
        for found in self._opens:
            if found.incident.incident_id == incident_id:
                return found, int.from_bytes(value[16:], "big")
        return None

    def keep(self, fingerprint: bytes, found: Open, repeats: int) -> None:
        if fingerprint == self._key:
            found.repeats = repeats
        else:
            self._state.put(MEMBER + fingerprint, found.incident.incident_id + repeats.to_bytes(8, "big"))

    def drop(self, fingerprint: bytes) -> None:
        if fingerprint != self._key:
            self._state.delete(MEMBER + fingerprint)


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
        self._version = -1
        self._rules = RuleSet(())

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Take a batch; see the module."""
        if self._version != self._control.version:
            self._version, self._rules = self._control.version, RuleSet(self._control.rules.values())
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
            members = _Members(state, key, opens)
            if unique.alert is None:
                ended = _count(members, unique, batch, now)
            elif unique.alert.action == Action.TRIGGER:
                ended = self._trigger(opens, members, key, unique, unique.alert, record.offset, batch, now)
            else:
                ended = _end(opens, members, unique, unique.alert, record.offset, batch, now)
            if record.headers:
                batch.outputs += reply(record.headers, *ended)
            if opens:
                state.put(key, encode(opens))
            elif value is not None:
                state.delete(key)
        yield from batch.close(records[0].partition if records else 0)

    def _trigger(
        self,
        opens: list[Open],
        members: _Members,
        key: bytes,
        unique: UniqueAlert,
        alert: Alert,
        offset: int,
        batch: _Batch,
        now: int,
    ) -> Ended:
        decision = self._rules.decide(alert)
        rule = ",".join(decision.rules)
        member = members.find(alert.fingerprint)
        if decision.suppress and member is None:
            batch.history.add(offset, alert, AlertOutcome.SUPPRESSED, severity=decision.severity, rule=rule)
            return unique.repeats > 0, b""
        correlation = self._control.service(alert.tenant, alert.service).correlation
        if member is not None:
            outcome = AlertOutcome.DEDUPLICATED
            found, repeats = member
            members.keep(alert.fingerprint, found, max(repeats, unique.repeats))
            new = max(0, unique.repeats - repeats)
            found.incident, event = incidents.repeat(found.incident, new, unique.last_seen, decision.severity)
            batch.change(found.incident, event, found.routes, now)
        elif opens and correlation is not None and alert.received_at <= opens[-1].window_end:
            outcome, found = AlertOutcome.CORRELATED, opens[-1]
            found.open_members += 1
            members.keep(alert.fingerprint, found, 0)
            found.routes += [route for route in decision.routes if route not in found.routes]
            found.incident, joined = incidents.join(found.incident, alert, decision.severity)
            batch.change(found.incident, joined, found.routes, now)
        else:
            outcome = AlertOutcome.OPENED
            incident, opened = incidents.open_incident(alert, key, decision.severity, decision.labels)
            last_end = alert.received_at + correlation.max_window * 1000 if correlation is not None else 0
            found = Open(incident, 1, 0, 0, last_end, list(decision.routes))
            opens.append(found)
            members.keep(alert.fingerprint, found, 0)
            batch.change(incident, opened, found.routes, now)
        if correlation is not None:
            rolled = min(alert.received_at + correlation.window * 1000, found.last_end)
            found.window_end = max(found.window_end, rolled)
        batch.history.add(
            offset, alert, outcome,
            severity=decision.severity, incident_id=found.incident.incident_id, rule=rule,
        )  # fmt: skip
        return member is not None, found.incident.incident_id


def _count(members: _Members, unique: UniqueAlert, batch: _Batch, now: int) -> Ended:
    """Folded repeats: a total, so what is known already adds nothing."""
    member = members.find(unique.fingerprint)
    if member is None:
        return True, b""
    found, repeats = member
    if unique.repeats > repeats:
        members.keep(unique.fingerprint, found, unique.repeats)
        new = unique.repeats - repeats
        found.incident, event = incidents.repeat(found.incident, new, unique.last_seen, unique.severity)
        batch.change(found.incident, event, found.routes, now)
    return True, found.incident.incident_id


def _end(
    opens: list[Open], members: _Members, unique: UniqueAlert, alert: Alert, offset: int, batch: _Batch, now: int
) -> Ended:
    """An acknowledge or a resolve of a member."""
    member = members.find(alert.fingerprint)
    if member is None:
        batch.history.add(offset, alert, AlertOutcome.UNMATCHED)
        return False, b""
    _count(members, unique, batch, now)
    found, _ = member
    incident_id = found.incident.incident_id
    if alert.action == Action.ACKNOWLEDGE:
        if found.incident.status == Status.OPEN:
            found.incident, event = incidents.acknowledge(found.incident, alert)
            batch.change(found.incident, event, found.routes, now)
        batch.history.add(offset, alert, AlertOutcome.ACKNOWLEDGED, incident_id=incident_id)
        return False, incident_id
    members.drop(alert.fingerprint)
    found.open_members -= 1
    if not found.open_members:
        found.incident, event = incidents.resolve(found.incident, alert)
        batch.change(found.incident, event, found.routes, now)
        opens.remove(found)
    batch.history.add(offset, alert, AlertOutcome.RESOLVED, incident_id=incident_id)
    return False, incident_id
