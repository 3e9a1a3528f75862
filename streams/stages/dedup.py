"""Deduplication: within a window a fingerprint that is open passes once, however often it fires.

Takes `alerts.normalized` (key: fingerprint). Gives `alerts.unique` (key: scope) for an alert that is new,
resolves, rises in severity or repeats after its window, and the history row of every alert that ends here: a
repeat, a suppressed, stale or unmatched one. Alert rules are decided here, once for each alert that would pass, and
the decision travels with the alert; repeats count at the severity that was decided. The count of folded repeats is
forwarded when the window ends. A trigger that may be a straggler of the resolve before it is held for a while (see
streams.policy.order). A request that waits is answered at once: for a repeat by correlation, which knows its incident,
else here. A copy of a record that a crashed worker sent twice is recognized by its origin and dropped.
"""

from collections.abc import Iterator, Sequence

from msgspec import structs

from schemas.control import Calendar, Lookup, Service
from schemas.control.life import Life
from schemas.fingerprint import scope
from schemas.records import Output, Record, State, is_again
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.codec import decode_alert, decode_unique
from schemas.wire.rows import AlertOutcome
from streams.policy.calendars import Named
from streams.policy.life import NO_LIFE, Course, merged, reached, turn
from streams.policy.order import Times, Verdict, after_resolve, is_stale_resolve
from streams.policy.rules import Decision, RuleSet
from streams.stages.configuration import Configuration
from streams.stages.dedup_entry import (
    CLOSED,
    COUNTING,
    HELD,
    MATCHED,
    NO_TIMES,
    OPEN,
    PENDING,
    SUPPRESSED,
    Entry,
    due,
    fold,
    pack_open,
    sender_times,
    unpack,
)
from streams.stages.dedup_outputs import (
    Place,
    answer,
    correlation_key,
    counts,
    end_held,
    forward,
    hold,
    over,
    place_of,
    put,
    repeated,
    suppress,
)
from streams.stages.history_rows import History

#: Alerts of one request share an offset; a lane's mark orders them by their index in the request.
PLACES = 1 << 20
#: The mark that counts the held alerts that were released.
_FIRED = "timed"
#: A cache, of senders' numbers or of scopes, is cleared when it has more than this many.
_MAX_CACHED = 10_000
#: A key remembers this many changes of its state at most.
MAX_FLIPS = 100
#: The label of an incident whose key flaps.
FLAPPING_LABELS = {"stormweir.flapping": "true"}


