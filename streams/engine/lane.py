"""A lane: one stage or sink on one assigned partition, from fetched records to what is durable.

Nothing is acknowledged on an exception: a failed commit is tried again, and when that does not help the worker fails
loudly.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from streams.engine import metrics
from streams.engine.broker import MAX_BATCH, Broker, Groups, Headers, Item
from streams.engine.changelog import OWN, POS, Owner, Position, own_record, pos_record
from streams.engine.losses import TOO_LARGE, Loss, OutputTooLargeError
from streams.engine.state import PartitionState

log = logging.getLogger(__name__)

#: Records processed but not committed, above which a partition is not fetched from.
MAX_UNCOMMITTED = 20_000
#: Lanes mark their time downstream this often while they have news, seconds, and every IDLE_MARKS-th time without.
MARK_INTERVAL = 0.2
IDLE_MARKS = 5
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


class Stage(Protocol):
    """Pure and synchronous: what comes out follows from the arguments. `now` is the partition's time, milliseconds.

    It may have a method `on_due(state, due, now) -> outputs` too. That is given pairs of a key whose deadline has come
    and the deadline it fires for, growing in the order (deadline, key), before any record that comes after it in time.
    It puts or deletes each key: one that it leaves as it is fires once more after a restart.
    """

    def __call__(self, state: Any, records: Sequence[Record], now: int, /) -> Iterable[Output]: ...


OnDue = Callable[[Any, Sequence[tuple[bytes, int]], int], Iterable[Output]]
#: Makes the output for a record that a stage cannot take.
DeadLetters = Callable[[Record, Exception, int], Output]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: its changelog topic and the key bound per partition.

    `due` reads the deadline out of a value (0: none). `evictable` says whether a value may be forgotten when there are
    more than `max_keys`; those that are due first go first, and where none may go the bound is passed.
    """

    name: str
    changelog: str
    max_keys: int = 1_000_000_000
    due: Callable[[bytes], int] | None = None
    evictable: Callable[[bytes], bool] | None = None


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
        #: Records that were fetched and not received yet.
        self.awaited = 0
        self.closed = False
        self.progress_at = time.monotonic()
        self.failed: Callable[[BaseException], None] = _unhandled
        self.foreign: ForeignReader = _no_reader
        self.bury: Callable[[Loss], Awaitable[None]] = _no_grave

    @property
    def full(self) -> bool:
        """Whether fetching must wait."""
        return self.uncommitted >= MAX_UNCOMMITTED

    @property
    def stuck(self) -> str | None:
        """Why the lane has not done its work for long although it tries; None while all is well."""
        return None

    def reserve(self, count: int) -> None:
        """`count` records are on their way here."""
        self.uncommitted += count
        self.awaited += count

    def receive(self, records: Sequence[Record]) -> None:
        """Take fetched records, in offset order. Does not block."""
        raise NotImplementedError

    def caught_up(self, moment: float) -> None:
        """At monotonic `moment` the partition had no record that was not received or is on its way here."""

    def tell_time(self, *, idle: bool) -> None:
        """Mark the time that was reached downstream, if there is news or `idle`; called every MARK_INTERVAL."""

    def pass_over(self, offset: int) -> None:
        """Nothing more is to come up to `offset`: what is not received by now was aborted or compacted away, is a
        transaction's marker, or is a dead letter. The position moves there with the next commit."""
        raise NotImplementedError

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
        if offset > self.committed:
            self.committed = offset
            self.progress_at = time.monotonic()
        self.uncommitted -= count

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
