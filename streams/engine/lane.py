"""A lane: one stage on one assigned partition, from fetched records to the group commit.

Batches are processed as they come; while one commit is in flight the next one gathers, so coalescing
grows with load. Nothing is acknowledged on an exception: a record the stage cannot take becomes a dead
letter, a failed commit is tried again, and when that does not help the worker fails loudly.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from xxhash import xxh3_64_intdigest

from streams.engine import metrics
from streams.engine.broker import MAX_BATCH, Broker, Groups, Headers, Item
from streams.engine.changelog import OWN, POS, Owner, Position, own_record, pos_record
from streams.engine.letters import Letters
from streams.engine.losses import TOO_LARGE, Loss, OutputTooLargeError
from streams.engine.state import PartitionState

log = logging.getLogger(__name__)

#: Records processed but not committed, above which a partition is not fetched from.
MAX_UNCOMMITTED = 20_000
#: Commits of busy lanes begin on ticks this far apart, seconds, so that many lanes share one request: few large
#: ones cost broker and worker far less than many small ones. Little leaves at once, for the sake of latency;
#: much need not wait to be more.
COMMIT_INTERVAL = 0.015
SMALL_BATCH = 16
LARGE_BATCH = 2_000
#: A partition that is behind and has made no progress for this long ends the process.
STALLED_AFTER = 60.0
#: How long a commit is tried again before the worker fails, seconds.
GIVE_UP_AFTER = 120.0
#: What a chunk of a flush may hold beside its changes: the owner, the position and its marks, bytes.
FLUSH_ROOM = 100_000


class Record(Protocol):
    """A Kafka record as it was fetched; `timestamp` in milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Output(Protocol):
    """A record to send; `partition` None means xxh3_64(key) mod partitions."""

    def __iter__(self) -> Iterator[Any]: ...


