"""The lag of every lane, and the check for a lane that is behind and does not move (faust #523, aiokafka #1154)."""

import asyncio
import logging
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.engine import metrics
from streams.engine.kafka import Kafka
from streams.engine.lane import Lane

log = logging.getLogger(__name__)

_ANSWER_WITHIN = 15.0


class Watchdog:
    """Asks Kafka for the ends of partitions with a client of its own.

    It cannot ask the consumer that it watches: after a broker failed, that consumer may receive nothing
    more, neither records nor their number, while other clients do.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._client: AIOKafkaConsumer | None = None

    async def look(self, lanes: Mapping[TP, Lane]) -> str | None:
        """Set the lanes' metrics. Return the problem of a lane without progress for `stalled_after`, or None."""
        if not lanes:
            return None
        try:
            ends = await asyncio.wait_for(self._ends(list(lanes)), _ANSWER_WITHIN)
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("the ends of the partitions are unknown: %r", error)
            await self.stop()
            return None
        for tp, lane in lanes.items():
            lag = max(0, ends[tp] - lane.committed - 1)
            metrics.LAG.labels(tp.topic, str(tp.partition)).set(lag)
            age = time.monotonic() - lane.progress_at if lag else 0.0
            metrics.COMMIT_AGE.labels(tp.topic, str(tp.partition)).set(age)
            if not lag:
                lane.progress_at = time.monotonic()
            elif age > lane.stalled_after:
                return f"{tp.topic}/{tp.partition}: {lag} behind, no progress for {age:.0f} s"
        return None

    async def stop(self) -> None:
        """Disconnect; the next `look` connects again."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()

    async def _ends(self, partitions: list[TP]) -> Mapping[TP, int]:
        if self._client is None:
            client = self._kafka.consumer(group_id=None, enable_auto_commit=False)
            try:
                await client.start()
            except BaseException:
                await client.stop()
                raise
            self._client = client
        ends: Mapping[TP, int] = await self._client.end_offsets(partitions)
        return ends
