"""Configuration on the compacted topic `control`: followed by every process, written by commands (`write`).

A plain consumer without a group, because every process needs every record; a record that does not validate
never replaces a valid one (schemas.control).
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from prometheus_client import Counter

from schemas.control import AnyRecord, masked_key
from streams.control.state import Control
from streams.control.write import PARTITION, Change, only_writer, values_of

log = structlog.get_logger(__name__)

_INVALID = Counter("stormweir_control_invalid_total", "Control records that were refused as invalid")
_RETRY_S = 1.0


class ControlReader:
    """Follows the topic; `control` is changed in place on the event loop that called `start`."""

    def __init__(self, bootstrap: str) -> None:
        self.control = Control()
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read to the end, then return and keep following. Raises aiokafka's errors when Kafka is away."""
        self._follower = asyncio.create_task(self._follow(await self._connect()), name="control")

    async def catch_up(self) -> None:
        """Read to the end, without following. Raises aiokafka's errors when Kafka is away."""
        await self._connect()

    async def _connect(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            # A change that was begun and never committed is not read.
            self._consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
            )
            await self._consumer.start()
            self._consumer.assign([PARTITION])
            await self._consumer.seek_to_beginning(PARTITION)
        end = (await self._consumer.end_offsets([PARTITION]))[PARTITION]
        while await self._consumer.position(PARTITION) < end:
            await self._poll(self._consumer)
        return self._consumer

    async def stop(self) -> None:
        """Stop following; the state stays as it is."""
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        if self._consumer is not None:
            await self._consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._poll(consumer)
            except Exception:
                log.exception("control: reading failed, trying again")
                await asyncio.sleep(_RETRY_S)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                self._take(record)

    def _take(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        refused = self.control.apply(key, record.value)
        if refused is not None:
            _INVALID.inc()
            log.warning("control: record refused", record=masked(key), reason=refused)


def masked(key: str) -> str:
    """A control key for people and logs: an integration's id is its credential, so only its start shows."""
    kind, _, name = key.partition("/")
    return f"{kind}/{masked_key(name)}" if kind == "integration" else key


async def read(bootstrap: str) -> Control:
    """The configuration as it is now."""
    reader = ControlReader(bootstrap)
    try:
        await reader.catch_up()
        return reader.control
    finally:
        await reader.stop()


async def publish(bootstrap: str, records: Iterable[AnyRecord], deletes: Iterable[str] = ()) -> None:
    """Write records and delete keys, whatever is there; returns once readers see it.

    Raises ConflictError when somebody else writes at the same moment, aiokafka's errors when Kafka fails.
    """
    if values := values_of(Change(records, deletes)):
        async with only_writer(bootstrap) as write:
            await write(values)
