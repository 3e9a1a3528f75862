"""One partition's state as a stage sees it: a transaction per call over a store, with marks and deadlines.

A stage's writes of one call are kept apart until the stage returned: an exception leaves no trace.

Deadlines fire in one order, (deadline, key), which never goes back: where a key is put with a deadline that this order
has passed, it fires at the next millisecond that has not been passed. So the deadline that a firing names follows from
the key, its value and `Position.time` alone, and is the same again after a crash.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from streams.engine.broker import MAX_REQUEST
from streams.engine.changelog import Position, Time
from streams.engine.clock import FAR_MS, Clock
from streams.engine.deadlines import Deadlines
from streams.engine.losses import StateTooLargeError
from streams.engine.store import Store

#: Keys that are indexed at once after a restore, and keys of the index that are put into order at once: each may have
#: to be unpacked.
_PORTION = 1_000
_OPENED = 100
_ARMED = 10_000
#: A table above its bound is brought this part of it below, so that what may go is looked for that much less often.
_SLACK = 64


class PartitionState:
    """What a stage reads and writes. The engine begins, commits or rolls back around each call.

    `due` reads the deadline out of a value (0 none), `evictable` says whether a value may be forgotten when the table
    is full; it must have a deadline then.
    """

    def __init__(
        self,
        store: Store,
        due: Callable[[bytes], int] | None = None,
        evictable: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.store = store
        self.marks: dict[str, int] = dict(store.position.marks)
        time = store.position.time
        self.clock = Clock(time.now, time.marks)
        #: The least (deadline, key) that may still fire.
        self._next = time.due, time.key
        self._limit = 0
        self._due = due
        self._evictable = evictable
        self._evict_above = 0
        self._deadlines = Deadlines(lambda key: self._fires_at(key, store.read(key)))
        #: What fired last: the index may hold it twice, after a deadline that went to and fro.
        self._last: tuple[int, bytes] | None = None
        #: Some keys that the index has at this deadline or before, so that not every repeat asks for that.
        self._armed: dict[bytes, int] = {}
        #: Deadline and second try of keys whose firing failed.
        self._put_off: dict[bytes, tuple[int, int]] = {}
        self.topic_id = store.position.topic_id
        #: The largest value that can be kept, bytes; the engine sets what the changelog takes.
        self.max_value = MAX_REQUEST
        self._fresh: dict[bytes, bytes | None] = {}
        self._fresh_due: dict[bytes, int] = {}
        self._dirty: dict[bytes, bytes | None] = {}
        self._marks_before: dict[str, int] = self.marks

    def index(self) -> Iterator[None]:
        """Find the deadlines of what the store holds, a portion at each step."""
        if self._due is None:
            return
        for number, (key, value) in enumerate(self.store.items(), 1):
            if due := self._due(value):
                self._deadlines.add(key, due)
            if number % _PORTION == 0:
                yield

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        if key in self._fresh:
            return self._fresh[key]
        return self.store.get(key)

    def put(self, key: bytes, value: bytes, due: int = 0) -> None:
        """Set the value and its deadline, the one that the table's `due` reads out of it."""
        self._fresh[key] = value
        if due:
            if self._armed.get(key) != due:
                self._fresh_due[key] = due
        else:
            self._fresh_due.pop(key, None)
            self._armed.pop(key, None)

    def delete(self, key: bytes) -> None:
        """Forget the key and its deadline."""
        self._fresh[key] = None
        self._fresh_due.pop(key, None)
        self._armed.pop(key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values as of the last committed call."""
        return self.store.items()

    def __len__(self) -> int:
        return len(self.store)

    @property
    def dirty(self) -> bool:
        """Whether there are changes that no cut has taken."""
        return bool(self._dirty)

    def begin(self) -> None:
        """Start a call."""
        self._marks_before = self.marks
        self.marks = dict(self.marks)

    def commit(self) -> Mapping[bytes, bytes | None]:
        """Keep the call's changes and return them.

        Raises StateTooLargeError for a value that no changelog record can hold, ValueError for a deadline in a table
        that cannot read it.
        """
        largest = max(map(len, filter(None, self._fresh.values())), default=0)
        if largest > self.max_value:
            raise StateTooLargeError(largest, self.max_value)
        if self._fresh_due:
            self._arm(self._fresh_due)
            self._fresh_due = {}
        changes = self._fresh
        if changes:
            self.store.apply(changes)
            self._dirty.update(changes)
            self._fresh = {}
        return changes

    def rollback(self) -> None:
        """Forget the call's changes."""
        self.marks = self._marks_before
        self._fresh = {}
        self._fresh_due = {}

    # -- deadlines

    @property
    def settled(self) -> bool:
        """Whether everything that was due by the position's time had fired when it was restored."""
        return self._next[0] > self.clock.now

    def ripe(self, count: int) -> Sequence[tuple[bytes, int]] | None:
        """The next keys, at most `count`, whose deadline has come, each with the deadline it fires for, in order.

        None when the index has to be asked again first, empty when all have fired: then time may move on.
        """
        now = self.clock.now
        if self._next == (now + 1, b""):
            return ()
        if not self._deadlines.open(now, _OPENED):
            return None
        # Behind a clock that went back, the order is ahead of time, and may get further ahead by this much.
        limit = self._limit = self._limit or (now if self._next[0] <= now else self._next[0] + FAR_MS)
        found: list[tuple[bytes, int]] = []
        while len(found) < count and (first := self._deadlines.first()) is not None and first[0] <= now:
            due, key = first
            if first == self._last or not self._holds(key, due):
                self._deadlines.pop()
                continue
            at = self._place(due, key)
            if at > limit:
                break
            self._deadlines.pop()
            self._last = first
            self._put_off.pop(key, None)
            self._armed.pop(key, None)
            self._next = at, key + b"\0"
            found.append((key, at))
        if not found:
            self._limit = 0
            self._next = max(self._next, (now + 1, b""))
        return found

    def put_off(self, key: bytes, until: int) -> None:
        """Have the key, which fired for its deadline, fire once more at `until`, unless it is put or deleted first."""
        self._put_off[key] = self._due_in(self.store.get(key)), until
        self._deadlines.add(key, until)

    def _place(self, due: int, key: bytes) -> int:
        """The deadline that the key fires for: its own, or the first that the order has not passed."""
        passed, last = self._next
        return due if due > passed else passed if key >= last else passed + 1

    def _holds(self, key: bytes, due: int) -> bool:
        """Whether this entry of the index is to fire; if its key is due later by now, it goes there."""
        own = self._fires_at(key, self.store.get(key))
        if own > due:
            self._deadlines.add(key, own)
        return own == due

    def _due_in(self, value: bytes | None) -> int:
        return self._due(value) if value is not None and self._due is not None else 0

    def _fires_at(self, key: bytes, value: bytes | None) -> int:
        """The deadline of the key with this value, or the time to which it was put off."""
        due = self._due_in(value)
        if self._put_off and (put_off := self._put_off.get(key)) is not None and put_off[0] == due:
            return put_off[1]
        return due

    def _arm(self, fresh: Mapping[bytes, int]) -> None:
        """Have the index find these keys by their new deadlines.

        It does already where a key's former deadline is to come and not later: this is the path of every repeat.
        """
        # A stage reads a key before it puts it, so what `peek` does not find is new.
        read, peek, now, armed = self._due, self.store.peek, self.clock.now, self._armed
        if read is None:
            raise ValueError("this table has no `due` that reads a deadline out of a value")
        if len(armed) > _ARMED:
            armed.clear()
        new: list[tuple[bytes, int]] = []
        for key, due in fresh.items():
            former = peek(key)
            if former is not None and now < read(former) <= due:
                armed[key] = due
            else:
                new.append((key, due))
        if self._last is not None and fresh.get(self._last[1]) == self._last[0]:
            self._last = None
        self._deadlines.add_all(new)

    # -- bounds and flushes

    def evict(self, max_keys: int) -> int:
        """Forget evictable keys, the earliest due first, until the table is within its bound; how many went."""
        if len(self.store) <= max(max_keys, self._evict_above) or self._evictable is None:
            return 0
        slack = max_keys // _SLACK
        wanted = len(self.store) - max_keys + slack
        changes: dict[bytes, bytes | None] = {}
        for _, key in self._deadlines.ascending():
            value = self.store.get(key)
            if value is not None and self._evictable(value):
                changes[key] = None
                if len(changes) == wanted:
                    break
        self.store.apply(changes)
        self._dirty.update(changes)
        for key in changes:
            self._armed.pop(key, None)
        # Where nothing may go, looking again is worth it only once more has come.
        self._evict_above = len(self.store) + slack if len(self.store) > max_keys else 0
        return len(changes)

    def reassert(self, keys: set[bytes]) -> None:
        """Write these keys again with the values they have here (see changelog: disputed)."""
        for key in keys:
            self._dirty[key] = self.store.get(key)

    def cut(self, offset: int) -> tuple[dict[bytes, bytes | None], Position]:
        """All changes since the last cut and the position they belong to; values are immutable bytes."""
        changes, self._dirty = self._dirty, {}
        time = Time(self.clock.now, *self._next, dict(self.clock.marks))
        return changes, Position(offset, 0, self.marks, time, self.topic_id)
