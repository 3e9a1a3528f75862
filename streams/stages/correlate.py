"""Correlation: related alerts become one incident, and its destinations are notified.

Takes `alerts.unique` (key: correlation key): alerts, and people's commands (streams.stages.commands), in one order.
Gives incidents (their newest version), timeline events, one notification per transition and routed destination, and the
history row of every alert that ends here.
An alert joins the newest incident of its key while the incident's rolling window is open; without grouping
the key is the fingerprint and the window never ends. An incident resolves when its last open member does.
A destination that a later member adds first gets the incident's trigger, then the transitions that follow.
A destination that is not told of a transition (streams.policy.audience) gets a row on `notifications.results` that
says why. A request that waits for one of the alerts gets its verdict here, and a command its answer.

The table has one entry for an open incident, one for a member of a group, one for a group with its newest incident,
and one for a resolved incident until its record is deleted from `incidents` (compacted).
"""

from collections.abc import Iterator, Sequence

import msgspec

from schemas.records import Output, Record, State
from schemas.topics import INCIDENTS, INCIDENTS_EVENTS, NOTIFICATIONS, NOTIFICATIONS_RESULTS
from schemas.wire.alert import Action, Alert, UniqueAlert
from schemas.wire.codec import decode_unique, encode
from schemas.wire.incident import Incident, IncidentEvent, Status
from schemas.wire.notification import Delivery, Notification, Outcome, Transition, notification_id
from schemas.wire.rows import AlertOutcome
from streams.policy import incidents
from streams.policy.audience import Audience, Skip
from streams.stages.commands import is_command, obey
from streams.stages.configuration import Configuration
from streams.stages.correlate_table import Group, Open, Table
from streams.stages.history_rows import History
from streams.stages.replies import answer, reply

TRANSITIONS = frozenset(Transition)
#: Timeline lines for members that join, per incident; all are counted, all have their own history row.
MAX_JOINED_LINES = 100

#: The result for a record, for the verdict: whether its alert is a duplicate, and its incident, empty for none.
Ended = tuple[bool, bytes]


class _Batch:
    """The changes of one batch: the newest version of each incident, and their events and notifications."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.history = History("correlate")
        self.incidents: dict[bytes, Incident] = {}
        self.outputs: list[Output] = []

    def change(self, found: Open, event: IncidentEvent | None, now: int, routes: Sequence[str] = ()) -> None:
        """Note the incident's new version after `event`; `routes` may name destinations that are new to it."""
        incident = found.incident
        self.incidents[incident.incident_id] = incident
        if event is not None:
            if event.kind != "joined" or incident.member_count <= MAX_JOINED_LINES:
                self.outputs.append(Output(INCIDENTS_EVENTS.name, incident.incident_id, encode(event)))
            if event.kind in TRANSITIONS:
                for destination in found.routes:
                    self._notify(found, Transition(event.kind), destination, now)
        for destination in routes:
            if destination not in found.routes:
                found.routes.append(destination)
                self._notify(found, Transition.TRIGGERED, destination, now)

    def _notify(self, found: Open, transition: Transition, destination: str, now: int) -> None:
        incident = found.incident
        heard = destination not in found.unheard
        skip, mentions = self.audience.call(incident, transition, destination, found.rules, heard, now)
        if skip is not None:
            if skip is Skip.QUIET_HOURS and transition == Transition.TRIGGERED:
                found.unheard.append(destination)
            self.skip(incident, transition, destination, skip, now)
            return
        if not heard:
            found.unheard.remove(destination)
        key = incident.incident_id
        notification = Notification(
            notification_id=notification_id(key, incident.version, transition, destination),
            tenant=incident.tenant,
            destination=destination,
            transition=transition,
            queued_at=now,
            incident=incident,
            mentions=mentions,
        )
        # All of a destination are on one partition, so that one notifier has them all.
        place = f"{incident.tenant}/{destination}".encode()
        self.outputs.append(Output(NOTIFICATIONS.name, place, encode(notification)))

    def skip(self, incident: Incident, transition: Transition, destination: str, reason: Skip, now: int) -> None:
        """Note that a destination is not told, or ("") that there is none."""
        row = Delivery(
            tenant=incident.tenant,
            notification_id=notification_id(incident.incident_id, incident.version, transition, destination),
            incident_id=incident.incident_id,
            channel="",
            destination=destination,
            transition=transition,
            attempt=0,
            queued_at=now,
            sent_at=0,
            finished_at=now,
            outcome=Outcome.SUPPRESSED,
            error=reason,
        )
        self.outputs.append(Output(NOTIFICATIONS_RESULTS.name, row.notification_id, encode(row)))

    def close(self, partition: int) -> Iterator[Output]:
        for key, incident in self.incidents.items():
            yield Output(INCIDENTS.name, key, encode(incident))
        yield from self.outputs
        yield from self.history.blocks(partition)


