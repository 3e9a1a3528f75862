"""Tells the stage of heartbeats every two seconds that this gateway takes beats, as long as Kafka takes the report.

So the stage knows when beats may have been lost: nobody is told of a missing heartbeat because Stormweir was away.
"""

import asyncio
import time
from contextlib import suppress

from schemas.topics import HEARTBEATS
from schemas.wire.beat import Beat, BeatEvent
from schemas.wire.codec import encode
from streams.gateway.lanes import Lanes, UnavailableError
from streams.process.kafka import Kafka

PERIOD_S = 2.0
_EVENT = BeatEvent(Beat.PRESENT)
_KEY, _VALUE = _EVENT.key, encode(_EVENT)


class Presence:
    """One task; `start` and `stop` are called by the process."""

    def __init__(self, kafka: Kafka) -> None:
        self._lanes = Lanes(kafka, HEARTBEATS.name)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect and report, in a task: a gateway that may not write `heartbeats` takes alerts all the same."""
        self._task = asyncio.create_task(self._run(), name="presence")

    async def stop(self) -> None:
        """Report no more, and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._lanes.stop()

    async def _run(self) -> None:
        await self._lanes.start()
        while True:
            # What Kafka does not take is not said again: the next report shows that the gateway is back.
            with suppress(UnavailableError):
                await self._lanes.put(_KEY, _VALUE, int(time.time() * 1000))
            await asyncio.sleep(PERIOD_S)
