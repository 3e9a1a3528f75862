"""An attendant works beside a stage on what is in its table: every result is one transaction, on a real Kafka."""

from collections import Counter

from tests.engine.conftest import MakeRig
from tests.engine.harness import Worker, until
from tests.engine.stages import Clerk, lines


def _tasks(worker: Worker, what: str) -> list[str]:
    return [line["key"] for line in lines(worker.directory / "tasks.jsonl") if line["what"] == what]


async def test_what_waits_holds_no_offset(make_rig: MakeRig) -> None:
    """Records are acknowledged once they are in the table, although nothing of them is done."""
    rig = await make_rig(partitions=1)
    worker = rig.worker(run="attended")
    (worker.directory / "hold").touch()
    await rig.load(1_000, 100)

    await until(lambda: len(_tasks(worker, "begin")) == Clerk.slots, 20, "every slot busy")

    async def committed() -> bool:
        return (await rig.committed())[0] == 1_000

    await until(committed, 20, "all acknowledged")
    assert _tasks(worker, "end") == []
    (worker.directory / "hold").unlink()
    await until(lambda: len(_tasks(worker, "end")) == 1_000, 20, "all done")


async def test_a_kill_repeats_only_what_was_under_way(make_rig: MakeRig) -> None:
    """Eight kills: everything is done, and each kill repeats at most one slot's worth of work a slot and partition."""
    rig = await make_rig(partitions=2)
    await rig.load(4_000, 500)
    kills = 8
    for number in range(1, kills + 1):
        worker = rig.worker(run="attended")
        await until(lambda: len(_tasks(worker, "end")) >= 350 * number, 30, "work")  # noqa: B023
        await rig.kill(worker)
    worker = rig.worker(run="attended")
    await until(lambda: len(set(_tasks(worker, "end"))) == 4_000, 30, "all done")
    assert await worker.terminate() == 0
    begun = Counter(_tasks(worker, "begin"))
    assert len(begun) == 4_000
    assert sum(begun.values()) - 4_000 <= kills * 2 * Clerk.slots
    put_out = Counter(record.key for record in await rig.read(rig.output))
    assert len(put_out) == 4_000


async def test_a_stop_lets_what_is_under_way_end(make_rig: MakeRig) -> None:
    """SIGTERM in the middle: nothing is begun twice."""
    rig = await make_rig(partitions=1)
    await rig.load(2_000, 500)
    for number in (1, 2, 3):
        worker = rig.worker(run="attended")
        await until(lambda: len(_tasks(worker, "end")) >= 400 * number, 30, "work")  # noqa: B023
        assert await worker.terminate() == 0
    worker = rig.worker(run="attended")
    await until(lambda: len(_tasks(worker, "end")) >= 2_000, 30, "all done")
    assert Counter(_tasks(worker, "begin")).most_common(1)[0][1] == 1
    assert len(_tasks(worker, "end")) == 2_000
