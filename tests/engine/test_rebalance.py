"""Workers that come and go at full speed: the table stays the sum of the input."""

import asyncio
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.conftest import FreePorts
from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, until


async def test_a_worker_joins_and_leaves_at_full_speed(make_rig: MakeRig, store: str) -> None:
    """Partitions go over to the joiner and come back with its SIGTERM; nothing is counted twice or lost."""
    rig = await make_rig()
    await rig.load(150_000, 5_000)
    first = rig.worker("a", store=store)
    await first.busy(10_000)
    second = rig.worker("b", store=store)
    await until(lambda: second.owns(2), 20, "the joiner's partitions")
    await rig.load(50_000, 5_000)
    await second.busy(2_000)
    assert await second.terminate() == 0
    await rig.load(10_000, 5_000)
    await rig.drained()
    await rig.check()


async def test_a_joiner_is_killed_at_full_speed(make_rig: MakeRig, store: str) -> None:
    """SIGKILL in the middle of its work: the other worker takes over where the changelog says."""
    rig = await make_rig()
    await rig.load(150_000, 5_000)
    first = rig.worker("a", store=store)
    await first.busy(10_000)
    second = rig.worker("b", store=store)
    await until(lambda: second.owns(2), 20, "the joiner's partitions")
    await rig.load(50_000, 5_000)
    await second.busy(2_000)
    await rig.kill(second)
    await rig.load(10_000, 5_000)
    await rig.drained()
    await rig.check()


async def test_a_worker_killed_at_full_speed_is_restarted(make_rig: MakeRig, store: str) -> None:
    """SIGKILL and a start on the same directory, twice."""
    rig = await make_rig()
    await rig.load(250_000, 50_000)
    for records in (15_000, 15_000):
        worker = rig.worker(store=store)
        await worker.busy(records)
        await rig.kill(worker)
    rig.worker(store=store)
    await rig.drained()
    await rig.check()


async def test_a_fetch_that_ends_after_a_rebalance_takes_nothing_away(make_rig: MakeRig) -> None:
    """A fetch begun for the old lanes must not take the records that belong to the lanes opened after it."""
    rig = await make_rig()
    first = rig.worker("a", late_fetch=True)
    await until(lambda: first.owns(4), 20, "all partitions")
    await rig.load(100, 100)
    await rig.drained()
    (first.directory / "late").touch()
    second = rig.worker("b")
    await until(lambda: "generation 2" in first.log, 20, "the second generation")
    for _ in range(40):
        await rig.load(10, 10)
        await asyncio.sleep(0.02)
    await until(lambda: first.owns(2) and second.owns(2), 20, "two partitions each")
    await rig.load(100, 100)
    await rig.drained()
    await rig.check()


async def test_the_group_notices_a_killed_worker_by_itself(make_rig: MakeRig) -> None:
    """Without anyone telling the group: after the session's timeout the other worker goes on."""
    rig = await make_rig(partitions=2)
    first = rig.worker("a")
    second = rig.worker("b")
    await until(lambda: first.owns(1) and second.owns(1), 20, "a partition each")
    await rig.load(20_000, 1_000)
    await second.busy(1)
    second.kill()
    await rig.load(20_000, 1_000)
    await rig.drained()
    await rig.check()


async def test_partitions_of_three_workers_move_back_and_forth(make_rig: MakeRig, store: str) -> None:
    """No standby: a partition that comes back is read again from where its former owner's memory ends."""
    rig = await make_rig(partitions=6)
    await rig.load(60_000, 3_000)
    first = rig.worker("a", store=store)
    second = rig.worker("b", store=store)
    await until(lambda: first.owns(3) and second.owns(3), 20, "three partitions each")
    for cycle in range(2):
        third = rig.worker("c", store=store)
        await until(lambda third=third: first.owns(2) and second.owns(2) and third.owns(2), 20, "two each")
        await rig.load(20_000, 3_000)
        await third.busy(1)
        if cycle:
            await rig.kill(third)
        else:
            assert await third.terminate() == 0
        await until(lambda: first.owns(3) and second.owns(3), 20, "three each again")
        await rig.load(20_000, 3_000)
    await rig.kill(first)
    await rig.load(20_000, 3_000)
    await rig.drained()
    await rig.check()


async def test_members_that_join_and_leave_without_pause(make_rig: MakeRig) -> None:
    """Rebalances that interrupt each other: opening lanes are given up, none is opened twice."""
    rig = await make_rig()
    await rig.load(60_000, 3_000)
    rig.worker("a")
    for cycle in range(3):
        others = [rig.worker(name) for name in ("b", "c")]
        await rig.load(10_000, 3_000)
        await until(lambda others=others: all(other.status for other in others), 20, "the others' start")
        if cycle == 1:
            for other in others:
                await rig.kill(other)
        else:
            for other in others:
                assert await other.terminate(12) == 0
    await rig.load(10_000, 3_000)
    await rig.drained()
    await rig.check()
    assert all("is built anew" not in worker.log and "belongs to" not in worker.log for worker in rig.workers)


@pytest.mark.timeout(120)
async def test_a_broker_killed_in_the_middle_of_flushes(tmp_path: Path, free_ports: FreePorts) -> None:
    """With the broker away nothing is acknowledged; once it is back everything is counted exactly once."""
    port, controller = free_ports(2)
    kafka = EmbeddedKafka(tmp_path / "kafka", port, controller)
    kafka.start()
    rig = Rig(kafka.bootstrap, tmp_path / "rig")
    try:
        await rig.create()
        await rig.load(300_000, 60_000)
        worker = rig.worker()
        await worker.busy(10_000)
        kafka.kill()
        processed = worker.processed
        kafka.start()
        assert processed < 300_000
        if not worker.alive:
            worker = rig.worker()
        await rig.drained(60)
        await rig.check()
        assert await worker.terminate() == 0
    finally:
        rig.close()
        kafka.stop()
