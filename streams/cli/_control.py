"""The configuration on Kafka, as commands read and write it."""

import asyncio
import os
from typing import TypeVar

from aiokafka.errors import KafkaError

from schemas.settings import Settings
from schemas.topics import CONTROL
from streams.control import transaction
from streams.control.transaction import Plan
from streams.control.write import Change
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.logs import configure_logging
from streams.process.topics import check_topics

__all__ = ["Change", "transact"]

T = TypeVar("T")


def transact(plan: Plan[T]) -> T:
    """Read the configuration, write what `plan` wants changed, and return its result once every process can read it.

    Raises ConflictError when another writer changed the same records meanwhile, OperatorError when Kafka fails or
    has no topic for the configuration; nothing is written then.
    """
    kafka = Kafka.of(Settings.from_env(os.environ))
    configure_logging("control", "warning")

    async def run() -> T:
        await check_topics(kafka, [CONTROL])
        try:
            return await transaction.transact(kafka, plan)
        except KafkaError as error:
            raise OperatorError(f"Kafka at {kafka.bootstrap} failed: {type(error).__name__}: {error}") from None

    return asyncio.run(run())
