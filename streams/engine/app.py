"""The engine: stages and sinks on topics, lanes on assigned partitions, one Faust app around them."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import TP
from xxhash import xxh3_64_intdigest

from streams.engine import metrics
from streams.engine.batch_lane import BatchLane, BatchSink
from streams.engine.broker import Broker
from streams.engine.changelog import OWN, Owner, Position, Replay, own_record
from streams.engine.kafka import Kafka
from streams.engine.lane import (
    IDLE_MARKS,
    MARK_INTERVAL,
    Attendant,
    DeadLetters,
    FencedError,
    Lane,
    Output,
    Stage,
    Table,
    TableSpec,
    largest_value,
)
from streams.engine.losses import Loss
from streams.engine.memory import give_back
from streams.engine.restore import catch_up, foreign, restore
from streams.engine.stage_lane import StageLane
from streams.engine.state import PartitionState
from streams.engine.store import RECENT_KEYS, MemoryStore, RocksStore, Store
from streams.engine.transport import BatchSchema, EngineConsumer, EngineTables, EngineTransport
from streams.engine.turns import Turns
from streams.engine.watch import Watchdog

log = logging.getLogger(__name__)

Hook = Callable[[], Awaitable[None]]
#: Makes the dead letter for a loss (records not read, or an output not sent), at a time in milliseconds.
Losses = Callable[[Loss, int], Output]

#: How long a revoked or stopping lane may take to finish its commit, seconds.
CLOSE_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """An agent on a topic: `make` makes its lanes, and the time of the topics in `feeds` depends on this topic."""

    agent: str
    topic: str
    table: TableSpec | None
    make: Callable[[int, Table | None], Lane]
    feeds: Sequence[str] = ()


class StormweirApp(faust.App):
    """Faust's app with the engine's transport; the consumer finds the engine through it."""

    engine: "Engine"

    def _new_transport(self) -> EngineTransport:
        return EngineTransport(self.conf.broker_consumer, self, loop=self.loop)


class Engine:
    """Wires stages and sinks to topics, then runs as a Faust app (`run`, or `app` for the Faust command).

    Topics must exist. `group` is the consumer group; topics and files are not named after it. `data_dir` holds
    RocksDB partitions if `store` is "rocksdict". `kafka.name` maps the names given here and in outputs to Kafka's
    names; records and logs of partitions show Kafka's names.
    """

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        *,
        data_dir: Path,
        store: str = "memory",
        losses: Losses,
        outputs: Iterable[str] = (),
        session_timeout: float = 10.0,
        instance: str = "",
    ) -> None:
        self.kafka = kafka
        group = kafka.name(group)
        self.lanes: dict[TP, Lane] = {}
        self.ready = False
        self._told = 0
        #: The sum of all committed offsets when memory was given back last.
        self._trimmed_at = 0
        self._outputs = tuple(outputs)
        self._losses = losses
        self._partitions: dict[str, int] = {}
        self._wirings: dict[str, Wiring] = {}
        self._store = store
        self._data_dir = data_dir
        self._parked: dict[tuple[str, int], Store] = {}
        self._opening: asyncio.Task[None] | None = None
        self._starts: list[Hook] = []
        self._stops: list[Hook] = []
        self._prepared = asyncio.Event()
        self._committed: dict[TP, int] = {}
        self._topic_ids: dict[str, str] = {}
        self._broker = Broker(kafka, group)
        self._turns = Turns()
        self._watchdog = Watchdog(kafka)
        data_dir.mkdir(parents=True, exist_ok=True)
        self.app = StormweirApp(
            group,
            broker="aiokafka://" + ";".join(kafka.bootstrap.split(",")),
            datadir=str(data_dir / "faust"),
            store="memory://",
            TableManager=EngineTables,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            autodiscover=False,
            broker_commit_interval=1.0,
            broker_session_timeout=session_timeout,
            broker_rebalance_timeout=max(session_timeout, 10.0),
            broker_heartbeat_interval=session_timeout / 5,
            broker_request_timeout=40.0,
            consumer_max_fetch_size=1_048_576,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=f"{group}.{instance}" if instance else None,
            stream_wait_empty=False,
            stream_buffer_maxsize=1_000_000,
        )
        self.app.engine = self
        self.app.task(self._prepare)
        self.app.timer(MARK_INTERVAL, name="tell time")(self._tell_time)
        self.app.timer(5.0, name="watch")(self._watch)

    def stage(
        self,
        agent: str,
        topic: str,
        run: Stage,
        *,
        dead_letters: DeadLetters,
        table: TableSpec | None = None,
        feeds: Sequence[str] = (),
        attend: Callable[[], Attendant] | None = None,
    ) -> None:
        """Run a pure stage on a topic, with at most one table and, for each partition, at most one attendant.

        The stage passes its time on to all partitions of the topics in `feeds`, which must be among the engine's
        outputs. The time of such a topic follows from the times of all stages that feed it. These topics, and the
        input topics of the stages that feed them, need `message.timestamp.type=LogAppendTime`.
        """

        def make(partition: int, held: Table | None) -> Lane:
            return StageLane(
                topic, partition, agent, self._broker, held, stage=run, dead_letters=dead_letters,
                partitions=self._partitions, turns=self._turns, feeds=feeds, feeders=self._feeders(topic),
                attendant=attend() if attend is not None else None,
            )  # fmt: skip

        if hasattr(run, "on_due") and (table is None or table.due is None):
            raise ValueError(f"{agent} has deadlines, and no table whose `due` reads them")
        self._wire(topic, Wiring(agent, topic, table, make, feeds))

    def batches(self, agent: str, topic: str, sink: BatchSink, *, table: TableSpec) -> None:
        """Write a topic's records in idempotent batches."""

        def make(partition: int, held: Table | None) -> Lane:
            assert held is not None
            return BatchLane(topic, partition, agent, self._broker, held, sink=sink, partitions=self._partitions)

        self._wire(topic, Wiring(agent, topic, table, make))

    def _feeders(self, topic: str) -> list[str]:
        """All partitions whose lanes mark their time on `topic`."""
        return [
            f"{wiring.topic}/{partition}"
            for wiring in self._wirings.values()
            if topic in wiring.feeds
            for partition in range(self._partitions[wiring.topic])
        ]

    def _wire(self, topic: str, wiring: Wiring) -> None:
        name = self.kafka.name(topic)
        if name in self._wirings:
            raise ValueError(f"{topic} has an agent already")
        self._wirings[name] = wiring

        async def body(stream: Any) -> None:
            async for batch in stream.noack():
                try:
                    if batch.records:
                        batch.lane.receive(batch.records)
                    batch.lane.pass_over(batch.position - 1)
                except Exception as error:
                    # Faust would restart the agent and continue after the batch.
                    self.fail(error)
                await asyncio.sleep(0)

        channel = self.app.topic(name, schema=BatchSchema(), internal=False)
        self.app.agent(channel, name=f"{wiring.agent}.{topic}")(body)

    def on_lifecycle(self, start: Hook | None, stop: Hook | None) -> None:
        """Register hooks: `start` runs before any partition opens, `stop` runs after the last partition closed."""
        if start is not None:
            self._starts.append(start)
        if stop is not None:
            self._stops.insert(0, stop)

    def run(self) -> int:
        """Run as a worker until SIGTERM or SIGINT. Return 0, or non-zero if the worker failed."""
        worker = faust.Worker(
            self.app, loglevel=None, override_logging=False, redirect_stdouts=False, quiet=True, daemon=True
        )
        gc.set_threshold(50_000, 50, 1_000)
        try:
            worker.execute_from_commandline()
        except SystemExit as end:
            return int(end.code or 0)

    def why_not_ready(self) -> str | None:
        """Why the process cannot do its work now, None if it can."""
        if not self.ready:
            return "partitions are not open yet"
        return next((lane.stuck for lane in self.lanes.values() if lane.stuck is not None), None)

    # -- called by the consumer

    def readable(self, resting: Collection[TP]) -> tuple[set[TP], bool]:
        """The partitions to fetch from now, without `resting`, and whether no open partition was left out."""
        ready = {tp for tp, lane in self.lanes.items() if not lane.full and not lane.closed and tp not in resting}
        return ready, len(ready) == len(self.lanes)

    def caught_up(self, tps: Iterable[TP], moment: float) -> None:
        """Tell the lanes: at monotonic `moment` every record of these partitions was received or on its way."""
        for tp in tps:
            lane = self.lanes.get(tp)
            if lane is not None:
                lane.caught_up(moment)

    def committable(self) -> dict[TP, int]:
        """Offsets to commit: one past the last durable offset of each lane, if it was not committed already."""
        return {
            tp: lane.committed + 1
            for tp, lane in self.lanes.items()
            if lane.committed >= 0 and self._committed.get(tp) != lane.committed + 1
        }

    def committed(self, offsets: dict[TP, int]) -> None:
        """Note that these offsets are committed."""
        self._committed.update(offsets)

    def open(self, assignment: Iterable[TP], generation: int) -> None:
        """Restore and open every assigned partition after a rebalance, each as soon as it is restored."""
        metrics.REBALANCES.inc()
        tps = [tp for tp in assignment if tp.topic in self._wirings]
        self._opening = asyncio.create_task(self._open(tps, generation, self._opening), name="open partitions")
        self._opening.add_done_callback(self._opened)

    async def close_lanes(self) -> None:
        """Close all lanes: nothing is processed after this returns. A commit may finish within CLOSE_PATIENCE."""
        opening, self._opening = self._opening, None
        await self._close(opening)

    async def _close(self, opening: "asyncio.Task[None] | None") -> None:
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
        self.ready = False
        lanes = [lane for lane in self.lanes.values() if not lane.closed]
        await asyncio.gather(*(lane.close(CLOSE_PATIENCE) for lane in lanes))
        for lane in lanes:
            if lane.table is None:
                continue
            store = lane.table.state.store
            if lane.clean and isinstance(store, MemoryStore):
                self._parked[lane.table.spec.name, lane.partition] = store
            else:
                store.close()

    async def release(self) -> None:
        """Close the producer and the watchdog's client, and run the `stop` hooks."""
        await self._broker.stop()
        await self._watchdog.stop()
        for stop in self._stops:
            await stop()

    async def bury(self, loss: Loss) -> None:
        """Send the dead letter for a loss; return once the broker has acknowledged it."""
        topic, key, value, partition, headers = self._losses(loss, int(time.time() * 1000))
        if partition is None:
            partition = xxh3_64_intdigest(key) % self._partitions[topic]
        await self._broker.send({(topic, partition): [(key, value, headers)]})
        metrics.DEAD_LETTERS.labels(loss.agent, loss.reason).inc()
        log.error("%s: offsets %d to %d of %s/%d: %s: %s",
                  loss.agent, loss.first, loss.last, loss.topic, loss.partition, loss.reason, loss.error)  # fmt: skip

    # -- opening

    async def _open(self, tps: Sequence[TP], generation: int, previous: "asyncio.Task[None] | None") -> None:
        # In a quick succession of rebalances Faust may resume twice without revoking in between.
        await self._close(previous)
        # The worker may join the group before the outputs' partitions are known and the `start` hooks have run.
        await self._prepared.wait()
        self.lanes = {}
        self._committed = {}
        consumer = cast(EngineConsumer, self.app.consumer)
        await consumer.fetch_ended()
        committed = await consumer.committed_offsets(tps)
        self._topic_ids = await self._broker.topic_ids({tp.topic for tp in tps})
        plain = [tp for tp in tps if self._wirings[tp.topic].table is None]
        bounds = await self._bounds(plain)
        for tp in plain:
            await self._start(tp, None, committed[tp], *bounds[tp])
        wanted: list[tuple[TableSpec, int, Store]] = []
        share = RECENT_KEYS // max(len(tps) - len(plain), 1)
        changelogs = {spec.changelog for tp in tps if (spec := self._wirings[tp.topic].table) is not None}
        kept = await self._broker.deletions_kept(changelogs) if self._store != "memory" else {}
        places: dict[tuple[str, int], TP] = {}
        for tp in tps:
            spec = self._wirings[tp.topic].table
            if spec is not None:
                places[spec.name, tp.partition] = tp
                wanted.append(
                    (spec, tp.partition, self._new_store(spec, tp.partition, share, kept.get(spec.changelog, 0)))
                )
        for (name, partition), store in list(self._parked.items()):
            if (name, partition) not in places:
                store.close()
        self._parked = {}
        stores = {(spec.name, partition): store for spec, partition, store in wanted}
        starting: list[asyncio.Task[None]] = []

        def restored(spec: TableSpec, partition: int, replay: Replay) -> None:
            tp = places[spec.name, partition]
            store = stores.pop((spec.name, partition))
            starting.append(asyncio.create_task(self._start_owned(tp, spec, store, replay, generation, committed[tp])))

        try:
            unreadable = await restore(self.kafka, wanted, restored)
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            for store in stores.values():
                store.close()
        gc.collect()
        gc.freeze()
        self.ready = not unreadable
        if unreadable:
            log.error("partitions stay closed until a restart, their state cannot be read: %s", ", ".join(unreadable))
        log.info("%d partitions open, generation %d", len(self.lanes), generation)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def _new_store(self, spec: TableSpec, partition: int, share: int, kept_ms: int) -> Store:
        if self._store == "memory":
            return self._parked.pop((spec.name, partition), None) or MemoryStore(share)
        return RocksStore.reopen(self._data_dir / "tables" / spec.name / str(partition), kept_ms, time.time)

    async def _start_owned(
        self, tp: TP, spec: TableSpec, store: Store, replay: Replay, generation: int, committed: int | None
    ) -> None:
        owner = Owner(replay.highest.fence + 1, generation)
        try:
            # Write the fence first, then read the log up to it: what a former owner wrote before the fence becomes
            # part of the state, and every reader ignores what it writes after the fence.
            fence, _ = await self._broker.append(spec.changelog, tp.partition, [[(OWN, own_record(owner, 0), ())]])
            await catch_up(self.kafka, spec.changelog, tp.partition, replay, fence)
            if replay.highest > owner:
                raise FencedError(f"{spec.changelog}/{tp.partition} belongs to {replay.highest}, not to {owner}")
            replay.finish()
            store.end = fence
            state = PartitionState(store, spec.due, spec.evictable)
            state.max_value = largest_value(self._broker.limit(spec.changelog))
            for _ in state.index():
                await asyncio.sleep(0)
            state.reassert(replay.disputed)
            # Ask for the bounds only now: before the fence another owner may have moved its position.
            bounds = await self._bounds([tp])
            await self._start(tp, Table(spec, tp.partition, state, owner), committed, *bounds[tp])
        except BaseException:
            store.close()
            raise

    async def _bounds(self, tps: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        """The first offset of each partition and the one after its last.

        One call asks for all partitions: once a lane is open, each request waits for a fetch on the same connection.
        """
        consumer = self.app.consumer
        earliest, ends = await consumer.earliest_offsets(*tps), await consumer.highwaters(*tps)
        return {tp: (earliest[tp], ends[tp]) for tp in tps}

    async def _start(self, tp: TP, table: Table | None, committed: int | None, earliest: int, end: int) -> None:
        """Seek and open. The position in the changelog replaces a committed offset that is lower or higher."""
        consumer = self.app.consumer
        position = table.state.store.position.offset if table is not None else -1
        start = position + 1 if position >= 0 else (committed if committed is not None else earliest)
        topic_id = self._topic_ids.get(tp.topic, "")
        known = table.state.topic_id if table is not None else ""
        if start > end or (known and topic_id and known != topic_id):
            log.error("%s/%d ends at %d and is not the topic of position %d: "
                      "the topic was deleted and created again; starting over",
                      tp.topic, tp.partition, end, start)  # fmt: skip
            start = earliest
            if table is not None:
                table.state.store.position = Position()
                table.state.marks.clear()
        if table is not None:
            table.state.topic_id = topic_id
        if start < earliest:
            log.error("%s/%d: offsets %d to %d were removed by retention before they were read",
                      tp.topic, tp.partition, start, earliest - 1)  # fmt: skip
            start = earliest
        await consumer.seek_wait({tp: start})
        lane = self._wirings[tp.topic].make(tp.partition, table)
        lane.failed = self.fail
        lane.foreign = self._foreign
        lane.bury = self.bury
        lane.processed = lane.committed = start - 1
        if table is not None and (table.state.dirty or start != position + 1):
            # Write the keys that recovery disputed, and a position that was reset, before anything is processed.
            await lane.persist(*table.state.cut(start - 1))
        self.lanes[tp] = lane
        lane.opened()

    async def _foreign(self, topic: str, partition: int, start: int, stop: int) -> tuple[Owner, set[bytes]]:
        return await foreign(self.kafka, topic, partition, start, stop)

    # -- the app's own tasks

    async def _prepare(self) -> None:
        try:
            feeding = [wiring.topic for wiring in self._wirings.values() if wiring.feeds]
            for topic in (*self._outputs, *feeding):
                self._partitions[topic] = await self._broker.partitions(topic)
            changelogs = [wiring.table.changelog for wiring in self._wirings.values() if wiring.table is not None]
            await self._broker.learn_limits([*self._outputs, *changelogs])
            for start in self._starts:
                await start()
        except Exception as error:
            self.fail(error)
        self._prepared.set()

    async def _tell_time(self) -> None:
        self._told += 1
        for lane in list(self.lanes.values()):
            lane.tell_time(idle=self._told % IDLE_MARKS == 0)

    async def _watch(self) -> None:
        """Give back memory when idle. Fail the worker if a lane stands still, so that it is restarted."""
        lanes = self.lanes
        done = sum(lane.committed for lane in lanes.values())
        if done != self._trimmed_at and not any(lane.uncommitted for lane in lanes.values()):
            # Nothing waits, so nobody notices.
            self._trimmed_at = done
            give_back()
        wrong = await self._watchdog.look(dict(lanes))
        # A rebalance may have replaced the lanes meanwhile; the replaced lanes stand still for that reason.
        if wrong is not None and lanes is self.lanes:
            self.fail(RuntimeError(wrong))

    def fail(self, error: BaseException) -> None:
        """End the process loudly: a supervisor restarts the process and everything resumes from the changelog."""
        log.critical("the worker fails: %r", error, exc_info=error)
        # Faust's crash path can hang with its threads; state stays exact without a clean shutdown.
        logging.shutdown()
        os._exit(1)
