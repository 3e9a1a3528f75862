"""A worker that was away too long cannot harm the state of the partitions it lost."""

import os
import signal

import msgspec
import pytest
from aiokafka import ConsumerRecord

from streams.engine.broker import Broker
from streams.engine.changelog import OWN, POS, Owner, Position, own_record, pos_record
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.harness import until


def own_of(record: ConsumerRecord[bytes, bytes]) -> Owner:
    """The owner named in an `__own__` record."""
    fence, generation, _ = msgspec.msgpack.decode(record.value)
    return Owner(fence, generation)


@pytest.mark.parametrize(("store", "idle"), [("memory", False), ("rocksdict", True)])
async def test_a_zombies_flushes_in_flight_are_fenced(make_rig: MakeRig, store: str, idle: bool) -> None:
    """SIGSTOP with flushes in flight, another worker takes over, SIGCONT: the sum is exact, the zombie ends."""
    rig = await make_rig()
    await rig.load(100_000, 5_000)
    zombie = rig.worker("zombie", store=store)
    await zombie.busy(15_000)
    zombie.send_signal(signal.SIGSTOP)
    heir = rig.worker("heir", store=store)
    await until(lambda: heir.owns(4), 30, "the heir's partitions")
    if idle:
        await rig.drained()
    else:
        await rig.load(50_000, 5_000)
    zombie.send_signal(signal.SIGCONT)
    await until(lambda: not zombie.alive or zombie.owns(2), 30, "the zombie's end or return")
    await rig.load(20_000, 5_000)
    await rig.drained()
    await rig.check()
    # And once more from what is on disk and in the log, by everyone.
    for worker in (zombie, heir):
        await rig.kill(worker)
    await rig.load(5_000, 5_000)
    rig.worker("zombie", store=store)
    await rig.drained()
    await rig.check()


async def test_a_zombies_flush_that_lands_late_is_ignored_and_written_over(make_rig: MakeRig) -> None:
    """Held back inside the flush until another worker owns the partition and has written, then let go."""
    rig = await make_rig(partitions=1)
    await rig.load(1_000, 100)
    zombie = rig.worker("zombie", store="rocksdict", gate=True)
    await rig.drained()
    (zombie.directory / "gate").touch()
    await rig.load(1_000, 100, prefix=b"late")
    await zombie.busy(2_000)
    zombie.send_signal(signal.SIGSTOP)
    heir = rig.worker("heir", store="rocksdict")
    await until(lambda: heir.owns(1), 30, "the heir's partition")
    await rig.load(1_000, 100, prefix=b"late")
    await rig.load(1_000, 100, prefix=b"heir")
    await rig.drained()
    os.unlink(zombie.directory / "gate")
    before = len(await rig.read(rig.changelog))
    zombie.send_signal(signal.SIGCONT)
    await until(
        lambda: not zombie.alive or zombie.metric("consumer_rebalances_total") > 1, 20, "the zombie's awakening"
    )
    await rig.check()
    await rig.load(100, 100)
    await rig.drained()
    await rig.check()
    # It did land: between the heir's records there is a whole flush that its reader had to ignore.
    owners = [own_of(record) for record in (await rig.read(rig.changelog))[before:] if record.key == OWN]
    assert owners[0] < max(owners)
    newest = {record.key: record.value for record in await rig.read(rig.changelog)}
    assert newest[b"late7"] == (20).to_bytes(4, "big")
    # What its own RocksDB holds must not be the ignored flush either.
    for worker in (zombie, heir):
        await rig.kill(worker)
    await rig.load(1_000, 100, prefix=b"late")
    await rig.load(1_000, 100, prefix=b"heir")
    rig.worker("zombie", store="rocksdict")
    await rig.drained()
    await rig.check()


async def test_an_owner_writes_the_keys_of_a_former_owner_again(make_rig: MakeRig) -> None:
    """A fenced flush in the log is noticed by its gap; the rightful values are written after it at once."""
    rig = await make_rig(partitions=1)
    await rig.load(1_000, 100)
    worker = rig.worker()
    await rig.drained()
    outsider = Broker(Kafka(rig.bootstrap), "outsider")
    lie = (9_999).to_bytes(4, "big")
    begin, end = (OWN, own_record(Owner(0, 0), 0), ()), (POS, pos_record(Position(5)), ())
    await outsider.append(rig.changelog, 0, [[begin, (b"k7", lie, ()), (b"stray", lie, ()), end]])
    await outsider.stop()
    await rig.check()
    await rig.load(1, 1)
    await rig.drained()
    await until(lambda: worker.metric("changelog_foreign_writes_total") == 1, 5, "the gap noticed")
    newest = {record.key: record.value for record in await rig.read(rig.changelog)}
    # What compaction would keep is right: the owner's value, and no trace of a key the owner never had.
    assert newest[b"k7"] == (10).to_bytes(4, "big")
    assert newest[b"stray"] is None
    await rig.check()


async def test_a_newer_owner_in_the_log_ends_the_older_one(make_rig: MakeRig) -> None:
    """Whoever finds a higher owner before its own flush has lost the partition and fails loudly."""
    rig = await make_rig(partitions=1)
    await rig.load(1_000, 100)
    worker = rig.worker()
    await rig.drained()
    outsider = Broker(Kafka(rig.bootstrap), "outsider")
    await outsider.append(rig.changelog, 0, [[(OWN, own_record(Owner(99, 0), 0), ())]])
    await outsider.stop()
    await rig.load(1_000, 100)
    assert await worker.ended(60) == 1
    assert "belongs to Owner(fence=99" in worker.log
    await rig.kill(worker)
    rig.worker("b")
    await rig.drained()
    await rig.check()


async def test_a_flush_that_lands_before_the_fence_counts(make_rig: MakeRig, store: str) -> None:
    """Between the heir's reading and its fence the former owner flushed once more: the heir goes on from there."""
    rig = await make_rig(partitions=1)
    await rig.load(1_000, 100)
    former = rig.worker("former", store=store)
    await rig.drained()
    await rig.kill(former)
    (owner, *_) = [own_of(record) for record in await rig.read(rig.changelog) if record.key == OWN]
    await rig.load(1_000, 100)
    flush = [(OWN, own_record(owner, 0)), *((b"k%d" % number, (20).to_bytes(4, "big")) for number in range(100))]
    heir = rig.worker("heir", store=store, intrusion=[*flush, (POS, pos_record(Position(1_999)))])
    await rig.drained()
    assert heir.processed == 0
    await rig.check()


async def test_a_kept_table_goes_on_with_a_fence_of_its_own(make_rig: MakeRig) -> None:
    """Two workers hand a partition back and forth; what is written in between is nobody's zombie."""
    rig = await make_rig(partitions=2)
    first = rig.worker("a")
    await until(lambda: first.owns(2), 20, "both partitions")
    for _ in range(2):
        await rig.load(2_000, 100)
        await rig.drained()
        second = rig.worker("b")
        await until(lambda second=second: first.owns(1) and second.owns(1), 20, "one each")
        await rig.load(2_000, 100)
        await rig.drained()
        await rig.check()
        assert await second.terminate() == 0
        await until(lambda: first.owns(2), 20, "both again")
    await rig.load(2_000, 100)
    await rig.drained()
    await rig.check()
    await rig.kill(first)
    await rig.load(2_000, 100)
    rig.worker("b")
    await rig.drained()
    await rig.check()
