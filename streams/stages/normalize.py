"""Requests and producers' events become alerts, or beats of monitors.

Takes `alerts.raw` (a request as it came) and `alerts.events` (Avro or JSON); gives one record per alert
on `alerts.normalized`, keyed by fingerprint, naming its origin. A record that cannot be read becomes a dead letter
with its reason. Stateless and deterministic: a replay gives the same records, which dedup recognizes by origin. A
request is read by the field mapping that came with it, even if its integration has changed since.

A request to a monitor's address is its beat, on `heartbeats`. So is a trigger that matches a monitor (streams.policy.
heartbeats); an alert that matches ends here as suppressed. Of the beats of one monitor in a batch the newest goes on.
"""

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from schemas.control import FieldMapping, Heartbeat, describe, installation_of, mapping_of, shown_sender
from schemas.fingerprint import derived_uuid, fingerprint
from schemas.records import Output, Record
from schemas.topics import ALERTS_NORMALIZED, DEADLETTERS, HEARTBEATS
from schemas.wire.alert import Action, Alert, RawEvent, Severity
from schemas.wire.beat import HEARTBEAT, MONITOR, Beat, BeatEvent
from schemas.wire.codec import DecodeError, decode_raw, encode
from schemas.wire.deadletter import DeadLetter
from schemas.wire.events import AlertEvent, BadEvent, milliseconds
from schemas.wire.events import decode as decode_event
from schemas.wire.rows import AlertOutcome
from streams.policy.heartbeats import Beats, rule_of
from streams.providers import BadBody, Draft, find
from streams.stages.configuration import Configuration
from streams.stages.history_rows import History
from streams.stages.replies import readdress, reply

#: A sender's clock may be ahead of ours by this much; a later time is set to the time of arrival.
CLOCK_SKEW_MS = 300_000
SEVERITIES = {severity.name.lower(): severity for severity in Severity}
#: Alerts of one request share an offset; their rows are numbered by their index in it, too.
PLACES = 1 << 20
ACTIONS = {action.name.lower(): action for action in Action}


class Normalize:
    """The stage on both topics. `control`, which is kept up to date elsewhere, has the monitors."""

    def __init__(self, control: Configuration) -> None:
        self._control = control
        self._version = -1
        self._beats = Beats(())

    def requests(self, state: object, records: Sequence[Record], now: int) -> Iterator[Output]:
        """`alerts.raw` -> alerts and beats."""
        ended = _Ended("normalize.raw")
        beats_of = self._follow().of
        for record in records:
            try:
                raw = decode_raw(record.value or b"")
                if raw.provider == HEARTBEAT:
                    ended.beat(raw.tenant, raw.headers.get(MONITOR, ""), record)
                    continue
                provider = find(raw.provider)
                if provider is None:
                    raise BadBody("provider", f"unknown provider {raw.provider[:50]!r}")
                drafts = provider.drafts(raw, _mapping(raw))
            except (DecodeError, BadBody) as error:
                yield dead_letter("normalize", "bad_body", error, record, now)
                continue
            # The gateway tells it; a record of an older gateway has only the key.
            installation = raw.installation
            if not installation and provider.key_scope == "installation":
                installation = installation_of(raw.integration)
            for index, draft in enumerate(drafts):
                alert = _from_draft(raw, draft, record, index, installation)
                headers = record.headers and readdress(record.headers, index, len(drafts), alert.dedup_key)
                if monitors := beats_of(alert):
                    ended.alert(alert, monitors, record)
                    yield from reply(headers, deduplicated=False)
                    continue
                yield Output(ALERTS_NORMALIZED.name, alert.fingerprint, encode(alert), None, headers)
        yield from ended.outputs(records)

    def events(self, state: object, records: Sequence[Record], now: int) -> Iterator[Output]:
        """`alerts.events` -> alerts and beats. The time of arrival is the record's; the event id derives from its time
        and place.

        A record without a value is not an event: producers delete keys of compacted topics that way.
        """
        ended = _Ended("normalize.events")
        beats_of = self._follow().of
        for record in records:
            if record.value is None:
                continue
            try:
                event = decode_event(record.value)
            except BadEvent as error:
                yield dead_letter("normalize", error.code, error, record, now)
                continue
            alert = _from_event(event, record)
            if monitors := beats_of(alert):
                ended.alert(alert, monitors, record)
                continue
            yield Output(ALERTS_NORMALIZED.name, alert.fingerprint, encode(alert))
        yield from ended.outputs(records)

    def _follow(self) -> Beats:
        if self._version != self._control.version:
            self._version = self._control.version
            self._beats = Beats(self._control.every(Heartbeat).values())
        return self._beats


