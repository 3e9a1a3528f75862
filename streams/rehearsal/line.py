"""The stages dedup, correlate and dispatch joined in memory: the same code that workers run, on a clock of its own.

The clock is moved by who feeds the line, never by the time of day, so the same input gives the same output, byte for
byte. Order is that of the engine: what is due fires at its deadline, before records of a later time; records of one
time come after what is due then. What a stage sends, the next one takes at the same time. An alert that is given twice
counts twice: copies of a crashed worker do not come here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from schemas import topics
from schemas.fingerprint import scope_of
from schemas.records import Output, Record, State
from schemas.wire.alert import Alert
from schemas.wire.codec import (
    decode_block,
    decode_delivery,
    decode_incident,
    decode_incident_event,
    decode_notification,
    encode,
)
from schemas.wire.command import COMMAND_HEADER, Command
from schemas.wire.incident import Incident, IncidentEvent
from schemas.wire.notification import Delivery, Notification
from schemas.wire.rows import ALERT_VALUES, AlertRow
from streams.rehearsal.memory import Memory
from streams.stages.configuration import Configuration
from streams.stages.correlate import Correlate
from streams.stages.dedup import Dedup
from streams.stages.dispatch import Dispatch

#: How long after its resolve an incident is remembered, if nobody says otherwise.
RETENTION_MS = 7 * topics.DAY_MS
_ARRAY = b"\xdc" + ALERT_VALUES.to_bytes(2, "big")
_decode_row = msgspec.msgpack.Decoder(AlertRow).decode


class Listener:
    """Hears what comes out of a line, each at its time in milliseconds. Override what is of interest."""

    def ended(self, row: AlertRow, at: int) -> None:
        """An alert has its outcome."""

    def changed(self, incident: Incident, at: int) -> None:
        """An incident has a new version."""

    def happened(self, event: IncidentEvent, at: int) -> None:
        """A line of a timeline."""

    def told(self, notification: Notification, at: int) -> None:
        """Somebody is told."""

    def skipped(self, delivery: Delivery, at: int) -> None:
        """Somebody is not told; `delivery.error` says why."""


class Passed(NamedTuple):
    """A record between two stages; implements schemas.records.Record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Stage(Protocol):
    """A stage with deadlines."""

    def __call__(self, state: State, records: Sequence[Record], now: int, /) -> Iterable[Output]: ...
    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int, /) -> Iterable[Output]: ...


class _Marks(dict[str, int]):
    """Dedup's marks without those of origins: alerts of one place may come in the order of their arrival instead."""

    def __setitem__(self, lane: str, mark: int) -> None:
        if "/" not in lane:
            super().__setitem__(lane, mark)


class _Lane:
    """A stage with its table and its input."""

    def __init__(self, topic: str, stage: Stage, state: Memory) -> None:
        self.topic = topic
        self.stage = stage
        self.state = state
        self.queue: list[Passed] = []
        self._offset = 0

    def add(self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], at: int) -> None:
        """A record at the end of the input."""
        self.queue.append(Passed(self.topic, 0, self._offset, at, key, value, headers))
        self._offset += 1


class Line:
    """The stages. `configuration` may change between two calls. Times are milliseconds and never go back: what is given
    for an earlier time counts as of now.
    """

    def __init__(self, configuration: Configuration, listener: Listener, retention_ms: int = RETENTION_MS) -> None:
        self.now = 0
        dedup = _Lane(topics.ALERTS_NORMALIZED.name, Dedup(configuration), Memory(_Marks()))
        unique = _Lane(topics.ALERTS_UNIQUE.name, Correlate(configuration, retention_ms), Memory())
        changes = _Lane(topics.INCIDENTS_CHANGES.name, Dispatch(configuration), Memory())
        self._dedup, self._unique = dedup, unique
        self._lanes = (dedup, unique, changes)
        self._inputs = {lane.topic: lane for lane in self._lanes}
        self._hear: dict[str, Callable[[bytes, int], None]] = {
            topics.ALERTS_HISTORY.name: lambda value, at: _all_ended(listener, value, at),
            topics.INCIDENTS.name: lambda value, at: listener.changed(decode_incident(value), at),
            topics.INCIDENTS_EVENTS.name: lambda value, at: listener.happened(decode_incident_event(value), at),
            topics.NOTIFICATIONS.name: lambda value, at: listener.told(decode_notification(value), at),
            topics.NOTIFICATIONS_RESULTS.name: lambda value, at: listener.skipped(decode_delivery(value), at),
        }

    def take(self, alert: Alert, at: int) -> None:
        """One alert. Those of one time are processed together, when time goes on."""
        self._until(at)
        self._dedup.add(alert.fingerprint, encode(alert), (), self.now)

    def command(self, command: Command, at: int) -> None:
        """What a person does with an incident, after the alerts that were taken."""
        self._until(at)
        self._run()
        self._unique.add(scope_of(command.incident_id), encode(command), ((COMMAND_HEADER, b""),), self.now)
        self._run()

    def advance(self, to: int) -> None:
        """Let time pass: everything that is due until then, then included, fires."""
        self._until(to)
        self._run()

    def _until(self, at: int) -> None:
        """Process what was taken, and fire what is due before `at`; what is due at that time comes with its records."""
        if at <= self.now:
            return
        self._run()
        while (due := self._first()) is not None and due < at:
            self.now = max(self.now, due)
            self._run()
        self.now = at

    def _first(self) -> int | None:
        return min((due for lane in self._lanes if (due := lane.state.first()) is not None), default=None)

    def _run(self) -> None:
        """Let every stage take what is there now, one after another, until nothing is left."""
        now, busy = self.now, True
        while busy:
            busy = False
            for lane in self._lanes:
                if lane.queue or lane.state.armed(now):
                    busy = True
                    records, lane.queue = lane.queue, []
                    for output in step(lane.stage, lane.state, records, now):
                        self._emit(output)

    def _emit(self, output: Output) -> None:
        lane = self._inputs.get(output.topic)
        if lane is not None:
            lane.add(output.key, output.value, output.headers, self.now)
        elif output.value is not None and (hear := self._hear.get(output.topic)) is not None:
            hear(output.value, self.now)


def step(stage: Stage, state: Memory, records: Sequence[Record], now: int) -> Iterator[Output]:
    """One batch as the engine runs it: records by their times, and before those of a time what is due by then."""
    while records or state.armed(now):
        at = records[0].timestamp if records else now
        if due := state.fired(at):
            yield from stage.on_due(state, due, at)
            continue
        batch = [record for record in records if record.timestamp == at]
        records = records[len(batch) :]
        yield from stage(state, batch, at)


def _all_ended(listener: Listener, value: bytes, at: int) -> None:
    for row in rows_of(value):
        listener.ended(row, at)


def rows_of(value: bytes) -> list[AlertRow]:
    """The rows of a record of `alerts.history` that this version wrote."""
    return [_decode_row(_ARRAY + row) for row in decode_block(value).rows]
