"""A lane whose records are written to a store outside Kafka, in batches that a retry repeats exactly."""

import asyncio
import logging
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from streams.engine import metrics
from streams.engine.broker import Broker, Item, group
from streams.engine.lane import Lane, Output, Record, Table
from streams.engine.outage import Outage

log = logging.getLogger(__name__)

#: A process that could not write for this many seconds is not ready.
UNREADY_AFTER = 60.0
_INTENT = b"intent"


#: Where an entry came from: the offset of its record and the entry's index in the record. Unlike the entry's index in
#: the batch, this stays the same when compaction removes records.
Place = tuple[int, int]


class Intent(msgspec.Struct, array_like=True, frozen=True):
    """The write in progress: entries [start, stop) of the records `first` to `last` of the topic with this id.

    `start` and `stop` are places; `stop` None is the end of the batch. Entries before `start` are done. An intent is
    stored before its entries are written, so that a batch in doubt is retried with exactly the same entries, even if
    the sink would accept others by then.
    """

    first: int
    last: int
    topic_id: str = ""
    start: Place = (0, 0)
    stop: Place | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Intent).decode


class Batch(Protocol):
    """Entries to write; `places` has the place of each entry, ascending."""

    @property
    def places(self) -> Sequence[Place]: ...


class BatchSink(Protocol):
    """Writes contiguous offset ranges of one partition; after a crash it gets the same range and content again."""

    max_records: int
    max_bytes: int
    linger: float

    def form(
        self, topic: str, topic_id: str, partition: int, records: Sequence[Record], marks: dict[str, int]
    ) -> Batch:
        """Build the batch for these records, pure and deterministic. Increases `marks`, which the lane stores."""

    async def write(self, batch: Any, start: int, stop: int) -> str | None:
        """Write the batch's entries [start, stop), all or none. Return None when they are written.

        A returned text means: the entries were refused for their content, none was written, and a retry would change
        nothing. An exception means: the outcome is in doubt, and the lane retries exactly the same entries.
        """

    def reason(self, error: Exception) -> str:
        """Why `write` raised, for logs and a metric: one of a few short texts, without rows and secrets."""

    def dead_letter(self, batch: Any, entry: int, refusal: str) -> Output | None:
        """The dead letter for one entry that `write` refused when it was alone; None to send nothing."""


