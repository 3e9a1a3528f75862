"""What a worker finds after its end: changelogs of every kind, and offsets that do not agree with them."""

import time

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.engine.broker import Broker, Item
from streams.engine.changelog import OWN, POS, Owner, Position, own_record, pos_record
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.harness import admin, check_counts, until
from tests.engine.stages import number


async def test_a_million_keys_are_recovered_within_60_seconds(make_rig: MakeRig, store: str) -> None:
    """From an empty directory to ready; then every key is known and goes on from its value."""
    rig = await make_rig()
    keys = [b"key-%d" % number for number in range(1_000_000)]
    places: list[list[bytes]] = [[] for _ in range(rig.partitions)]
    for key in keys:
        places[rig.partition(key)].append(key)
    broker = Broker(Kafka(rig.bootstrap), "loader")
    owner = Owner(3, 1)
    one = (1).to_bytes(4, "big")
    for place, held in enumerate(places):
        chunks: list[list[Item]] = []
        for part, start in enumerate(range(0, len(held), 20_000)):
            chunk: list[Item] = [(OWN, own_record(owner, part), ())]
            chunk += [(key, one, ()) for key in held[start : start + 20_000]]
            chunks.append(chunk)
        chunks[-1].append((POS, pos_record(Position()), ()))
        await broker.append(rig.changelog, place, chunks)
    await broker.stop()
    started = time.monotonic()
    worker = rig.worker(store=store)
    await until(lambda: worker.owns(4), 60, "ready", every=0.1)
    seconds = time.monotonic() - started
    print(f"1,000,000 keys in {store}: ready after {seconds:.1f} s, "
          f"recovery {worker.metric('table_recovery_seconds'):.1f} s")  # fmt: skip
    assert sum(lane["keys"] for lane in worker.status["lanes"].values()) == 1_000_000
    await rig.send([(key, b"again") for key in keys[:2_000]])
    await rig.drained()
    assert worker.metric("records_processed_total") == 2_000
    table = await rig.table()
    assert len(table) == 1_000_000
    assert all(table[key] == (2).to_bytes(4, "big") for key in keys[:2_000])
    assert all(table[key] == one for key in keys[2_000:4_000])
    assert await rig.read(rig.output) == []


async def test_the_changelogs_position_beats_a_committed_offset_that_is_ahead(make_rig: MakeRig, store: str) -> None:
    """Records between the position and the committed offset are processed."""
    rig = await make_rig()
    await rig.load(10_000, 1_000)
    first = rig.worker(store=store)
    await rig.drained()
    assert await first.terminate() == 0
    await rig.load(10_000, 1_000)
    await rig.commit(await rig.ends(rig.source))
    rig.worker(store=store)
    positions = await rig.ends(rig.source)

    async def caught_up() -> bool:
        return {place: s.position.offset + 1 for place, s in enumerate(await rig.stores())} == positions

    await until(caught_up, 15, "the position at the end", every=0.3)
    await rig.check()


async def test_the_changelogs_position_beats_a_committed_offset_that_is_behind(make_rig: MakeRig, store: str) -> None:
    """Records up to the position are not counted again, and the committed offset is put right."""
    rig = await make_rig()
    await rig.load(10_000, 1_000)
    first = rig.worker(store=store)
    await rig.drained()
    assert await first.terminate() == 0
    await rig.commit(dict.fromkeys(range(4), 3))
    second = rig.worker(store=store)
    await rig.drained()
    assert second.processed == 0
    await rig.check()


async def test_an_empty_changelog_starts_at_the_committed_offset(make_rig: MakeRig, store: str) -> None:
    """A table that never was written has no position: the group's offset holds, else the beginning."""
    rig = await make_rig()
    await rig.load(4_000, 100)
    await rig.commit(await rig.ends(rig.source))
    rig.sent.clear()
    rig.first.clear()
    await rig.load(3_000, 100)
    rig.worker(store=store)
    await rig.drained()
    await rig.check()


async def test_a_fully_compacted_changelog_gives_the_same_state(make_rig: MakeRig, store: str) -> None:
    """After compaction only the newest record of each key is left; a new owner recovers the same table."""
    rig = await make_rig(
        partitions=2,
        **{
            "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "min.compaction.lag.ms": "0",
            "max.compaction.lag.ms": "100", "delete.retention.ms": "0",
        },
    )  # fmt: skip
    async with admin(rig.bootstrap) as client:
        await client.alter_configs(
            [ConfigResource(ConfigResourceType.BROKER, "1", configs={"log.cleaner.backoff.ms": "100"})]
        )
    worker = rig.worker(store=store)
    for _ in range(8):
        await rig.load(2_000, 200)
        await rig.drained()

    async def compacted() -> bool:
        # A segment rolls when something is appended after its time.
        await rig.load(4, 4)
        await rig.drained()
        records = await rig.read(rig.changelog)
        return sum(record.key == b"k150" for record in records) == 1 and len(records) < 400

    await until(compacted, 30, "the compaction", every=0.3)
    await rig.check()
    await rig.kill(worker)
    await rig.load(3_000, 200)
    # In another directory: from the changelog alone. Then in it again, from what RocksDB kept.
    for name in ("b", "b"):
        worker = rig.worker(name, store=store)
        await rig.drained()
        await rig.check()
        await rig.kill(worker)
        await rig.load(1_000, 200)


