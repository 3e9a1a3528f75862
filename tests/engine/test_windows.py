"""Deadlines follow the time of their partition: that of its records, or what stages in front of it pass on."""

import time
from collections import Counter
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from streams.engine.clock import read_mark
from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, until
from tests.engine.stages import WINDOW_MS

#: An hour ago: what is older than its topic's retention is deleted.
START = (int(time.time()) - 3_600) * 1_000


def events(*pairs: tuple[str, int]) -> list[tuple[bytes, bytes]]:
    """Records of these keys at these seconds after START."""
    return [(key.encode(), b"%d" % (START + second * 1_000)) for key, second in pairs]


def closed(records: Sequence[ConsumerRecord[bytes, bytes]]) -> list[tuple[str, int, int]]:
    """Key, count and deadline of every window that was closed."""
    found = [(record.key.decode(), *map(int, record.value.split())) for record in records]
    return [(key, count, at) for key, count, at in found]


async def test_windows_expire_by_time_with_a_tombstone_in_the_same_flush(make_rig: MakeRig, store: str) -> None:
    """A window closes before the first record of a later time is counted, whatever any clock of ours says."""
    rig = await make_rig(partitions=1)
    worker = rig.worker(run="windows", store=store, clock_ahead=3_600.0)
    await rig.send(events(("a", 0), ("b", 1), ("a", 2)))
    await rig.drained()
    assert await rig.read(rig.output) == []
    assert (await rig.table()).keys() == {b"a", b"b"}
    # Time goes on while nothing comes: eight seconds are left until it closes the window of `a` by itself.
    await rig.send(events(("c", 8), ("a", 11)))
    await rig.drained()
    assert closed(await rig.read(rig.output)) == [("a", 2, START + 10_000), ("b", 1, START + 11_000)]
    assert (await rig.table()).keys() == {b"a", b"c"}
    deleted = {record.key for record in await rig.read(rig.changelog) if record.value is None}
    # On a machine so slow that eight seconds pass before the second batch, time has closed the window of `a` before.
    assert deleted - {b"a"} == {b"b"}
    assert await worker.terminate() == 0


async def test_records_out_of_order_keep_their_window(make_rig: MakeRig) -> None:
    """Time does not go back for a few seconds, so a window of an older record closes as soon as time moves on."""
    rig = await make_rig(partitions=1)
    rig.worker(run="windows")
    for batch in (
        events(("a", 5), ("b", 9), ("a", 1), ("a", 3), ("c", 2), ("a", 9)),
        events(("end", 50), ("late", 14), ("end", 51)),
        events(("end2", 100)),
    ):
        await rig.send(batch)
        await rig.drained()
    found = Counter({key: count for key, count, _ in closed(await rig.read(rig.output))})
    assert found == Counter({"a": 4, "b": 1, "c": 1, "late": 1, "end": 2})


async def test_deadlines_survive_a_kill(make_rig: MakeRig, store: str) -> None:
    """The index is rebuilt from the values: windows opened before the kill close after it, once."""
    rig = await make_rig()
    await rig.send([(b"k%d" % number, b"%d" % START) for number in range(2_000)] * 2)
    worker = rig.worker(run="windows", store=store)
    await rig.drained()
    await rig.kill(worker)
    for place in range(4):
        await rig.send([(b"end", b"%d" % (START + WINDOW_MS))], partition=place)
    rig.worker(run="windows", store=store)
    await rig.drained()
    found = closed(await rig.read(rig.output))
    assert sorted(found) == sorted((f"k{number}", 2, START + WINDOW_MS) for number in range(2_000))
    assert (await rig.table()).keys() == {b"end"}


async def test_time_passes_through_the_stages_while_nothing_comes(make_rig: MakeRig) -> None:
    """A window closes by itself within two seconds after its deadline and not before, by the broker's clock.

    The worker's own wall clock is an hour ahead at first and an hour behind later. Marks are no records for a stage.
    """
    rig = await make_rig(partitions=2, append_time=True)
    worker = rig.worker(run="windows", relay=rig.relay, clock_ahead=3_600.0)
    await rig.send([(b"k%d" % number, b"x") for number in range(20)], topic=rig.relay)

    async def all_closed() -> bool:
        return len(await rig.read(rig.output)) == 20

    await until(all_closed, 25, "20 windows closed by time alone", every=0.2)
    outputs = await rig.read(rig.output)
    opened = {record.key.decode(): record.timestamp for record in await rig.read(rig.source) if not read_mark(record)}
    for record, (key, count, at) in zip(outputs, closed(outputs), strict=True):
        assert (count, at) == (1, opened[key] + WINDOW_MS)
        assert at <= record.timestamp <= at + 4_000
    # The worker writes its metrics five times a second.
    await until(lambda: worker.metric("deadlines_fired_total") == 20, 5, "its metrics")
    assert worker.metric("records_processed_total") == 40
    assert await rig.table() == {}
    assert await worker.terminate() == 0


