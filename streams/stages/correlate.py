"""Correlation: related alerts become one incident.

Takes `alerts.unique` (key: scope): alerts, and people's commands (streams.stages.commands), in one order.
Gives incidents (their newest version), timeline events, the changes that somebody may have to be told of
(`incidents.changes`), and the history row of every alert that ends here.
An alert joins the newest incident of its key while the incident's rolling window is open; without grouping
the key is the fingerprint and the window never ends. An incident resolves when its last open member does.
A request that waits for one of the alerts gets its verdict here, and a command its answer.

The table has one entry for an open incident, one for a member of a group, one for a group with its newest incident,
and one for a resolved incident until its record is deleted from `incidents` (compacted).
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from schemas.control import Correlation, Inhibition, Route, Service
from schemas.records import Output, Record, State, is_again
from schemas.topics import INCIDENTS, INCIDENTS_CHANGES, INCIDENTS_EVENTS
from schemas.wire.alert import Action, Alert, UniqueAlert
from schemas.wire.codec import decode_unique, encode
from schemas.wire.incident import Incident, IncidentChange, IncidentEvent, Status, urgency_of
from schemas.wire.rows import AlertOutcome
from streams.policy import incidents
from streams.policy.reach import Reach
from streams.stages import storms, thresholds
from streams.stages.changes import Change, reach
from streams.stages.commands import is_command, obey
from streams.stages.configuration import Configuration
from streams.stages.correlate_table import SEVERAL, Group, Open, Table, storm_scope
from streams.stages.history_rows import History
from streams.stages.reopening import find_past, open_again, past_until
from streams.stages.replies import answer, reply
from streams.stages.thresholds import Waiter

#: The changes that one record causes are numbered within this many.
PLACES = 1 << 20
JOINED = "joined"
#: Changes that nobody is told of, unless they reach more people.
UNTOLD = frozenset({JOINED, "note"})
#: Timeline lines for members that join, per incident; all are counted, all have their own history row.
MAX_JOINED_LINES = 100

#: The windows of a group that a rule makes where the service has none; the rule's fields are in the key.
_BY_RULE = Correlation(group_by=("service",))

#: The result for a record, for the verdict: whether its alert is a duplicate, and its incident, empty for none.
Ended = tuple[bool, bytes]


class _Batch:
    """The changes of one batch: the newest version of each incident, their events, and the changes to tell of."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self.scope = b""
        self._place = 0, -1
        self._index = 0
        self.history = History("correlate")
        self.incidents: dict[bytes, Incident] = {}
        self.outputs: list[Output] = []

    def at(self, record: Record) -> None:
        """Note the record that causes the changes which follow."""
        self.scope = record.key or b""
        self._place, self._index = (record.partition, record.offset), 0

    def change(self, found: Open, event: IncidentEvent | None, unique: UniqueAlert | None = None) -> None:
        """Note the incident's new version after `event`; `unique` is the alert that caused it, if one did."""
        incident = found.incident
        self.incidents[incident.incident_id] = incident
        reaches_more = unique is not None and found.reach(unique)
        if event is None and not reaches_more:
            return
        if event is not None and (event.kind != JOINED or incident.member_count <= MAX_JOINED_LINES):
            self.outputs.append(Output(INCIDENTS_EVENTS.name, incident.incident_id, encode(event)))
        if event is not None and event.kind in UNTOLD and not reaches_more:
            return
        if self._reach.anybody(incident.tenant, incident.service, found.routes):
            partition, offset = self._place
            change = IncidentChange(
                incident=incident,
                kind=JOINED if event is None else event.kind,
                at=incident.last_alert_at if event is None else event.at,
                via_partition=partition,
                via=offset * PLACES + self._index if offset >= 0 else -1,
                severity=incident.severity if unique is None else unique.severity,
                routes=[] if unique is None else unique.routes,
                rule=found.rules,
                announces=reaches_more,
                actor="" if event is None else event.actor,
            )
            self._index += 1
            if not found.domain:
                # It stays with what it opened with: whoever decides on it knows what was told.
                found.domain = self._reach.domain(incident.tenant, incident.service)
            self.outputs.append(Output(INCIDENTS_CHANGES.name, found.domain.encode(), encode(change)))

    def close(self, partition: int) -> Iterator[Output]:
        for key, incident in self.incidents.items():
            yield Output(INCIDENTS.name, key, encode(incident))
        yield from self.outputs
        yield from self.history.blocks(partition)


