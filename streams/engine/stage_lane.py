"""The lane of a stage: what time and records make of each other, and the group commit.

Records are processed as they come; while one commit is in flight the next one gathers, so coalescing grows with load.
A record that the stage cannot take becomes a dead letter. Deadlines fire before the record, or mark, that moves time
past them, and in portions, between which the event loop gets control; records wait meanwhile. So the calls of a stage
follow from the log of its partition: how that was cut into batches makes no difference.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress, count, islice, repeat
from operator import is_, ne
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from streams.engine import metrics
from streams.engine.broker import Broker, Headers, Item
from streams.engine.clock import Clock, mark, read_mark
from streams.engine.lane import (
    COMMIT_INTERVAL,
    LARGE_BATCH,
    SMALL_BATCH,
    Attendant,
    DeadLetters,
    Lane,
    OnDue,
    Output,
    Record,
    Stage,
    Table,
    Work,
)
from streams.engine.letters import Letters
from streams.engine.turns import Turns

log = logging.getLogger(__name__)

#: Keys of one call of `on_due`. A number of its own, so that a replay makes the same calls.
FIRED_AT_ONCE = 50
#: After so many keys or seconds of firing the event loop gets control, and another lane its turn.
SLICE_KEYS = 1_000
SLICE_SECONDS = 0.002
#: Firings that no commit has taken, above which firing waits: a commit is put together in one go.
MAX_FIRINGS = 1_000
#: How often a deadline whose firing fails is tried, and milliseconds of the partition's time before the second try;
#: each further pause is four times the one before.
FIRING_TRIES = 5
FIRING_PAUSE_MS = 1_000
#: Marks alone move the durable position this often, seconds: nothing but they would be read again.
PERSIST_INTERVAL = 60.0


class Due(NamedTuple):
    """A deadline that could not fire, as a record for the dead letters: the key in hex, the value in the table."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes | None
    headers: Headers = ()


