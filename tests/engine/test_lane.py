"""Lanes by themselves, on a real broker: what a whole worker meets too rarely to wait for."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from streams.engine import Engine, Loss, Output, TableSpec
from streams.engine.batch_lane import BatchLane
from streams.engine.broker import Broker
from streams.engine.changelog import Owner
from streams.engine.lane import Table
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, until
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


def _batch_lane(
    rig: Rig,
    broker: Broker,
    directory: Path,
    *intent: int | str | tuple[int, int] | None,
    topic_id: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> BatchLane:
    """A lane of partition 0; `intent` is what an earlier owner left in doubt, in the form of the changelog."""
    store = MemoryStore()
    if intent:
        store.apply({b"intent": msgspec.msgpack.encode(intent)})
    state = PartitionState(store)
    state.topic_id = topic_id
    table = Table(TableSpec("table", rig.changelog), 0, state, Owner(1, 1))
    sink = FileBatchSink(directory, rig.dead)
    return BatchLane(rig.source, 0, "lane", broker, table, sink=sink, partitions={rig.dead: 1}, clock=clock)


async def test_an_intent_whose_records_compaction_removed_is_given_up(make_rig: MakeRig, tmp_path: Path) -> None:
    """The first record that is left lies behind the intended range: the lane goes on with it."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig, broker, tmp_path, 0, 499)
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
    lane = _batch_lane(rig, broker, tmp_path, 0, 499)
    lane.reserve(3)
    lane.receive([Fetched(rig.source, 3), Fetched(rig.source, 498)])
    lane.receive([Fetched(rig.source, 500)])
    await until(lambda: lane.committed == 500, 10, "both batches")
    assert [line["offsets"] for line in lines(tmp_path / "batches.jsonl")] == [[3, 498], [500]]
    await lane.close(1)
    await broker.stop()


async def test_a_part_in_doubt_is_the_same_rows_after_compaction(make_rig: MakeRig, tmp_path: Path) -> None:
    """Offsets 100 to 199 of 0 to 299 are in doubt, and compaction took every second record: the part begins and ends
    where it did, then comes what is behind it, and nothing of before.
    """
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig, broker, tmp_path, 0, 299, "", (100, 0), (200, 0))
    lane.reserve(150)
    lane.receive([Fetched(rig.source, offset) for offset in range(1, 300, 2)])
    await until(lambda: lane.committed == 299, 10, "the whole range")
    written = [line["offsets"] for line in lines(tmp_path / "batches.jsonl")]
    assert written == [list(range(101, 200, 2)), list(range(201, 300, 2))]
    await lane.close(1)
    await broker.stop()


async def test_many_refused_records_cost_about_one_write_each(make_rig: MakeRig, tmp_path: Path) -> None:
    """400 bad records in a row among 500: fewer than 500 tries, and the good ones are written in a few."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig, broker, tmp_path)
    (tmp_path / "picky").touch()
    sink, tries = lane._sink, []
    write = sink.write

    async def counted(batch: Any, start: int, stop: int) -> str | None:
        tries.append(stop - start)
        return await write(batch, start, stop)

    sink.write = counted  # type: ignore[method-assign]
    lane.reserve(500)
    bad = range(50, 450)
    lane.receive([Fetched(rig.source, at, value=b"bad and gone" if at in bad else b"v") for at in range(500)])
    await until(lambda: lane.committed == 499, 60, "the whole batch")
    written = [line["offsets"] for line in lines(tmp_path / "batches.jsonl")]
    assert [offset for part in written for offset in part] == [at for at in range(500) if at not in bad]
    assert len(written) < 20
    assert len(tries) < 450
    await lane.close(1)
    await broker.stop()


async def test_an_intent_of_a_topic_that_was_made_anew_is_given_up(make_rig: MakeRig, tmp_path: Path) -> None:
    """The new topic may never have as many records as were intended of the old one: they are not waited for."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    lane = _batch_lane(rig, broker, tmp_path, 0, 499, "old", (0, 0), None, topic_id="new")
    lane.reserve(2)
    lane.receive([Fetched(rig.source, 0), Fetched(rig.source, 1)])
    await until(lambda: lane.committed == 1, 10, "the batch of the new topic")
    written = [(line["offsets"], line["topic_id"]) for line in lines(tmp_path / "batches.jsonl")]
    assert written == [([0, 1], "new")]
    await lane.close(1)
    await broker.stop()


async def test_a_lane_that_cannot_write_is_told_and_not_ready(
    make_rig: MakeRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Told at once, with reason and age in the metrics; not ready after 60 s; all well again with the next write."""
    rig = await make_rig(partitions=1)
    broker = Broker(Kafka(rig.bootstrap), "lane")
    now = [1_000.0]
    lane = _batch_lane(rig, broker, tmp_path, clock=lambda: now[0])
    engine = Engine(Kafka(rig.bootstrap), rig.group, data_dir=tmp_path, losses=_no_losses)
    engine.lanes[TP(rig.source, 0)] = lane
    place = {"topic": rig.source, "partition": "0"}

    def age() -> float | None:
        return REGISTRY.get_sample_value("stormweir_writer_oldest_unwritten_seconds", place)

    def failures() -> float:
        labels = {"topic": rig.source, "reason": "down"}
        return REGISTRY.get_sample_value("stormweir_writer_failures_total", labels) or 0.0

    assert engine.why_not_ready() == "partitions are not open yet"
    engine.ready = True
    (tmp_path / "down").touch()
    with caplog.at_level(logging.WARNING, "streams.engine.outage"):
        lane.reserve(1)
        lane.receive([Fetched(rig.source, 0, timestamp=int(time.time() * 1000) - 300_000)])
        await until(lambda: failures() >= 2, 10, "two failures")
        assert engine.why_not_ready() is None
        assert 300 <= (age() or 0) < 330
        now[0] += 60
        assert engine.why_not_ready() == f"{rig.source}/0 cannot be written for 60 s: down"
        (tmp_path / "down").unlink()
        await until(lambda: lane.committed == 0, 10, "the record")
    assert engine.why_not_ready() is None
    assert age() == 0
    told = [record.getMessage() for record in caplog.records if record.name == "streams.engine.outage"]
    assert told[0] == f"{rig.source}/0 cannot be written for 0 s: down; it is tried again"
    assert told[-1] == f"{rig.source}/0 is written again after 60 s"
    await lane.close(1)
    assert age() is None
    await broker.stop()


def _no_losses(loss: Loss, now: int) -> Output:
    raise AssertionError(f"nothing is lost here: {loss}")