class _Ended:
    """What ends in a batch: alerts that are beats, and requests that are. `stage` names the lane of the rows."""

    def __init__(self, stage: str) -> None:
        self._history = History(stage)
        self._beats: dict[tuple[str, str], int] = {}

    def beat(self, tenant: str, monitor: str, record: Record) -> None:
        """Count a beat; its time is the broker's."""
        self._beats[tenant, monitor] = max(record.timestamp, self._beats.get((tenant, monitor), 0))

    def alert(self, alert: Alert, monitors: Sequence[str], record: Record) -> None:
        """End an alert that belongs to these monitors; the end of an alert is no beat."""
        number = record.offset * PLACES + alert.origin_index
        self._history.add(number, alert, AlertOutcome.SUPPRESSED, rule=rule_of(monitors))
        if alert.action is Action.TRIGGER:
            for monitor in monitors:
                self.beat(alert.tenant, monitor, record)

    def outputs(self, records: Sequence[Record]) -> Iterator[Output]:
        """The rows and the beats."""
        for (tenant, monitor), at in self._beats.items():
            event = BeatEvent(Beat.BEAT, tenant, monitor, at)
            yield Output(HEARTBEATS.name, event.key, encode(event))
        yield from self._history.blocks(records[0].partition if records else 0)


def dead_letter(
    stage: str, reason: str, error: Exception, record: Record, now: int, origin: Alert | None = None
) -> Output:
    """The dead letter of a record that `stage` cannot take. It names where the alert came in, if that is known."""
    letter = DeadLetter(
        stage=stage,
        reason=reason,
        error=str(error),
        topic=origin.origin_topic if origin is not None else record.topic,
        partition=origin.origin_partition if origin is not None else record.partition,
        offset=origin.origin_offset if origin is not None else record.offset,
        at=now,
        key=record.key or b"",
        body=record.value or b"",
    )
    return Output(DEADLETTERS.name, letter.key or str(record.offset).encode(), letter.body, None, letter.headers())


def _from_event(event: AlertEvent, record: Record) -> Alert:
    received = record.timestamp
    began, ended = milliseconds(event.starts_at), milliseconds(event.ends_at)
    return Alert(
        tenant=event.tenant,
        service=event.service,
        integration="",
        provider="kafka",
        event_id=_event_id(record),
        dedup_key=event.dedup_key,
        fingerprint=fingerprint(event.tenant, event.service, event.dedup_key),
        action=ACTIONS[event.action],
        severity=SEVERITIES[event.severity],
        summary=event.summary,
        source=event.source,
        component=event.component,
        group=event.group,
        class_=event.class_,
        labels=event.labels,
        details=bytes(event.details),
        starts_at=_clamped(began, received),
        ends_at=_clamped(ended, received),
        sent_at=ended if event.action == "resolve" else began,
        began_at=began,
        ended_at=ended,
        received_at=received,
        origin_topic=record.topic,
        origin_partition=record.partition,
        origin_offset=record.offset,
    )


def _from_draft(raw: RawEvent, draft: Draft, record: Record, index: int, installation: str) -> Alert:
    return Alert(
        tenant=raw.tenant,
        service=raw.service,
        # The key is a credential, so people see only its beginning.
        integration=shown_sender(raw.integration),
        provider=raw.provider,
        event_id=derived_uuid(raw.event_id, index),
        dedup_key=draft.dedup_key,
        fingerprint=fingerprint(raw.tenant, raw.service, draft.dedup_key, installation),
        action=draft.action,
        severity=draft.severity,
        summary=draft.summary,
        source=draft.source,
        component=draft.component,
        group=draft.group,
        class_=draft.class_,
        labels=draft.labels,
        details=draft.details,
        links=draft.links,
        starts_at=_clamped(draft.starts_at, raw.received_at),
        ends_at=_clamped(draft.ends_at, raw.received_at),
        sent_at=draft.sent_at,
        began_at=draft.began_at,
        ended_at=draft.ends_at if draft.began_at else 0,
        received_at=raw.received_at,
        origin_topic=record.topic,
        origin_partition=record.partition,
        origin_offset=record.offset,
        origin_index=index,
    )


def _mapping(raw: RawEvent) -> FieldMapping:
    try:
        return mapping_of(raw.mapping)
    except ValidationError as error:
        raise BadBody("mapping", describe(error)) from None


def _clamped(at: int, received: int) -> int:
    return received if at > received + CLOCK_SKEW_MS else at


def _event_id(record: Record) -> bytes:
    """A UUIDv7 from the record's time and place, so that a replay makes the same one."""
    base = max(record.timestamp, 0).to_bytes(6, "big") + b"\x70" + bytes(1) + b"\x80" + bytes(7)
    return derived_uuid(base, (record.partition << 48 | record.offset) + 1)