class StageLane(Lane):
    """Runs a synchronous stage and commits its outputs, state and position in groups.

    `feeds` are the output topics on whose every partition the time of this one is marked, `feeders` the partitions
    (`topic/number`) whose marks make this one's time; without any it is that of its records. `attendant` works on what
    the stage keeps in its table.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        name: str,
        broker: Broker,
        table: Table | None,
        *,
        stage: Stage,
        dead_letters: DeadLetters,
        partitions: dict[str, int],
        turns: Turns,
        feeds: Sequence[str] = (),
        feeders: Iterable[str] = (),
        attendant: Attendant | None = None,
    ) -> None:
        super().__init__(topic, partition, name, broker, table)
        self._attendant = attendant
        #: Those who wait until the next cut is durable.
        self._awaiting: list[asyncio.Future[None]] = []
        self._stage = stage
        self._on_due: OnDue | None = getattr(stage, "on_due", None) if table is not None else None
        self._letters = Letters(name, broker, dead_letters)
        self._partitions = partitions
        self.clock = table.state.clock if table is not None else Clock()
        self._feeders = frozenset(feeders)
        self.clock.expect(self._feeders)
        self._feeds = feeds
        self._settled = table is None or table.state.settled
        self._waiting: deque[_Batch] = deque()
        self._turns = turns
        #: Whether a turn was asked for.
        self._asked = False
        #: Up to this offset nothing more is to come.
        self._passed = -1
        self._tries: dict[bytes, int] = {}
        #: The time up to which everything is processed and fired, and whether that came from more than waiting.
        self._upto = self.clock.now if self._settled else 0
        self._news = False
        self._groups: dict[tuple[str, int], list[Item]] = {}
        self._gathered = 0
        self._firings = 0
        self._changed = False
        self._persisted_at = time.monotonic()
        self._flush: asyncio.Task[None] | None = None
        self._processed_total = metrics.PROCESSED.labels(name)
        self._fired_total = metrics.FIRED.labels(name)
        place = (table.spec.name, str(partition)) if table is not None else None
        self._keys = metrics.KEYS.labels(*place) if place is not None else None
        self._over_bound = metrics.OVER_BOUND.labels(*place) if place is not None else None

    def receive(self, records: Sequence[Record]) -> None:
        """Run the stage over a batch; a record it cannot take alone becomes a dead letter."""
        self.awaited -= len(records)
        if not self.closed:
            self._waiting.append(_Batch(self.fresh(records), bool(self._feeders)))
            if not self._asked:
                self._go(0)

    def opened(self) -> None:
        """See Lane."""
        if self._attendant is not None and self.table is not None:
            self._attendant.opened(self.table.state, self.transact)
        if not self._settled:
            # The owner before fired a part of what was due; the next record may be far.
            self._ask()

    def transact(self, work: Work) -> asyncio.Future[None]:
        """Change the table and send outputs, as the stage does; the result is there once both are durable.

        If `work` raises, nothing has changed.
        """
        self._gather(self._transaction(work))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting.append(done)
        self._changed = True
        self._kick()
        return done

    def pass_over(self, offset: int) -> None:
        """Move on with a commit, after what was received before."""
        self._passed = max(self._passed, offset)
        if not self.closed and not self._waiting:
            self._move_on()
            if self._changed:
                self._kick()

    def _move_on(self) -> None:
        if self._passed > self.processed:
            self.processed = self._passed
            self._changed = True

    def caught_up(self, moment: float) -> None:
        """See Lane. Without feeders nothing older than the broker's time at that moment can come any more."""
        at = self.broker.time.by(moment)
        if not at or self._feeders or self.awaited or self._waiting or self.closed or not self._settled:
            return
        before = self.clock.now
        self.clock.record(at)
        if self.clock.now == before:
            return
        if self._on_due is None:
            self._upto = self.clock.now
        else:
            self._settled = False
            self._go(0)

    def tell_time(self, *, idle: bool) -> None:
        """See Lane."""
        if self.closed or not (self._feeds or self._feeders):
            return
        if self.clock.now and (now := self.broker.time.by(time.monotonic())):
            age = max(0.0, (now - self.clock.now) / 1000)
            metrics.WATERMARK_AGE.labels(self.topic, str(self.partition)).set(age)
        if self._feeds and (idle or self._news):
            self._news = False
            record = mark(f"{self.topic}/{self.partition}", self._upto)
            for topic in self._feeds:
                for partition in range(self._partitions[topic]):
                    self._groups.setdefault((topic, partition), []).append(record)
        if self.table is not None and time.monotonic() > self._persisted_at + PERSIST_INTERVAL:
            self._changed = self._changed or self.processed > self.table.state.store.position.offset
        if self._changed or self._groups:
            self._kick()

    @property
    def idle(self) -> bool:
        """Whether everything that was received is processed, fired and committed, as far as this lane can."""
        return self._settled and not (self._waiting or self._changed or self._groups or self._gathered)

    async def close(self, patience: float) -> None:
        """Stop taking records; let the attendant's work and the commit in flight finish."""
        if self._attendant is not None:
            await self._attendant.close(patience)
        self.closed = True
        with suppress(KeyError):
            metrics.WATERMARK_AGE.remove(self.topic, str(self.partition))
        flush = self._flush
        if flush is not None:
            done, _ = await asyncio.wait({flush}, timeout=patience)
            if not done:
                flush.cancel()
                await asyncio.wait({flush}, timeout=1)

    # -- time and records

    def _go(self, seconds: float) -> None:
        """Fire what is due, for about so many seconds, and take what waits; ask for a turn if something is left."""
        until = time.monotonic() + seconds
        while self._settled or self._fire(until):
            if not self._waiting:
                break
            if self._take(self._waiting[0]):
                self._waiting.popleft()
        if not self._waiting:
            self._move_on()
        self._bound_keys()
        if self._changed or self._groups:
            self._kick()
        elif self._gathered and (self._flush is None or self._flush.done()):
            self._acknowledge_marks()
        # Else the commit in flight goes on with it.
        if not self._settled and self._firings < MAX_FIRINGS:
            self._ask()

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._turns.ask(self._go_on)

    def _go_on(self) -> None:
        self._asked = False
        try:
            if not self.closed:
                self._go(SLICE_SECONDS)
        except Exception as error:
            self.failed(error)

    def _take(self, batch: "_Batch") -> bool:
        """Take records until time moves and something may be due; whether that was the rest of the batch."""
        clock, timed, fed = self.clock, self._on_due is not None, bool(self._feeders)
        records = batch.records
        if not (timed or fed):
            if records:
                clock.record(records[-1].timestamp)
            self._run_all(records, clock.now)
            self._upto = clock.now
            return True
        for index in batch.cuts:
            record = records[index]
            before = clock.now
            told = read_mark(record) if fed else None
            if told is None:
                clock.record(record.timestamp)
            else:
                clock.mark(*told, record.timestamp)
            moved = clock.now != before
            if told is not None or (timed and moved):
                self._run_all(records[batch.start : index], before)
                batch.start = index
                if told is not None:
                    batch.start += 1
                    self.processed = record.offset
                    self._gathered += 1
                if moved:
                    self._news = True
                    if timed:
                        self._settled = False
                        return False
                    self._upto = clock.now
        self._run_all(records[batch.start :], clock.now)
        self._upto = clock.now
        return True

    def _fire(self, until: float) -> bool:
        """Fire what is due by now, one portion at least, and more until this monotonic time; whether that was all.

        After a portion that is not full hardly anything is left: it goes on to the end.
        """
        assert self.table is not None
        state = self.table.state
        fired = 0
        while True:
            due = state.ripe(FIRED_AT_ONCE)
            if due is not None:
                if not due:
                    self._settled = True
                    self._upto = self.clock.now
                    return True
                self._call_on_due(due)
                fired += len(due)
            full = due is None or len(due) == FIRED_AT_ONCE
            if fired >= SLICE_KEYS or (full and time.monotonic() >= until):
                return False

    def _call_on_due(self, due: Sequence[tuple[bytes, int]]) -> None:
        """Give the stage keys that are due. If it raises, each key alone; one that fails alone fires again later."""
        try:
            outputs = self._run_due(due)
        except MemoryError:
            raise
        except Exception:
            outputs = []
            for key, at in due:
                try:
                    outputs += self._run_due([(key, at)])
                except MemoryError:
                    raise
                except Exception as error:
                    outputs += self._failed_to_fire(key, at, error)
                else:
                    self._tries.pop(key, None)
        else:
            if self._tries:
                for key, _ in due:
                    self._tries.pop(key, None)
        self._gather(outputs)
        self._firings += len(due)
        self._fired_total.inc(len(due))
        self._changed = True

    def _failed_to_fire(self, key: bytes, at: int, error: Exception) -> list[Output]:
        """Put the deadline off, or give it up with a dead letter: it is not tried again before a restart."""
        assert self.table is not None
        state, now = self.table.state, self.clock.now
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        reason = type(error).__name__
        log.warning("%s: the deadline %d of key %s on %s/%d failed, try %d: %s",
                    self.name, at, key.hex(), self.topic, self.partition, tries, reason)  # fmt: skip
        if tries < FIRING_TRIES:
            state.put_off(key, now + FIRING_PAUSE_MS * 4 ** (tries - 1))
            return []
        del self._tries[key]
        due = Due(self.topic, self.partition, max(self.processed, 0), at, key.hex().encode(), state.get(key))
        return [self._letters.of(due, error, now)]

    # -- the stage

    def _run_all(self, records: Sequence[Record], now: int) -> None:
        """Run the stage over records of one time."""
        if not records:
            return
        try:
            outputs = self._run(records, now)
        except Exception:
            outputs = self._run_apart(records, now)
        self._gather(outputs)
        self.processed = records[-1].offset
        self._gathered += len(records)
        self._processed_total.inc(len(records))
        self._changed = self._news = True

    def _run_apart(self, records: Sequence[Record], now: int) -> list[Output]:
        """The batch failed as a whole and left no trace: take its records one by one."""
        outputs: list[Output] = []
        for record in records:
            try:
                outputs += self._run((record,), now)
            except MemoryError:
                raise
            except Exception as error:
                outputs.append(self._letters.of(record, error, now))
        return outputs

    def _run(self, records: Sequence[Record], now: int) -> Sequence[Output]:
        return self._transaction(lambda state: self._letters.fit(list(self._stage(state, records, now)), records, now))

    def _run_due(self, due: Sequence[tuple[bytes, int]]) -> Sequence[Output]:
        assert self._on_due is not None
        on_due, now = self._on_due, self.clock.now
        return self._transaction(lambda state: on_due(state, due, now))

    def _transaction(self, call: Work) -> Sequence[Output]:
        if self.table is None:
            return list(call(None))
        state = self.table.state
        state.begin()
        try:
            outputs = list(call(state))
            changes = state.commit()
        except BaseException:
            state.rollback()
            raise
        if self._attendant is not None and changes:
            self._attendant.changed(changes)
        return outputs

    def _gather(self, outputs: Iterable[Output]) -> None:
        groups = self._groups
        partitions = self._partitions
        for topic, key, value, partition, headers in outputs:
            if partition is None:
                partition = xxh3_64_intdigest(key) % partitions[topic] if key is not None else self.partition
            place = (topic, partition)
            group = groups.get(place)
            if group is None:
                group = groups[place] = []
            group.append((key, value, headers))

    def _bound_keys(self) -> None:
        if self.table is None or self._keys is None or self._over_bound is None:
            return
        spec, state = self.table.spec, self.table.state
        if evicted := state.evict(spec.max_keys):
            metrics.EVICTED.labels(spec.name).inc(evicted)
            self._changed = True
        keys = len(state)
        self._keys.set(keys)
        self._over_bound.set(max(0, keys - spec.max_keys))

    # -- the commit

    def _kick(self) -> None:
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_all(), name=f"{self.name}/{self.partition}")
            self._flush.add_done_callback(self.ended)

    async def _flush_all(self) -> None:
        """Commit until nothing is gathered. A closed lane finishes the cut it began and the one gathered."""
        while self._changed or self._groups:
            if SMALL_BATCH < self._gathered < LARGE_BATCH:
                await asyncio.sleep(COMMIT_INTERVAL - time.monotonic() % COMMIT_INTERVAL)
            groups, self._groups = self._groups, {}
            count, self._gathered, self._firings = self._gathered, 0, 0
            changed, self._changed = self._changed, False
            awaiting, self._awaiting = self._awaiting, []
            offset = self.processed
            # Cut before anything is awaited: state moves on while this cut is being written.
            cut = self.table.state.cut(offset) if self.table is not None and changed else None
            await self.with_retries(partial(self.send, groups, offset), "sending")
            if cut is not None:
                await self.with_retries(partial(self.persist, *cut), "changelog")
                self._persisted_at = time.monotonic()
                # Keys that another owner overwrote are written again now, not with the next record.
                self._changed = self._changed or (self.table is not None and self.table.state.dirty)
            self.acknowledge(offset, count)
            for done in awaiting:
                if not done.done():
                    done.set_result(None)
            if not self._settled and not self.closed:
                self._ask()
        if self._gathered:
            self._acknowledge_marks()

    def _acknowledge_marks(self) -> None:
        """Nothing was read but marks, and all before them is durable."""
        self.acknowledge(self.processed, self._gathered)
        self._gathered = 0


class _Batch:
    """Fetched records, of which those before `start` are taken.

    `cuts` are the places where the clock must be told: where the time changes, and where a mark may be (`fed`).
    """

    __slots__ = ("cuts", "records", "start")

    def __init__(self, records: Sequence[Record], fed: bool) -> None:
        self.records = records
        self.start = 0
        # Comparing in C: this is done for every record.
        times = [record.timestamp for record in records]
        cuts = [0, *compress(count(1), map(ne, times, islice(times, 1, None)))] if records else []
        if fed:
            marks = compress(count(), map(is_, [record.key for record in records], repeat(None)))
            cuts = sorted({*cuts, *marks})
        self.cuts = iter(cuts)
