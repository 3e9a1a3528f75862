"""Turns of the event loop: of those who have much to do, one at a time does some of it."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Calls the oldest of what was asked for in each turn of the event loop, so that no turn has the work of many."""

    def __init__(self) -> None:
        #: While something is here, `_take` is scheduled.
        self._asked: deque[Callable[[], None]] = deque()

    def ask(self, call: Callable[[], None]) -> None:
        """Have `call` called in a later turn of the loop. It must not raise."""
        self._asked.append(call)
        if len(self._asked) == 1:
            self._schedule()

    def _take(self) -> None:
        call = self._asked.popleft()
        if self._asked:
            self._schedule()
        call()

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._take)
