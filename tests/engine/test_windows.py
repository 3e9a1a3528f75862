"""Windows and deadlines run on event time, on idle partitions on the clock; tables keep their bound."""

from collections import Counter

from tests.engine.conftest import MakeRig
from tests.engine.harness import check_outputs, until
from tests.engine.stages import WINDOW_MS

START = 1_700_000_000_000


def events(*pairs: tuple[str, int]) -> list[tuple[bytes, bytes]]:
    """Records of these keys at these seconds after START."""
    return [(key.encode(), b"%d" % (START + second * 1_000)) for key, second in pairs]


async def test_windows_expire_by_event_time_with_a_tombstone_in_the_same_flush(make_rig: MakeRig, store: str) -> None:
    """A window closes when the partition's event time has passed it, whatever the wall clock says."""
    rig = await make_rig(partitions=1)
    worker = rig.worker(run="windows", store=store)
    await rig.send(events(("a", 0), ("b", 1), ("a", 2), ("c", 8)))
    await rig.drained()
    assert await rig.read(rig.output) == []
    assert (await rig.table()).keys() == {b"a", b"b", b"c"}
    await rig.send(events(("d", 11)))
    await rig.drained()
    assert [(r.key, r.value) for r in await rig.read(rig.output)] == [(b"a", b"2"), (b"b", b"1")]
    assert (await rig.table()).keys() == {b"c", b"d"}
    assert [record.key for record in await rig.read(rig.changelog) if record.value is None] == [b"a", b"b"]
    assert await worker.terminate() == 0


async def test_late_and_out_of_order_records_keep_their_window(make_rig: MakeRig) -> None:
    """Within the window any order gives the same counts; stream time never goes back."""
    rig = await make_rig(partitions=1)
    rig.worker(run="windows")
    for batch in (
        events(("a", 5), ("b", 9), ("a", 1), ("a", 3), ("c", 2), ("a", 9)),
        events(("end", 60), ("late", 4), ("end", 61)),
        events(("end2", 100)),
    ):
        await rig.send(batch)
        await rig.drained()
    found = Counter({r.key: int(r.value) for r in await rig.read(rig.output)})
    assert found == Counter({b"a": 4, b"b": 1, b"c": 1, b"late": 1, b"end": 2})


async def test_deadlines_survive_a_kill(make_rig: MakeRig, store: str) -> None:
    """The index is rebuilt from the values: windows opened before the kill close after it, once."""
    rig = await make_rig()
    await rig.send([(b"k%d" % number, b"%d" % START) for number in range(2_000)] * 2)
    worker = rig.worker(run="windows", store=store)
    await rig.drained()
    await rig.kill(worker)
    for place in range(4):
        await rig.send([(b"end", b"%d" % (START + WINDOW_MS + 2_000))], partition=place)
    worker = rig.worker(run="windows", store=store)
    await rig.drained()
    closed = [(record.key, record.value) for record in await rig.read(rig.output)]
    assert sorted(closed) == sorted((b"k%d" % number, b"2") for number in range(2_000))
    assert (await rig.table()).keys() == {b"end"}


async def test_an_idle_partition_gets_ticks_and_a_busy_one_does_not(make_rig: MakeRig) -> None:
    """A tick runs on the injected clock once the partition has been quiet; its outputs and deletions are kept."""
    rig = await make_rig(partitions=1)
    # The clock is far ahead, so that the first tick closes every window.
    worker = rig.worker(run="ticking_windows", ticks=True, clock_ahead=100_000.0)
    await rig.send([(b"a", b"now"), (b"b", b"now")])

    async def closed() -> bool:
        return {record.key for record in await rig.read(rig.output)} == {b"a", b"b"}

    await until(closed, 15, "the windows closed by a tick", every=0.2)
    await until(lambda: all(lane["keys"] == 0 for lane in worker.status["lanes"].values()), 5, "keys forgotten")
    assert await rig.table() == {}
    assert await worker.terminate() == 0


async def test_what_a_tick_only_deletes_is_in_the_changelog(make_rig: MakeRig) -> None:
    """A tick that puts nothing out but changes state is flushed like any batch."""
    rig = await make_rig(partitions=1)
    rig.worker(run="silent_windows", ticks=True, clock_ahead=100_000.0)
    await rig.send([(b"a", b"now"), (b"b", b"now")])

    async def forgotten() -> bool:
        return (
            bool(await rig.read(rig.changelog))
            and await rig.table() == {}
            and sum((await rig.committed()).values()) == 2
        )

    await until(forgotten, 15, "the deletions in the changelog", every=0.2)


async def test_a_full_table_forgets_its_oldest_keys_and_counts_them(make_rig: MakeRig, store: str) -> None:
    """The bound holds per partition, in memory, in the metric and in what a new owner recovers."""
    rig = await make_rig(partitions=2)
    await rig.load(20_000, 20_000)
    worker = rig.worker(store=store, max_keys=1_000)
    await rig.drained()
    await until(lambda: worker.metric("state_evicted_total") == 18_000, 5, "18,000 evictions")
    assert worker.metric("state_keys") == 2_000
    table = await rig.table()
    assert len(table) == 2_000
    check_outputs(await rig.read(rig.output), rig.first)
    if store == "memory":
        newest: set[bytes] = set()
        for place in range(2):
            newest |= set([key for key in rig.sent if rig.partition(key) == place][-1_000:])
        assert table.keys() == newest
