"""Configuration on the compacted topic `control`: followed by every process, written by commands (`write`).

A record that does not validate never replaces a valid one (schemas.control).
"""

import asyncio
from collections.abc import Iterable, Mapping

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from schemas.control import AnyRecord, masked_key
from schemas.topics import CONTROL
from streams.control.secrets import NO_KEYS, MissingKeysError, SecretKeys
from streams.control.state import Control
from streams.control.write import Change, only_writer, values_of
from streams.process.follow import WAIT_MS, Follower
from streams.process.kafka import Kafka

log = structlog.get_logger(__name__)

#: How long to wait before Kafka is tried again.
_RETRY_S = 1.0
_INVALID = Counter("stormweir_control_invalid_total", "Control records that were refused as invalid")


class ControlReader:
    """Follows the topic; `control` is changed in place on the event loop that called `start`.

    `environment` are the records that hold where the topic has none; `wait_ms` is the follower's.
    """

    def __init__(
        self,
        kafka: Kafka,
        keys: SecretKeys = NO_KEYS,
        *,
        environment: Mapping[str, AnyRecord] | None = None,
        wait_ms: int = WAIT_MS,
    ) -> None:
        self.control = Control(keys, environment=environment)
        self._follower = Follower(kafka, CONTROL, self._take, wait_ms)

    async def start(self) -> None:
        """Read to the end, then return and keep following. Raises aiokafka's errors when Kafka is away.

        Raises MissingKeysError when records cannot be opened that are not known from before: without them a process
        would refuse what they stand for, as if they had been deleted.
        """
        consumer = await self._follower.catch_up()
        self._tell_unopened()
        unknown = {key: ids for key, ids in self.control.unopened().items() if key not in self.control.records}
        if unknown:
            raise MissingKeysError(unknown)
        self._follower.follow(consumer)

    async def catch_up(self) -> None:
        """Read to the end, without following. Raises aiokafka's errors when Kafka is away."""
        await self._follower.catch_up()
        self._tell_unopened()

    async def stop(self) -> None:
        """Stop following; the state stays as it is."""
        await self._follower.stop()

    def _tell_unopened(self) -> None:
        if unopened := self.control.unopened():
            log.error("control: records stay as they were", reason=str(MissingKeysError(unopened)))

    def _take(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        refused = self.control.apply(key, record.value)
        if refused is not None:
            _INVALID.inc()
            log.warning("control: record refused", record=masked(key), reason=refused)


def masked(key: str) -> str:
    """A control key for people and logs: an integration's id is its credential, so only its start is shown."""
    kind, _, name = key.partition("/")
    return f"{kind}/{masked_key(name)}" if kind == "integration" else key


async def read(kafka: Kafka, keys: SecretKeys = NO_KEYS) -> Control:
    """The current configuration."""
    reader = ControlReader(kafka, keys)
    try:
        await reader.catch_up()
        return reader.control
    finally:
        await reader.stop()


async def following(kafka: Kafka, keys: SecretKeys = NO_KEYS) -> ControlReader:
    """A reader that follows, once Kafka is there to be read to the end. Raises MissingKeysError as its `start` does."""
    while True:
        reader = ControlReader(kafka, keys)
        try:
            await reader.start()
            return reader
        except (KafkaError, OSError) as error:
            log.warning("kafka is away, waiting for it", error=type(error).__name__)
        except BaseException:
            await reader.stop()
            raise
        await reader.stop()
        await asyncio.sleep(_RETRY_S)


async def publish(
    kafka: Kafka, records: Iterable[AnyRecord], deletes: Iterable[str] = (), keys: SecretKeys = NO_KEYS
) -> None:
    """Write records and delete keys, whatever their current values are and without an audit; for samples and tests.
    Returns once readers see the change.

    Raises ConflictError when another writer writes at the same moment, aiokafka's errors when Kafka fails.
    """
    if values := values_of(Change(records, deletes), keys):
        async with only_writer(kafka) as write:
            await write(values, ())
