"""What a stage is given, what is acknowledged, and what a failure leaves behind."""

import json
import os

from tests.engine.conftest import MakeRig
from tests.engine.harness import until


async def test_a_stage_is_given_lists_in_order_and_every_record_once(make_rig: MakeRig) -> None:
    """Batches of a partition follow each other without gap or repeat, and there are far fewer than records."""
    rig = await make_rig()
    await rig.load(40_000, 40_000)
    rig.worker(run="batches")
    await rig.drained()
    seen: dict[int, list[int]] = {place: [] for place in range(4)}
    outputs = await rig.read(rig.output)
    for record in outputs:
        partition, offsets = json.loads(record.value)
        seen[partition] += offsets
    ends = await rig.ends(rig.source)
    assert seen == {place: list(range(end)) for place, end in ends.items()}
    assert len(outputs) < 400


async def test_out_of_order_records_and_single_records_count(make_rig: MakeRig) -> None:
    """Event times that jump back and forth change no count, and a lone record is not left waiting for a batch."""
    rig = await make_rig(partitions=1)
    rig.worker()
    for number in range(20):
        at = 1_700_000_000_000 + (number * 7919 % 20) * 1_000
        await rig.send([(b"k%d" % (number % 3), b"%d" % number)], timestamp=at)
    await rig.drained()
    await rig.check()


async def test_a_poison_record_becomes_a_dead_letter_and_the_rest_counts_once(make_rig: MakeRig, store: str) -> None:
    """The batch of a failing record is taken record by record: nothing is lost, doubled or left half done."""
    rig = await make_rig()
    await rig.load(20_000, 500)
    sent = rig.sent.copy()
    await rig.send([(b"k%d" % number, b"poison") for number in range(50)])
    rig.sent = sent
    await rig.load(20_000, 500)
    worker = rig.worker(store=store)
    await rig.drained()
    await rig.check()
    letters = await rig.read(rig.dead)
    assert sorted(letter.key for letter in letters) == sorted(b"k%d" % number for number in range(50))
    assert all(letter.value == b"poison" and letter.headers[0][1].endswith(b" poison") for letter in letters)
    assert worker.metric("dead_letters_total") == 50


async def test_what_no_dead_letter_can_help_ends_the_worker_and_acknowledges_nothing(make_rig: MakeRig) -> None:
    """A stage that sends to an undeclared topic is a defect: the process fails, its input stays."""
    rig = await make_rig()
    await rig.load(1_000, 100)
    worker = rig.worker(run="lost_output")
    assert await worker.ended(60) == 1
    assert "undeclared" in worker.log
    assert set((await rig.committed()).values()) == {-1}


async def test_the_committed_offset_never_passes_what_is_durable(make_rig: MakeRig) -> None:
    """While nothing can be sent, nothing is committed, although the stage went on; then everything is."""
    rig = await make_rig()
    await rig.load(30_000, 1_000)
    worker = rig.worker(gate=True)
    (worker.directory / "gate").touch()
    await worker.busy(10_000)
    # The commit timer fires every second: give it every chance to be wrong.
    before = worker.processed
    await until(lambda: worker.processed >= 30_000, 10, "everything processed")
    assert before >= 10_000
    assert set((await rig.committed()).values()) == {-1}
    assert all(lane["committed"] == -1 for lane in worker.status["lanes"].values())
    await rig.kill(worker)
    assert set((await rig.committed()).values()) == {-1}
    os.unlink(worker.directory / "gate")
    rig.worker()
    await rig.drained()
    await rig.check()


async def test_a_full_lane_is_not_fetched_from_and_resumes(make_rig: MakeRig) -> None:
    """With sending held up the backlog stays bounded; once it flows everything arrives."""
    rig = await make_rig(partitions=2)
    await rig.load(80_000, 2_000, value=bytes(300))
    worker = rig.worker(gate=True)
    (worker.directory / "gate").touch()
    await worker.busy(40_000)
    held: list[int] = []

    def settled() -> bool:
        held.append(worker.processed)
        return len(held) > 20 and len(set(held[-20:])) == 1

    await until(settled, 15, "no more fetching")
    # 20,000 a lane, and the fetch of at most 1 MiB (3,300 records) that was on its way.
    assert held[-1] < 2 * 24_000
    assert all(lane["uncommitted"] >= 20_000 for lane in worker.status["lanes"].values())
    (worker.directory / "gate").unlink()
    await rig.drained()
    await rig.check()


async def test_a_worker_restarted_at_any_step_of_a_commit_stays_exact(make_rig: MakeRig, store: str) -> None:
    """Killed before the outputs, between outputs and changelog, and after the changelog but before the offset."""
    rig = await make_rig()
    # A start appends one fence to each of the four changelog partitions.
    for step in [("send", 2), ("append", 5), ("send", 4), ("append", 7)]:
        await rig.load(20_000, 3_000, prefix=b"%s-%d-" % (step[0].encode(), step[1]))
        worker = rig.worker(store=store, die_at=step)
        assert await worker.ended(60) == -9
        await rig.kill(worker)
    rig.worker(store=store)
    await rig.drained()
    await rig.check()


async def test_sigterm_in_the_middle_ends_with_0_and_loses_nothing(make_rig: MakeRig, store: str) -> None:
    """Within 10 s the process ends cleanly; a new one continues."""
    rig = await make_rig()
    await rig.load(200_000, 5_000)
    worker = rig.worker(store=store)
    await worker.busy(20_000)
    assert await worker.terminate(10) == 0
    assert max((await rig.committed()).values()) > 0
    rig.worker(store=store)
    await rig.drained()
    await rig.check()


async def test_a_consumer_that_hears_nothing_ends_the_worker(make_rig: MakeRig) -> None:
    """Deaf, as a broker's death may leave it (aiokafka #1154), while others hear: status 1 once it is behind."""
    rig = await make_rig(partitions=1)
    await rig.load(100, 10)
    worker = rig.worker(deaf=True, stalled_after=2.0)
    await rig.drained()
    (worker.directory / "deaf").touch()
    await rig.load(100, 10)
    assert await worker.ended(25) == 1
    assert "100 behind, no progress for" in worker.log
    rig.worker()
    await rig.drained()
    await rig.check()


async def test_a_lane_that_is_stuck_ends_the_worker(make_rig: MakeRig) -> None:
    """Behind, and no progress for STALLED_AFTER (2 s here): status 1, so that a supervisor restarts it."""
    rig = await make_rig(partitions=1)
    await rig.load(100, 10)
    worker = rig.worker(gate=True, stalled_after=2.0)
    (worker.directory / "gate").touch()
    assert await worker.ended(25) == 1
    assert "no progress for" in worker.log
    (worker.directory / "gate").unlink()
    rig.worker()
    await rig.drained()
    await rig.check()
