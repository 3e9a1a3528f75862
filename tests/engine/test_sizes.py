"""What Kafka refuses for its size ends as a dead letter; everything else goes on, in order."""

import json
import uuid

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from streams.engine.broker import Broker
from streams.engine.losses import StateTooLargeError
from streams.engine.state import PartitionState
from streams.engine.store import MemoryStore
from streams.process.kafka import Kafka
from tests.engine.conftest import MakeRig
from tests.engine.harness import Rig, admin, until

LIMIT = {"max.message.bytes": "100000"}


async def restrict(rig: Rig, topic: str, size: int) -> None:
    """Set how large a record batch the topic takes, and wait until the broker goes by it.

    Kafka answers before its log knows the limit, but applies changes in their order: once a later change
    of another topic is in force, this one is.
    """
    witness = f"{topic}.{uuid.uuid4().hex}"
    async with admin(rig.bootstrap) as client:
        await client.create_topics([NewTopic(witness, 1, 1)])
        for name in (topic, witness):
            configs = {"max.message.bytes": str(size)}
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])
    async with AIOKafkaProducer(bootstrap_servers=rig.bootstrap) as producer:

        async def refused() -> bool:
            try:
                await producer.send_and_wait(witness, bytes(size + 1), partition=0)
            except MessageSizeTooLargeError:
                return True
            return False

        await until(refused, 20, f"the limit of {topic}")


async def test_an_output_that_is_too_large_is_a_dead_letter_of_its_record(make_rig: MakeRig) -> None:
    """All other outputs of that batch are sent, and the state of all records is kept."""
    rig = await make_rig(partitions=1)
    await restrict(rig, rig.output, 100_000)
    records = [(b"k%d" % number, b"v") for number in range(500)]
    records[250] = (b"large", bytes(150_000))
    await rig.send(records)
    worker = rig.worker()
    await rig.drained()
    assert [letter.value for letter in await rig.read(rig.dead)] == [bytes(150_000)]
    ((_, reason),) = (await rig.read(rig.dead))[0].headers
    assert reason.startswith(b"0/250 " + rig.output.encode() + b" takes no record of 150")
    assert reason.endswith(b"at most 100000")
    del rig.first[b"large"]
    await rig.check()
    assert [record.key for record in await rig.read(rig.output)] == [key for key, _ in records if key != b"large"]
    assert worker.metric("commit_retries_total") == 0


async def test_a_dead_letter_that_is_too_large_goes_without_its_body(make_rig: MakeRig) -> None:
    """The topic of dead letters has its limit too."""
    rig = await make_rig(partitions=1)
    await restrict(rig, rig.dead, 100_000)
    await restrict(rig, rig.output, 100_000)
    await rig.send([(b"large", bytes(600_000)), (b"small", b"v")])
    rig.worker()
    await rig.drained()
    (letter,) = await rig.read(rig.dead)
    assert (letter.key, letter.value) == (b"large", b"")
    assert [record.key for record in await rig.read(rig.output)] == [b"small"]


async def test_a_value_the_changelog_cannot_hold_is_a_dead_letter_and_changes_nothing(make_rig: MakeRig) -> None:
    """The record that grew it is given up with its output; the key is as it was before."""
    rig = await make_rig(partitions=1, configs={"max.message.bytes": "200000"})
    await rig.send([(b"small", b"v"), (b"grows", b"v"), (b"grows", b"pad"), (b"behind", b"v")])
    worker = rig.worker(run="grows", padding=300_000)
    await rig.drained()
    (letter,) = await rig.read(rig.dead)
    assert (letter.key, letter.value) == (b"grows", b"pad")
    assert b"a value of 300004 bytes cannot be kept: at most 100000" in letter.headers[0][1]
    rig.sent[b"grows"] -= 1
    await rig.check()
    assert worker.metric("commit_retries_total") == 0


async def test_changes_go_in_chunks_that_the_changelog_takes(make_rig: MakeRig) -> None:
    """A changelog of small records takes any number of changes."""
    rig = await make_rig(partitions=1, **LIMIT)
    await rig.load(5_000, 5_000)
    worker = rig.worker(padding=100)
    await rig.drained()
    await rig.check()
    assert worker.metric("commit_retries_total") == 0


async def test_what_a_topic_refuses_unexpectedly_is_named_and_the_rest_is_sent_in_order(make_rig: MakeRig) -> None:
    """Somebody lowered the topic's limit since it was asked for: one by one what is too large is found."""
    rig = await make_rig(partitions=2)
    broker = Broker(Kafka(rig.bootstrap), "sizes")
    sizes = [10, 40_000, 30_000, 120_000, 20, 150_000, 30, 90_000, 40]
    items = [(b"%d" % number, bytes(size), ()) for number, size in enumerate(sizes)]
    await restrict(rig, rig.output, 100_000)
    refused = await broker.send({(rig.output, 0): items, (rig.output, 1): [(b"other", b"v", ())]})
    assert [(key, limit) for _, key, _, limit in refused] == [(b"3", 100_000), (b"5", 100_000)]
    assert all(size > 120_000 for _, _, size, _ in refused)
    assert [record.key for record in await rig.read(rig.output)] == [b"0", b"1", b"2", b"4", b"6", b"7", b"8", b"other"]
    await broker.stop()


async def test_what_a_worker_learns_only_from_kafka_is_a_dead_letter_by_reference(make_rig: MakeRig) -> None:
    """The limit was lowered under a running worker: the letter names the topic, the sizes and the input's offsets."""
    rig = await make_rig(partitions=1)
    worker = rig.worker()
    await rig.send([(b"first", b"v")])
    await rig.drained()
    await restrict(rig, rig.output, 100_000)
    await rig.send([(b"large", bytes(300_000)), (b"behind", b"v")])
    await rig.drained()
    (letter,) = [json.loads(letter.value) for letter in await rig.read(rig.dead)]
    assert (letter["reason"], letter["first"], letter["last"], letter["key"]) == ("output_too_large", 1, 2, "large")
    assert letter["error"].startswith(f"{rig.output} takes no record of 300")
    assert [record.key for record in await rig.read(rig.output)] == [b"first", b"behind"]
    assert worker.metric("commit_retries_total") == 0


def test_a_value_is_kept_up_to_the_limit() -> None:
    """One byte more raises, and names both sizes."""
    state = PartitionState(MemoryStore())
    state.max_value = 10
    state.begin()
    state.put(b"k", bytes(10))
    assert state.commit() == {b"k": bytes(10)}
    state.begin()
    state.put(b"k", bytes(11))
    with pytest.raises(StateTooLargeError, match="11 bytes cannot be kept: at most 10"):
        state.commit()
    state.rollback()
    assert state.get(b"k") == bytes(10)
