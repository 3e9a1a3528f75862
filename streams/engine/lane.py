"""A lane: one stage or sink on one assigned partition, from fetched records to durable results.

Nothing is acknowledged on an exception: a failed commit is retried, and if the retries fail too, the worker fails.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from streams.engine import metrics
from streams.engine.broker import MAX_BATCH, Broker, Groups, Headers, Item
from streams.engine.changelog import OWN, POS, Owner, Position, own_record, pos_record
from streams.engine.losses import TOO_LARGE, Loss, OutputTooLargeError
from streams.engine.state import PartitionState

log = logging.getLogger(__name__)

#: A partition with this many uncommitted records is not fetched from.
MAX_UNCOMMITTED = 20_000
#: Seconds between the marks of a lane's time downstream. A lane without news marks only every IDLE_MARKS-th time.
MARK_INTERVAL = 0.2
IDLE_MARKS = 5
#: Commits of busy lanes begin on ticks this far apart, seconds, so that many lanes share one request: few large
#: requests cost broker and worker far less than many small ones. Up to SMALL_BATCH records are committed at once, for
#: low latency; LARGE_BATCH records or more are committed at once, since they are enough for a large request.
COMMIT_INTERVAL = 0.015
SMALL_BATCH = 16
LARGE_BATCH = 2_000
#: A partition that is behind and has made no progress for this many seconds ends the process.
STALLED_AFTER = 60.0
#: How long a commit is retried before the worker fails, seconds.
GIVE_UP_AFTER = 120.0
#: Bytes in a chunk of a flush that are reserved for the owner, the position and its marks.
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
    """Pure and synchronous: the outputs follow from the arguments. `now` is the partition's time, milliseconds.

    A stage may also have a method `on_due(state, due, now) -> outputs`. `due` has pairs of a key whose deadline has
    come and the deadline it fires for, ascending in the order (deadline, key). The method is called before any record
    that comes later in time. It puts or deletes each key: a key left unchanged fires again after a restart.
    """

    def __call__(self, state: Any, records: Sequence[Record], now: int, /) -> Iterable[Output]: ...


#: Changes a table and gives the records to send, all or nothing.
Work = Callable[[Any], Iterable[Output]]


class Attendant(Protocol):
    """Works on what a stage keeps in its table, beside the stage; one for each partition.

    What it has to do follows from the table alone, so that it goes on after a restart. It changes the table only by
    `transact`, whose result is there once the change and its outputs are durable.
    """

    def opened(self, state: Any, transact: Callable[[Work], Awaitable[None]], /) -> None:
        """The table is restored; records come after this."""

    def changed(self, changes: Mapping[bytes, bytes | None], /) -> None:
        """These keys were put or deleted (None), by the stage or by `transact`."""

    async def close(self, patience: float, /) -> None:
        """Start nothing any more, and let what is under way end within `patience` seconds."""


OnDue = Callable[[Any, Sequence[tuple[bytes, int]], int], Iterable[Output]]
#: Makes the output for a record that a stage cannot take.
DeadLetters = Callable[[Record, Exception, int], Output]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: its changelog topic and the key bound per partition.

    `due` reads the deadline from a value (0: none). `evictable` says whether a value may be evicted when there are
    more than `max_keys`. Keys that are due first are evicted first; if no key may be evicted, the table exceeds the
    bound.
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


#: Reads changelog offsets [start, stop); returns the highest owner found there and all keys written.
ForeignReader = Callable[[str, int, int, int], Awaitable[tuple[Owner, set[bytes]]]]


class Lane:
    """The base of all lanes: position, offsets that may be committed, and durable state."""

    #: A lane that is behind and has made no progress for this many seconds ends the process.
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
        #: Records that were fetched but not received yet.
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
        """Why the lane has failed to do its work for a long time; None while all is well."""
        return None

    def opened(self) -> None:
        """Note that the partition is open: its state is restored, and records come next."""

    def reserve(self, count: int) -> None:
        """Note that `count` records are on their way to this lane."""
        self.uncommitted += count
        self.awaited += count

    def receive(self, records: Sequence[Record]) -> None:
        """Take fetched records, in offset order. Does not block."""
        raise NotImplementedError

    def caught_up(self, moment: float) -> None:
        """Note that at monotonic `moment` every record of the partition was received or on its way to this lane."""

    def tell_time(self, *, idle: bool) -> None:
        """Send marks of the lane's time downstream, if there is news or `idle`; called every MARK_INTERVAL."""

    def pass_over(self, offset: int) -> None:
        """Note that no more records come up to `offset`: those not received were aborted or compacted away, are
        transaction markers, or are dead letters. The position moves to `offset` with the next commit."""
        raise NotImplementedError

    async def close(self, patience: float) -> None:
        """Finish the work in flight if that takes at most `patience` seconds; afterwards the lane does nothing."""
        raise NotImplementedError

    def fresh(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records without those that were processed before (in a replay, or delivered twice)."""
        if records[0].offset > self.processed:
            return records
        kept = [record for record in records if record.offset > self.processed]
        self.uncommitted -= len(records) - len(kept)
        return kept

    def acknowledge(self, offset: int, count: int) -> None:
        """Note that everything up to `offset` is durable, `count` records more than before."""
        if offset > self.committed:
            self.committed = offset
            self.progress_at = time.monotonic()
        self.uncommitted -= count

    def ended(self, task: "asyncio.Task[None]") -> None:
        """Called when a task of this lane ended: its exception fails the worker, unless the lane was closed."""
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
            # Check this before the store takes the flush: the flush of a fenced owner must never reach the store.
            await self.contest(state.store.end + 1, first)
        state.store.flushed(changes, position, last, owner)

    async def contest(self, start: int, stop: int) -> None:
        """Changelog offsets [start, stop) are another owner's: yield to a newer owner, overrule an older one."""
        assert self.table is not None
        spec, partition, state, owner = self.table
        newest, keys = await self.foreign(spec.changelog, partition, start, stop)
        if newest > owner:
            raise FencedError(f"{spec.changelog}/{partition} belongs to {newest}, not to {owner}")
        state.reassert(keys)

    async def send(self, groups: Groups, last: int) -> None:
        """Send outputs of input up to offset `last`; an output rejected for its size becomes a dead letter."""
        first = self.committed + 1
        for topic, key, size, limit in await self.broker.send(groups):
            error = OutputTooLargeError(topic, size, limit)
            await self.bury(Loss(self.name, TOO_LARGE, str(error), self.topic, self.partition, first, last, key or b""))

    async def with_retries(self, work: Callable[[], Awaitable[None]], what: str) -> None:
        """Do `work` and retry it with growing pauses; raise its exception after GIVE_UP_AFTER."""
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
    """The chunks of a flush: each begins with its owner, and the last ends with the position.

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
