"""Sinks: batches that are written again exactly as they were, and tasks acknowledged in order."""

from collections import defaultdict
from typing import Any

from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, Worker, until
from tests.engine.stages import FileBatchSink, lines


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


def _offsets(worker: Worker) -> list[int]:
    """The offsets written, in the order of writing, without batches that were repeated as they were."""
    batches = [batch["offsets"] for batch in lines(worker.directory / "batches.jsonl")]
    once = [batch for number, batch in enumerate(batches) if not number or batches[number - 1] != batch]
    return [offset for batch in once for offset in batch]


async def _load_with_bad(rig: Rig, *bad: int) -> None:
    """300 records of partition 0, of which those at `bad` have a value that a picky sink refuses."""
    await rig.send([(b"k%d" % n, b"bad" if n in bad else b"%d" % n) for n in range(300)])


async def test_a_refused_record_becomes_a_dead_letter_and_all_others_are_written_once(
    make_rig: MakeRig, store: str
) -> None:
    """Bad records at both ends, side by side and alone: each is one dead letter that says why, and nothing waits."""
    rig = await make_rig(partitions=1)
    bad = [0, 137, 138, 200, 299]
    await _load_with_bad(rig, *bad)
    await rig.send([(b"k", b"bad and gone")])
    worker = rig.worker(run="batch_sink", store=store)
    (worker.directory / "picky").touch()
    await rig.drained()
    assert _offsets(worker) == [offset for offset in range(300) if offset not in bad]
    letters = await rig.read(rig.dead)
    assert [letter.headers for letter in letters] == [(("reason", f"0/{offset} bad value".encode()),) for offset in bad]
    assert worker.metric("dead_letters_total") == len(bad) + 1
    assert "rows were refused for what they hold and are dead letters" in worker.log


async def test_a_kill_in_the_middle_of_a_split_doubles_nothing(make_rig: MakeRig, store: str) -> None:
    """A part of a refused batch is in doubt when the worker dies, and nothing is refused any more when it lives again:
    the same part comes again, and only the rest after it.
    """
    rig = await make_rig(partitions=1)
    await _load_with_bad(rig, 200)
    worker = rig.worker(run="batch_sink", store=store)
    (worker.directory / "picky").touch()
    (worker.directory / "hold-at-0").touch()
    await until(lambda: len(lines(worker.directory / "batches.jsonl")) == 1, 20, "a part in doubt")
    (part,) = lines(worker.directory / "batches.jsonl")
    await rig.kill(worker)
    (worker.directory / "picky").unlink()
    (worker.directory / "hold-at-0").unlink()
    rig.worker(run="batch_sink", store=store)
    await rig.drained()
    assert part["offsets"][-1] < 200
    assert lines(worker.directory / "batches.jsonl")[1] == part
    assert _offsets(worker) == list(range(300))
    assert await rig.read(rig.dead) == []


async def test_a_topic_made_anew_is_written_from_its_beginning(make_rig: MakeRig, store: str) -> None:
    """Deleted and made again with more records than before, so that offsets tell nothing: its id does."""
    rig = await make_rig(partitions=1)
    await rig.load(1_000, 10)
    worker = rig.worker(run="batch_sink", store=store)
    await rig.drained()
    assert await worker.terminate() == 0
    await rig.remake(rig.source)
    await rig.load(3_000, 10)
    rig.worker(run="batch_sink", store=store)
    await rig.drained()
    batches = lines(worker.directory / "batches.jsonl")
    ids = list(dict.fromkeys(batch["topic_id"] for batch in batches))
    assert len(ids) == 2
    assert all(len(topic_id) == 32 for topic_id in ids)
    offsets = {topic_id: [n for b in batches if b["topic_id"] == topic_id for n in b["offsets"]] for topic_id in ids}
    assert offsets == {ids[0]: list(range(1_000)), ids[1]: list(range(3_000))}
    assert "the topic was deleted and created again; starting over" in worker.log
