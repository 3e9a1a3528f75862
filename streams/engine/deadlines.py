"""An index of keys by deadline. It is rebuilt from the values after a recovery and never stored.

Keys that are due soon are in a heap, exactly ordered. Keys that are due later are in packed buckets (two bytes for the
length and the key). A bucket is one second wide within the hour and one hour wide beyond. It is opened in portions.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush

_SECOND, _HOUR = 1_000, 3_600_000
_LENGTH = 2
#: The length of most keys, a fingerprint, and how a bucket has it.
_COMMON = 16
_COMMON_LENGTH = _COMMON.to_bytes(_LENGTH, "big")


class Deadlines:
    """Keys in the order (deadline, key).

    `due_of(key)` is the deadline that the key has now, 0 for none. If a key is found to be due later than its entry
    says, the entry moves to the later deadline, so postponing a deadline costs nothing at first. The owner adds an
    entry when a deadline is new or earlier.
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
        """Add an entry for `key`, which has at most 65,535 bytes."""
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

    def add_all(self, fresh: Iterable[tuple[bytes, int]]) -> None:
        """Add many entries, as `add` does; entries of one bucket in a row cost little."""
        soon_end, hour_end = self._soon_end, self._hour_end
        low = high = 0
        bucket = bytearray()
        for key, due in fresh:
            if low <= due < high and len(key) == _COMMON:
                bucket += _COMMON_LENGTH
                bucket += key
                continue
            self.add(key, due)
            if due >= soon_end:
                width = _SECOND if due < hour_end else _HOUR
                low = due - due % width
                # A bucket of an hour may begin before the hour whose seconds have buckets ends.
                low, high = (low, low + width) if width == _SECOND else (max(low, hour_end), low + width)
                bucket = self._buckets[due - due % width]

    def open(self, now: int, portion: int) -> bool:
        """Sort the keys due by `now` into the heap, at most `portion` per call. Return whether all are sorted."""
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
        """The earliest deadline in the heap, and its key."""
        return self._soon[0] if self._soon else None

    def pop(self) -> None:
        """Remove the entry that `first` returns."""
        heappop(self._soon)

    def ascending(self) -> Iterator[tuple[int, bytes]]:
        """All deadlines in order, without entries whose deadline has changed or is gone."""
        for due, key in sorted(set(self._soon)):
            if self._due_of(key) == due:
                yield due, key
        if self._opening is not None:
            for key in self._opening:
                self.add(key, self._due_of(key) or self._soon_end)
            self._opening = None
        # Moving a key to a later deadline may add a bucket; it comes after the present one.
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
