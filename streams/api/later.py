"""What a request does not wait for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiokafka.errors import KafkaError

log = structlog.get_logger(__name__)

#: While Kafka is away, what is more than this is lost.
_WAITING = 1_000


class Later:
    """Runs coroutines in tasks; a failure is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, work: Coroutine[Any, Any, object]) -> None:
        """Run it, unless too many are waiting."""
        if len(self._tasks) >= _WAITING:
            work.close()
            log.warning("too much waits for Kafka: a record is lost")
            return
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _guarded(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except (KafkaError, OSError) as error:
        log.warning("a record is lost", error=type(error).__name__)
