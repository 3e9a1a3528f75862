"""Repeats fold: within a window a fingerprint that is open passes once, however often it fires.

Takes `alerts.normalized` (key: fingerprint). Gives `alerts.unique` (key: correlation key) for what is new,
resolves, is raised in severity or repeats after its window, and the history row of every alert that
ends here (a repeat, a stale or unmatched one). The count of folded repeats follows when the window ends.
A request that waits hears at once: of a repeat from correlation, which knows its incident, else from here.
A copy of a record that a crashed worker sent twice is known by its origin and dropped.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.control import Correlation
from schemas.fingerprint import digest
from schemas.records import Output, Record, State
from schemas.topics import ALERTS_UNIQUE
from schemas.wire.alert import Action, Alert, Severity, UniqueAlert
from schemas.wire.codec import decode_alert, encode
from schemas.wire.rows import AlertOutcome
from streams.control.state import Control
from streams.policy.rules import field
from streams.stages.history_rows import History
from streams.stages.replies import reply

OPEN, CLOSED = 1, 2
#: How long a closed fingerprint is remembered, so that what arrives late does not open it again.
REMEMBER_CLOSED_MS = 3_600_000
#: Alerts of one request share an offset; a lane's mark orders them by place inside it.
PLACES = 1 << 20

_PACKED = struct.Struct("<BBqqqII")


class Entry(NamedTuple):
    """A fingerprint's state, packed to 34 bytes (+ 16 where its correlation key is not itself).

    `changed_at` is the event time of the newest trigger or resolve; `repeats` all repeats since it opened,
    `forwarded` how many of those the next stage knows.
    """

    status: int
    severity: int
    last_seen: int
    window_end: int
    changed_at: int
    repeats: int
    forwarded: int
    correlation_key: bytes

    def pack(self, fingerprint: bytes) -> bytes:
        """The bytes kept in the table."""
        packed = _PACKED.pack(*self[:7])
        return packed if self.correlation_key == fingerprint else packed + self.correlation_key


def unpack(value: bytes, fingerprint: bytes) -> Entry:
    """The inverse of Entry.pack."""
    return Entry._make((*_PACKED.unpack_from(value), value[_PACKED.size :] or fingerprint))


def deadline(value: bytes) -> int:
    """When time alone changes the fingerprint: its repeats are to be forwarded, or it is to be forgotten; 0 never."""
    status, _, last_seen, window_end, _, repeats, forwarded = _PACKED.unpack_from(value)
    if status == CLOSED:
        return int(last_seen) + REMEMBER_CLOSED_MS
    return int(window_end) if repeats > forwarded else 0


class Dedup:
    """The stage, with the followed control state for windows and grouping."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._version = -1
        self._services: dict[tuple[str, str], tuple[int, Correlation | None]] = {}

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Take a batch; see the module."""
        if self._version != self._control.version:
            self._version, self._services = self._control.version, {}
        history = History("dedup")
        marks = state.marks
        lanes: dict[tuple[str, int], str] = {}
        for record in records:
            alert = decode_alert(record.value or b"")
            place = alert.origin_topic, alert.origin_partition
            lane = lanes.get(place)
            if lane is None:
                lane = lanes[place] = f"{alert.origin_topic}/{alert.origin_partition}"
            sequence = alert.origin_offset * PLACES + alert.origin_index
            if sequence <= marks.get(lane, -1):
                continue
            marks[lane] = sequence
            if alert.action == Action.TRIGGER:
                passed = self._trigger(state, alert, record.offset, history)
            else:
                passed = self._end(state, alert, record.offset, history)
            if passed is not None:
                yield _forward(passed, alert, record)
            elif record.headers:
                yield from _answer(state, alert, record)
        yield from history.blocks(records[0].partition if records else 0)
        yield from _expire(state, now)

    def _trigger(self, state: State, alert: Alert, offset: int, history: History) -> Entry | None:
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        happened = alert.starts_at or alert.received_at
        window, correlation = self._service(alert)
        if value is None or value[0] == CLOSED:
            if value is not None and happened <= unpack(value, fingerprint).changed_at:
                history.add(offset, alert, AlertOutcome.STALE)
                return None
            key = fingerprint if correlation is None else correlation_key(alert, correlation)
            received = alert.received_at
            entry = Entry(OPEN, alert.severity, received, received + window, happened, 0, 0, key)
            state.put(fingerprint, entry.pack(fingerprint))
            return entry
        entry = unpack(value, fingerprint)
        repeats = entry.repeats + 1
        last_seen = max(entry.last_seen, alert.received_at)
        if alert.severity > entry.severity or alert.received_at >= entry.window_end:
            severity = max(entry.severity, alert.severity)
            entry = Entry(
                OPEN, severity, last_seen, alert.received_at + window, max(entry.changed_at, happened),
                repeats, repeats, entry.correlation_key,
            )  # fmt: skip
            state.put(fingerprint, entry.pack(fingerprint))
            return entry
        if entry.repeats == entry.forwarded:
            state.schedule(fingerprint, entry.window_end)
        # Only two numbers change: repacking the whole entry would double the cost of the hottest path.
        state.put(
            fingerprint,
            value[:2] + last_seen.to_bytes(8, "little") + value[10:26] + repeats.to_bytes(4, "little") + value[30:],
        )
        history.add(offset, alert, AlertOutcome.DEDUPLICATED)
        return None

    def _end(self, state: State, alert: Alert, offset: int, history: History) -> Entry | None:
        """An acknowledge or a resolve. One without a known trigger goes on: correlation may know its incident."""
        fingerprint = alert.fingerprint
        value = state.get(fingerprint)
        received = alert.received_at
        happened = alert.ends_at or received
        if value is None:
            _, correlation = self._service(alert)
            key = fingerprint if correlation is None else correlation_key(alert, correlation)
            entry = Entry(CLOSED, alert.severity, received, 0, happened, 0, 0, key)
            if alert.action == Action.RESOLVE:
                state.put(fingerprint, entry.pack(fingerprint))
                state.schedule(fingerprint, received + REMEMBER_CLOSED_MS)
            return entry
        entry = unpack(value, fingerprint)
        if entry.status == CLOSED:
            history.add(offset, alert, AlertOutcome.UNMATCHED)
            return None
        if alert.action == Action.ACKNOWLEDGE:
            return entry
        if happened < entry.changed_at:
            history.add(offset, alert, AlertOutcome.STALE)
            return None
        closed = entry._replace(
            status=CLOSED, last_seen=max(entry.last_seen, received), changed_at=happened, forwarded=entry.repeats
        )
        state.put(fingerprint, closed.pack(fingerprint))
        state.schedule(fingerprint, closed.last_seen + REMEMBER_CLOSED_MS)
        return closed

    def _service(self, alert: Alert) -> tuple[int, Correlation | None]:
        place = alert.tenant, alert.service
        found = self._services.get(place)
        if found is None:
            service = self._control.service(*place)
            found = self._services[place] = (service.dedup_window * 1000, service.correlation)
        return found


def correlation_key(alert: Alert, correlation: Correlation) -> bytes:
    """What alerts of one incident have in common: tenant and the `group_by` fields with their values."""
    parts = [part for name in correlation.group_by for part in (name, field(name)(alert))]
    return digest("group", alert.tenant, *parts)


def _forward(entry: Entry, alert: Alert, record: Record) -> Output:
    unique = UniqueAlert(
        record.partition, record.offset, alert.fingerprint, entry.repeats, entry.last_seen,
        Severity(entry.severity), alert,
    )  # fmt: skip
    return Output(ALERTS_UNIQUE.name, entry.correlation_key, encode(unique), None, record.headers)


def _answer(state: State, alert: Alert, record: Record) -> Iterator[Output]:
    """The verdict on an alert that ended here, if somebody waits for it."""
    value = state.get(alert.fingerprint)
    if alert.action != Action.TRIGGER or value is None or value[0] == CLOSED:
        yield from reply(record.headers, deduplicated=False)
        return
    entry = unpack(value, alert.fingerprint)
    # The repeats that went downstream before: counting these changes nothing, the fold stays folded.
    yield _counts(entry._replace(repeats=entry.forwarded), alert.fingerprint, record.headers)


def _counts(entry: Entry, fingerprint: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> Output:
    unique = UniqueAlert(0, -1, fingerprint, entry.repeats, entry.last_seen, Severity(entry.severity))
    return Output(ALERTS_UNIQUE.name, entry.correlation_key, encode(unique), None, headers)


def _expire(state: State, now: int) -> Iterator[Output]:
    """Tell folded repeats whose window has ended; forget what was closed long ago."""
    for fingerprint in dict.fromkeys(state.due(now)):
        value = state.get(fingerprint)
        if value is None:
            continue
        entry = unpack(value, fingerprint)
        if entry.status == CLOSED:
            if entry.last_seen + REMEMBER_CLOSED_MS <= now:
                state.delete(fingerprint)
        elif entry.repeats > entry.forwarded and entry.window_end <= now:
            entry = entry._replace(forwarded=entry.repeats)
            state.put(fingerprint, entry.pack(fingerprint))
            yield _counts(entry, fingerprint)
        elif entry.repeats > entry.forwarded:
            state.schedule(fingerprint, entry.window_end)
