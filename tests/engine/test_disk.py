"""Damage on a broker's disk, which no producer could cause."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.conftest import FreePorts
from tests.engine.harness import Rig, until


@pytest.fixture
def kafka(tmp_path: Path, free_ports: FreePorts) -> Iterator[EmbeddedKafka]:
    """A broker of the test's own, to be stopped and started."""
    kafka = EmbeddedKafka(tmp_path / "kafka", *free_ports(2))
    kafka.start()
    yield kafka
    kafka.stop()


async def test_a_batch_that_the_disk_damaged_is_passed_over(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Its checksum is wrong: a dead letter refers to it, and its neighbours on both sides count once."""
    rig = await Rig(kafka.bootstrap, tmp_path / "rig", partitions=2).create()
    try:
        for number in range(3):
            await rig.send([(b"%d-%d" % (number, key), b"v") for key in range(10)], partition=0)
        await rig.send([(b"other-%d" % key, b"v") for key in range(10)], partition=1)
        kafka.stop()
        (log,) = (tmp_path / "kafka" / "log" / f"{rig.source}-0").glob("*.log")
        damage(log, batch=1)
        kafka.start()
        rig.worker()
        await rig.drained()
        for key in range(10):
            del rig.sent[b"1-%d" % key], rig.first[b"1-%d" % key]
        await rig.check()
        (letter,) = [json.loads(letter.value) for letter in await rig.read(rig.dead)]
        assert (letter["partition"], letter["first"], letter["last"]) == (0, 10, 19)
        assert "Invalid CRC" in letter["error"]
    finally:
        rig.close()


async def test_a_table_the_disk_damaged_stops_its_own_partition_alone(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A hole in its state would be wrong, so it stays closed and the process is not ready; all others go on."""
    rig = await Rig(kafka.bootstrap, tmp_path / "rig", partitions=2).create()
    try:
        await rig.load(100, 100)
        worker = rig.worker()
        await rig.drained()
        assert await worker.terminate() == 0
        kafka.stop()
        (log,) = (tmp_path / "kafka" / "log" / f"{rig.changelog}-0").glob("*.log")
        damage(log, batch=1)
        kafka.start()
        again = rig.worker()
        await until(lambda: "their state cannot be read" in again.log, 60, "the damage to be told")
        await rig.send([(b"behind-%d" % key, b"v") for key in range(50)], partition=1)
        await until(lambda: again.processed == 50, 20, "the other partition")
        assert f"cannot be read: {rig.changelog}/0" in again.log
        assert again.alive
        assert not again.status["ready"]
        assert set(again.status["lanes"]) == {"1"}
    finally:
        rig.close()


def damage(log: Path, batch: int) -> None:
    """Turn a bit of the records of the batch with this number. A batch's length stands behind its base offset."""
    content = bytearray(log.read_bytes())
    start = 0
    for _ in range(batch):
        start += 12 + int.from_bytes(content[start + 8 : start + 12], "big")
    content[start + 70] ^= 1
    log.write_bytes(content)
