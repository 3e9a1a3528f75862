"""A lane whose records are tasks outside Kafka: they run side by side, and offsets are acknowledged in order."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from streams.engine import metrics
from streams.engine.broker import Broker, Item, group
from streams.engine.lane import DeadLetters, Lane, Output, Record

log = logging.getLogger(__name__)


class TaskSink(Protocol):
    """Performs one task per record; records of equal `order_key` in order, others side by side."""

    max_tasks: int
    #: The longest time that one record may take without being stuck, seconds.
    patience: float

    def order_key(self, record: Record) -> bytes: ...
    async def perform(self, record: Record) -> Sequence[Output]:
        """Perform the record's task. Return the outputs to send before the record is acknowledged."""


class _Task:
    """The offset that a task ends at, and the number of its records (0 or 1)."""

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
        dead_letters: DeadLetters,
        partitions: dict[str, int],
    ) -> None:
        super().__init__(topic, partition, name, broker, None)
        self._sink = sink
        self._dead_letters = dead_letters
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
        """Start a task for each record; records of equal `order_key` wait for each other."""
        self.awaited -= len(records)
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
        """See Lane: the position moves once all earlier tasks are done."""
        if not self.closed and offset > self.processed:
            self.processed = offset
            self._window.append(_Task(offset, 0))
            self._acknowledge_done()

    async def close(self, patience: float) -> None:
        """Give running tasks `patience` seconds; the next owner repeats those that are not done by then."""
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
            outputs = await self._outcome(record)
        # Each task that ends counts as progress: one slow record must not make the lane look stuck.
        self.progress_at = time.monotonic()
        group(outputs, self._partitions, self._groups)
        self._ended_entries.append(entry)
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._flush_all(), name=f"{self.name}/{self.partition}")
            self._flush.add_done_callback(self.ended)

    async def _outcome(self, record: Record) -> Sequence[Output]:
        try:
            return await self._sink.perform(record)
        except MemoryError:
            raise
        except Exception as error:
            reason = type(error).__name__
            log.error("%s: %s/%d@%d is a dead letter: %s", self.name, self.topic, self.partition, record.offset, reason)
            metrics.DEAD_LETTERS.labels(self.name, reason).inc()
            return [self._dead_letters(record, error, record.timestamp)]

    async def _flush_all(self) -> None:
        """Send the outputs of ended tasks; tasks that end while one group is being sent go with the next group."""
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
