"""Whatever a producer or a disk puts into a partition is read, or ends as a dead letter, and stops nothing else."""

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer
from faust.types import TP

from streams.engine.fetch import last_offset
from streams.engine.watch import Watchdog
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.damage import send_damaged
from tests.engine.harness import Rig, until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def produce(rig: Rig, count: int, prefix: str, **settings: Any) -> None:
    """Send with librdkafka, which has every codec, in batches that are worth compressing."""
    producer = Producer({"bootstrap.servers": rig.bootstrap, "linger.ms": 50, **settings})
    for number in range(count):
        key, value = b"%s%d" % (prefix.encode(), number), b"%d " % number + b"x" * 200
        rig.sent[key] += 1
        rig.first.setdefault(key, value)
        producer.produce(rig.source, key=key, value=value, partition=rig.partition(key))
    assert producer.flush(20) == 0


async def letters(rig: Rig) -> list[dict[str, Any]]:
    """What was lost, without what is the same everywhere."""
    found = [json.loads(letter.value) for letter in await rig.read(rig.dead)]
    assert {(letter["topic"], letter["agent"]) for letter in found} <= {(rig.source, "counts")}
    return found


async def test_every_codec_is_read(make_rig: MakeRig) -> None:
    """A program may compress with any of Kafka's codecs without telling anybody."""
    rig = await make_rig(partitions=2)
    worker = rig.worker()
    for codec in CODECS:
        produce(rig, 100, codec, **{"compression.type": codec})
    await rig.drained()
    await rig.check()
    assert worker.metric("fetch_unreadable_total") == 0


@pytest.mark.parametrize("codec", CODECS[1:])
async def test_topics_that_compress_by_themselves_are_read(make_rig: MakeRig, codec: str) -> None:
    """A broker may compress what it was sent plain: input, outputs and changelogs stay readable (aiokafka #1112)."""
    rig = await make_rig(partitions=2, configs={"compression.type": codec})
    produce(rig, 100, "a")
    worker = rig.worker()
    await rig.drained()
    await rig.kill(worker)
    produce(rig, 100, "a")
    rig.worker()
    await rig.drained()
    await rig.check()


async def test_a_batch_nobody_can_read_becomes_a_dead_letter_by_reference(make_rig: MakeRig, store: str) -> None:
    """Its neighbours count once; a restart goes on behind it and does not bury it again."""
    rig = await make_rig(partitions=2)
    await rig.send([(b"before", b"1")], partition=0)
    first, last = await send_damaged(rig.bootstrap, rig.source, 0, [(b"lost", b"%d" % n) for n in range(7)])
    await rig.send([(b"behind", b"2")], partition=0)
    worker = rig.worker(store=store)
    await rig.drained()
    (letter,) = await letters(rig)
    assert (letter["partition"], letter["first"], letter["last"]) == (0, first, last)
    assert letter["reason"] == "unreadable_batch"
    assert letter["error"].startswith("UnicodeDecodeError")
    assert worker.metric("fetch_unreadable_total") == 5
    assert worker.metric("dead_letters_total") == 1
    assert f"{rig.source}/0 cannot be read at offset {first}, try 1" in worker.log
    assert await worker.terminate() == 0
    again = rig.worker(store=store)
    await rig.load(10, 10)
    await rig.drained()
    await rig.check()
    assert again.metric("fetch_unreadable_total") == 0
    assert len(await letters(rig)) == 1


async def test_other_partitions_go_on_at_once_while_one_cannot_be_read(make_rig: MakeRig) -> None:
    """What lies in another partition is committed before the first dead letter is written."""
    rig = await make_rig(partitions=2)
    worker = rig.worker()
    await until(lambda: worker.owns(2), 30, "open partitions")
    first, _ = await send_damaged(rig.bootstrap, rig.source, 0, [(b"lost", b"1")])
    await until(lambda: f"cannot be read at offset {first}" in worker.log, 10, "the first failed fetch")
    await rig.send([(b"k%d" % number, b"v") for number in range(20_000)], partition=1)
    await until(lambda: worker.processed == 20_000, 10, "the other partition")
    assert await letters(rig) == []
    await rig.drained()
    assert len(await letters(rig)) == 1


