"""A stage's lane over a log in memory, with everything that would be durable: what no broker could show in any order.

The lane, state, changelog format and replay are the real ones; only the broker behind them is a list.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from streams.engine import TableSpec
from streams.engine.broker import MAX_REQUEST, Broker, Groups, Headers, Item, Refused
from streams.engine.changelog import Owner, Replay
from streams.engine.clock import BrokerTime
from streams.engine.lane import Output, Record, Stage, Table
from streams.engine.stage_lane import StageLane
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from streams.engine.turns import Turns

SOURCE, OUTPUT, DEAD = "source", "output", "dead"


class Fetched(NamedTuple):
    """A record of partition 0 of the source."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None = b""
    headers: Headers = ()
    topic: str = SOURCE
    partition: int = 0


class Change(NamedTuple):
    """A record of the changelog."""

    offset: int
    key: bytes | None
    value: bytes | None


class Memory:
    """What survives a kill: the outputs and the changelog. It is the lane's broker too.

    After `calls_left` more calls the broker does not answer any more.
    """

    def __init__(self) -> None:
        self.time = BrokerTime()
        self.outputs: list[tuple[str, Item]] = []
        self.changelog: list[Change] = []
        self.calls_left = 1_000_000_000
        self.fits_everywhere = MAX_REQUEST
        self.silent = asyncio.Event()

    async def send(self, groups: Groups) -> list[Refused]:
        """Keep the records of each topic; none is too large."""
        await self._answer()
        self.outputs += [(topic, item) for (topic, _), items in groups.items() for item in items]
        return []

    def limit(self, topic: str) -> int:
        """The largest record of a topic."""
        return MAX_REQUEST

    async def append(self, topic: str, partition: int, chunks: Iterable[Sequence[Item]]) -> tuple[int, int]:
        """Keep a flush."""
        await self._answer()
        first = len(self.changelog)
        for key, value, _ in (item for chunk in chunks for item in chunk):
            self.changelog.append(Change(len(self.changelog), key, value))
        return first, len(self.changelog) - 1

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.calls_left <= 0:
            self.silent.set()
            await asyncio.Event().wait()
        self.calls_left -= 1

    def open(
        self,
        stage: Stage,
        spec: TableSpec,
        feeders: Sequence[str] = (),
        feeds: Sequence[str] = (),
        turns: Turns | None = None,
    ) -> StageLane:
        """A lane with the state that a new owner would recover; `turns` are those of the other lanes of its worker."""
        store = MemoryStore()
        replay = Replay(store)
        replay.read(self.changelog)
        replay.finish()
        store.end = len(self.changelog) - 1
        state = PartitionState(store, spec.due, spec.evictable)
        for _ in state.index():
            pass
        lane = StageLane(
            SOURCE, 0, "memory", cast(Broker, self), Table(spec, 0, state, Owner(1, 1)),
            stage=stage, dead_letters=letter, partitions={OUTPUT: 1, DEAD: 1}, turns=turns or Turns(), feeders=feeders,
            feeds=feeds,
        )  # fmt: skip
        lane.failed = self.fail
        self.failures: list[BaseException] = []
        lane.opened()
        return lane

    def fail(self, error: BaseException) -> None:
        """Keep what would have ended the worker."""
        self.failures.append(error)


def letter(record: Record, error: Exception, now: int) -> Output:
    """A dead letter with key, error and time."""
    return cast(Output, (DEAD, record.key, repr(error).encode(), 0, ()))


async def feed(lane: StageLane, batches: Iterable[Sequence[Any]]) -> None:
    """Hand the lane its batches, as an event loop would, until it has committed them or its broker is silent."""
    memory = cast(Memory, lane.broker)
    last = -1
    for batch in batches:
        if memory.silent.is_set():
            break
        lane.reserve(len(batch))
        lane.receive(batch)
        last = batch[-1].offset
        await asyncio.sleep(0)
    while not memory.silent.is_set() and not (lane.committed >= last and lane.idle):  # noqa: ASYNC110
        await asyncio.sleep(0)
    if memory.silent.is_set():
        # Killed: what is under way never ends.
        await lane.close(0)
        memory.silent.clear()
