"""Dedup's state of one fingerprint, packed because a table of millions of keys holds these bytes."""

import struct
from typing import NamedTuple

import msgspec

from schemas.fingerprint import digest
from schemas.wire.alert import Action, Alert
from streams.policy.life import Course
from streams.policy.order import Times

OPEN, CLOSED, HELD, PENDING, COUNTING = 1, 2, 3, 4, 5
#: Flags: the rules suppressed the alert; the resolve found an open alert; the correlation key follows; a Course does.
SUPPRESSED, MATCHED, GROUPED, LIVING = 1, 2, 4, 8
#: How long a closed fingerprint is remembered, so that a trigger sent before its resolve does not open it again.
REMEMBER_CLOSED_MS = 3_600_000

#: A folded repeat reads and writes the first fields: status, severity, ruled, flags, last_seen, repeats, sent_at.
_CHANGING = struct.Struct("<BBBBqIq")
#: Then: forwarded, window_end, began_at, ended_at, sender, window; and the scope.
_LASTING = struct.Struct("<IqqqII")
_WHOLE = struct.Struct("<BBBBqIqIqqqII8s")
_WINDOW_END = struct.Struct("<q")
_SENDER = struct.Struct("<I")
_KEY_BYTES = 16
_LENGTH = struct.Struct("<H")
#: Statuses in which `window_end` is the only deadline.
_WAITS = frozenset({HELD, PENDING, COUNTING})
_encode_course = msgspec.msgpack.Encoder().encode
_decode_course = msgspec.msgpack.Decoder(Course).decode
NO_TIMES = Times(0, 0, 0, 0)


class Entry(NamedTuple):
    """A fingerprint's state.

    `severity` is the highest as sent, `ruled` the highest after rules. `last_seen` is when the newest event arrived;
    if closed, when the fingerprint was resolved. `repeats` counts all repeats since it opened, `forwarded` those that
    the next stage knows. `sent_at`, `began_at`, `ended_at` and `sender` are the sender's times: if open, those of the
    newest trigger; if closed, those of the resolve. `window_end` is when folded repeats are forwarded and the next
    window of `window` milliseconds begins; if held, when the held alert opens. `held` is the held alert, as an encoded
    UniqueAlert, empty unless the status is HELD or PENDING. A key is PENDING while its first alert waits, until
    `window_end`, and COUNTING while too few came. `course` is there for keys that have a life (streams.policy.life).
    """

    status: int
    severity: int
    ruled: int
    flags: int
    last_seen: int
    repeats: int
    sent_at: int
    forwarded: int
    window_end: int
    began_at: int
    ended_at: int
    sender: int
    window: int
    scope: bytes
    correlation_key: bytes
    held: bytes = b""
    course: Course | None = None

    @property
    def times(self) -> Times:
        """The times by the sender's clock."""
        return Times(self.sender, self.sent_at, self.began_at, self.ended_at)

    @property
    def due(self) -> int:
        """When time alone changes the entry, in milliseconds; 0 for never."""
        if self.status == CLOSED:
            return self.last_seen + REMEMBER_CLOSED_MS
        if self.status in _WAITS:
            return self.window_end
        flush = self.window_end if self.repeats > self.forwarded and not self.flags & SUPPRESSED else 0
        if self.course is None:
            return flush
        return min(filter(None, (flush, self.course.due(self.last_seen))), default=0)

    def seen(self, times: Times) -> "Entry":
        """The entry with the times of one more trigger; a sender's times are compared only with its own."""
        if not times.sender:
            return self
        if times.sender != self.sender:
            return self._replace(sender=times.sender, sent_at=times.sent_at, began_at=times.began_at)
        return self._replace(sent_at=max(self.sent_at, times.sent_at), began_at=max(self.began_at, times.began_at))

    def ended(self, times: Times, received_at: int) -> "Entry":
        """The entry closed by a resolve with these times. A resolve without a start ends the known episode."""
        began = times.began_at or (self.began_at if times.sender in (0, self.sender) else 0)
        return self._replace(
            status=CLOSED, flags=MATCHED, held=b"", last_seen=max(self.last_seen, received_at),
            forwarded=self.repeats, sent_at=times.sent_at, began_at=began, ended_at=times.ended_at,
            sender=times.sender or self.sender,
        )  # fmt: skip

    def ended_again(self, times: Times, received_at: int) -> "Entry":
        """The closed entry after one more resolve: the newest of its sender's times count."""
        last_seen = max(self.last_seen, received_at)
        closed = self._replace(status=CLOSED, held=b"", last_seen=last_seen)
        if not times.sender or times.sender != self.sender:
            return closed
        return closed._replace(
            sent_at=max(self.sent_at, times.sent_at), began_at=max(self.began_at, times.began_at),
            ended_at=max(self.ended_at, times.ended_at),
        )  # fmt: skip

    def pack(self, fingerprint: bytes) -> bytes:
        """The bytes kept in the table."""
        grouped = self.correlation_key != fingerprint
        flags = self.flags | GROUPED if grouped else self.flags & ~GROUPED
        tail = self.correlation_key if grouped else b""
        flags = flags & ~LIVING if self.course is None else flags | LIVING
        if self.course is not None:
            course = _encode_course(self.course)
            tail += _LENGTH.pack(len(course)) + course
        packed = _WHOLE.pack(self.status, self.severity, self.ruled, flags, *self[4:14])
        return packed + tail + self.held