async def test_a_run_of_unreadable_batches_is_passed_quickly_and_each_has_its_letter(make_rig: MakeRig) -> None:
    """The pauses are for the first of a run: a program that only writes such batches does not stop its partition."""
    rig = await make_rig(partitions=1)
    lost = [await send_damaged(rig.bootstrap, rig.source, 0, [(b"lost", b"1")] * 2) for _ in range(20)]
    await rig.send([(b"behind", b"2")])
    worker = rig.worker()
    await rig.drained(30)
    assert [(letter["first"], letter["last"]) for letter in await letters(rig)] == lost
    assert worker.metric("fetch_unreadable_total") == 5 + 19
    await rig.check()


@pytest.mark.parametrize("run", ["batch_sink", "attended"])
async def test_sinks_pass_over_what_nobody_can_read(make_rig: MakeRig, run: str) -> None:
    """A sink of batches and a stage with an attendant go on behind it, and the letter is written."""
    rig = await make_rig(partitions=1)
    await rig.send([(b"before", b"1")])
    first, last = await send_damaged(rig.bootstrap, rig.source, 0, [(b"lost", b"1")] * 3)
    worker = rig.worker(run=run)
    await rig.drained()
    await rig.send([(b"behind", b"2")])
    await rig.drained()
    (letter,) = [json.loads(letter.value) for letter in await rig.read(rig.dead)]
    assert (letter["agent"], letter["first"], letter["last"]) == (run, first, last)
    assert worker.processed == 2


@pytest.mark.parametrize("run", ["counts", "batch_sink", "attended"])
async def test_an_aborted_transaction_did_not_happen(make_rig: MakeRig, run: str) -> None:
    """Only what was committed is read, and markers are no gap: offsets are committed to the partition's end."""
    rig = await make_rig(partitions=1)
    producer = Producer({"bootstrap.servers": rig.bootstrap, "transactional.id": rig.group})
    producer.init_transactions(10)
    for key, end in ((b"committed", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(rig.source, key=key, value=b"1", partition=0)
        producer.flush(10)
        end(10)
    worker = rig.worker(run=run, stalled_after=2.0)
    await rig.drained()
    assert worker.processed == 1
    if run == "counts":
        rig.sent = Counter({b"committed": 1})
        rig.first = {b"committed": b"1"}
        await rig.check()
    assert await rig.read(rig.dead) == []


async def test_an_open_transaction_is_no_standstill(make_rig: MakeRig) -> None:
    """What is written behind it is not read before it ends, so the watchdog does not miss it before."""
    rig = await make_rig(partitions=1)
    producer = Producer({"bootstrap.servers": rig.bootstrap, "transactional.id": rig.group})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(rig.source, key=b"k", value=b"1", partition=0)
    producer.flush(10)
    await rig.send([(b"behind", b"2")])
    watchdog = Watchdog(Kafka(rig.bootstrap))
    lane: Any = SimpleNamespace(committed=-1, progress_at=0.0, stalled_after=1.0)
    partition = TP(rig.source, 0)
    assert await watchdog.look({partition: lane}) is None
    producer.commit_transaction(10)

    async def missed() -> bool:
        lane.progress_at = 0.0
        return "3 behind, no progress" in str(await watchdog.look({partition: lane}))

    await until(missed, 10, "the end of the transaction")
    await watchdog.stop()


def batch(base: int, length: int, delta: int) -> bytes:
    """A batch's header, and zeros up to its length."""
    head = (
        base.to_bytes(8, "big") + length.to_bytes(4, "big") + bytes(5 + 4 + 2) + delta.to_bytes(4, "big", signed=True)
    )
    return head + bytes(max(0, 12 + length - len(head)))


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (batch(10, 60, 4) + batch(15, 60, 0), 14),
        (batch(10, 60, 4), 14),
        (batch(10, 60, 999) + batch(15, 60, 0), 14),
        (batch(10, 60, 999), 99),
        (batch(10, 60, -7), 99),
        (batch(10, 60, 4) + batch(5, 60, 0), 14),
        (batch(10, 60, 999) + batch(5, 60, 0), 99),
        (batch(10, 2_000, 4)[:60], 14),
        (batch(10, 1, 4), 14),
        (b"", 10),
    ],
    ids=["whole", "alone", "delta", "delta too large", "delta negative", "next", "both", "cut", "length", "nothing"],
)
def test_the_end_of_a_damaged_batch_is_never_before_it(data: bytes, last: int) -> None:
    """The next batch's offset counts, else the header's; what lies outside of 10 to 99 is damage, and 99 the end."""
    assert last_offset(data, 10, 100) == last
