"""Lanes whose work is outside Kafka: batches written idempotently, and tasks with prefix acknowledgement."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
from xxhash import xxh3_64_intdigest

from streams.engine import metrics
from streams.engine.broker import Broker, Item
from streams.engine.lane import Lane, Output, Record, Table

_INTENT = b"intent"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int]).decode


class BatchSink(Protocol):
    """Writes contiguous offset ranges of one partition, the same range with the same content after a crash."""

    max_records: int
    max_bytes: int
    linger: float

    def form(self, topic: str, partition: int, records: Sequence[Record], marks: dict[str, int]) -> Any:
        """The batch for these records: pure, deterministic. It raises `marks`, which are kept with it."""

    async def write(self, batch: Any) -> None:
        """Write it; raising means in doubt, and the very same batch is tried again until it succeeds."""


class TaskSink(Protocol):
    """Does one thing per record; records of equal `order_key` in order, others side by side."""

    max_tasks: int
    #: The longest that one record may honestly take, seconds.
    patience: float

    def order_key(self, record: Record) -> bytes: ...
    async def perform(self, record: Record) -> Sequence[Output]:
        """Do it and return what to send before the record is acknowledged."""


class BatchLane(Lane):
    """Intent to the changelog, then the write, then the position: an in-doubt batch is re-formed exactly."""

    def __init__(self, topic: str, partition: int, name: str, broker: Broker, table: Table, *, sink: BatchSink) -> None:
        super().__init__(topic, partition, name, broker, table)
        self._state = table.state
        self._sink = sink
        self._buffer: deque[Record] = deque()
        self._buffered = 0
        self._first_at = 0.0
        self._arrived = asyncio.Event()
        #: Why the current batch is being tried again, empty when it is not.
        self.waiting_for = ""
        self._processed_total = metrics.PROCESSED.labels(name)
        self._task = asyncio.create_task(self._write_all(), name=f"{name}/{topic}/{partition}")
        self._task.add_done_callback(self.ended)

    @property
    def full(self) -> bool:
        """Whether fetching must wait."""
        return self._buffered >= 2 * self._sink.max_bytes or self.uncommitted >= 2 * self._sink.max_records

    def receive(self, records: Sequence[Record]) -> None:
        """Buffer a batch."""
        if self.closed:
            return
        records = self.fresh(records)
        if not records:
            return
        if not self._buffer:
            self._first_at = time.monotonic()
        self._buffer.extend(records)
        self._buffered += sum(len(record.value or b"") for record in records)
        self.processed = records[-1].offset
        self._arrived.set()

    def pass_over(self, offset: int) -> None:
        """Move on behind what is written."""
        if not self.closed and offset > self.processed:
            self.processed = offset
            self._arrived.set()

    async def close(self, patience: float) -> None:
        """Let the write in flight finish; what is only buffered is read again by the next owner."""
        self.closed = True
        self._arrived.set()
        done, _ = await asyncio.wait({self._task}, timeout=patience)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)

    async def _write_all(self) -> None:
        intent = self._state.get(_INTENT)
        if intent is not None:
            _, last = _decode(intent)
            if last > self.committed:
                await self._until(lambda: self.processed >= last)
                intended = self._take(last)
                # Compaction or retention may have removed every record of the intended range.
                if intended and not self.closed:
                    await self._write(intended, intended=True)
        while not self.closed:
            await self._ready()
            if self._buffer and not self.closed:
                await self._write(self._take(None), intended=False)
            elif not self.closed:
                changes, position = self._state.cut(self.processed)
                await self.with_retries(partial(self.persist, changes, position), "position")
                self.acknowledge(position.offset, 0)

    async def _until(self, condition: Any) -> None:
        while not condition() and not self.closed:
            self._arrived.clear()
            await self._arrived.wait()

    async def _ready(self) -> None:
        """Wait until there is a batch worth writing, or nothing to write up to a later offset."""
        sink = self._sink
        await self._until(lambda: self._buffer or self.processed > self.committed)
        while (
            self._buffer
            and not self.closed
            and len(self._buffer) < sink.max_records
            and self._buffered < sink.max_bytes
        ):
            left = self._first_at + sink.linger - time.monotonic()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _take(self, last: int | None) -> list[Record]:
        taken: list[Record] = []
        size = 0
        while self._buffer:
            record = self._buffer[0]
            if last is not None:
                if record.offset > last:
                    break
            elif taken and (len(taken) >= self._sink.max_records or size >= self._sink.max_bytes):
                break
            size += len(record.value or b"")
            taken.append(self._buffer.popleft())
        self._buffered -= size
        self._first_at = time.monotonic()
        return taken

    async def _write(self, records: list[Record], *, intended: bool) -> None:
        first, last = records[0].offset, records[-1].offset
        state = self._state
        if not intended:
            state.begin()
            state.put(_INTENT, _encode((first, last)))
            state.commit()
            changes, position = state.cut(self.committed)
            await self.with_retries(partial(self.persist, changes, position), "intent")
        marks = dict(state.marks)
        batch = self._sink.form(self.topic, self.partition, records, marks)
        if not await self._write_until_accepted(batch):
            return
        state.begin()
        state.marks = marks
        state.stream_time = max(state.stream_time, records[-1].timestamp)
        state.delete(_INTENT)
        state.commit()
        changes, position = state.cut(last)
        await self.with_retries(partial(self.persist, changes, position), "position")
        self._processed_total.inc(len(records))
        self.acknowledge(last, len(records))

    async def _write_until_accepted(self, batch: Any) -> bool:
        """Write the batch however long it takes; False only when the lane was closed meanwhile."""
        pause = 0.1
        while True:
            try:
                await self._sink.write(batch)
            except Exception as error:
                metrics.RETRIES.labels(self.name).inc()
                self.waiting_for = f"{type(error).__name__}"
            else:
                self.waiting_for = ""
                return True
            if self.closed:
                return False
            # Being patient is progress here: the watchdog must not end a writer whose ClickHouse is away.
            self.progress_at = time.monotonic()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


class _Task:
    """Up to which offset a task goes, and how many records it does."""

    __slots__ = ("count", "done", "offset")

    def __init__(self, offset: int, count: int) -> None:
        self.offset = offset
        self.count = count
        self.done = not count


class TaskLane(Lane):
    """One asyncio task per record, at most `max_tasks` at once; offsets are acknowledged in order."""

    def __init__(
        self,
        topic: str,
        partition: int,
        name: str,
        broker: Broker,
        *,
        sink: TaskSink,
        partitions: dict[str, int],
    ) -> None:
        super().__init__(topic, partition, name, broker, None)
        self._sink = sink
        self._partitions = partitions
        self._window: deque[_Task] = deque()
        self._last: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.stalled_after = sink.patience
        self._slots = asyncio.Semaphore(sink.max_tasks)
        self._groups: dict[tuple[str, int], list[Item]] = {}
        self._ended_entries: list[_Task] = []
        self._flush: asyncio.Task[None] | None = None
        self._processed_total = metrics.PROCESSED.labels(name)

    @property
    def full(self) -> bool:
        """Whether fetching must wait."""
        return self.uncommitted >= self._sink.max_tasks

    def receive(self, records: Sequence[Record]) -> None:
        """Start a task for each record; records of one key wait for each other."""
        if self.closed:
            return
        for record in self.fresh(records):
            entry = _Task(record.offset, 1)
            self._window.append(entry)
            self.processed = record.offset
            key = self._sink.order_key(record)
            task = asyncio.create_task(self._perform(record, entry, self._last.get(key)))
            self._last[key] = task
            self._tasks.add(task)
            task.add_done_callback(partial(self._performed, key))

    def pass_over(self, offset: int) -> None:
        """Move on once everything before is done."""
        if not self.closed and offset > self.processed:
            self.processed = offset
            self._window.append(_Task(offset, 0))
            self._acknowledge_done()

    async def close(self, patience: float) -> None:
        """Give running tasks `patience` seconds; what is not done by then is done again by the next owner."""
        self.closed = True
        if self._tasks:
            _, running = await asyncio.wait(set(self._tasks), timeout=patience)
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=1)
        if self._flush is not None:
            await asyncio.wait({self._flush}, timeout=1)
            self._flush.cancel()

    async def _perform(self, record: Record, entry: _Task, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        async with self._slots:
            if self.closed:
                return
            outputs = await self._sink.perform(record)
        # Any end is progress: one slow record must not look like a lane that is stuck.
        self.progress_at = time.monotonic()
        for topic, key, value, partition, headers in outputs:
            place = xxh3_64_intdigest(key or b"") % self._partitions[topic] if partition is None else partition
            self._groups.setdefault((topic, place), []).append((key, value, headers))
        self._ended_entries.append(entry)
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_all(), name=f"{self.name}/{self.partition}")
            self._flush.add_done_callback(self.ended)

    async def _flush_all(self) -> None:
        """What ended while one group was being sent goes out with the next."""
        while self._ended_entries:
            groups, self._groups = self._groups, {}
            entries, self._ended_entries = self._ended_entries, []
            await self.with_retries(partial(self.send, groups, self.processed), "sending")
            for entry in entries:
                entry.done = True
            self._processed_total.inc(len(entries))
            self._acknowledge_done()

    def _acknowledge_done(self) -> None:
        while self._window and self._window[0].done:
            entry = self._window.popleft()
            self.acknowledge(entry.offset, entry.count)

    def _performed(self, key: bytes, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._last.get(key) is task:
            del self._last[key]
        self.ended(task)
