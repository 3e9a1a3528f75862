"""One partition's state as a stage sees it: a transaction per batch over a store, with marks and deadlines.

A stage's writes of one batch are kept apart until the stage returned: an exception leaves no trace.
"""

import heapq
from collections.abc import Callable, Iterator

from streams.engine.broker import MAX_REQUEST
from streams.engine.changelog import Position
from streams.engine.losses import StateTooLargeError
from streams.engine.store import Store

#: Deadlines are kept in buckets this wide: they come true up to this much late, never early.
BUCKET_MS = 1000


class Deadlines:
    """Keys by deadline: one heap entry per bucket, not per key. Rebuilt from values, never persisted."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[bytes]] = {}
        self._heap: list[int] = []

    def schedule(self, key: bytes, deadline: int) -> None:
        """Remember `key` for `deadline`."""
        bucket = -(-deadline // BUCKET_MS)
        keys = self._buckets.get(bucket)
        if keys is None:
            keys = self._buckets[bucket] = []
            heapq.heappush(self._heap, bucket)
        keys.append(key)

    def due(self, now: int) -> list[bytes]:
        """Take out the keys of every bucket that ended by `now`."""
        ready: list[bytes] = []
        while self._heap and self._heap[0] * BUCKET_MS <= now:
            ready += self._buckets.pop(heapq.heappop(self._heap))
        return ready


class PartitionState:
    """What a stage reads and writes. The engine begins, commits or rolls back around each batch."""

    def __init__(self, store: Store, deadline: Callable[[bytes], int] | None = None) -> None:
        self.store = store
        self.marks: dict[str, int] = dict(store.position.marks)
        self.stream_time = store.position.stream_time
        #: The largest value that can be kept, bytes; the engine sets what the changelog takes.
        self.max_value = MAX_REQUEST
        self._deadlines = Deadlines()
        self._fresh: dict[bytes, bytes | None] = {}
        self._fresh_deadlines: list[tuple[bytes, int]] = []
        self._taken: list[bytes] = []
        self._taken_at = 0
        self._dirty: dict[bytes, bytes | None] = {}
        self._marks_before: dict[str, int] = self.marks
        if deadline is not None:
            for key, value in store.items():
                at = deadline(value)
                if at:
                    self._deadlines.schedule(key, at)

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        if key in self._fresh:
            return self._fresh[key]
        return self.store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value. Raises StateTooLargeError for one that no changelog record can hold."""
        if len(value) > self.max_value:
            raise StateTooLargeError(len(value), self.max_value)
        self._fresh[key] = value

    def delete(self, key: bytes) -> None:
        """Forget the key."""
        self._fresh[key] = None

    def schedule(self, key: bytes, deadline: int) -> None:
        """Have `due` of a later batch or tick return the key after `deadline`, milliseconds."""
        self._fresh_deadlines.append((key, deadline))

    def due(self, now: int) -> list[bytes]:
        """Keys whose deadline has passed; each is returned once."""
        taken = self._deadlines.due(now)
        self._taken += taken
        self._taken_at = now
        return taken

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values as of the last committed batch."""
        return self.store.items()

    def __len__(self) -> int:
        return len(self.store)

    @property
    def dirty(self) -> bool:
        """Whether there are changes that no cut has taken."""
        return bool(self._dirty)

    def begin(self) -> None:
        """Start a batch."""
        self._marks_before = self.marks
        self.marks = dict(self.marks)

    def commit(self) -> None:
        """Keep the batch's changes."""
        if self._fresh:
            self.store.apply(self._fresh)
            self._dirty.update(self._fresh)
            self._fresh = {}
        for key, deadline in self._fresh_deadlines:
            self._deadlines.schedule(key, deadline)
        self._fresh_deadlines = []
        self._taken = []

    def rollback(self) -> None:
        """Forget the batch's changes."""
        self.marks = self._marks_before
        self._fresh = {}
        self._fresh_deadlines = []
        for key in self._taken:
            # The start of the bucket, so that they are due again at the same `now`.
            self._deadlines.schedule(key, self._taken_at // BUCKET_MS * BUCKET_MS)
        self._taken = []

    def evict(self, max_keys: int) -> int:
        """Forget the oldest keys above `max_keys`; how many that were."""
        surplus = len(self.store) - max_keys
        if surplus <= 0:
            return 0
        changes: dict[bytes, bytes | None] = dict.fromkeys(self.store.oldest(surplus))
        self.store.apply(changes)
        self._dirty.update(changes)
        return len(changes)

    def reassert(self, keys: set[bytes]) -> None:
        """Write these keys again with the values they have here (see changelog: disputed)."""
        for key in keys:
            self._dirty[key] = self.store.get(key)

    def cut(self, offset: int) -> tuple[dict[bytes, bytes | None], Position]:
        """All changes since the last cut and the position they belong to; values are immutable bytes."""
        changes, self._dirty = self._dirty, {}
        return changes, Position(offset, self.stream_time, self.marks)

    def restore(self, changes: dict[bytes, bytes | None]) -> None:
        """Put a cut back that could not be written; newer changes of the same key win."""
        self._dirty = {**changes, **self._dirty}