#: A stage: state, records of one partition, now in milliseconds -> outputs. Pure and synchronous. `now` is
#: stream time with records, and the wall clock on a tick (no records) while the partition is idle.
Stage = Callable[[Any, Sequence[Record], int], Iterable[Output]]
#: Makes the output for a record that a stage cannot take.
DeadLetters = Callable[[Record, Exception, int], Output]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: its changelog topic, the key bound per partition, and the deadline inside a value (0: none)."""

    name: str
    changelog: str
    max_keys: int = 1_000_000_000
    deadline: Callable[[bytes], int] | None = None


class Table(NamedTuple):
    """A table partition as its owner holds it."""

    spec: TableSpec
    partition: int
    state: PartitionState
    owner: Owner


class FencedError(Exception):
    """Another worker owns this partition by now."""


#: Reads changelog offsets [start, stop): the highest owner found there and all keys written.
ForeignReader = Callable[[str, int, int, int], Awaitable[tuple[Owner, set[bytes]]]]


class Lane:
    """What all lanes share: position, what may be committed, and durable state."""

    #: Whether the lane wants a tick while its partition is idle.
    ticks = False
    #: Seconds without progress, while behind, after which the process is worth a restart.
    stalled_after = STALLED_AFTER

    def __init__(self, topic: str, partition: int, name: str, broker: Broker, table: Table | None) -> None:
        self.topic = topic
        self.partition = partition
        self.name = name
        self.broker = broker
        self.table = table
        self.processed = table.state.store.position.offset if table is not None else -1
        self.committed = self.processed
        self.uncommitted = 0
        self.closed = False
        self.progress_at = time.monotonic()
        self.received_at = self.progress_at
        self.failed: Callable[[BaseException], None] = _unhandled
        self.foreign: ForeignReader = _no_reader
        self.bury: Callable[[Loss], Awaitable[None]] = _no_grave

    @property
    def full(self) -> bool:
        """Whether fetching must wait."""
        return self.uncommitted >= MAX_UNCOMMITTED

    def reserve(self, count: int) -> None:
        """`count` records are on their way here."""
        self.uncommitted += count
        self.received_at = time.monotonic()

    def receive(self, records: Sequence[Record]) -> None:
        """Take fetched records, in offset order. Does not block."""
        raise NotImplementedError

    def pass_over(self, offset: int) -> None:
        """Nothing more is to come up to `offset`: what is not received by now was aborted or compacted away, is a
        transaction's marker, or is a dead letter. The position moves there with the next commit."""
        raise NotImplementedError

    def tick(self, now: int) -> None:
        """Time passes on an idle partition."""

    async def close(self, patience: float) -> None:
        """Finish what is in flight if that takes at most `patience` seconds; then nothing happens here."""
        raise NotImplementedError

    def fresh(self, records: Sequence[Record]) -> Sequence[Record]:
        """Without records that were processed before (a replay, or delivered twice)."""
        if records[0].offset > self.processed:
            return records
        kept = [record for record in records if record.offset > self.processed]
        self.uncommitted -= len(records) - len(kept)
        return kept

    def acknowledge(self, offset: int, count: int) -> None:
        """Everything up to `offset` is durable."""
        self.committed = offset
        self.uncommitted -= count
        self.progress_at = time.monotonic()

    def ended(self, task: "asyncio.Task[None]") -> None:
        """A task of this lane ended: what it raised fails the worker, unless the lane was closed."""
        if not task.cancelled() and (error := task.exception()) is not None and not self.closed:
            self.failed(error)

    @property
    def clean(self) -> bool:
        """Whether memory holds exactly what the changelog holds, so that it may be kept for later."""
        return self.committed == self.processed and (self.table is None or not self.table.state.dirty)

    async def persist(self, changes: dict[bytes, bytes | None], position: Position) -> None:
        """Write one atomic flush to the changelog and notice if another owner wrote in between."""
        assert self.table is not None
        spec, partition, state, owner = self.table
        chunk = min(MAX_BATCH - FLUSH_ROOM, largest_value(self.broker.limit(spec.changelog)))
        first, last = await self.broker.append(spec.changelog, partition, _flush(owner, changes, position, chunk))
        if first != state.store.end + 1:
            log.warning("another owner wrote to %s/%d: writing its keys again", spec.changelog, partition)
            metrics.FOREIGN_WRITES.labels(spec.name).inc()
            # Before the store takes the flush: a fenced owner's must never reach it.
            await self.contest(state.store.end + 1, first)
        state.store.flushed(changes, position, last, owner)

    async def contest(self, start: int, stop: int) -> None:
        """Changelog offsets [start, stop) are not ours: yield to a newer owner, overrule an older one."""
        assert self.table is not None
        spec, partition, state, owner = self.table
        newest, keys = await self.foreign(spec.changelog, partition, start, stop)
        if newest > owner:
            raise FencedError(f"{spec.changelog}/{partition} belongs to {newest}, not to {owner}")
        state.reassert(keys)

    async def send(self, groups: Groups, last: int) -> None:
        """Send outputs of input up to offset `last`; one that its topic refuses for its size ends as a dead letter."""
        first = self.committed + 1
        for topic, key, size, limit in await self.broker.send(groups):
            error = OutputTooLargeError(topic, size, limit)
            await self.bury(Loss(self.name, TOO_LARGE, str(error), self.topic, self.partition, first, last, key or b""))

    async def with_retries(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Do `work`, again and again with growing pauses; raises what it raised after GIVE_UP_AFTER."""
        started = time.monotonic()
        pause = 0.1
        while True:
            try:
                await work()
                return
            except FencedError:
                raise
            except Exception as error:
                if self.closed or time.monotonic() - started > GIVE_UP_AFTER:
                    raise
                metrics.RETRIES.labels(self.name).inc()
                log.warning("%s on %s/%d failed, trying again: %r", what, self.topic, self.partition, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


class StageLane(Lane):
    """Runs a synchronous stage and commits its outputs, state and position in groups."""

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
        ticks: bool,
    ) -> None:
        super().__init__(topic, partition, name, broker, table)
        self.ticks = ticks
        self._stage = stage
        self._letters = Letters(name, broker, dead_letters)
        self._partitions = partitions
        self._groups: dict[tuple[str, int], list[Item]] = {}
        self._gathered = 0
        self._changed = False
        self._flush: asyncio.Task[None] | None = None
        self._processed_total = metrics.PROCESSED.labels(name)
        self._evicted_total = metrics.EVICTED.labels(table.spec.name) if table is not None else None
        self._keys = metrics.KEYS.labels(table.spec.name, str(partition)) if table is not None else None

    def receive(self, records: Sequence[Record]) -> None:
        """Run the stage over a batch; a record it cannot take alone becomes a dead letter."""
        if self.closed:
            return
        records = self.fresh(records)
        if not records:
            return
        now = self._stream_time(records[-1].timestamp)
        try:
            outputs = self._run(records, now)
        except Exception:
            outputs = self._run_apart(records)
        self._gather(outputs)
        self.processed = records[-1].offset
        self._gathered += len(records)
        self._processed_total.inc(len(records))
        self._changed = True
        self._bound_keys()
        self._kick()

    def pass_over(self, offset: int) -> None:
        """Move on with a commit."""
        if not self.closed and offset > self.processed:
            self.processed = offset
            self._changed = True
            self._kick()

    def tick(self, now: int) -> None:
        """Run the stage with no records, so that what waits for time to pass happens on idle partitions."""
        if self.closed:
            return
        outputs = self._run((), self._stream_time(now))
        self._gather(outputs)
        if outputs or (self.table is not None and self.table.state.dirty):
            self._changed = True
            self._kick()

    async def close(self, patience: float) -> None:
        """Stop taking records; let the commit in flight finish."""
        self.closed = True
        flush = self._flush
        if flush is not None:
            done, _ = await asyncio.wait({flush}, timeout=patience)
            if not done:
                flush.cancel()
                await asyncio.wait({flush}, timeout=1)

    def _stream_time(self, now: int) -> int:
        if self.table is None:
            return now
        state = self.table.state
        state.stream_time = max(state.stream_time, now)
        return state.stream_time

    def _run(self, records: Sequence[Record], now: int) -> Sequence[Output]:
        if self.table is None:
            return self._letters.fit(list(self._stage(None, records, now)), records, now)
        state = self.table.state
        state.begin()
        try:
            outputs = self._letters.fit(list(self._stage(state, records, now)), records, now)
        except BaseException:
            state.rollback()
            raise
        state.commit()
        return outputs

    def _run_apart(self, records: Sequence[Record]) -> list[Output]:
        """The batch failed as a whole and left no trace: take its records one by one."""
        outputs: list[Output] = []
        for record in records:
            now = self._stream_time(record.timestamp)
            try:
                outputs += self._run((record,), now)
            except MemoryError:
                raise
            except Exception as error:
                outputs.append(self._letters.of(record, error, now))
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
        if self.table is None or self._evicted_total is None or self._keys is None:
            return
        evicted = self.table.state.evict(self.table.spec.max_keys)
        if evicted:
            self._evicted_total.inc(evicted)
        self._keys.set(len(self.table.state))

    def _kick(self) -> None:
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_all(), name=f"{self.name}/{self.partition}")
            self._flush.add_done_callback(self.ended)

    async def _flush_all(self) -> None:
        """Commit until nothing is gathered. A closed lane finishes the cut it began and the one gathered."""
        while self._changed:
            if SMALL_BATCH < self._gathered < LARGE_BATCH:
                await asyncio.sleep(COMMIT_INTERVAL - time.monotonic() % COMMIT_INTERVAL)
            groups, self._groups = self._groups, {}
            count, self._gathered = self._gathered, 0
            self._changed = False
            offset = self.processed
            if self.table is None:
                await self.with_retries(partial(self.send, groups, offset), "sending")
            else:
                # Cut before anything is awaited: state moves on while this cut is being written.
                changes, position = self.table.state.cut(offset)
                await self.with_retries(partial(self.send, groups, offset), "sending")
                await self.with_retries(partial(self.persist, changes, position), "changelog")
                # Keys that another owner overwrote are written again now, not with the next record.
                self._changed = self._changed or self.table.state.dirty
            self.acknowledge(offset, count)


def largest_value(limit: int) -> int:
    """How large a value may be in a changelog that takes batches of `limit` bytes."""
    return max(limit - FLUSH_ROOM, limit // 2)


def _flush(owner: Owner, changes: dict[bytes, bytes | None], position: Position, most: int) -> Iterator[list[Item]]:
    """The flush's chunks, each begun by its owner, the last ended by the position.

    A chunk has up to `most` bytes, or one change that is larger.
    """
    chunk: list[Item] = [(OWN, own_record(owner, 0), ())]
    size = number = 0
    for key, value in changes.items():
        size += len(key) + (len(value) if value is not None else 0) + 24
        if size > most:
            yield chunk
            number += 1
            chunk = [(OWN, own_record(owner, number), ())]
            size = len(key) + (len(value) if value is not None else 0) + 24
        chunk.append((key, value, ()))
    chunk.append((POS, pos_record(position), ()))
    yield chunk


async def _no_reader(topic: str, partition: int, start: int, stop: int) -> tuple[Owner, set[bytes]]:
    raise NotImplementedError


async def _no_grave(loss: Loss) -> None:
    raise NotImplementedError


def _unhandled(error: BaseException) -> None:
    raise error