class Correlate:
    """The stage. `control`, which is kept up to date elsewhere, has the settings for grouping.

    `retention_ms` after its resolve an incident's record is deleted from the compacted topic.
    """

    def __init__(self, control: Configuration, retention_ms: int) -> None:
        self._control = control
        self._retention_ms = retention_ms
        self._version = -1
        self._reach = Reach()

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Process a batch; see the module."""
        self._follow()
        batch = _Batch(self._reach)
        table = Table(state)
        for record in records:
            headers = record.headers
            # The partition's time may stand still while a stage before this one is behind; a record's does not.
            at = max(now, record.timestamp)
            batch.at(record)
            if headers and is_command(headers):
                value, forget_at = record.value or b"", at + self._retention_ms
                changes, incident_id, result = obey(table, self._control, value, at, forget_at)
                _tell(table, batch, changes)
                batch.outputs += answer(headers, incident_id, result)
                continue
            unique = decode_unique(record.value or b"")
            if unique.alert is not None and not _is_new(state, unique) and not is_again(record):
                continue
            key = unique.correlation_key
            if unique.ended:
                self._expire(table, key, unique, batch, at)
                continue
            if unique.alert is None:
                ended = self._count(table, key, unique, batch, at)
            elif unique.alert.action == Action.TRIGGER:
                alert = unique.alert
                # History keeps the service as it arrived, so that rules find the same alerts there.
                moved = msgspec.structs.replace(alert, service=unique.service) if unique.service else alert
                outcome, incident_id = self._admit(table, key, unique, moved, batch, at)
                rule = thresholds.REASON if outcome is AlertOutcome.SUPPRESSED else unique.rule
                batch.history.add(
                    record.offset, alert, outcome, severity=unique.severity, incident_id=incident_id, rule=rule
                )
                ended = outcome is AlertOutcome.DEDUPLICATED, incident_id
            else:
                ended = self._end(table, key, unique, unique.alert, record.offset, batch, at)
            if headers:
                batch.outputs += reply(headers, *ended)
        yield from batch.close(records[0].partition if records else 0)

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Delete the records of incidents whose `retention_ms` has passed since their resolve; end storms."""
        self._follow()
        batch, table = _Batch(self._reach), Table(state)
        for key, due_at in due:
            scope = storm_scope(key)
            if scope is None:
                incident_id = table.forget(key, now + self._retention_ms)
                if incident_id is not None:
                    yield Output(INCIDENTS.name, incident_id, None)
            elif (found := storms.pass_by(table, scope, now)) is not None:
                found.incident, event = incidents.calm(found.incident, due_at)
                batch.change(found, event)
                self._resolve(table, found, now)
        yield from batch.close(0)

    def _follow(self) -> None:
        if self._version != self._control.version:
            self._version = self._control.version
            self._reach = Reach(
                self._control.tenants.values(),
                self._control.services.values(),
                self._control.every(Inhibition).values(),
                self._control.every(Route).values(),
            )

    def _resolve(self, table: Table, found: Open, now: int) -> None:
        incident = found.incident
        reopen = self._control.service(incident.tenant, incident.service).reopen
        table.resolve(found, now + self._retention_ms, past_until(reopen, now))

    def _admit(
        self, table: Table, key: bytes, unique: UniqueAlert, alert: Alert, batch: _Batch, now: int
    ) -> tuple[AlertOutcome, bytes]:
        """Make a trigger part of an incident; the outcome and the incident's id."""
        service = self._control.service(alert.tenant, alert.service)
        correlation = service.correlation or _BY_RULE
        group = table.group(key) if key != alert.fingerprint else None
        member = table.member(key, alert.fingerprint)
        if member is not None:
            outcome = AlertOutcome.DEDUPLICATED
            found, repeats = member
            new = max(0, unique.repeats - repeats)
            table.keep_member(key, alert.fingerprint, found, max(repeats, unique.repeats))
            found.incident, event = incidents.repeat(
                found.incident, new, unique.last_seen, unique.severity, unique.urgency or urgency_of(unique.severity)
            )
            batch.change(found, event, unique)
        else:
            left = table.left(key, alert.fingerprint) if unique.repeats or service.reopen else None
            # Repeats that are known already were before, or in, the incident that a person resolved.
            known = unique.repeats
            if left is not None:
                unique = msgspec.structs.replace(unique, repeats=0)
            joins = table.open(group.incident_id) if group is not None else None
            if group is not None and joins is not None and alert.received_at <= group.window_end:
                outcome, found = AlertOutcome.CORRELATED, joins
                found.open_members += 1
                found.incident, joined = incidents.join(
                    found.incident, alert, unique.severity, unique.urgency, unique.repeats
                )
                batch.change(found, joined, unique)
            else:
                others: list[Waiter] | None = []
                if correlation.threshold is not None and key != alert.fingerprint:
                    others = thresholds.count(table, key, correlation.threshold, unique, alert)
                if others is None:
                    return AlertOutcome.SUPPRESSED, b""
                outcome, found = self._open(table, service, key, unique, alert, batch, left, joins, now, others)
                if key != alert.fingerprint:
                    group = Group(found.incident.incident_id, 0, alert.received_at + correlation.max_window * 1000)
            if left is not None and left.incident.incident_id != found.incident.incident_id:
                table.drop_left(key, alert.fingerprint)
            table.keep_member(key, alert.fingerprint, found, known)
        table.keep(found)
        if group is not None and found.incident.incident_id == group.incident_id:
            rolled = min(alert.received_at + correlation.window * 1000, group.last_end)
            table.keep_group(key, group._replace(window_end=max(group.window_end, rolled)), found.incident)
        return outcome, found.incident.incident_id

    def _open(
        self,
        table: Table,
        service: Service,
        key: bytes,
        unique: UniqueAlert,
        alert: Alert,
        batch: _Batch,
        left: Open | None,
        newest: Open | None,
        now: int,
        others: Sequence[Waiter],
    ) -> tuple[AlertOutcome, Open]:
        """The incident that a trigger opens, opens again, or joins in a storm; `newest` is the one of its group, and
        `others` are alerts of it that waited for this one.
        """
        storming = None
        if service.storm is not None:
            storming = storms.count(table, service.storm, batch.scope, alert)
            if storming.over_at:
                past = find_past(table, incidents.storm_key(alert.tenant, alert.service), service.reopen, alert)
                forget_at = now + self._retention_ms
                joined = storms.join(table, batch.scope, storming, unique, alert, past, forget_at)
                found = joined.found
                _tell(table, batch, [*joined.merged, Change(found, joined.event, unique)])
                for known in joined.known:
                    _tell(table, batch, reach(found, None, known))
                _tell(table, batch, thresholds.join(table, key, found, others, known=False))
                return AlertOutcome.OPENED if joined.began else AlertOutcome.CORRELATED, found
        past = find_past(table, key, service.reopen, alert) if newest is None else None
        if past is not None:
            found = past
            event, before = open_again(table, past, unique, alert, left)
            _tell(table, batch, [Change(found, event, unique)])
            _tell(table, batch, reach(found, None, before))
        else:
            if service.reopen:
                table.drop_past(key)
            incident, event = incidents.open_incident(
                alert, key, unique.severity, unique.labels, batch.scope, unique.urgency, unique.repeats
            )
            if others:
                incident = incidents.gather(incident, thresholds.counted(others))
            found = Open(incident, 1, 0 if key == alert.fingerprint else SEVERAL)
            batch.change(found, event, unique)
        _tell(table, batch, thresholds.join(table, key, found, others, known=past is None))
        if storming is not None:
            storms.note(table, batch.scope, storming, found.incident, alert)
        return AlertOutcome.OPENED, found

    def _count(self, table: Table, key: bytes, unique: UniqueAlert, batch: _Batch, now: int) -> Ended:
        """Count folded repeats. Their number is a total, so repeats that are known already add nothing."""
        member = _of_now(table, key, unique)
        if member is None:
            left = table.left(key, unique.fingerprint)
            if left is None or unique.last_seen <= left.incident.resolved_at:
                thresholds.repeat(table, key, unique)
                return True, b""
            alert = incidents.firing_on(left.incident, unique)
            fires = msgspec.structs.replace(unique, alert=alert, routes=left.routes)
            return True, self._admit(table, key, fires, alert, batch, now)[1]
        found, repeats = member
        if unique.repeats > repeats:
            _add_repeats(table, key, unique, found, repeats, batch, now)
            table.keep(found)
        return True, found.incident.incident_id

    def _expire(self, table: Table, key: bytes, unique: UniqueAlert, batch: _Batch, now: int) -> None:
        """A member ends without a resolve: its sender was silent for long, or its flapping is over."""
        member = _of_now(table, key, unique)
        if member is None:
            table.drop_left(key, unique.fingerprint)
            thresholds.end(table, key, unique.fingerprint)
            return
        found, repeats = member
        if unique.repeats > repeats:
            _add_repeats(table, key, unique, found, repeats, batch, now)
        table.drop_member(key, unique.fingerprint, found)
        found.open_members -= 1
        if found.open_members or storms.lasts(table, found):
            table.keep(found)
            return
        found.incident, event = incidents.expire(found.incident, now, unique.ended)
        batch.change(found, event)
        self._resolve(table, found, now)

    def _end(
        self, table: Table, key: bytes, unique: UniqueAlert, alert: Alert, offset: int, batch: _Batch, now: int
    ) -> Ended:
        """Process an acknowledge or a resolve of a member."""
        fingerprint = alert.fingerprint
        member = table.member(key, fingerprint)
        if member is None:
            if alert.action == Action.RESOLVE:
                table.drop_left(key, fingerprint)
            if alert.action == Action.RESOLVE and thresholds.end(table, key, fingerprint):
                batch.history.add(offset, alert, AlertOutcome.SUPPRESSED, rule=thresholds.REASON)
            else:
                batch.history.add(offset, alert, AlertOutcome.UNMATCHED)
            return False, b""
        found, repeats = member
        if unique.repeats > repeats:
            _add_repeats(table, key, unique, found, repeats, batch, now)
        incident_id = found.incident.incident_id
        if alert.action == Action.ACKNOWLEDGE:
            if found.incident.status == Status.OPEN:
                found.incident, event = incidents.acknowledge(found.incident, alert)
                batch.change(found, event)
            table.keep(found)
            batch.history.add(offset, alert, AlertOutcome.ACKNOWLEDGED, incident_id=incident_id)
            return False, incident_id
        table.drop_member(key, fingerprint, found)
        found.open_members -= 1
        if found.open_members or storms.lasts(table, found):
            table.keep(found)
        else:
            found.incident, event = incidents.resolve(found.incident, alert)
            batch.change(found, event)
            self._resolve(table, found, now)
        batch.history.add(offset, alert, AlertOutcome.RESOLVED, incident_id=incident_id)
        return False, incident_id


def _tell(table: Table, batch: _Batch, changes: Iterable[Change]) -> None:
    """Tell each change as it comes, then keep its incident unless that is resolved."""
    for found, event, unique in changes:
        batch.change(found, event, unique)
        if found.incident.status != Status.RESOLVED:
            table.keep(found)


def _of_now(table: Table, key: bytes, unique: UniqueAlert) -> tuple[Open, int] | None:
    """The member that counts are of. A crashed worker may send those of an episode that is over once more, when a newer
    incident of the key is open already: they are none of its. Of an incident of several alerts that cannot be said.
    """
    member = table.member(key, unique.fingerprint)
    if member is None or (member[0].repeats != SEVERAL and unique.last_seen < member[0].incident.opened_at):
        return None
    return member


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
    batch.change(found, event)