async def test_a_lag_of_marks_alone_is_committed_at_once(make_rig: MakeRig) -> None:
    """An idle partition gets marks for ever: their offsets are committed, its changelog does not grow by them."""
    rig = await make_rig(partitions=1, append_time=True)
    worker = rig.worker(run="windows", relay=rig.relay)
    await until(lambda: worker.owns(1), 20, "both partitions open")
    before = (await rig.ends(rig.changelog))[0]
    await _marks(rig, 5)
    ends = (await rig.ends(rig.source))[0]

    async def committed() -> bool:
        return (await rig.committed())[0] >= ends

    await until(committed, 10, "the marks committed", every=0.2)
    assert (await rig.ends(rig.changelog))[0] == before
    assert await worker.terminate() == 0


async def test_a_restart_with_an_armed_key_fires_it_once(make_rig: MakeRig) -> None:
    """Killed while a deadline waits, and once more after it fired: it fires at its time, and is put out once."""
    rig = await make_rig(partitions=1, append_time=True)
    worker = rig.worker(run="windows", relay=rig.relay)
    await rig.send([(b"a", b"x")], topic=rig.relay)

    async def armed() -> bool:
        return bool(await rig.table())

    await until(armed, 20, "the key in the changelog", every=0.1)
    await rig.kill(worker)
    worker = rig.worker(run="windows", relay=rig.relay)

    async def fired() -> bool:
        return bool(await rig.read(rig.output)) and not await rig.table()

    await until(fired, 30, "the window closed", every=0.2)
    await rig.kill(worker)
    rig.worker(run="windows", relay=rig.relay)
    await _marks(rig, 5)
    (output,) = await rig.read(rig.output)
    # What the killed worker had not committed was copied once more.
    copies = [record for record in await rig.read(rig.source) if not read_mark(record)]
    assert output.value == b"%d %d" % (len(copies), copies[0].timestamp + WINDOW_MS)


async def test_a_deadline_that_cannot_fire_is_a_dead_letter_and_touches_nothing_else(make_rig: MakeRig) -> None:
    """It backs off alone, other keys fire at their time, records go on, and the worker stays; its key is in hex."""
    rig = await make_rig(partitions=1)
    worker = rig.worker(run="windows")
    await rig.send([(b"bad", b"poison"), (b"good", b"x"), (b"healed", b"poison")], timestamp=START)
    for second in (12, 14, 20, 50):
        await rig.send([(b"healed" if second == 12 else b"other", b"unpoison")], timestamp=START + second * 1_000)
        await rig.drained()
    await rig.send([(b"other", b"x")], timestamp=START + 200_000)
    await rig.drained()
    found = closed(await rig.read(rig.output))
    assert [key for key, _, _ in found] == ["good", "healed", "other", "other"]
    (letter,) = await rig.read(rig.dead)
    assert (letter.key, letter.headers[0][1]) == (b"bad".hex().encode(), b"0/6 poison")
    assert worker.metric("dead_letters_total") == 1
    assert worker.alive
    assert await worker.terminate() == 0


async def test_a_full_table_forgets_what_may_go_and_is_due_first(make_rig: MakeRig, store: str) -> None:
    """Keys that came once may go here: no other one does, those that are due last stay, and the metric counts."""
    rig = await make_rig(partitions=1)
    worker = rig.worker(run="windows", store=store, max_keys=1_000)
    await rig.send([(b"armed%03d" % number, b"x") for number in range(300)] * 2, timestamp=START)
    for wave in range(20):
        await rig.send([(b"k%02d-%02d" % (wave, number), b"x") for number in range(100)], timestamp=START + wave * 300)
        await rig.drained()
    keys = (await rig.table()).keys()
    assert {b"armed%03d" % number for number in range(300)} < keys
    assert 900 < len(keys) <= 1_000
    once = sorted(key for key in keys if key.startswith(b"k"))
    assert once == sorted(b"k%02d-%02d" % (wave, number) for wave in range(20) for number in range(100))[-len(once) :]
    assert worker.metric("state_evicted_total") == 2_300 - len(keys)
    assert worker.metric("state_over_bound_keys") == 0
    await rig.send([(b"more%03d" % number, b"x") for number in range(900)] * 2, timestamp=START + 6_000)
    await rig.drained()
    await until(lambda: worker.metric("state_over_bound_keys") == 200, 5, "200 keys above the bound that may not go")
    assert await worker.terminate() == 0


async def _marks(rig: Rig, count: int) -> None:
    """Wait for so many more marks on each partition of the source."""
    before, deadline = await rig.ends(rig.source), time.monotonic() + 30

    async def come() -> bool:
        assert time.monotonic() < deadline
        return all(end >= before[place] + count for place, end in (await rig.ends(rig.source)).items())

    await until(come, 30, f"{count} marks", every=0.2)