class BatchLane(Lane):
    """Stores the intent in the changelog, writes, then stores the position: a batch in doubt is rebuilt exactly."""

    def __init__(
        self,
        topic: str,
        partition: int,
        name: str,
        broker: Broker,
        table: Table,
        *,
        sink: BatchSink,
        partitions: dict[str, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(topic, partition, name, broker, table)
        self._state = table.state
        self._sink = sink
        self._partitions = partitions
        self._outage = Outage(f"{topic}/{partition}", clock)
        #: The timestamp of the oldest record in the batch that is being written, milliseconds; 0 for none.
        self._writing_since = 0
        self._buffer: deque[Record] = deque()
        self._buffered = 0
        self._first_at = 0.0
        self._arrived = asyncio.Event()
        self._processed_total = metrics.PROCESSED.labels(name)
        self._task = asyncio.create_task(self._write_all(), name=f"{name}/{topic}/{partition}")
        self._task.add_done_callback(self.ended)
        metrics.OLDEST_UNWRITTEN.labels(topic, str(partition)).set_function(self._oldest_unwritten)

    @property
    def stuck(self) -> str | None:
        """Why nothing could be written for UNREADY_AFTER seconds or longer, else None."""
        seconds = self._outage.seconds
        if seconds < UNREADY_AFTER:
            return None
        return f"{self.topic}/{self.partition} cannot be written for {seconds:.0f} s: {self._outage.reason}"

    def _oldest_unwritten(self) -> float:
        """The age in seconds of the oldest record that was read and not written, 0 when there is none."""
        since = self._writing_since or (self._buffer[0].timestamp if self._buffer else 0)
        return max(0.0, time.time() - since / 1000) if since else 0.0

    @property
    def full(self) -> bool:
        """Whether fetching must wait."""
        return self._buffered >= 2 * self._sink.max_bytes or self.uncommitted >= 2 * self._sink.max_records

    def receive(self, records: Sequence[Record]) -> None:
        """Buffer a batch."""
        self.awaited -= len(records)
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
        """See Lane: the position moves after the buffered records are written."""
        if not self.closed and offset > self.processed:
            self.processed = offset
            self._arrived.set()

    async def close(self, patience: float) -> None:
        """Let the write in flight finish; the next owner reads the buffered records again."""
        self.closed = True
        self._arrived.set()
        metrics.OLDEST_UNWRITTEN.remove(self.topic, str(self.partition))
        done, _ = await asyncio.wait({self._task}, timeout=patience)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)

    async def _write_all(self) -> None:
        kept = self._state.get(_INTENT)
        intent = _decode(kept) if kept is not None else None
        # If the topic was recreated since, the intended records are gone.
        if intent is not None and intent.topic_id in ("", self._state.topic_id) and intent.last > self.committed:
            last = intent.last
            await self._until(lambda: self.processed >= last)
            intended = self._take(last)
            # Compaction or retention may have removed every record of the intended range.
            if intended and not self.closed:
                await self._write(intended, intent)
        while not self.closed:
            await self._ready()
            if self._buffer and not self.closed:
                await self._write(self._take(None), None)
            elif not self.closed:
                changes, position = self._state.cut(self.processed)
                await self.with_retries(partial(self.persist, changes, position), "position")
                self.acknowledge(position.offset, 0)

    async def _until(self, condition: Any) -> None:
        while not condition() and not self.closed:
            self._arrived.clear()
            await self._arrived.wait()

    async def _ready(self) -> None:
        """Wait until a batch is full or `linger` is over, or until the position can move without a write."""
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

    async def _write(self, records: list[Record], intent: Intent | None) -> None:
        """Write the batch of these records, then the position. `intent` is one that an earlier owner left in doubt."""
        state = self._state
        self._writing_since = records[0].timestamp
        topic_id = intent.topic_id if intent is not None else state.topic_id
        marks = dict(state.marks)
        batch = self._sink.form(self.topic, topic_id, self.partition, records, marks)
        if intent is None:
            intent = Intent(records[0].offset, records[-1].offset, topic_id)
            await self._intend(intent)
        if not await self._write_entries(batch, intent):
            return
        state.begin()
        state.marks = marks
        state.delete(_INTENT)
        state.commit()
        changes, position = state.cut(records[-1].offset)
        await self.with_retries(partial(self.persist, changes, position), "position")
        self._writing_since = 0
        self._processed_total.inc(len(records))
        self.acknowledge(records[-1].offset, len(records))

    async def _intend(self, intent: Intent) -> None:
        state = self._state
        state.begin()
        state.put(_INTENT, _encode(intent))
        state.commit()
        changes, position = state.cut(self.committed)
        await self.with_retries(partial(self.persist, changes, position), "intent")

    async def _write_entries(self, batch: Batch, intent: Intent) -> bool:
        """Write every entry that the sink accepts; return False if the lane was closed meanwhile.

        A refused range is halved until one entry is alone; that entry becomes a dead letter. After a range is
        accepted, the next range is twice as large: one bad entry costs little, and many cost about one write each.
        """
        places = batch.places
        end = len(places)
        start = bisect_left(places, intent.start)
        stop = bisect_left(places, intent.stop) if intent.stop is not None else end
        refusals: list[str] = []
        while start < end:
            refusal = await self._write_until_settled(batch, start, stop)
            if refusal is None:
                return False
            tried = stop - start
            if not refusal:
                start, stop = stop, min(stop + 2 * tried, end)
            elif tried > 1:
                stop = start + tried // 2
            else:
                await self._bury(batch, start, refusal)
                refusals.append(refusal)
                start, stop = stop, min(stop + 1, end)
            if start < end:
                part = {"start": places[start], "stop": places[stop] if stop < end else None}
                await self._intend(msgspec.structs.replace(intent, **part))
        if refusals:
            log.error("%s/%d@%d-%d: %d rows were refused for what they hold and are dead letters, the first: %s",
                      self.topic, self.partition, intent.first, intent.last, len(refusals), refusals[0])  # fmt: skip
        return True

    async def _bury(self, batch: Batch, entry: int, refusal: str) -> None:
        metrics.DEAD_LETTERS.labels(self.name, refusal).inc()
        letter = self._sink.dead_letter(batch, entry, refusal)
        if letter is not None:
            groups: dict[tuple[str, int], list[Item]] = {}
            group((letter,), self._partitions, groups)
            await self.with_retries(partial(self.send, groups, batch.places[entry][0]), "sending")

    async def _write_until_settled(self, batch: Batch, start: int, stop: int) -> str | None:
        """Retry without limit. Return "" if written, the reason if refused, None if the lane was closed meanwhile."""
        pause = 0.1
        while True:
            try:
                refusal = await self._sink.write(batch, start, stop)
            except Exception as error:
                reason = self._sink.reason(error)
                metrics.RETRIES.labels(self.name).inc()
                metrics.WRITE_FAILURES.labels(self.topic, reason).inc()
                self._outage.failed(reason)
            else:
                self._outage.over()
                self.progress_at = time.monotonic()
                return refusal or ""
            if self.closed:
                return None
            # A retry counts as progress: the watchdog must not end the process while ClickHouse is away.
            self.progress_at = time.monotonic()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
