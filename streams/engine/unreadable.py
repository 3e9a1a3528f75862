"""Partitions whose next batch cannot be read: tried again, then passed over with a dead letter that refers to it."""

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

#: How often a batch is fetched before it is passed over. Together the pauses take 3 s.
TRIES = 5
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0


@dataclass
class _Trouble:
    """`tries` counts until a batch is read again, so the next bad one in a row is not waited for as long."""

    tries: int = 0
    not_before: float = 0.0
    passing: asyncio.Task[None] | None = None

    def rests(self, now: float) -> bool:
        """Whether the partition is to be left alone."""
        return self.not_before > now or (self.passing is not None and not self.passing.done())


class Troubles:
    """Partitions that could not be read, from the first failed fetch to the next good one.

    After TRIES fetches `pass_over(partition, lane, offset, error)` is awaited: it buries the batch and moves the
    position behind it. What it raises fails the worker, unless the lane was closed meanwhile.
    """

    def __init__(self, pass_over: Callable[[TP, Lane, int, Exception], Coroutine[Any, Any, None]]) -> None:
        self._pass_over = pass_over
        self._troubles: dict[TP, _Trouble] = {}

    def resting(self) -> set[TP]:
        """Partitions not to be fetched from now."""
        now = time.monotonic()
        return {tp for tp, trouble in self._troubles.items() if trouble.rests(now)}

    def clear(self) -> None:
        """The partitions are assigned anew."""
        self._troubles = {}

    def good(self, tp: TP) -> None:
        """A batch of the partition was read."""
        self._troubles.pop(tp, None)

    def failed(self, tp: TP, lane: Lane, offset: int, error: Exception) -> None:
        """The batch at `offset` could not be read."""
        trouble = self._troubles.setdefault(tp, _Trouble())
        trouble.tries += 1
        metrics.UNREADABLE.labels(tp.topic, type(error).__name__).inc()
        # Waiting is progress: one partition must not make the watchdog end the process.
        lane.progress_at = time.monotonic()
        if trouble.tries & (trouble.tries - 1) == 0:
            log.error("%s/%d cannot be read at offset %d, try %d: %s: %s",
                      tp.topic, tp.partition, offset, trouble.tries, type(error).__name__, error)  # fmt: skip
        # Rights may come back; bytes do not change.
        if trouble.tries >= TRIES and not isinstance(error, TopicAuthorizationFailedError):
            trouble.passing = asyncio.create_task(self._pass_over(tp, lane, offset, error))
            trouble.passing.add_done_callback(lane.ended)
        else:
            trouble.not_before = time.monotonic() + min(FIRST_PAUSE * 2 ** (trouble.tries - 1), LONGEST_PAUSE)
