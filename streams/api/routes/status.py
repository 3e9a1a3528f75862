"""What runs, and how current the answers are."""

import asyncio

from aiokafka.errors import KafkaError
from fastapi import APIRouter
from pydantic import BaseModel

from sinks.clickhouse.client import ClickHouseError
from streams.api.parts import Parts, PartsOf
from streams.api.times import Time, moment_or_none
from streams.process.installation import stormweir_version

router = APIRouter()

#: Seconds after which Kafka or ClickHouse is taken for away.
_ANSWER_S = 2.0


class Status(BaseModel):
    """`configuration` counts the changes that this process has read.

    `as_of` is the time up to which it has read the incidents, null before any; `lag` is how many of their records it
    has not read, null if that is not known. `kafka` and `clickhouse` say whether these answer.
    """

    version: str
    configuration: int
    as_of: Time | None
    lag: int | None
    kafka: bool
    clickhouse: bool


@router.get("/status")
async def show_status(parts: PartsOf) -> Status:
    """The version that runs, and how current its answers are."""
    kafka, clickhouse = await asyncio.gather(_kafka_answers(parts), _clickhouse_answers(parts))
    return Status(
        version=stormweir_version(),
        configuration=parts.control.version,
        as_of=moment_or_none(parts.model.as_of),
        lag=parts.model.lag,
        kafka=kafka,
        clickhouse=clickhouse,
    )


async def _kafka_answers(parts: Parts) -> bool:
    admin = parts.kafka.admin(client_id="stormweir-status")
    try:
        async with asyncio.timeout(_ANSWER_S):
            await admin.start()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    return True


async def _clickhouse_answers(parts: Parts) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            await parts.query("SELECT 1 AS one", {})
    except (ClickHouseError, TimeoutError):
        return False
    return True
