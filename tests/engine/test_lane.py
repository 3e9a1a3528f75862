"""Lanes by themselves, on a real broker: what a whole worker meets too rarely to wait for."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from streams.engine import TableSpec
from streams.engine.broker import Broker
from streams.engine.changelog import Owner
from streams.engine.effects import BatchLane
from streams.engine.lane import Table
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.harness import until
from tests.engine.stages import FileBatchSink, lines


class Fetched(NamedTuple):
    """A record of partition 0 as it is fetched."""

    topic: str
    offset: int
    partition: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[tuple[str, bytes], ...] = ()


def _batch_lane(source: str, changelog: str, broker: Broker, directory: Path, intent: tuple[int, int]) -> BatchLane:
    store = MemoryStore()
    store.apply({b"intent": msgspec.msgpack.encode(intent)})
    table = Table(TableSpec("table", changelog), 0, PartitionState(store), Owner(1, 1))
    return BatchLane(source, 0, "lane", broker, table, sink=FileBatchSink(directory))


async def test_an_intent_whose_records_compaction_removed_is_given_up(make_rig: MakeRig, tmp_path: Path) -> None:
    """The first record that is left lies behind the intended range: the lane goes on with it."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig.source, rig.changelog, broker, tmp_path, (0, 499))
    lane.reserve(2)
    lane.receive([Fetched(rig.source, 700), Fetched(rig.source, 701)])
    await until(lambda: lane.committed == 701, 10, "the batch behind the intent")
    assert [line["offsets"] for line in lines(tmp_path / "batches.jsonl")] == [[700, 701]]
    await lane.close(1)
    await broker.stop()


async def test_an_intended_range_with_holes_is_written_as_what_is_left(make_rig: MakeRig, tmp_path: Path) -> None:
    """Only the records of the intended range go into its batch, later ones into the next."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig.source, rig.changelog, broker, tmp_path, (0, 499))
    lane.reserve(3)
    lane.receive([Fetched(rig.source, 3), Fetched(rig.source, 498)])
    lane.receive([Fetched(rig.source, 500)])
    await until(lambda: lane.committed == 500, 10, "both batches")
    assert [line["offsets"] for line in lines(tmp_path / "batches.jsonl")] == [[3, 498], [500]]
    await lane.close(1)
    await broker.stop()
