"""The configuration on Kafka, as commands read and write it."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from aiokafka.errors import KafkaError

from schemas.control import AnyRecord
from schemas.settings import Settings
from schemas.topics import CONTROL
from streams.control import follow
from streams.control.state import Control
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.logs import configure_logging
from streams.process.topics import check_topics

T = TypeVar("T")


class Change(NamedTuple):
    """What a command writes to the topic, and the keys it deletes."""

    records: Iterable[AnyRecord] = ()
    deletes: Iterable[str] = ()


def transact(plan: Callable[[Control], tuple[T, Change]]) -> T:
    """Read the configuration, write what `plan` wants changed, and return its result once Kafka has it.

    Raises OperatorError when Kafka fails. Two commands at the same time do not exclude each other.
    """
    kafka = Kafka.of(Settings.from_env(os.environ))
    configure_logging("control", "warning")

    async def run() -> T:
        result, change = plan(await read(kafka))
        records, deletes = list(change.records), list(change.deletes)
        if records or deletes:
            await publish(kafka, records, deletes)
        return result

    return asyncio.run(run())


async def read(kafka: Kafka) -> Control:
    """The configuration as it is now. Raises OperatorError when Kafka fails or has no topic for it."""
    await check_topics(kafka, [CONTROL])
    with _failing(kafka):
        return await follow.read(kafka)


async def publish(kafka: Kafka, records: Iterable[AnyRecord], deletes: Iterable[str]) -> None:
    """Write records, then delete keys; done once Kafka has all of them. Raises OperatorError when it fails."""
    with _failing(kafka):
        await follow.publish(kafka, records, deletes)


@contextmanager
def _failing(kafka: Kafka) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise OperatorError(f"Kafka at {kafka.bootstrap} failed: {type(error).__name__}") from None
