"""Partitions whose next batch cannot be read: it is retried, then skipped with a dead letter that refers to it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError
from faust.types import TP

from streams.engine import metrics
from streams.engine.lane import Lane

log = logging.getLogger(__name__)

#: How often a batch is fetched before it is skipped. Together the pauses take 3 s.
TRIES = 5
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0


@dataclass
class _Trouble:
    """`tries` counts until a batch is read again, so a further bad batch in a row is skipped after fewer retries."""

    tries: int = 0
    not_before: float = 0.0
    passing: asyncio.Task[None] | None = None

    def rests(self, now: float) -> bool:
        """Whether the partition is not to be fetched from at monotonic `now`."""
        return self.not_before > now or (self.passing is not None and not self.passing.done())


class Troubles:
    """Partitions that could not be read, from the first failed fetch to the next good one.

    After TRIES fetches `pass_over(partition, lane, offset, error)` runs as a task: it sends the dead letter and moves
    the position past the batch. Its exception fails the worker, unless the lane was closed meanwhile.
    """

    def __init__(self, pass_over: Callable[[TP, Lane, int, Exception], Coroutine[Any, Any, None]]) -> None:
        self._pass_over = pass_over
        self._troubles: dict[TP, _Trouble] = {}

    def resting(self) -> set[TP]:
        """Partitions not to be fetched from now."""
        now = time.monotonic()
        return {tp for tp, trouble in self._troubles.items() if trouble.rests(now)}

    def clear(self) -> None:
        """Forget all troubles: the partitions are assigned again."""
        self._troubles = {}

    def good(self, tp: TP) -> None:
        """Note that a batch of the partition was read."""
        self._troubles.pop(tp, None)

    def failed(self, tp: TP, lane: Lane, offset: int, error: Exception) -> None:
        """Note that the batch at `offset` could not be read."""
        trouble = self._troubles.setdefault(tp, _Trouble())
        trouble.tries += 1
        metrics.UNREADABLE.labels(tp.topic, type(error).__name__).inc()
        # Waiting counts as progress: one partition must not make the watchdog end the process.
        lane.progress_at = time.monotonic()
        if trouble.tries & (trouble.tries - 1) == 0:
            log.error("%s/%d cannot be read at offset %d, try %d: %s: %s",
                      tp.topic, tp.partition, offset, trouble.tries, type(error).__name__, error)  # fmt: skip
        # Missing rights may be granted again; an unreadable batch stays unreadable.
        if trouble.tries >= TRIES and not isinstance(error, TopicAuthorizationFailedError):
            trouble.passing = asyncio.create_task(self._pass_over(tp, lane, offset, error))
            trouble.passing.add_done_callback(lane.ended)
        else:
            trouble.not_before = time.monotonic() + min(FIRST_PAUSE * 2 ** (trouble.tries - 1), LONGEST_PAUSE)