def pack_open(
    alert: Alert,
    ruled: int,
    flags: int,
    repeats: int,
    window_end: int,
    window: int,
    times: Times,
    key: bytes,
    scope: bytes,
) -> bytes:
    """The bytes of a fingerprint that opens with this alert and correlation key, made without an Entry."""
    grouped = key != alert.fingerprint
    packed = _WHOLE.pack(
        OPEN, alert.severity, ruled, flags | GROUPED if grouped else flags, alert.received_at, repeats,
        times.sent_at, repeats, window_end, times.began_at, 0, times.sender, window, scope,
    )  # fmt: skip
    return packed + key if grouped else packed


def unpack(value: bytes, fingerprint: bytes) -> Entry:
    """The inverse of Entry.pack."""
    fields = _WHOLE.unpack_from(value)
    tail, flags, key, course = value[_WHOLE.size :], fields[3], fingerprint, None
    if flags & GROUPED:
        key, tail = tail[:_KEY_BYTES], tail[_KEY_BYTES:]
    if flags & LIVING:
        end = _LENGTH.size + _LENGTH.unpack_from(tail)[0]
        course, tail = _decode_course(tail[_LENGTH.size : end]), tail[end:]
    return Entry._make((*fields, key, tail, course))


def fold(value: bytes, severity: int, received_at: int, times: Times) -> bytes | None:
    """The value after one more trigger that is only counted, None if more than counting is needed.

    This is the hottest path of all: only the fields that change are packed again.
    """
    status, highest, ruled, flags, last_seen, repeats, newest = _CHANGING.unpack_from(value)
    if status != OPEN or severity > highest or flags & LIVING or received_at >= _WINDOW_END.unpack_from(value, 28)[0]:
        return None
    sender, sent_at, _, _ = times
    if sent_at and sender != _SENDER.unpack_from(value, 52)[0]:
        return None
    changed = _CHANGING.pack(
        status, highest, ruled, flags, max(last_seen, received_at), repeats + 1, max(newest, sent_at)
    )
    return changed + value[24:]


def due(value: bytes) -> int:
    """When time alone changes the fingerprint of this value, in milliseconds; 0 for never."""
    status, _, _, flags, last_seen, repeats, _ = _CHANGING.unpack_from(value)
    if flags & LIVING:
        return unpack(value, b"").due
    if status == CLOSED:
        return int(last_seen) + REMEMBER_CLOSED_MS
    forwarded, window_end, *_ = _LASTING.unpack_from(value, 24)
    if status in _WAITS or (repeats > forwarded and not flags & SUPPRESSED):
        return int(window_end)
    return 0


def closed(value: bytes) -> bool:
    """Whether the fingerprint of this value is closed, and may be evicted early when the table is full."""
    return value[0] == CLOSED


def sender_times(alert: Alert, senders: dict[tuple[str, str], int]) -> Times:
    """The alert's times; `senders` is a cache of the numbers of senders.

    A resolve's start is the start of the episode that it ends.
    """
    if not (alert.sent_at or alert.began_at or alert.ended_at):
        return NO_TIMES
    who = alert.provider, alert.integration
    sender = senders.get(who)
    if sender is None:
        sender = senders[who] = int.from_bytes(digest(*who)[:4], "little") | 1
    return Times(sender, alert.sent_at, alert.began_at, alert.ended_at if alert.action == Action.RESOLVE else 0)