async def test_a_flush_of_many_chunks_is_whole_or_nothing(make_rig: MakeRig, store: str) -> None:
    """Killed between the chunks of one flush, the next owner starts from the flush before it."""
    rig = await make_rig(partitions=1)
    await rig.load(2_000, 400)
    worker = rig.worker(store=store, padding=10_000, die_at=("chunk", 2))
    assert await worker.ended(20) == -9
    torn = await rig.read(rig.changelog)
    assert torn[-1].key != POS
    assert sum(record.key == OWN for record in torn) >= 3
    await rig.kill(worker)
    rig.worker(store=store, padding=10_000)
    await rig.drained()
    await rig.check()
    fence, *_ = [record.offset for record in (await rig.read(rig.changelog)) if record.offset >= len(torn)]
    assert fence == len(torn)


async def test_a_value_larger_than_a_batch_is_kept(make_rig: MakeRig, store: str) -> None:
    """2 MB in one value: written, recovered, and fenced like any other."""
    rig = await make_rig(partitions=1)
    await rig.load(20, 2)
    first = rig.worker(store=store, padding=2_000_000)
    await rig.drained()
    await rig.kill(first)
    await rig.load(20, 2)
    rig.worker("b", store=store, padding=2_000_000)
    await rig.drained()
    await rig.check()
    records = await rig.read(rig.changelog)
    owners = [record.offset for record in records if record.key == OWN]
    # Every large value travels in a batch that its owner begins.
    assert all(
        any(at < record.offset <= at + 2 for at in owners) for record in records if len(record.value) > 2_000_000
    )


async def test_a_source_made_anew_is_read_from_its_beginning_and_said_so(make_rig: MakeRig, store: str) -> None:
    """A position beyond the end cannot be right: start over, with an error in the log."""
    rig = await make_rig(partitions=1)
    await rig.load(5_000, 50)
    first = rig.worker(store=store)
    await rig.drained()
    assert await first.terminate() == 0
    await rig.remake(rig.source)
    await rig.load(1_000, 50)
    second = rig.worker(store=store)
    await rig.drained()
    assert "the topic was deleted and created again; starting over" in second.log
    check_counts(await rig.table(), rig.sent)


async def test_a_changelog_made_anew_gets_the_whole_table(make_rig: MakeRig) -> None:
    """The files of RocksDB know more than the changelog: everything is written to it again, with an error logged."""
    rig = await make_rig(partitions=1)
    await rig.load(5_000, 500)
    first = rig.worker(store="rocksdict")
    await rig.drained()
    assert await first.terminate() == 0
    await rig.remake(rig.changelog)
    await rig.load(100, 10)
    second = rig.worker(store="rocksdict")
    await rig.drained()
    assert "writing the whole table to it" in second.log
    await rig.check()


async def test_files_that_missed_a_deletion_for_too_long_are_built_anew(make_rig: MakeRig) -> None:
    """A key was deleted while the files were away, and Kafka has forgotten even the deletion: it stays deleted."""
    rig = await make_rig(
        partitions=1,
        **{
            "delete.retention.ms": "100",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.001",
            "max.compaction.lag.ms": "100",
        },
    )
    await rig.send([(b"gone", b"1"), (b"kept", b"1")])
    first = rig.worker(store="rocksdict")
    await rig.drained()
    assert await first.terminate() == 0
    broker = Broker(Kafka(rig.bootstrap), "other owner")
    owner = Owner(9, 9)

    async def flush(*items: Item) -> None:
        end = [(OWN, own_record(owner, 0), ()), *items, (POS, pos_record(Position(1)), ())]
        await broker.append(rig.changelog, 0, [end])

    await flush((b"gone", None, ()))

    async def forgotten() -> bool:
        # A segment is compacted when a newer one has begun.
        await flush()
        return all(record.key != b"gone" for record in await rig.read(rig.changelog))

    await until(forgotten, 120, "the deletion's own removal", every=1)
    await broker.stop()
    assert await rig.table() == {b"kept": (1).to_bytes(4, "big")}
    second = rig.worker(store="rocksdict")
    await rig.send([(b"gone", b"2"), (b"kept", b"2")])
    await rig.drained()
    assert "has taken no flush for too long" in second.log
    assert {key: number(value) for key, value in (await rig.table()).items()} == {b"gone": 1, b"kept": 2}
    assert [record.value for record in await rig.read(rig.output) if record.key == b"gone"] == [b"1", b"2"]
