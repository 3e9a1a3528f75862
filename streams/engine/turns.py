"""Turns of the event loop: of those who have much to do, one at a time does some of it."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Calls the oldest of what was asked for in each turn of the event loop, so that no turn has the work of many."""

    def __init__(self) -> None:
        self._asked: deque[Callable[[], None]] = deque()
        self._next: asyncio.Handle | None = None

    def ask(self, call: Callable[[], None]) -> None:
        """Have `call` called in a later turn of the loop. It must not raise."""
        self._asked.append(call)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        call = self._asked.popleft()
        self._next = asyncio.get_running_loop().call_soon(self._take) if self._asked else None
        call()
