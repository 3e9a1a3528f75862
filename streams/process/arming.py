"""Arms monitors when they are configured: the attendant of the stage of heartbeats."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

from schemas.records import Output, State
from schemas.topics import HEARTBEATS
from schemas.wire.beat import BeatEvent
from schemas.wire.codec import encode
from streams.control.state import Control
from streams.engine.lane import Work
from streams.stages.heartbeats import unarmed

Transact = Callable[[Work], Awaitable[None]]
#: Seconds between two looks at the configuration's version.
LOOK_S = 1.0


class Arming:
    """Sends the stage a CONFIGURED for each monitor that is not in its table as it is configured.

    It changes nothing itself, so what the stage does follows from the topic. `failing` gets an exception that should
    end the process.
    """

    def __init__(self, control: Control, failing: Callable[[BaseException], None]) -> None:
        self._control = control
        self._failing = failing
        self._task: asyncio.Task[None] | None = None

    def opened(self, state: State, transact: Transact) -> None:
        """Compare at once, and after every change of the configuration."""
        self._task = asyncio.create_task(self._follow(state, transact), name="arming")
        self._task.add_done_callback(self._ended)

    def changed(self, changes: Mapping[bytes, bytes | None]) -> None:
        """What is in the table does not matter until the configuration changes."""

    async def close(self, patience: float) -> None:
        """Stop; nothing is under way for long."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self, state: State, transact: Transact) -> None:
        version = -1
        while True:
            if version != self._control.version:
                version = self._control.version
                if wrong := unarmed(state, self._control):
                    await transact(partial(_records, wrong))
            await asyncio.sleep(LOOK_S)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failing(error)


def _records(events: Sequence[BeatEvent], state: State) -> Iterator[Output]:
    for event in events:
        yield Output(HEARTBEATS.name, event.key, encode(event))
