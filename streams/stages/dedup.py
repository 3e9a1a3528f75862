"""Deduplication: within a window a fingerprint that is open passes once, however often it fires.

Takes `alerts.normalized` (key: fingerprint). Gives `alerts.unique` (key: correlation key) for an alert that is new,
resolves, rises in severity or repeats after its window, and the history row of every alert that ends here: a
repeat, a suppressed, stale or unmatched one. Alert rules are decided here, once for each alert that would pass, and
the decision travels with the alert; repeats count at the severity that was decided. The count of folded repeats is
forwarded when the window ends. A trigger that may be a straggler of the resolve before it is held for a while (see
streams.policy.order). A request that waits is answered at once: for a repeat by correlation, which knows its incident,
else here. A copy of a record that a crashed worker sent twice is recognized by its origin and dropped.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.control import Correlation, Service
from schemas.fingerprint import digest
from schemas.records import Output, Record, State
from schemas.topics import ALERTS_UNIQUE
from schemas.wire.alert import Action, Alert, Severity, UniqueAlert
from schemas.wire.codec import decode_alert, decode_unique, encode
from schemas.wire.rows import AlertOutcome
from streams.policy.order import Times, Verdict, after_resolve, is_stale_resolve
from streams.policy.rules import Decision, RuleSet, field
from streams.stages.configuration import Configuration
from streams.stages.dedup_entry import (
    CLOSED,
    HELD,
    MATCHED,
    OPEN,
    SUPPRESSED,
    Entry,
    due,
    fold,
    pack_open,
    sender_times,
    unpack,
)
from streams.stages.history_rows import History
from streams.stages.replies import reply

#: Alerts of one request share an offset; a lane's mark orders them by their index in the request.
PLACES = 1 << 20
#: The mark that counts the held alerts that were released.
_FIRED = "timed"
#: The cache of sender numbers is cleared when it has more than this many.
_MAX_SENDERS = 10_000


Headers = Sequence[tuple[str, bytes]]


_NOTHING = Decision(Severity.INFO, False, {}, (), ())


class _Place(NamedTuple):
    """The place of an alert in its partition: the offset of its record, or the number of its release if `timed`."""

    partition: int
    number: int
    headers: Headers
    timed: bool = False


class Dedup:
    """The stage. `control`, which is kept up to date elsewhere, has the windows, grouping and rules."""

    def __init__(self, control: Configuration) -> None:
        self._control = control
        self._version = -1
        self._rules = RuleSet(())
        self._senders: dict[tuple[str, str], int] = {}

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Process a batch; see the module."""
        self._follow()
        history = History("dedup")
        marks = state.marks
        lanes: dict[tuple[str, int], str] = {}
        for record in records:
            alert = decode_alert(record.value or b"")
            origin = alert.origin_topic, alert.origin_partition
            lane = lanes.get(origin)
            if lane is None:
                lane = lanes[origin] = f"{alert.origin_topic}/{alert.origin_partition}"
            sequence = alert.origin_offset * PLACES + alert.origin_index
            if sequence <= marks.get(lane, -1):
                continue
            marks[lane] = sequence
            if alert.action == Action.TRIGGER:
                passed = self._trigger(state, alert, record, history)
            else:
                passed = self._end(state, alert, _place(record), history)
            if passed is not None:
                yield passed
            elif record.headers:
                yield from _answer(state, alert, record.headers)
        yield from history.blocks(records[0].partition if records else 0)

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Forward repeats whose window has ended, open held alerts, delete fingerprints that were closed long ago."""
        self._follow()
        history = History("dedup.timed")
        partition = 0
        for fingerprint, at in due:
            value = state.get(fingerprint)
            if value is None:
                continue
            entry = unpack(value, fingerprint)
            if entry.status == CLOSED:
                state.delete(fingerprint)
            elif entry.status == HELD:
                held = decode_unique(entry.held)
                assert held.alert is not None
                partition = held.via_partition
                # Deadlines fire in a fixed order, so that a replay gives every alert the same number again.
                number = state.marks[_FIRED] = state.marks.get(_FIRED, -1) + 1
                place = _Place(partition, number, (), timed=True)
                passed = self._open(state, held.alert, place, history, entry.repeats)
                if passed is not None:
                    yield passed
            else:
                _put(state, fingerprint, entry._replace(forwarded=entry.repeats, window_end=at + entry.window))
                yield _counts(entry, fingerprint)
        yield from history.blocks(partition)

    def _follow(self) -> None:
        if self._version != self._control.version:
            self._version, self._rules = self._control.version, RuleSet(self._control.rules.values())
        if len(self._senders) > _MAX_SENDERS:
            self._senders.clear()

    def _service(self, alert: Alert) -> Service:
        return self._control.service(alert.tenant, alert.service)

    def _trigger(self, state: State, alert: Alert, record: Record, history: History) -> Output | None:
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        if value is None:
            return self._open(state, alert, _place(record), history)
        times = sender_times(alert, self._senders)
        folded = fold(value, alert.severity, alert.received_at, times)
        if folded is not None:
            state.put(fingerprint, folded, due(folded))
            history.add(record.offset, alert, _repeated(value[3]))
            return None
        entry = unpack(value, fingerprint)
        if entry.status == OPEN:
            return self._repeat(state, alert, entry, times, _place(record), history)
        return self._again(state, alert, entry, times, _place(record), history)

    def _open(self, state: State, alert: Alert, place: _Place, history: History, repeats: int = 0) -> Output | None:
        """Open the fingerprint with this alert, after which it has already fired `repeats` more times."""
        service = self._service(alert)
        decision = self._rules.decide(alert)
        times = sender_times(alert, self._senders)
        key = alert.fingerprint
        if service.correlation is not None:
            key = correlation_key(alert, service.correlation)
        window = service.dedup_window * 1000
        flags = SUPPRESSED if decision.suppress else 0
        received = alert.received_at
        value = pack_open(alert, decision.severity, flags, repeats, received + window, window, times, key)
        state.put(alert.fingerprint, value)
        if decision.suppress:
            _suppress(alert, decision, place, history)
            return None
        return _forward(key, alert, repeats, received, decision.severity, place, decision)

    def _repeat(
        self, state: State, alert: Alert, entry: Entry, times: Times, place: _Place, history: History
    ) -> Output | None:
        """Process a trigger of an open fingerprint: it is more severe, after the window, or from another sender."""
        passes = alert.severity > entry.severity or alert.received_at >= entry.window_end
        entry = entry.seen(times)._replace(
            severity=max(entry.severity, alert.severity),
            last_seen=max(entry.last_seen, alert.received_at),
            repeats=entry.repeats + 1,
        )
        if not passes:
            _put(state, alert.fingerprint, entry)
            history.add(place.number, alert, _repeated(entry.flags))
            return None
        decision = self._rules.decide(alert)
        if entry.flags & SUPPRESSED and not decision.suppress:
            # Nobody was notified of the alert so far, and suppressed repeats do not count.
            return self._open(state, alert, place, history)
        window = self._service(alert).dedup_window * 1000
        entry = entry._replace(
            ruled=max(entry.ruled, decision.severity),
            forwarded=entry.repeats,
            window_end=alert.received_at + window,
            window=window,
        )
        _put(state, alert.fingerprint, entry)
        if entry.flags & SUPPRESSED:
            _suppress(alert, decision, place, history)
            return None
        ruled = Severity(entry.ruled)
        return _forward(entry.correlation_key, alert, entry.repeats, entry.last_seen, ruled, place, decision)

    def _again(
        self, state: State, alert: Alert, entry: Entry, times: Times, place: _Place, history: History
    ) -> Output | None:
        """Process a trigger of a fingerprint that is closed, or that was closed and has a held alert."""
        until = entry.window_end
        if entry.status == CLOSED:
            until = entry.last_seen + self._service(alert).straggler_hold * 1000
        matched = bool(entry.flags & MATCHED)
        verdict = after_resolve(times, entry.times, matched=matched, within_hold=alert.received_at < until)
        if verdict is Verdict.OPENS:
            if entry.status == HELD:
                _end_held(entry, AlertOutcome.DEDUPLICATED, place, history)
            return self._open(state, alert, place, history)
        if verdict is Verdict.STALE:
            history.add(place.number, alert, AlertOutcome.STALE)
        elif entry.status == HELD:
            _put(state, alert.fingerprint, entry._replace(repeats=entry.repeats + 1))
            history.add(place.number, alert, AlertOutcome.DEDUPLICATED)
        else:
            held = encode(UniqueAlert(place.partition, -1, alert.fingerprint, 0, 0, alert.severity, alert))
            entry = entry._replace(status=HELD, window_end=until, repeats=0, forwarded=0, held=held)
            _put(state, alert.fingerprint, entry)
        return None

    def _end(self, state: State, alert: Alert, place: _Place, history: History) -> Output | None:
        """Process an acknowledge or a resolve.

        One without a known trigger is forwarded, because correlation may know its incident.
        """
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        times = sender_times(alert, self._senders)
        received = alert.received_at
        if value is None:
            correlation = self._service(alert).correlation
            key = fingerprint if correlation is None else correlation_key(alert, correlation)
            entry = Entry(
                status=CLOSED,
                severity=alert.severity,
                ruled=alert.severity,
                flags=0,
                last_seen=received,
                repeats=0,
                sent_at=times.sent_at,
                forwarded=0,
                window_end=0,
                began_at=times.began_at,
                ended_at=times.ended_at,
                sender=times.sender,
                window=0,
                correlation_key=key,
            )
            if alert.action == Action.RESOLVE:
                _put(state, fingerprint, entry)
            return _forward(key, alert, 0, received, alert.severity, place)
        entry = unpack(value, fingerprint)
        if entry.status != OPEN:
            if alert.action == Action.RESOLVE:
                if entry.status == HELD:
                    _end_held(entry, AlertOutcome.STALE, place, history)
                _put(state, fingerprint, entry.ended_again(times, received))
            history.add(place.number, alert, AlertOutcome.UNMATCHED)
            return None
        if alert.action == Action.RESOLVE:
            if is_stale_resolve(times, entry.times):
                history.add(place.number, alert, AlertOutcome.STALE)
                return None
            _put(state, fingerprint, entry.ended(times, received))
        if entry.flags & SUPPRESSED:
            history.add(place.number, alert, AlertOutcome.SUPPRESSED)
            return None
        ruled = Severity(entry.ruled)
        return _forward(entry.correlation_key, alert, entry.repeats, max(entry.last_seen, received), ruled, place)


def correlation_key(alert: Alert, correlation: Correlation) -> bytes:
    """What alerts of one incident have in common: tenant and the `group_by` fields with their values."""
    parts = [part for name in correlation.group_by for part in (name, field(name)(alert))]
    return digest("group", alert.tenant, *parts)


def _place(record: Record) -> _Place:
    return _Place(record.partition, record.offset, record.headers)


def _put(state: State, fingerprint: bytes, entry: Entry) -> None:
    state.put(fingerprint, entry.pack(fingerprint), entry.due)


def _repeated(flags: int) -> AlertOutcome:
    return AlertOutcome.SUPPRESSED if flags & SUPPRESSED else AlertOutcome.DEDUPLICATED


def _end_held(entry: Entry, outcome: AlertOutcome, place: _Place, history: History) -> None:
    """Add the history row of the alert that was held, at the place of the record that decides it."""
    alert = decode_unique(entry.held).alert
    assert alert is not None
    history.add(place.number, alert, outcome)


def _suppress(alert: Alert, decision: Decision, place: _Place, history: History) -> None:
    rule = ",".join(decision.rules)
    history.add(place.number, alert, AlertOutcome.SUPPRESSED, severity=decision.severity, rule=rule)


def _forward(
    correlation_key: bytes,
    alert: Alert,
    repeats: int,
    last_seen: int,
    severity: Severity,
    place: _Place,
    decision: Decision = _NOTHING,
) -> Output:
    labels, routes, rules = decision.labels, list(decision.routes), ",".join(decision.rules)
    unique = UniqueAlert(
        place.partition, place.number, alert.fingerprint, repeats, last_seen, severity, alert,
        labels, routes, rules, place.timed,
    )  # fmt: skip
    return Output(ALERTS_UNIQUE.name, correlation_key, encode(unique), None, place.headers)


def _answer(state: State, alert: Alert, headers: Headers) -> Iterator[Output]:
    """The verdict on an alert that ended here, if a request waits for it."""
    value = state.get(alert.fingerprint)
    entry = unpack(value, alert.fingerprint) if value is not None else None
    if alert.action != Action.TRIGGER or entry is None or entry.status != OPEN:
        yield from reply(headers, deduplicated=False)
    elif entry.flags & SUPPRESSED:
        yield from reply(headers, deduplicated=entry.repeats > 0)
    else:
        # Send the count that was forwarded before: it changes nothing, and later repeats stay folded.
        yield _counts(entry._replace(repeats=entry.forwarded), alert.fingerprint, headers)


def _counts(entry: Entry, fingerprint: bytes, headers: Headers = ()) -> Output:
    unique = UniqueAlert(0, -1, fingerprint, entry.repeats, entry.last_seen, Severity(entry.ruled))
    return Output(ALERTS_UNIQUE.name, entry.correlation_key, encode(unique), None, headers)
