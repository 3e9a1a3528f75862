"""Which keys are due by when. Rebuilt from the values after a recovery, never stored.

What is due soon lies in a heap, exactly ordered; what is due later in packed buckets (the bytes of a key and two more),
a second wide within the hour and an hour wide beyond. Opening a bucket is done in portions.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

_SECOND, _HOUR = 1_000, 3_600_000
_LENGTH = 2


class Deadlines:
    """Keys in the order (deadline, key).

    `due_of(key)` is the deadline that the key has now, 0 for none. An entry whose key is due later by then moves there,
    so that a deadline that is put off costs nothing here; the owner adds an entry when a deadline is new or earlier.
    """

    def __init__(self, due_of: Callable[[bytes], int]) -> None:
        self._due_of = due_of
        self._soon: list[tuple[int, bytes]] = []
        #: Everything due before `_soon_end` is in the heap, or in the bucket that is being opened.
        self._soon_end = 0
        self._hour_end = 0
        self._buckets: dict[int, bytearray] = {}
        self._starts: list[int] = []
        self._opening: Iterator[bytes] | None = None

    def add(self, key: bytes, due: int) -> None:
        """Remember `key`, of at most 65,535 bytes."""
        if due < self._soon_end:
            heappush(self._soon, (due, key))
            return
        start = due - due % (_SECOND if due < self._hour_end else _HOUR)
        bucket = self._buckets.get(start)
        if bucket is None:
            bucket = self._buckets[start] = bytearray()
            heappush(self._starts, start)
        bucket += len(key).to_bytes(_LENGTH, "big")
        bucket += key

    def open(self, now: int, portion: int) -> bool:
        """Bring what is due by `now` into order, at most `portion` keys at once; whether that is done."""
        self._soon_end = max(self._soon_end, now - now % _SECOND + _SECOND)
        self._hour_end = max(self._hour_end, now - now % _HOUR + _HOUR)
        while self._opening is not None or (self._starts and self._starts[0] <= now):
            if self._opening is None:
                self._opening = _keys(self._buckets.pop(heappop(self._starts)))
            for key in self._opening:
                due = self._due_of(key)
                if due:
                    self.add(key, due)
                portion -= 1
                if not portion:
                    return False
            self._opening = None
        return True

    def first(self) -> tuple[int, bytes] | None:
        """The earliest deadline that is in order, and its key."""
        return self._soon[0] if self._soon else None

    def pop(self) -> None:
        """Forget what `first` named."""
        heappop(self._soon)

    def ascending(self) -> Iterator[tuple[int, bytes]]:
        """All deadlines in order, without those that changed or went."""
        for due, key in sorted(set(self._soon)):
            if self._due_of(key) == due:
                yield due, key
        if self._opening is not None:
            for key in self._opening:
                self.add(key, self._due_of(key) or self._soon_end)
            self._opening = None
        # Moving a late key may make a bucket, which comes after the present one.
        for start in self._later_starts():
            keys = set(_keys(self._buckets.pop(start)))
            self._buckets[start] = bytearray()
            for key in keys:
                if due := self._due_of(key):
                    self.add(key, due)
            here = set(_keys(self._buckets[start]))
            yield from sorted((self._due_of(key), key) for key in here)

    def _later_starts(self) -> Iterator[int]:
        last = -1
        while later := [start for start in self._starts if start > last]:
            last = min(later)
            yield last


def _keys(bucket: bytearray) -> Iterator[bytes]:
    packed = bytes(bucket)
    place, end = 0, len(packed)
    while place < end:
        begin = place + _LENGTH
        place = begin + int.from_bytes(packed[place:begin], "big")
        yield packed[begin:place]
