"""Sinks: batches that are written again exactly as they were, and tasks acknowledged in order."""

from collections import defaultdict
from typing import Any

from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, Worker, until
from tests.engine.stages import FileBatchSink, FileTaskSink, lines


async def _written(rig: Rig, workers: list[Worker]) -> dict[int, list[dict[str, Any]]]:
    """Per partition, the batches in order, each repeated write checked to be identical and left out."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for worker in workers:
        for batch in lines(worker.directory / "batches.jsonl"):
            found[batch["partition"]].append(batch)
    for place, batches in found.items():
        found[place] = [batch for number, batch in enumerate(batches) if not number or batches[number - 1] != batch]
    return found


async def _check_batches(rig: Rig, workers: list[Worker]) -> None:
    """Every record is in exactly one batch, and batches are numbered without a gap."""
    ends = await rig.ends(rig.source)
    written = await _written(rig, workers)
    for place, end in ends.items():
        batches = sorted(written[place], key=lambda batch: batch["offsets"][0])
        assert [offset for batch in batches for offset in batch["offsets"]] == list(range(end))
        assert [batch["number"] for batch in batches] == list(range(1, len(batches) + 1))
        assert max(len(batch["offsets"]) for batch in batches) <= FileBatchSink.max_records


async def test_batches_hold_every_record_once_and_stay_within_their_size(make_rig: MakeRig, store: str) -> None:
    """Contiguous ranges, at most max_records, marks that count every batch."""
    rig = await make_rig()
    await rig.load(20_000, 20_000)
    worker = rig.worker(run="batch_sink", store=store)
    await rig.drained()
    await _check_batches(rig, [worker])
    assert await worker.terminate() == 0


async def test_an_in_doubt_batch_is_written_again_exactly_as_it_was(make_rig: MakeRig, store: str) -> None:
    """Killed after the write and before anybody learned of it: the same range with the same content comes again."""
    rig = await make_rig()
    await rig.load(2_000, 2_000)
    worker = rig.worker(run="batch_sink", store=store)
    (worker.directory / "hold").touch()
    file = worker.directory / "batches.jsonl"
    await until(lambda: len(lines(file)) == 4, 20, "a batch in doubt for every partition")
    in_doubt = lines(file)
    # More records than the batch took are there by now; they must not slip into it.
    await rig.load(20_000, 20_000)
    await rig.kill(worker)
    (worker.directory / "hold").unlink()
    rig.worker(run="batch_sink", store=store)
    await rig.drained()
    for batch in in_doubt:
        tries = [
            line
            for line in lines(file)
            if line["offsets"][0] == batch["offsets"][0] and line["partition"] == batch["partition"]
        ]
        assert tries == [batch, batch]
    await _check_batches(rig, [worker])


async def test_an_in_doubt_batch_goes_over_to_another_worker(make_rig: MakeRig) -> None:
    """The intent is in the changelog, not in the process."""
    rig = await make_rig()
    await rig.load(3_000, 3_000)
    first = rig.worker("a", run="batch_sink")
    (first.directory / "hold").touch()
    await until(lambda: len(lines(first.directory / "batches.jsonl")) == 4, 20, "batches in doubt")
    in_doubt = {(batch["partition"], batch["offsets"][0]): batch for batch in lines(first.directory / "batches.jsonl")}
    await rig.kill(first)
    second = rig.worker("b", run="batch_sink")
    await rig.drained()
    again = {(batch["partition"], batch["offsets"][0]): batch for batch in lines(second.directory / "batches.jsonl")}
    assert {place: again[place] for place in in_doubt} == in_doubt
    await _check_batches(rig, [first, second])


async def test_a_sink_that_is_down_is_waited_for(make_rig: MakeRig) -> None:
    """Five seconds away: nothing is acknowledged or skipped, the watchdog is content, then all is written."""
    rig = await make_rig(partitions=2)
    await rig.load(5_000, 5_000)
    worker = rig.worker(run="batch_sink", stalled_after=2.0)
    (worker.directory / "down").touch()
    await until(lambda: worker.metric("commit_retries_total") >= 2 * 5, 20, "five tries of each partition")
    assert worker.alive
    assert set((await rig.committed()).values()) == {-1}
    assert lines(worker.directory / "batches.jsonl") == []
    (worker.directory / "down").unlink()
    await rig.drained()
    await _check_batches(rig, [worker])


async def test_a_sink_keeps_its_batches_through_join_and_leave(make_rig: MakeRig) -> None:
    """Buffered records go to the next owner; no range is written in two different ways."""
    rig = await make_rig()
    await rig.load(60_000, 60_000)
    first = rig.worker("a", run="batch_sink")
    await first.busy(5_000)
    second = rig.worker("b", run="batch_sink")
    await until(lambda: second.owns(2), 20, "the joiner's partitions")
    await rig.load(20_000, 20_000)
    await second.busy(500)
    assert await second.terminate() == 0
    await rig.drained()
    await _check_batches(rig, [first, second])


def _tasks(worker: Worker) -> list[dict[str, Any]]:
    return lines(worker.directory / "tasks.jsonl")


async def test_tasks_of_a_key_run_in_order_and_others_side_by_side(make_rig: MakeRig) -> None:
    """Never two of one key at once, up to max_tasks of different keys, never more."""
    rig = await make_rig(partitions=1)
    await rig.load(3_000, 200)
    worker = rig.worker(run="task_sink")
    await rig.drained()
    running: dict[str, int] = {}
    last: dict[str, int] = defaultdict(lambda: -1)
    most = 0
    for line in _tasks(worker):
        if line["what"] == "begin":
            assert line["key"] not in running
            assert line["offset"] > last[line["key"]]
            running[line["key"]] = line["offset"]
            last[line["key"]] = line["offset"]
            most = max(most, len(running))
        else:
            assert running.pop(line["key"]) == line["offset"]
    assert 10 < most <= FileTaskSink.max_tasks
    outputs = await rig.read(rig.output)
    assert len(outputs) == 3_000
    assert {record.value for record in outputs} == {b"%d" % number for number in range(3_000)}


async def test_a_task_that_takes_long_holds_the_offset_but_no_other_key(make_rig: MakeRig) -> None:
    """Everything else is done meanwhile; the offset stays before the first unfinished record."""
    rig = await make_rig(partitions=1)
    await rig.load(10, 10, prefix=b"before")
    worker = rig.worker(run="task_sink")
    (worker.directory / "wait-slow").touch()
    await rig.send([(b"slow", b"s")])
    await rig.load(30, 30, prefix=b"after")
    await until(lambda: len([t for t in _tasks(worker) if t["what"] == "end"]) == 40, 20, "all others done")

    async def committed() -> bool:
        return (await rig.committed())[0] == 10

    await until(committed, 10, "the prefix committed")
    (worker.directory / "wait-slow").unlink()
    await rig.drained()


async def test_unfinished_tasks_are_done_again_after_a_kill(make_rig: MakeRig) -> None:
    """At least once: each record ends at least once, and what was acknowledged is not done again."""
    rig = await make_rig(partitions=2)
    await rig.load(4_000, 500)
    worker = rig.worker(run="task_sink")
    await worker.busy(1_000)
    await rig.kill(worker)
    acknowledged = await rig.committed()
    before = len(_tasks(worker))
    rig.worker(run="task_sink")
    await rig.drained()
    tasks = _tasks(worker)
    ended = {(task["partition"], task["offset"]) for task in tasks if task["what"] == "end"}
    ends = await rig.ends(rig.source)
    assert ended == {(place, offset) for place, end in ends.items() for offset in range(end)}
    assert all(task["offset"] >= acknowledged[task["partition"]] for task in tasks[before:])
    assert {record.value for record in await rig.read(rig.output)} == {b"%d" % number for number in range(4_000)}
