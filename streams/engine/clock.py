"""Time is data: what the time of a partition is, and how one lane tells the next.

Everything here is milliseconds of the brokers' clocks. A clock of our own is never read: the time between two answers
of a broker is measured with the monotonic one. docs/adr/0009 has the reasons.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

#: No time is believed that is further than this past the broker's clock, milliseconds.
FAR_MS = 60_000
#: An estimate of a broker's present time is this much too small on purpose: a clock of another broker may be behind,
#: and an answer may have travelled longer than the acknowledgement before it.
MARGIN_MS = 100
#: The header that makes a record a mark. Its value names the feeder, the record's value is the time in decimal digits.
MARK = "mark"


class Marked(Protocol):
    """What a mark is read from."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def mark(feeder: str, upto: int) -> tuple[None, bytes, tuple[tuple[str, bytes]]]:
    """The record (key, value, headers) that says: `feeder` has processed its input up to the time `upto`, 0 unknown."""
    return None, b"%d" % upto, ((MARK, feeder.encode()),)


def read_mark(record: Marked) -> tuple[str, int] | None:
    """The feeder and time of a mark, None for any other record. A mark that cannot be read says time 0."""
    for name, feeder in record.headers:
        if name == MARK:
            digits = record.value or b""
            return feeder.decode("utf-8", "replace"), int(digits) if digits.isdigit() and len(digits) < 20 else 0
    return None


class Clock:
    """The time of one partition.

    Without feeders it is the newest broker time of its records. With feeders it is the smallest time that any of them
    has marked, and it stands still until each has marked one. It is a function of the partition's log alone, so every
    reader of the log finds the same time at the same record. It goes back only when the broker's clock does, by more
    than FAR_MS: a clock that was wrong once does not stay wrong.
    """

    def __init__(self, now: int = 0, marks: Mapping[str, int] | None = None) -> None:
        self.now = now
        self.marks = dict(marks or {})
        self._feeders: frozenset[str] = frozenset()

    def expect(self, feeders: Iterable[str]) -> None:
        """From now on these feed the partition; what others have marked is forgotten."""
        self._feeders = frozenset(feeders)
        self.marks = {feeder: upto for feeder, upto in self.marks.items() if feeder in self._feeders}

    def record(self, at: int) -> None:
        """A record of broker time `at` is next, or none will come that is older than `at`."""
        to = at
        if self._feeders:
            to = min(self.marks.values()) if len(self.marks) == len(self._feeders) else self.now
        to = min(to, at + FAR_MS)
        if to > self.now or self.now > at + FAR_MS:
            self.now = to

    def mark(self, feeder: str, upto: int, at: int) -> None:
        """A mark of broker time `at` is next. One that says less than an earlier one comes from a repetition."""
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
        """An acknowledgement that has just come says that a record was appended at `at`."""
        self._at = at
        self._seen = time.monotonic()

    def by(self, moment: float) -> int:
        """The least that the broker's clock showed at monotonic `moment`; 0 if it was not heard of for FAR_MS."""
        passed = int((moment - self._seen) * 1000)
        return self._at + passed - MARGIN_MS if self._at and abs(passed) < FAR_MS else 0
