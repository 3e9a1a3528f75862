"""What dedup keeps of one fingerprint, packed: a table of millions of keys holds these bytes."""

import struct
from typing import NamedTuple

from schemas.fingerprint import digest
from schemas.wire.alert import Action, Alert
from streams.policy.order import Times

OPEN, CLOSED, HELD = 1, 2, 3
#: Flags: the rules suppressed the alert; the resolve found an open alert; the correlation key follows.
SUPPRESSED, MATCHED, GROUPED = 1, 2, 4
#: How long a closed fingerprint is remembered, so that what was sent before its resolve does not open it again.
REMEMBER_CLOSED_MS = 3_600_000

#: What a folded repeat reads and writes stands first: status, severity, ruled, flags, last_seen, repeats, sent_at.
_CHANGING = struct.Struct("<BBBBqIq")
#: Then: forwarded, window_end, began_at, ended_at, sender, window.
_LASTING = struct.Struct("<IqqqII")
_WHOLE = struct.Struct("<BBBBqIqIqqqII")
_WINDOW_END = struct.Struct("<q")
_SENDER = struct.Struct("<I")
_KEY_BYTES = 16
NO_TIMES = Times(0, 0, 0, 0)


class Entry(NamedTuple):
    """A fingerprint's state.

    `severity` is the highest as sent, `ruled` the highest after rules. `last_seen` is when the newest event arrived,
    of a closed one when it was resolved. `repeats` are all since it opened, `forwarded` how many of those the next
    stage knows. `sent_at`, `began_at`, `ended_at` and `sender` are the sender's times: of an open alert its newest
    trigger's, of a closed one its resolve's. `window_end` is when folded repeats are forwarded and the next window of
    `window` milliseconds begins; of a held one it is when it opens. `held` is the alert that waits, as an encoded
    UniqueAlert, empty unless the status is HELD.
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
    correlation_key: bytes
    held: bytes = b""

    @property
    def times(self) -> Times:
        """What its sender's clock says."""
        return Times(self.sender, self.sent_at, self.began_at, self.ended_at)

    @property
    def due(self) -> int:
        """When time alone changes it, in milliseconds; 0 for never."""
        if self.status == CLOSED:
            return self.last_seen + REMEMBER_CLOSED_MS
        if self.status == HELD or (self.repeats > self.forwarded and not self.flags & SUPPRESSED):
            return self.window_end
        return 0

    def seen(self, times: Times) -> "Entry":
        """With the times of one more trigger; times of a sender are only ever compared with its own."""
        if not times.sender:
            return self
        if times.sender != self.sender:
            return self._replace(sender=times.sender, sent_at=times.sent_at, began_at=times.began_at)
        return self._replace(sent_at=max(self.sent_at, times.sent_at), began_at=max(self.began_at, times.began_at))

    def ended(self, times: Times, received_at: int) -> "Entry":
        """Closed by a resolve with these times. One that names no start ends the episode that is known."""
        began = times.began_at or (self.began_at if times.sender in (0, self.sender) else 0)
        return self._replace(
            status=CLOSED, flags=MATCHED, held=b"", last_seen=max(self.last_seen, received_at),
            forwarded=self.repeats, sent_at=times.sent_at, began_at=began, ended_at=times.ended_at,
            sender=times.sender or self.sender,
        )  # fmt: skip

    def ended_again(self, times: Times, received_at: int) -> "Entry":
        """Closed as before, by one more resolve: the newest of its sender's times count."""
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
        flags = self.flags & ~GROUPED
        key = b"" if self.correlation_key == fingerprint else self.correlation_key
        head = self._replace(flags=flags | GROUPED) if key else self._replace(flags=flags)
        return _WHOLE.pack(*head[:13]) + key + self.held


def unpack(value: bytes, fingerprint: bytes) -> Entry:
    """The inverse of Entry.pack."""
    fields = _WHOLE.unpack_from(value)
    tail = value[_WHOLE.size :]
    if fields[3] & GROUPED:
        return Entry._make((*fields, tail[:_KEY_BYTES], tail[_KEY_BYTES:]))
    return Entry._make((*fields, fingerprint, tail))


def fold(value: bytes, severity: int, received_at: int, times: Times) -> bytes | None:
    """The value after one more trigger that only counts, None where more than counting is to be done.

    That is the hottest path of all: only what changes is packed anew.
    """
    status, highest, ruled, flags, last_seen, repeats, newest = _CHANGING.unpack_from(value)
    if status != OPEN or severity > highest or received_at >= _WINDOW_END.unpack_from(value, 28)[0]:
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
    if status == CLOSED:
        return int(last_seen) + REMEMBER_CLOSED_MS
    forwarded, window_end, *_ = _LASTING.unpack_from(value, 24)
    if status == HELD or (repeats > forwarded and not flags & SUPPRESSED):
        return int(window_end)
    return 0


def closed(value: bytes) -> bool:
    """Whether the fingerprint of this value is over, and may be forgotten early where memory is short."""
    return value[0] == CLOSED


def sender_times(alert: Alert, senders: dict[tuple[str, str], int]) -> Times:
    """The alert's times; `senders` remembers the numbers of senders.

    A resolve's start is that of the episode it ends.
    """
    if not (alert.sent_at or alert.began_at or alert.ended_at):
        return NO_TIMES
    who = alert.provider, alert.integration
    sender = senders.get(who)
    if sender is None:
        sender = senders[who] = int.from_bytes(digest(*who)[:4], "little") | 1
    return Times(sender, alert.sent_at, alert.began_at, alert.ended_at if alert.action == Action.RESOLVE else 0)
