"""Batches that a broker takes and nobody can read."""

import struct
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

#: Where a record batch has its checksum, and where what it covers begins.
CRC, ATTRIBUTES = 17, 21
#: A header's name of which a test makes bytes that are no UTF-8.
NAME = "no-utf-8"


class _Damaged(BatchBuilder):  # type: ignore[misc]
    def __init__(self, damage: Callable[[bytearray], None]) -> None:
        super().__init__(1_000_000, 0)
        self._damage = damage

    def _build(self) -> bytearray:
        built = bytearray(super()._build())
        self._damage(built)
        struct.pack_into(">I", built, CRC, calc_crc32c(built[ATTRIBUTES:]))
        return built


def bad_header(batch: bytearray) -> None:
    """Headers' names are bytes that are no UTF-8, which only readers look at."""
    batch[:] = batch.replace(NAME.encode(), b"\xff" * len(NAME))


async def send_damaged(
    bootstrap: str,
    topic: str,
    partition: int,
    records: Sequence[tuple[bytes, bytes]],
    damage: Callable[[bytearray], None] = bad_header,
) -> tuple[int, int]:
    """Send one batch, damaged but with the right checksum; its first and last offset."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        batch = _Damaged(damage)
        for key, value in records:
            batch.append(timestamp=1_700_000_000_000, key=key, value=value, headers=[(NAME, b"")])
        batch.close()
        sent = await (await producer.send_batch(batch, topic, partition=partition))
        return sent.offset, sent.offset + len(records) - 1
    finally:
        await producer.stop()
