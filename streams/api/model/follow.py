"""Follows the topic `incidents` into the file, in a thread with an event loop of its own.

A plain consumer without a group: every API has every incident. The file says where it goes on. What it has is of no use
if the topic is another one than before or has other offsets, or if the file is so old that Kafka may have forgotten
deletions meanwhile: then it is read again from the beginning.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import INCIDENTS
from streams.api.model.store import Applied, Store, is_lost
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.topics import DELETIONS_KEPT_MS, check_topics
from streams.topic_ids import topic_ids

log = structlog.get_logger(__name__)

#: Records of one transaction, and the least seconds between two of them that are not full.
MAX_RECORDS = 5_000
_PERIOD_S = 0.05
_POLL_MS = 500
_FETCH_BYTES = 4 * 1024 * 1024
_RETRY_S = 1.0
#: A file is noted as current at least this often.
_NOTED_S = 60.0
#: A file is used again if deletions since are still on the topic, with an hour to read them.
_AGE_MS = DELETIONS_KEPT_MS - 3_600_000

#: Called in the thread after each batch, with what it changed and the time up to which the file has everything,
#: and how many records of the topic are not in it yet, None if that is not known.
Heard = Callable[[Applied, int, int | None], None]


class Follower:
    """The thread. `heard` is called after each transaction, `renewed` when a new file begins."""

    def __init__(self, kafka: Kafka, path: Path, heard: Heard, renewed: Callable[[], None]) -> None:
        self._kafka = kafka
        self._path = path
        self._heard = heard
        self._renewed = renewed
        self._store: Store | None = None
        self._damaged = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._main, name="incidents", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for its end."""
        self._stopping = True
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.ident is not None:
            self._thread.join()

    def renew(self) -> None:
        """A reader found the file damaged: make it again."""
        self._damaged = True

    def _main(self) -> None:
        async def run() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.create_task(self._run())
            await asyncio.gather(self._task, return_exceptions=True)

        try:
            asyncio.run(run())
        finally:
            if self._store is not None:
                self._store.close()

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._follow()
            except (KafkaError, OperatorError, OSError, sqlite3.Error) as error:
                if isinstance(error, sqlite3.Error) and is_lost(error):
                    self._damaged = True
                log.warning("incidents are not read now, trying again", reason=str(error) or type(error).__name__)
            except Exception:
                log.exception("incidents are not read now, trying again")
            await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        count = (await check_topics(self._kafka, [INCIDENTS]))[INCIDENTS.name]
        name = self._kafka.name(INCIDENTS.name)
        partitions = [TopicPartition(name, number) for number in range(count)]
        consumer = self._kafka.consumer(
            enable_auto_commit=False, auto_offset_reset="none", max_partition_fetch_bytes=_FETCH_BYTES
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            topic = (await topic_ids(consumer._client, [name])).get(name, "")
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            store = self._opened(topic, {tp.partition: (begins[tp], ends[tp]) for tp in partitions})
            positions = store.positions()
            for tp in partitions:
                consumer.seek(tp, positions.get(tp.partition, begins[tp]))
            await self._copy(consumer, partitions, store)
        finally:
            await consumer.stop()

    def _opened(self, topic: str, offsets: Mapping[int, tuple[int, int]]) -> Store:
        """The file, empty if what it has is of no use."""
        fresh = self._store is None
        if self._store is None:
            self._store = Store(self._path)
        store = self._store
        before, read_at = store.origin()
        positions = store.positions()
        off = any(not begin <= positions.get(number, begin) <= end for number, (begin, end) in offsets.items())
        if self._damaged or before != topic or off or positions.keys() - offsets or read_at < _now() - _AGE_MS:
            if positions or self._damaged:
                log.info("the incidents are read from the beginning")
            store.clear()
            self._damaged = False
            fresh = True
        store.begin(topic)
        if fresh:
            self._renewed()
        return store

    async def _copy(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], store: Store) -> None:
        """Copy records as they come, until the file is found damaged, or an error."""
        newest: dict[TopicPartition, int] = {}
        noted = 0.0
        while not self._damaged:
            began = time.monotonic()
            fetched: Mapping[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
                timeout_ms=_POLL_MS, max_records=MAX_RECORDS
            )
            records = [record for each in fetched.values() for record in each]
            for tp, each in fetched.items():
                newest[tp] = max(newest.get(tp, 0), each[-1].timestamp)
            applied = Applied()
            if records or began - noted > _NOTED_S:
                noted = began
                positions = {tp.partition: await consumer.position(tp) for tp in partitions}
                applied = store.apply(records, positions, _now())
            self._heard(applied, *await _as_of(consumer, partitions, newest))
            if 0 < len(records) < MAX_RECORDS:
                await asyncio.sleep(max(0.0, began + _PERIOD_S - time.monotonic()))


async def _as_of(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], newest: Mapping[TopicPartition, int]
) -> tuple[int, int | None]:
    """The time up to which everything is read, in milliseconds, and how many records are not read, None if unknown."""
    times: list[int] = []
    lags: list[int | None] = []
    for tp in partitions:
        end, polled = consumer.last_stable_offset(tp), consumer.last_poll_timestamp(tp)
        lag = None if end is None or polled is None else max(0, end - await consumer.position(tp))
        times.append(polled if lag == 0 else newest.get(tp, 0))
        lags.append(lag)
    known = [lag for lag in lags if lag is not None]
    return min(times), sum(known) if len(known) == len(lags) else None


def _now() -> int:
    return time.time_ns() // 1_000_000