class Correlate:
    """The stage. `control`, which is kept up to date elsewhere, has the settings for grouping and for who is told.

    `retention_ms` after its resolve an incident's record is deleted from the compacted topic.
    """

    def __init__(self, control: Configuration, retention_ms: int) -> None:
        self._control = control
        self._retention_ms = retention_ms
        self._version = -1
        self._audience = Audience()

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Process a batch; see the module."""
        if self._version != self._control.version:
            self._version = self._control.version
            self._audience = Audience(
                self._control.tenants.values(), self._control.services.values(), self._control.rules.values()
            )
        batch = _Batch(self._audience)
        table = Table(state)
        for record in records:
            key, headers = record.key or b"", record.headers
            # The partition's time may stand still while a stage before this one is behind; a record's does not.
            at = max(now, record.timestamp)
            if headers and is_command(headers):
                found, event, incident_id, result = obey(table, key, record.value or b"", at, at + self._retention_ms)
                if found is not None:
                    batch.change(found, event, at)
                batch.outputs += answer(headers, incident_id, result)
                continue
            unique = decode_unique(record.value or b"")
            if unique.alert is not None and not _is_new(state, unique):
                continue
            if unique.alert is None:
                ended = self._count(table, key, unique, batch, at)
            elif unique.alert.action == Action.TRIGGER:
                alert = unique.alert
                outcome, incident_id = self._admit(table, key, unique, alert, batch, at)
                batch.history.add(
                    record.offset, alert, outcome, severity=unique.severity, incident_id=incident_id, rule=unique.rule
                )
                ended = outcome is AlertOutcome.DEDUPLICATED, incident_id
            else:
                ended = self._end(table, key, unique, unique.alert, record.offset, batch, at)
            if headers:
                batch.outputs += reply(headers, *ended)
        yield from batch.close(records[0].partition if records else 0)

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Delete the records of incidents whose `retention_ms` has passed since their resolve."""
        table = Table(state)
        for key, _ in due:
            incident_id = table.forget(key)
            if incident_id is not None:
                yield Output(INCIDENTS.name, incident_id, None)

    def _admit(
        self, table: Table, key: bytes, unique: UniqueAlert, alert: Alert, batch: _Batch, now: int
    ) -> tuple[AlertOutcome, bytes]:
        """Make a trigger part of an incident; the outcome and the incident's id."""
        correlation = self._control.service(alert.tenant, alert.service).correlation
        group = table.group(key) if key != alert.fingerprint else None
        member = table.member(key, alert.fingerprint)
        routes = batch.audience.destinations(alert.tenant, alert.service, unique.severity, unique.routes)
        known = 0
        if member is None and unique.repeats and table.left(key, alert.fingerprint) is not None:
            known = unique.repeats  # they were before, or in, the incident that a person resolved
        if member is not None:
            outcome = AlertOutcome.DEDUPLICATED
            found, repeats = member
            new = max(0, unique.repeats - repeats)
            table.keep_member(key, alert.fingerprint, found, max(repeats, unique.repeats))
            found.incident, event = incidents.repeat(found.incident, new, unique.last_seen, unique.severity)
            _add_rules(found, unique.rule)
            batch.change(found, event, now, routes)
        elif group is not None and alert.received_at <= group.window_end and (joins := table.open(group.incident_id)):
            outcome, found = AlertOutcome.CORRELATED, joins
            found.open_members += 1
            table.keep_member(key, alert.fingerprint, found, known)
            found.incident, joined = incidents.join(found.incident, alert, unique.severity)
            _add_rules(found, unique.rule)
            batch.change(found, joined, now, routes)
        else:
            outcome = AlertOutcome.OPENED
            incident, opened = incidents.open_incident(alert, key, unique.severity, unique.labels)
            found = Open(incident, 1, 0, list(routes), rules=unique.rule)
            if key != alert.fingerprint:
                last_end = alert.received_at + (correlation.max_window * 1000 if correlation is not None else 0)
                group = Group(incident.incident_id, 0, last_end)
            table.keep_member(key, alert.fingerprint, found, known)
            batch.change(found, opened, now)
            if not routes and (reason := batch.audience.nobody(alert.tenant, unique.severity)) is not None:
                batch.skip(incident, Transition.TRIGGERED, "", reason, now)
        table.keep(key, alert.fingerprint, found)
        if group is not None and correlation is not None and found.incident.incident_id == group.incident_id:
            rolled = min(alert.received_at + correlation.window * 1000, group.last_end)
            table.keep_group(key, group._replace(window_end=max(group.window_end, rolled)))
        return outcome, found.incident.incident_id

    def _count(self, table: Table, key: bytes, unique: UniqueAlert, batch: _Batch, now: int) -> Ended:
        """Count folded repeats. Their number is a total, so repeats that are known already add nothing."""
        member = table.member(key, unique.fingerprint)
        if member is None:
            left = table.left(key, unique.fingerprint)
            if left is None or unique.last_seen <= left.incident.resolved_at:
                return True, b""
            alert = incidents.firing_on(left.incident, unique)
            fires = msgspec.structs.replace(unique, alert=alert, routes=left.routes)
            return True, self._admit(table, key, fires, alert, batch, now)[1]
        found, repeats = member
        if unique.repeats > repeats:
            _add_repeats(table, key, unique, found, repeats, batch, now)
            table.keep(key, unique.fingerprint, found)
        return True, found.incident.incident_id

    def _end(
        self, table: Table, key: bytes, unique: UniqueAlert, alert: Alert, offset: int, batch: _Batch, now: int
    ) -> Ended:
        """Process an acknowledge or a resolve of a member."""
        fingerprint = alert.fingerprint
        member = table.member(key, fingerprint)
        if member is None:
            if alert.action == Action.RESOLVE:
                table.drop_left(key, fingerprint)
            batch.history.add(offset, alert, AlertOutcome.UNMATCHED)
            return False, b""
        found, repeats = member
        if unique.repeats > repeats:
            _add_repeats(table, key, unique, found, repeats, batch, now)
        incident_id = found.incident.incident_id
        if alert.action == Action.ACKNOWLEDGE:
            if found.incident.status == Status.OPEN:
                found.incident, event = incidents.acknowledge(found.incident, alert)
                batch.change(found, event, now)
            table.keep(key, fingerprint, found)
            batch.history.add(offset, alert, AlertOutcome.ACKNOWLEDGED, incident_id=incident_id)
            return False, incident_id
        table.drop_member(key, fingerprint)
        found.open_members -= 1
        if found.open_members:
            table.keep(key, fingerprint, found)
        else:
            found.incident, event = incidents.resolve(found.incident, alert)
            batch.change(found, event, now)
            table.resolve(key, fingerprint, found, now + self._retention_ms)
        batch.history.add(offset, alert, AlertOutcome.RESOLVED, incident_id=incident_id)
        return False, incident_id


def _add_rules(found: Open, rules: str) -> None:
    """Remember the rules that matched one more alert of the incident."""
    if rules and rules != found.rules:
        found.rules = ",".join(dict.fromkeys(filter(None, [*found.rules.split(","), *rules.split(",")])))


def _is_new(state: State, unique: UniqueAlert) -> bool:
    """Whether the alert is not a copy: both copies of an alert that a crashed worker sent twice have one number."""
    lane = f"{'dedup.timed' if unique.timed else 'dedup'}/{unique.via_partition}"
    if unique.via <= state.marks.get(lane, -1):
        return False
    state.marks[lane] = unique.via
    return True


def _add_repeats(
    table: Table, key: bytes, unique: UniqueAlert, found: Open, known: int, batch: _Batch, now: int
) -> None:
    table.keep_member(key, unique.fingerprint, found, unique.repeats)
    found.incident, event = incidents.repeat(found.incident, unique.repeats - known, unique.last_seen, unique.severity)
    batch.change(found, event, now)
