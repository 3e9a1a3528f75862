"""The time of a partition, which follows from its log, and how one lane passes its time to the next.

All times here are milliseconds of the brokers' clocks. The process's own wall clock is never read: the time between
two answers of a broker is measured with the monotonic clock. docs/adr/0009 has the reasons.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

#: No time further ahead of the broker's clock than this is accepted, milliseconds.
FAR_MS = 60_000
#: An estimate of a broker's present time is this much too small on purpose: the clock of another broker may be behind,
#: and an answer may have travelled longer than the acknowledgement before it.
MARGIN_MS = 100
#: The header that makes a record a mark. Its value names the feeder, the record's value is the time in decimal digits.
MARK = "mark"


class Marked(Protocol):
    """A record that may be a mark."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def mark(feeder: str, upto: int) -> tuple[None, bytes, tuple[tuple[str, bytes]]]:
    """The record (key, value, headers) that says: `feeder` has processed its input up to time `upto` (0: unknown)."""
    return None, b"%d" % upto, ((MARK, feeder.encode()),)


def read_mark(record: Marked) -> tuple[str, int] | None:
    """The feeder and time of a mark, None for any other record. An unreadable time is 0."""
    for name, feeder in record.headers:
        if name == MARK:
            digits = record.value or b""
            return feeder.decode("utf-8", "replace"), int(digits) if digits.isdigit() and len(digits) < 20 else 0
    return None


class Clock:
    """The time of one partition.

    Without feeders it is the newest broker time of its records. With feeders it is the smallest time that any feeder
    has marked, and it stands still until each feeder has marked a time. It is a function of the partition's log alone,
    so every reader of the log finds the same time at the same record. It goes back only when the broker's clock goes
    back by more than FAR_MS, so that one wrong clock reading does not last.
    """

    def __init__(self, now: int = 0, marks: Mapping[str, int] | None = None) -> None:
        self.now = now
        self.marks = dict(marks or {})
        self._feeders: frozenset[str] = frozenset()

    def expect(self, feeders: Iterable[str]) -> None:
        """Set the feeders of the partition; the marks of other feeders are removed."""
        self._feeders = frozenset(feeders)
        self.marks = {feeder: upto for feeder, upto in self.marks.items() if feeder in self._feeders}

    def record(self, at: int) -> None:
        """Move the time: the next record has broker time `at`, or no record older than `at` will come."""
        to = at
        if self._feeders:
            to = min(self.marks.values()) if len(self.marks) == len(self._feeders) else self.now
        to = min(to, at + FAR_MS)
        if to > self.now or self.now > at + FAR_MS:
            self.now = to

    def mark(self, feeder: str, upto: int, at: int) -> None:
        """Move the time: the next record is a mark of broker time `at`. A mark below an earlier one is a repetition."""
        if feeder in self._feeders:
            held = self.marks.get(feeder, 0)
            if upto > held or held > at + FAR_MS:
                self.marks[feeder] = upto
        self.record(at)


class BrokerTime:
    """The broker's present time, from the append times in its acknowledgements."""

    def __init__(self) -> None:
        self._at = 0
        self._seen = 0.0

    def saw(self, at: int) -> None:
        """Note the time `at` at which a record was appended, from an acknowledgement that has just arrived."""
        self._at = at
        self._seen = time.monotonic()

    def by(self, moment: float) -> int:
        """The lowest time the broker's clock can have shown at monotonic `moment`; 0 without news for FAR_MS."""
        passed = int((moment - self._seen) * 1000)
        return self._at + passed - MARGIN_MS if self._at and abs(passed) < FAR_MS else 0