class Dedup:
    """The stage. `control`, which is kept up to date elsewhere, has the windows, grouping and rules."""

    def __init__(self, control: Configuration) -> None:
        self._control = control
        self._version = -1
        self._rules = RuleSet(())
        self._senders: dict[tuple[str, str], int] = {}
        self._scopes: dict[tuple[str, str], bytes] = {}
        #: The services that say something about the life of their keys.
        self._living: frozenset[tuple[str, str]] = frozenset()

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
            if sequence > marks.get(lane, -1):
                marks[lane] = sequence
            elif not is_again(record):
                continue
            if alert.action == Action.TRIGGER:
                passed = self._trigger(state, alert, record, history)
            else:
                passed = self._end(state, alert, place_of(record), history)
            if passed is not None:
                yield passed
            elif record.headers:
                yield from answer(state, alert, record.headers)
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
            if entry.status in (CLOSED, COUNTING):
                state.delete(fingerprint)
            elif entry.status in (HELD, PENDING):
                held = decode_unique(entry.held)
                assert held.alert is not None
                partition = held.via_partition
                # Deadlines fire in a fixed order, so that a replay gives every alert the same number again.
                number = state.marks[_FIRED] = state.marks.get(_FIRED, -1) + 1
                place = Place(partition, number, (), timed=True)
                passed = self._open(state, held.alert, place, history, entry.repeats, course=entry.course)
                if passed is not None:
                    yield passed
            else:
                if (why := over(entry, at)) is not None:
                    if why:
                        put(state, fingerprint, entry.ended(NO_TIMES, at))
                        yield counts(entry, fingerprint, ended=why)
                        continue
                    assert entry.course is not None
                    entry.course.quiet = 0
                if entry.repeats > entry.forwarded and entry.window_end <= at:
                    yield counts(entry, fingerprint)
                    entry = entry._replace(forwarded=entry.repeats, window_end=at + entry.window)
                put(state, fingerprint, entry)
        yield from history.blocks(partition)

    def _follow(self) -> None:
        if self._version != self._control.version:
            self._version = self._control.version
            self._rules = self._rules.followed_by(
                self._control.rules.values(),
                self._control.every(Lookup).values(),
                Named(dict(self._control.every(Calendar))),
            )
            self._living = frozenset(
                place for place, service in self._control.services.items() if service.life != NO_LIFE
            )
        if len(self._senders) > _MAX_CACHED:
            self._senders.clear()
        if len(self._scopes) > _MAX_CACHED:
            self._scopes.clear()

    def _service(self, alert: Alert) -> Service:
        return self._control.service(alert.tenant, alert.service)

    def _keys(self, alert: Alert, decision: Decision) -> tuple[bytes, bytes]:
        """The correlation key and the scope of an alert with what the rules changed.

        The correlation key is the fingerprint if nothing groups the alert.
        """
        group_by, service = decision.group_by, decision.service or alert.service
        if not group_by:
            correlation = self._control.service(alert.tenant, service).correlation
            group_by = correlation.group_by if correlation is not None else ()
        key = alert.fingerprint
        if group_by:
            changed = alert
            if decision.service or decision.labels:
                changed = structs.replace(alert, service=service, labels={**alert.labels, **decision.labels})
            key = correlation_key(changed, group_by)
            if "service" not in group_by:
                return key, scope("group", key.hex())
        place = alert.tenant, service
        found = self._scopes.get(place)
        if found is None:
            found = self._scopes[place] = scope(*place)
        return key, found

    def _trigger(self, state: State, alert: Alert, record: Record, history: History) -> Output | None:
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        if value is None:
            return self._begin(state, alert, place_of(record), history)
        times = sender_times(alert, self._senders)
        folded = fold(value, alert.severity, alert.received_at, times)
        if folded is not None:
            state.put(fingerprint, folded, due(folded))
            history.add(record.offset, alert, repeated(value[3]))
            return None
        entry = unpack(value, fingerprint)
        if entry.status == OPEN:
            return self._repeat(state, alert, entry, times, place_of(record), history)
        if entry.status == COUNTING:
            return self._begin(state, alert, place_of(record), history, entry)
        if entry.status == PENDING:
            return self._wait(state, alert, entry, place_of(record), history)
        return self._again(state, alert, entry, times, place_of(record), history)

    def _life(self, alert: Alert, decision: Decision) -> Life:
        place = alert.tenant, decision.service or alert.service
        if decision.life is NO_LIFE and place not in self._living:
            return NO_LIFE
        return merged(decision.life, self._control.service(*place).life)

    def _begin(
        self, state: State, alert: Alert, place: Place, history: History, entry: Entry | None = None
    ) -> Output | None:
        """Process a trigger of a key that is not open: it opens, or is counted, or waits."""
        decision = self._rules.decide(alert)
        life = self._life(alert, decision)
        if life is NO_LIFE or decision.suppress:
            return self._open(state, alert, place, history, decision=decision)
        course = entry.course if entry is not None and entry.course is not None else Course()
        course.is_open = True
        if life.threshold is not None and not reached(course, life.threshold, alert.received_at):
            until = course.times[-1] + life.threshold.within * 1000
            put(state, alert.fingerprint, self._closed(alert, decision, COUNTING, until, course))
            history.add(place.number, alert, AlertOutcome.SUPPRESSED, severity=decision.severity, rule="life:threshold")
            return None
        repeats = len(course.times) - 1 if life.threshold is not None else 0
        course.times = []
        if life.hold:
            # A resolve of that very millisecond still cancels it.
            until = alert.received_at + life.hold * 1000 + 1
            pending = self._closed(alert, decision, PENDING, until, course)
            put(state, alert.fingerprint, pending._replace(held=hold(alert, place), repeats=repeats))
            return None
        return self._open(state, alert, place, history, repeats, decision=decision, course=course)

    def _closed(self, alert: Alert, decision: Decision, status: int, until: int, course: Course | None = None) -> Entry:
        """The entry of a key that is not open yet."""
        times = sender_times(alert, self._senders)
        key, scope = self._keys(alert, decision)
        return Entry(
            status=status,
            severity=alert.severity,
            ruled=decision.severity,
            flags=0,
            last_seen=alert.received_at,
            repeats=0,
            sent_at=times.sent_at,
            forwarded=0,
            window_end=until,
            began_at=times.began_at,
            ended_at=times.ended_at,
            sender=times.sender,
            window=0,
            scope=scope,
            correlation_key=key,
            course=course,
        )

    def _wait(self, state: State, alert: Alert, entry: Entry, place: Place, history: History) -> Output | None:
        """Process a trigger of a key whose first alert waits: the most severe one waits on, if it has to."""
        waits = decode_unique(entry.held).alert
        assert waits is not None
        entry = entry._replace(repeats=entry.repeats + 1, last_seen=max(entry.last_seen, alert.received_at))
        decision = self._rules.decide(alert)
        if alert.severity > entry.severity and not self._life(alert, decision).hold:
            history.add(place.number, waits, AlertOutcome.DEDUPLICATED)
            return self._open(state, alert, place, history, entry.repeats, decision=decision, course=entry.course)
        if alert.severity > entry.severity:
            history.add(place.number, waits, AlertOutcome.DEDUPLICATED)
            entry = entry._replace(severity=alert.severity, held=hold(alert, place))
        else:
            history.add(place.number, alert, AlertOutcome.DEDUPLICATED)
        put(state, alert.fingerprint, entry)
        return None

    def _open(
        self,
        state: State,
        alert: Alert,
        place: Place,
        history: History,
        repeats: int = 0,
        *,
        decision: Decision | None = None,
        course: Course | None = None,
    ) -> Output | None:
        """Open the fingerprint with this alert, after which it has already fired `repeats` more times.

        `course` is what the key remembers of the time before.
        """
        service = self._service(alert)
        if decision is None:
            decision = self._rules.decide(alert)
        life = self._life(alert, decision)
        if life is not NO_LIFE and not decision.suppress:
            course = course or Course()
            course.silence = life.resolve_after or 0
            if life.flapping is not None and life.flapping.changes and turn(course, life.flapping, alert.received_at):
                course.quiet = life.flapping.quiet
                decision = decision._replace(labels={**decision.labels, **FLAPPING_LABELS})
        else:
            course = None
        times = sender_times(alert, self._senders)
        key, scope = self._keys(alert, decision)
        window = (service.dedup_window if life.window is None else life.window) * 1000
        flags = SUPPRESSED if decision.suppress else 0
        received = alert.received_at
        value = pack_open(alert, decision.severity, flags, repeats, received + window, window, times, key, scope)
        if course is None:
            state.put(alert.fingerprint, value)
        else:
            put(state, alert.fingerprint, unpack(value, alert.fingerprint)._replace(course=course))
        if decision.suppress:
            suppress(alert, decision, place, history)
            return None
        return forward(key, scope, alert, repeats, received, decision.severity, place, decision)

    def _repeat(
        self, state: State, alert: Alert, entry: Entry, times: Times, place: Place, history: History
    ) -> Output | None:
        """Process a trigger of an open fingerprint: it is more severe, after the window, or from another sender."""
        course = entry.course
        if course is not None and course.quiet and not course.is_open:
            course.is_open = True
            course.flips = [*course.flips[1:], alert.received_at]
        passes = alert.severity > entry.severity or alert.received_at >= entry.window_end
        entry = entry.seen(times)._replace(
            severity=max(entry.severity, alert.severity),
            last_seen=max(entry.last_seen, alert.received_at),
            repeats=entry.repeats + 1,
        )
        if not passes:
            put(state, alert.fingerprint, entry)
            history.add(place.number, alert, repeated(entry.flags))
            return None
        decision = self._rules.decide(alert)
        if entry.flags & SUPPRESSED and not decision.suppress:
            # Nobody was notified of the alert so far, and suppressed repeats do not count.
            return self._open(state, alert, place, history)
        life = self._life(alert, decision)
        window = (self._service(alert).dedup_window if life.window is None else life.window) * 1000
        entry = entry._replace(
            ruled=max(entry.ruled, decision.severity),
            forwarded=entry.repeats,
            window_end=alert.received_at + window,
            window=window,
        )
        put(state, alert.fingerprint, entry)
        if entry.flags & SUPPRESSED:
            suppress(alert, decision, place, history)
            return None
        ruled = Severity(entry.ruled)
        return forward(
            entry.correlation_key, entry.scope, alert, entry.repeats, entry.last_seen, ruled, place, decision
        )

    def _again(
        self, state: State, alert: Alert, entry: Entry, times: Times, place: Place, history: History
    ) -> Output | None:
        """Process a trigger of a fingerprint that is closed, or that was closed and has a held alert."""
        until = entry.window_end
        if entry.status == CLOSED:
            until = entry.last_seen + self._service(alert).straggler_hold * 1000
        matched = bool(entry.flags & MATCHED)
        verdict = after_resolve(times, entry.times, matched=matched, within_hold=alert.received_at < until)
        if verdict is Verdict.OPENS:
            if entry.status == HELD:
                end_held(entry, AlertOutcome.DEDUPLICATED, place, history)
            return self._begin(state, alert, place, history, entry)
        if verdict is Verdict.STALE:
            history.add(place.number, alert, AlertOutcome.STALE)
        elif entry.status == HELD:
            put(state, alert.fingerprint, entry._replace(repeats=entry.repeats + 1))
            history.add(place.number, alert, AlertOutcome.DEDUPLICATED)
        else:
            entry = entry._replace(status=HELD, window_end=until, repeats=0, forwarded=0, held=hold(alert, place))
            put(state, alert.fingerprint, entry)
        return None

    def _end(self, state: State, alert: Alert, place: Place, history: History) -> Output | None:
        """Process an acknowledge or a resolve.

        One without a known trigger is forwarded, because correlation may know its incident.
        """
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        times = sender_times(alert, self._senders)
        received = alert.received_at
        if value is None:
            entry = self._closed(alert, self._rules.decide(alert), CLOSED, 0)
            if alert.action == Action.RESOLVE:
                put(state, fingerprint, entry)
            return forward(entry.correlation_key, entry.scope, alert, 0, received, alert.severity, place)
        entry = unpack(value, fingerprint)
        if entry.status in (PENDING, COUNTING):
            self._end_unopened(state, alert, entry, times, place, history)
            return None
        if entry.status != OPEN:
            if alert.action == Action.RESOLVE:
                if entry.status == HELD:
                    end_held(entry, AlertOutcome.STALE, place, history)
                put(state, fingerprint, entry.ended_again(times, received))
            history.add(place.number, alert, AlertOutcome.UNMATCHED)
            return None
        if alert.action == Action.RESOLVE:
            if is_stale_resolve(times, entry.times):
                history.add(place.number, alert, AlertOutcome.STALE)
                return None
            if (course := entry.course) is not None:
                if course.quiet:
                    course.is_open = False
                    course.flips = [*course.flips[1:], received]
                    put(state, fingerprint, entry.seen(times))
                    history.add(place.number, alert, AlertOutcome.SUPPRESSED, rule="life:flapping")
                    return None
                if course.flips:  # its changes count since it opened
                    course.flips = [*course.flips, received][-MAX_FLIPS:]
            put(state, fingerprint, entry.ended(times, received))
        if entry.flags & SUPPRESSED:
            history.add(place.number, alert, AlertOutcome.SUPPRESSED)
            return None
        ruled = Severity(entry.ruled)
        return forward(
            entry.correlation_key, entry.scope, alert, entry.repeats, max(entry.last_seen, received), ruled, place
        )

    def _end_unopened(
        self, state: State, alert: Alert, entry: Entry, times: Times, place: Place, history: History
    ) -> None:
        """Process an acknowledge or a resolve of a key that waits to open, or of which too few alerts came."""
        if alert.action != Action.RESOLVE:
            history.add(place.number, alert, AlertOutcome.UNMATCHED)
            return
        waits = entry.status == PENDING
        if waits:
            end_held(entry, AlertOutcome.SUPPRESSED, place, history, "life:hold")
            put(state, alert.fingerprint, entry.ended(times, alert.received_at))
        history.add(place.number, alert, AlertOutcome.SUPPRESSED, rule="life:hold" if waits else "life:threshold")
