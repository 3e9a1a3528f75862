"""Every Faust method the engine overrides, and why. tests/engine/test_faust.py pins their sources.

Faust keeps the app, agents, streams, group membership, assignment and shutdown. The engine replaces
the per-record drain loop (200-500 microseconds a record), acknowledgement (0.15.3 acknowledges on
exceptions and can commit past unprocessed records) and the hand-over after a rebalance (Faust resumes
partitions before it seeks them, then clears the queues the fetcher has begun to fill).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol, cast

import aiokafka
from aiokafka.errors import ConsumerStoppedError
from faust import Schema
from faust.tables.manager import TableManager
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.engine.fetch import Fetched, fetch, last_of_batch
from streams.engine.kafka import Kafka
from streams.engine.lane import LARGE_BATCH, SMALL_BATCH, Lane, Record
from streams.engine.losses import UNREADABLE, Loss, describe
from streams.engine.unreadable import Troubles


class Feeds(Protocol):
    """What the consumer needs from the engine."""

    @property
    def lanes(self) -> Mapping[TP, Lane]: ...
    def readable(self, resting: Collection[TP]) -> tuple[set[TP], bool]: ...
    def caught_up(self, tps: Iterable[TP], moment: float) -> None: ...
    def committable(self) -> dict[TP, int]: ...
    def committed(self, offsets: dict[TP, int]) -> None: ...
    def open(self, assignment: Iterable[TP], generation: int) -> None: ...
    async def close_lanes(self) -> None: ...
    async def bury(self, loss: Loss) -> None: ...
    async def release(self) -> None: ...


#: Faust's 1500 ms starve busy partitions: one fetch is in flight per broker. While every partition with data is
#: buffered, the fetch asks only for the quiet partitions, and the broker holds it for the full 1500 ms.
FETCH_MAX_WAIT_MS = 50
#: Fetches are this far apart, seconds, while they return more than SMALL_BATCH and less than LARGE_BATCH records:
#: each fetch crosses to the consumer thread and back, and every partition in it costs an event.
FETCH_INTERVAL = 0.02
#: The consumer checks this often whether partitions have been read to their ends, seconds.
CAUGHT_UP_INTERVAL = 0.1
#: The most records of one event; the stage holds the event loop for about 10 microseconds per record.
MAX_BATCH_RECORDS = 2_000


class Batch(NamedTuple):
    """An event's value: records of one partition, bound to the lane of the assignment they belong to.

    No other records come below offset `position`.
    """

    lane: Lane
    records: Sequence[Record]
    position: int


class BatchSchema(Schema[Any, Any]):
    """Passes a Batch through as the event's value; stages decode."""

    def compile(self, app: Any, **_: Any) -> Any:
        """The decoder of faust.Schema, without decoding."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, None, message)

        return decode


class EngineConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, with fetches that starve no partition, committed records only, and our connections."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        # A producer knows that its transaction was aborted, and sends the records again if they matter.
        consumer._isolation_level = "read_committed"
        kafka: Kafka = transport.app.engine.kafka
        return kafka.secure(consumer)

    async def _fetch_records(  # type: ignore[override]  # a part of a fetch says more than its records
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> dict[TP, Fetched]:
        """As Faust's, without its limit of records; the error of a partition is in that partition's part."""
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            return await fetch(fetcher, active_partitions, timeout or 0.0)

    async def last_of_batch(self, tp: TP, position: int) -> int:
        """The last offset of the unreadable batch at `position`. Raises KafkaError."""
        last: int = await self.call_thread(last_of_batch, self._ensure_consumer()._fetcher, tp, position)
        return last


class EngineConsumer(Consumer):
    """Delivers whole batches, commits what lanes acknowledge, and starts a partition after its state is restored."""

    #: Held while a fetch is under way.
    _fetching: asyncio.Lock
    #: When the partitions' ends were last checked, monotonic, and which answer of the broker was used for each.
    _looked_at: float
    _answers: dict[TP, int | None]

    def __post_init__(self) -> None:
        self._fetching = asyncio.Lock()
        self._looked_at = 0.0
        self._answers = {}
        self._troubles = Troubles(self._pass_over)

    def _new_consumer_thread(self) -> EngineConsumerThread:
        return EngineConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def engine(self) -> Feeds:
        """The engine this consumer feeds: an attribute of its app."""
        engine: Feeds = self.app.engine  # type: ignore[attr-defined]
        return engine

    async def _drain_messages(self, fetcher: Any) -> None:
        """One event per (partition, fetch); partitions whose lane is full are left out of the fetch."""
        engine = self.engine
        last = 0.0
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # as Faust does
                    continue
                # A rebalance replaces the lanes: records fetched for the old lanes must not reach the new ones.
                lanes = engine.lanes
                ready, all_ready = engine.readable(self._troubles.resting())
                if not ready:
                    await asyncio.sleep(0.01)
                    continue
                async with self._fetching:
                    fetched = await self._getmany(ready, timeout=0.25 if all_ready else 0.02)
                arrived, count = monotonic(), 0
                for tp, (records, position, error) in fetched.items():
                    lane = lanes.get(tp)
                    if lane is None or lane.closed:
                        continue
                    if error is not None:
                        self._troubles.failed(tp, lane, position, error)
                        continue
                    self._troubles.good(tp)
                    lane.reserve(len(records))
                    count += len(records)
                    await self._deliver(tp, lane, records, position)
                if arrived > self._looked_at + CAUGHT_UP_INTERVAL:
                    engine.caught_up(self._at_end(lanes), self._looked_at)
                    self._looked_at = arrived
                # Even a fetch that is always ready must let timers and commits run.
                pause = last + FETCH_INTERVAL - arrived if SMALL_BATCH < count < LARGE_BATCH else 0
                last = arrived
                await asyncio.sleep(max(0.0, pause))
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    def _at_end(self, tps: Iterable[TP]) -> list[TP]:
        """Partitions for which the broker has answered since the last call that all their records were fetched.

        No fetch may be under way. A partition whose end is hidden by an open transaction is not at its end.
        """
        found = []
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment
        for tp in tps:
            state = assignment.state_value(tp)
            if state is None or not state.has_valid_position:
                continue
            answer, self._answers[tp] = self._answers.get(tp), state.timestamp
            if answer != state.timestamp and state.highwater is not None and state.position >= state.highwater:
                found.append(tp)
        return found

    async def _deliver(self, tp: TP, lane: Lane, records: Sequence[Record], position: int) -> None:
        for start in range(0, len(records) or 1, MAX_BATCH_RECORDS):
            part = records[start : start + MAX_BATCH_RECORDS]
            below = position if start + MAX_BATCH_RECORDS >= len(records) else part[-1].offset + 1
            await self.callback(self._message(tp, Batch(lane, part, below)))

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        at = batch.records[-1].timestamp / 1000 if batch.records else 0.0
        return ConsumerMessage(
            tp.topic, tp.partition, batch.position - 1, at, 0, [], None, cast(Any, batch),
            None, tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def _pass_over(self, tp: TP, lane: Lane, offset: int, error: Exception) -> None:
        """Send a dead letter that refers to the batch at `offset`, then continue reading after the batch."""
        last = offset

        async def bury() -> None:
            nonlocal last
            last = await cast(EngineConsumerThread, self._thread).last_of_batch(tp, offset)
            await self.engine.bury(Loss(lane.name, UNREADABLE, describe(error), tp.topic, tp.partition, offset, last))

        await lane.with_retries(bury, "burying an unreadable batch")
        async with self._fetching:
            if not lane.closed:
                await self.seek_wait({tp: last + 1})
                await self._deliver(tp, lane, (), last + 1)

    def track_message(self, message: Any) -> None:
        """Do nothing: lanes know what is in flight."""

    def ack(self, message: Any) -> bool:
        """Do nothing: lanes acknowledge after their commit, Faust does not."""
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: `readable()` applies the back-pressure."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing: `readable()` applies the back-pressure."""

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what lanes have made durable since the last commit."""
        offsets = self.engine.committable()
        if not offsets or not await self._commit(offsets):
            return False
        self.engine.committed(offsets)
        return True

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Do nothing: the engine opens each partition after restoring its state and seeking its position."""

    async def perform_seek(self) -> None:
        """Do nothing, as resume_partitions."""

    def resume_flow(self) -> None:
        """Take the last step of a rebalance: Faust no longer clears the queues, so lanes may open."""
        super().resume_flow()
        self._troubles.clear()
        self.engine.open(self.assignment(), self.app.consumer_generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let lanes finish and commit before the group continues the rebalance."""
        self.stop_flow()
        await self.engine.close_lanes()
        await self.force_commit()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Let lanes finish and commit, then close the producer."""
        self.stop_flow()
        await self.engine.close_lanes()
        await super().on_stop()
        await self.engine.release()

    async def fetch_ended(self) -> None:
        """Wait until no fetch of the former assignment is under way: it would move positions after they are sought.

        aiokafka lets a fetch that waits for records continue after the rebalance. Lanes are closed until the
        new ones open, so no other fetch begins meanwhile.
        """
        async with self._fetching:
            pass

    async def committed_offsets(self, tps: Collection[TP]) -> dict[TP, int | None]:
        """The group's committed offset of each partition, None where it never committed."""
        consumer = self._thread._ensure_consumer()
        return {tp: await self._thread.call_thread(consumer.committed, tp) for tp in tps}


class EngineProducer(Producer):
    """Faust's producer. Faust starts it, but the engine does not use it; it connects like the other clients."""

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:
        kafka: Kafka = self.app.engine.kafka  # type: ignore[attr-defined]
        return kafka.secure(super()._new_producer(transactional_id))


class EngineTables(TableManager):
    """Faust's table manager without its wait of one second for table declarations: the engine declares none."""

    async def on_start(self) -> None:
        """As Faust's, without the wait of one second."""
        await self._update_channels()
        await self.recovery.start()


class EngineTransport(Transport):
    """Faust's aiokafka transport with the engine's consumer."""

    Consumer = EngineConsumer
    Producer = EngineProducer
