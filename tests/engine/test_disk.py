"""Damage on a broker's disk, which no producer could cause."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.conftest import FreePorts
from tests.engine.harness import Rig


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


def damage(log: Path, batch: int) -> None:
    """Turn a bit of the records of the batch with this number. A batch's length stands behind its base offset."""
    content = bytearray(log.read_bytes())
    start = 0
    for _ in range(batch):
        start += 12 + int.from_bytes(content[start + 8 : start + 12], "big")
    content[start + 70] ^= 1
    log.write_bytes(content)
