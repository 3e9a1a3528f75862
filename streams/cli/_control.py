"""The configuration on Kafka, as commands read and write it."""

import asyncio
import os
from functools import partial
from typing import TypeVar

from aiokafka.errors import KafkaError

from schemas.settings import Settings
from schemas.topics import CONTROL
from streams.control.follow import ControlReader
from streams.control.transaction import Plan, change
from streams.control.write import Change, only_writer
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.logs import configure_logging
from streams.process.topics import check_topics

__all__ = ["Change", "kafka", "transact"]

T = TypeVar("T")


def kafka() -> Kafka:
    """The Kafka of the environment's settings. Raises SettingsError."""
    return Kafka.of(Settings.from_env(os.environ))


def transact(plan: Plan[T]) -> T:
    """Read the configuration, write what `plan` wants changed, and return its result once every process can read it.

    Raises ConflictError when another writer changed the same records meanwhile, OperatorError when Kafka fails or
    has no topic for the configuration; nothing is written then.
    """
    configured = kafka()
    configure_logging("control", "warning")

    async def run() -> T:
        await check_topics(configured, [CONTROL])
        reader = ControlReader(configured)
        try:
            await reader.catch_up()
            return await change(reader, partial(only_writer, configured), plan)
        except KafkaError as error:
            raise OperatorError(f"Kafka at {configured.bootstrap} failed: {type(error).__name__}: {error}") from None
        finally:
            await reader.stop()

    return asyncio.run(run())
