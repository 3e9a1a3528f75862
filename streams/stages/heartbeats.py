"""Heartbeats: a monitor without a beat for its period is missing, which is an alert; the next beat resolves it.

Takes `heartbeats`, whose only partition has every monitor. Gives alerts on `alerts.normalized`, one trigger when a
monitor is missing and one resolve when it is back, was deleted or was disabled. Deadlines fire at the time up to which
all requests and events before this stage are processed: a beat that waits in a topic is counted before its deadline
fires, however long Stormweir was down.

Monitors are armed by configuration: what is not in the table as it is configured (`unarmed`) gets a CONFIGURED event.
Gateways report that they take beats. If none did for AWAY_MS, beats may be lost, so each monitor gets a whole period
from the gateways' return before it is missing, and nothing is missing while they are away; but no deadline is postponed
by more than PATIENCE_MS.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from datetime import UTC, datetime

import msgspec

from schemas.control import Heartbeat
from schemas.fingerprint import derived_uuid, digest, fingerprint
from schemas.records import Output, Record, State
from schemas.topics import ALERTS_NORMALIZED, HEARTBEATS, HOUR_MS
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.beat import HEARTBEAT, Beat, BeatEvent
from schemas.wire.codec import decode_beat, encode
from streams.stages.configuration import Configuration
from streams.stages.heartbeats_entry import Entry, pack, unpack

AWAY_MS = 6_000
#: How often a monitor is looked at while no gateway takes beats.
_LOOK_MS = 5_000
PATIENCE_MS = HOUR_MS
#: Alerts that a deadline makes have an origin of their own. Its offset is a number that grows with each firing, and a
#: replay gives each firing the same. It is not below the deadline (ms), so that it grows even if the table is lost.
TIMED = f"{HEARTBEATS.name}.timed"
#: Marks: the number of the last firing, when a gateway reported last, and when one reported after all had been away.
_FIRED, _SEEN, _BACK = "timed", "seen", "back"


class Heartbeats:
    """The stage. `control`, which is kept up to date elsewhere, has the monitors."""

    def __init__(self, control: Configuration) -> None:
        self._control = control

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterator[Output]:
        """Count beats, and arm monitors; see the module."""
        for record in records:
            event = decode_beat(record.value or b"")
            match event.kind:
                case Beat.BEAT:
                    yield from self._beat(state, event, record)
                case Beat.CONFIGURED:
                    yield from self._configured(state, event, record)
                case Beat.PRESENT:
                    _present(state.marks, record.timestamp)

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterator[Output]:
        """Tell that monitors are missing, or postpone that."""
        for key, at in due:
            number = state.marks[_FIRED] = max(state.marks.get(_FIRED, 0) + 1, at)
            value = state.get(key)
            if value is None:
                continue
            entry = unpack(value)
            monitor = self._monitor(entry.tenant, entry.heartbeat)
            if monitor is None:
                state.delete(key)
                continue
            later = _postponed(state.marks, entry, at)
            if later:
                _put(state, key, entry, due=later)
                continue
            severity = Severity[monitor.severity.upper()]
            _put(state, key, entry, due=0, missing_since=at, service=monitor.service, severity=severity)
            yield _trigger(monitor, severity, entry, at, number)

    def _monitor(self, tenant: str, heartbeat: str) -> Heartbeat | None:
        found = self._control.every(Heartbeat).get((tenant, heartbeat))
        return found if found is not None and found.enabled else None

    def _beat(self, state: State, event: BeatEvent, record: Record) -> Iterator[Output]:
        monitor, value = self._monitor(event.tenant, event.heartbeat), state.get(event.key)
        if monitor is None:
            return  # what it left behind ends with the CONFIGURED that is on its way
        entry = unpack(value) if value is not None else _armed(event, monitor, event.at)
        if event.at <= entry.last_beat:
            return
        since = max(event.at, entry.since)
        period = monitor.period_ms
        _put(
            state, event.key, entry,
            period=period, since=since, last_beat=event.at, due=since + period, missing_since=0,
        )  # fmt: skip
        if entry.missing_since:
            yield _resolve(entry, event.at, record, f"The heartbeat from {entry.heartbeat} is back")

    def _configured(self, state: State, event: BeatEvent, record: Record) -> Iterator[Output]:
        monitor, value = self._monitor(event.tenant, event.heartbeat), state.get(event.key)
        entry = unpack(value) if value is not None else None
        if monitor is None:
            if entry is not None:
                state.delete(event.key)
                if entry.missing_since:
                    yield _resolve(
                        entry, record.timestamp, record, f"No heartbeat from {entry.heartbeat} is expected any more"
                    )
        elif entry is None:
            _put(state, event.key, _armed(event, monitor, record.timestamp))
        elif entry.period != monitor.period_ms:
            due = 0 if entry.missing_since else record.timestamp + monitor.period_ms
            since = entry.since if entry.missing_since else record.timestamp
            _put(state, event.key, entry, period=monitor.period_ms, since=since, due=due)


def unarmed(state: State, control: Configuration) -> list[BeatEvent]:
    """A CONFIGURED for each monitor that is not in the table as it is configured, and for each that is there and
    should not be.
    """
    monitors = {name: each for name, each in control.every(Heartbeat).items() if each.enabled}
    events = [BeatEvent(Beat.CONFIGURED, *name) for name in monitors]
    wrong = [event for event in events if not _settled(state.get(event.key), monitors[event.tenant, event.heartbeat])]
    held = [unpack(value) for _, value in state.items()]
    return wrong + [
        BeatEvent(Beat.CONFIGURED, entry.tenant, entry.heartbeat)
        for entry in held
        if (entry.tenant, entry.heartbeat) not in monitors
    ]


def _settled(value: bytes | None, monitor: Heartbeat) -> bool:
    return value is not None and unpack(value).period == monitor.period_ms


def _armed(event: BeatEvent, monitor: Heartbeat, at: int) -> Entry:
    period = monitor.period_ms
    return Entry(event.tenant, event.heartbeat, period, since=at, last_beat=0, due=at + period)


def _put(state: State, key: bytes, entry: Entry, **changes: int | str | Severity) -> None:
    changed = msgspec.structs.replace(entry, **changes)
    state.put(key, pack(changed), changed.due)


def _present(marks: MutableMapping[str, int], at: int) -> None:
    seen = marks.get(_SEEN, 0)
    if seen and at - seen > AWAY_MS:
        marks[_BACK] = at
    marks[_SEEN] = max(seen, at)


def _postponed(marks: MutableMapping[str, int], entry: Entry, at: int) -> int:
    """The later deadline of a monitor whose beats may have been lost, 0 if they were not.

    Without any report of a gateway, as where all alerts come over Kafka, nothing is known to be lost.
    """
    seen, back = marks.get(_SEEN, 0), marks.get(_BACK, 0)
    latest = entry.since + entry.period + PATIENCE_MS
    if seen and at - seen > AWAY_MS:
        later = at + _LOOK_MS
    elif back > entry.since:
        later = back + entry.period
    else:
        return 0
    return min(later, latest) if min(later, latest) > at else 0


def _trigger(monitor: Heartbeat, severity: Severity, entry: Entry, at: int, number: int) -> Output:
    span = _span((at - entry.since) // 1000)
    ever = "" if entry.last_beat else ", and none since it was configured"
    details = {
        "every": monitor.every,
        "grace": monitor.grace,
        "last_beat": _iso(entry.last_beat) if entry.last_beat else None,
    }
    summary = f"No heartbeat from {monitor.id} for {span}{ever}"
    return _alert(
        Action.TRIGGER, entry, monitor.service, severity, summary, at, at, (TIMED, 0, number),
        details=msgspec.json.encode(details),
    )  # fmt: skip


def _resolve(entry: Entry, at: int, record: Record, summary: str) -> Output:
    """The end of what is missing: a beat came at `at`, or the monitor is gone."""
    return _alert(
        Action.RESOLVE, entry, entry.service, entry.severity, summary,
        max(at, entry.missing_since + 1), entry.missing_since, (record.topic, record.partition, record.offset),
    )  # fmt: skip


def _alert(
    action: Action,
    entry: Entry,
    service: str,
    severity: Severity,
    summary: str,
    at: int,
    began: int,
    origin: tuple[str, int, int],
    details: bytes = b"",
) -> Output:
    name = entry.heartbeat
    dedup_key = f"heartbeat/{name}"
    print_id = fingerprint(entry.tenant, service, dedup_key)
    alert = Alert(
        tenant=entry.tenant,
        service=service,
        integration="",
        provider=HEARTBEAT,
        event_id=_event_id(at, entry.tenant, name, action.name),
        dedup_key=dedup_key,
        fingerprint=print_id,
        action=action,
        severity=severity,
        summary=summary,
        source=name,
        labels={"heartbeat": name},
        details=details,
        starts_at=began,
        ends_at=at if action is Action.RESOLVE else 0,
        received_at=at,
        origin_topic=origin[0],
        origin_partition=origin[1],
        origin_offset=origin[2],
        sent_at=at,
        began_at=began,
        ended_at=at if action is Action.RESOLVE else 0,
    )
    return Output(ALERTS_NORMALIZED.name, print_id, encode(alert))


def _event_id(at: int, *parts: str) -> bytes:
    """A UUIDv7 of this time and these parts, so that a replay makes the same one."""
    return derived_uuid(at.to_bytes(6, "big") + digest(*parts)[:10], 1)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _span(seconds: int) -> str:
    """A span of time for people, in its two largest units.

    >>> _span(300), _span(90), _span(5400), _span(86_400)
    ('5 min', '1 min 30 s', '1 h 30 min', '1 d')
    """
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
