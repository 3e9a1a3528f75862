"""The stages joined in memory: what one partition of each topic would see, without a broker."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas import topics
from schemas.fingerprint import scope_of, uuid7
from schemas.records import Output
from schemas.wire.alert import RawEvent, Severity
from schemas.wire.codec import (
    decode_block,
    decode_delivery,
    decode_incident,
    decode_incident_event,
    decode_notification,
    decode_verdict,
    encode,
)
from schemas.wire.command import COMMAND_HEADER, Command, CommandAction, CommandResult
from schemas.wire.deadletter import DeadLetter
from schemas.wire.incident import Incident, IncidentEvent
from schemas.wire.notification import Delivery, Notification
from schemas.wire.rows import ALERT_VALUES, AlertOutcome, AlertRow
from schemas.wire.verdict import REPLY, ReplyTo, Verdict
from streams.control.state import Control
from streams.rehearsal.line import step
from streams.stages import correlate_table, dedup_entry, dispatch_table, heartbeats_entry
from streams.stages.correlate import Correlate
from streams.stages.dedup import Dedup
from streams.stages.dispatch import Dispatch
from streams.stages.heartbeats import Heartbeats, unarmed
from streams.stages.normalize import Normalize
from tests.stages.table import TableState

START = 1_750_000_000_000
RETENTION_MS = 7 * topics.DAY_MS


@dataclass
class Rec:
    """A record as fetched."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class Path:
    """Push requests in, read everything that came out. `now` is set by the test, in milliseconds."""

    def __init__(self, control: Control | None = None) -> None:
        self.control = control or Control()
        self.now = START
        self.logs: dict[str, list[Rec]] = defaultdict(list)
        self.dedup_state = TableState(dedup_entry.due)
        self.correlation_state = TableState(correlate_table.due)
        self.heartbeats_state = TableState(heartbeats_entry.due)
        self._normalize = Normalize(self.control)
        self._heartbeats = Heartbeats(self.control)
        self._dedup = Dedup(self.control)
        self._correlate = Correlate(self.control, RETENTION_MS)
        self.dispatch_state = TableState(dispatch_table.due)
        self._dispatch = Dispatch(self.control)
        self._read: dict[str, int] = defaultdict(int)

    def append(self, topic: str, value: bytes | None, key: bytes | None = None, headers: Any = ()) -> Rec:
        """A record at the end of a topic's only partition."""
        record = Rec(topic, 0, len(self.logs[topic]), self.now, key, value, list(headers))
        self.logs[topic].append(record)
        return record

    def push(
        self,
        action: str,
        key: str,
        severity: str = "error",
        *,
        service: str = "web",
        waits: bool = False,
        **payload: Any,
    ) -> None:
        """One Events API request, through all stages; one that `waits` has a reply address."""
        body: dict[str, Any] = {"event_action": action, "dedup_key": key}
        if action == "trigger":
            body["payload"] = {"summary": f"{key} is broken", "source": "host-1", "severity": severity, **payload}
        self.request("events_v2", body, service=service, waits=waits)

    def request(
        self,
        provider: str,
        body: Any,
        *,
        service: str = "web",
        waits: bool = False,
        sender: str = "0" * 32,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """One request in a provider's format, from the integration `sender`, through all stages."""
        request = uuid7(self.now)
        sent = body if isinstance(body, bytes) else msgspec.json.encode(body)
        raw = RawEvent("default", service, sender, provider, request, self.now, sent, dict(headers or {}))
        address = [(REPLY, encode(ReplyTo(b"gateway", request)))] if waits else []
        self.append(topics.ALERTS_RAW.name, encode(raw), headers=address)
        self.run()

    def command(
        self,
        action: CommandAction,
        incident: Incident,
        *,
        by: str = "cli:ada",
        note: str = "",
        command_id: bytes | None = None,
        other: Incident | None = None,
        members: Iterable[bytes] = (),
    ) -> CommandResult:
        """One command on an incident, as a sender puts it on `alerts.unique`, and the answer to it."""
        command_id = command_id or uuid7(self.now)
        command = Command(
            command_id=command_id,
            tenant=incident.tenant,
            incident_id=incident.incident_id,
            correlation_key=incident.correlation_key,
            action=action,
            actor=by,
            at=self.now,
            note=note,
            other_id=other.incident_id if other is not None else bytes(16),
            other_key=other.correlation_key if other is not None else bytes(16),
            members=tuple(members),
        )
        headers = [(COMMAND_HEADER, b""), (REPLY, encode(ReplyTo(b"gateway", command_id)))]
        self.append(topics.ALERTS_UNIQUE.name, encode(command), scope_of(incident.incident_id), headers)
        self.run()
        verdict = self.verdicts[-1]
        assert (verdict.reply_to.request, verdict.incident_id) == (command_id, incident.incident_id)
        assert verdict.command is not None
        return verdict.command

    def run(self) -> None:
        """Let every stage take what is new."""
        self.emit(self._normalize.requests(None, self._new(topics.ALERTS_RAW.name), self.now))
        self.emit(self._normalize.events(None, self._new(topics.ALERTS_EVENTS.name), self.now))
        self.stage(self.heartbeats_state, self._heartbeats, self._new(topics.HEARTBEATS.name))
        self.stage(self.dedup_state, self._dedup, self._new(topics.ALERTS_NORMALIZED.name))
        self.stage(self.correlation_state, self._correlate, self._new(topics.ALERTS_UNIQUE.name))
        self.stage(self.dispatch_state, self._dispatch, self._new(topics.INCIDENTS_CHANGES.name))

    def stage(self, state: TableState, run: Any, records: list[Rec]) -> None:
        """One batch as the engine runs it: deadlines fire before records of a later time."""
        self.emit(step(run, state, records, self.now))

    def arm(self) -> None:
        """Do what the attendant of the stage of heartbeats does after a change of the configuration."""
        for event in unarmed(self.heartbeats_state, self.control):
            self.append(topics.HEARTBEATS.name, encode(event), event.key)
        self.run()

    def tick(self, seconds: float) -> None:
        """Let time pass on idle partitions, a second at a time: what a timer of one stage sends, the next one takes."""
        end = self.now + int(seconds * 1000)
        self.run()
        while self.now < end:
            self.now = min(end, self.now + 1000)
            self.run()

    def restart(self) -> None:
        """Make every stage anew, over the tables as they are."""
        self._dedup = Dedup(self.control)
        self._correlate = Correlate(self.control, RETENTION_MS)
        self._dispatch = Dispatch(self.control)

    def replay_dedup(self) -> None:
        """Give dedup every normalized record once more, as after a crash of the normalizing worker."""
        for record in list(self.logs[topics.ALERTS_NORMALIZED.name]):
            self.append(topics.ALERTS_NORMALIZED.name, record.value, record.key)
        self.run()

    def _new(self, topic: str) -> list[Rec]:
        start = self._read[topic]
        self._read[topic] = len(self.logs[topic])
        return self.logs[topic][start:]

    def emit(self, outputs: Iterable[Output]) -> None:
        """Put what a stage sends on its topics."""
        for output in outputs:
            self.append(output.topic, output.value, output.key, output.headers)

    @property
    def outcomes(self) -> list[str]:
        """The outcome of every alert, in the order they ended."""
        rows = [row for block in self._blocks() for row in block.rows]
        return [AlertOutcome(_column(row, 10)).name.lower() for row in rows]

    @property
    def severities(self) -> list[tuple[Severity, Severity]]:
        """The severity of every alert after rules and before, in the order they ended."""
        names = AlertRow.__struct_fields__
        places = names.index("severity"), names.index("severity_raw")
        rows = [row for block in self._blocks() for row in block.rows]
        return [(Severity(_column(row, places[0])), Severity(_column(row, places[1]))) for row in rows]

    def column(self, name: str) -> list[Any]:
        """A column of history, in the order in which alerts ended."""
        place = AlertRow.__struct_fields__.index(name)
        return [_column(row, place) for block in self._blocks() for row in block.rows]

    @property
    def incidents(self) -> dict[bytes, Incident]:
        """The newest version of each incident."""
        found = [decode_incident(record.value) for record in self.logs[topics.INCIDENTS.name] if record.value]
        newest: dict[bytes, Incident] = {}
        for incident in found:
            if incident.version > (newest[incident.incident_id].version if incident.incident_id in newest else 0):
                newest[incident.incident_id] = incident
        return newest

    @property
    def incident(self) -> Incident:
        """The only incident."""
        (incident,) = self.incidents.values()
        return incident

    @property
    def events(self) -> list[IncidentEvent]:
        """The timeline."""
        return [decode_incident_event(record.value or b"") for record in self.logs[topics.INCIDENTS_EVENTS.name]]

    @property
    def notifications(self) -> list[Notification]:
        """What people would hear."""
        return [decode_notification(record.value or b"") for record in self.logs[topics.NOTIFICATIONS.name]]

    @property
    def deliveries(self) -> list[Delivery]:
        """What people do not hear, and why."""
        return [decode_delivery(record.value or b"") for record in self.logs[topics.NOTIFICATIONS_RESULTS.name]]

    @property
    def verdicts(self) -> list[Verdict]:
        """What those who wait hear."""
        return [decode_verdict(record.value or b"") for record in self.logs[topics.REPLIES.name]]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What could not be used."""
        return [DeadLetter.read(r.key, r.value, r.headers) for r in self.logs[topics.DEADLETTERS.name]]

    def _blocks(self) -> list[Any]:
        return [decode_block(record.value or b"") for record in self.logs[topics.ALERTS_HISTORY.name]]


def _column(row: bytes, index: int) -> Any:
    """One column of a packed row: it is an array without its header, which is put back."""
    return msgspec.msgpack.decode(b"\xdc" + ALERT_VALUES.to_bytes(2, "big") + row)[index]


def control(*records: tuple[str, dict[str, Any]]) -> Control:
    """A control state with these records."""
    state = Control()
    for key, value in records:
        refused = state.apply(key, msgspec.json.encode(value))
        assert refused is None, refused
    return state
