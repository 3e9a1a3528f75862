"""A table of a stage in memory. It keeps what the engine keeps: values, marks, and one deadline a key."""

from collections.abc import Iterator, MutableMapping
from heapq import heapify, heappop, heappush

#: Entries of deadlines that moved or are gone are cleared away when they are this many times the others.
_WASTE = 4


class Memory:
    """Implements schemas.records.State. What is due comes in the order (deadline, key), as from the engine."""

    def __init__(self, marks: MutableMapping[str, int] | None = None) -> None:
        self.marks: MutableMapping[str, int] = {} if marks is None else marks
        self._values: dict[bytes, bytes] = {}
        self._dues: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value and its deadline."""
        self._values[key] = value
        if not due:
            self._dues.pop(key, None)
        elif self._dues.get(key) != due:
            self._dues[key] = due
            heappush(self._heap, (due, key))
            if len(self._heap) > 1024 + _WASTE * len(self._dues):
                self._heap = [(at, each) for each, at in self._dues.items()]
                heapify(self._heap)

    def delete(self, key: bytes) -> None:
        """Remove the key and its deadline."""
        self._values.pop(key, None)
        self._dues.pop(key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values."""
        return iter(self._values.items())

    def first(self) -> int | None:
        """The earliest deadline, None without any."""
        while self._heap:
            at, key = self._heap[0]
            if self._dues.get(key) == at:
                return at
            heappop(self._heap)
        return None

    def armed(self, now: int) -> bool:
        """Whether something is due by `now`."""
        at = self.first()
        return at is not None and at <= now

    def fired(self, now: int) -> list[tuple[bytes, int]]:
        """Take out what is due by `now`."""
        due = []
        while (at := self.first()) is not None and at <= now:
            _, key = heappop(self._heap)
            del self._dues[key]
            due.append((key, at))
        return due
