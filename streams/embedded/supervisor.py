"""Processes that should run do run: what dies is started again, what keeps dying ends the whole."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from streams.embedded.kafka_jars import Progress
from streams.process.errors import OperatorError

DEATHS = 5
DEATHS_WITHIN_S = 60.0
_BACKOFF_S = 0.25
_BACKOFF_MAX_S = 5.0
_POLL_S = 0.05


class DiedError(Exception):
    """A process ended before it was ready; the message says how."""


class Process(Protocol):
    """Something with a process id that can be started, asked to end and killed, any number of times."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""

    async def start(self) -> None:
        """Start it and return once it is ready. Raises DiedError."""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM). Nothing happens when it does not run."""

    def kill(self) -> None:
        """End it and whatever it started with SIGKILL. Nothing happens when it does not run."""

    def last_lines(self) -> str:
        """The end of its log, for people."""


class Supervisor:
    """Runs processes in the loop that calls `start`. `progress` gets a line for every death and restart."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._processes: dict[str, Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ready: dict[str, asyncio.Event] = {}
        #: Processes whose death was ordered, with whether they may come back.
        self._ordered: dict[str, asyncio.Event] = {}

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids by name, of those that run now."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    async def start(self, process: Process, timeout: float) -> None:
        """Start it, wait until it is ready, and keep it running from then on.

        Raises OperatorError when it dies 5 times in a minute or is not ready after `timeout` seconds.
        """
        ready = asyncio.Event()
        self._processes[process.name] = process
        self._ready[process.name] = ready
        task = self._tasks[process.name] = asyncio.create_task(self._keep(process, ready), name=process.name)
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({task, waiting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done():
            task.result()
        if not ready.is_set():
            raise OperatorError(f"{process.name} is not ready after {timeout:.0f} s:\n{process.last_lines()}")

    async def wait(self) -> None:
        """Wait as long as all run. Raises OperatorError once one of them is given up."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def ready(self, name: str) -> None:
        """Wait until `name` is ready, now or again. Raises OperatorError once it is given up."""
        waiting = asyncio.create_task(self._ready[name].wait())
        await asyncio.wait({self._tasks[name], waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._tasks[name].done():
            self._tasks[name].result()

    def kill(self, name: str, *, hold: bool = False) -> None:
        """SIGKILL `name`. It is started again at once, with `hold` only after `resume`."""
        back = self._ordered[name] = asyncio.Event()
        if not hold:
            back.set()
        self._ready[name].clear()
        self._processes[name].kill()

    def resume(self, name: str) -> None:
        """Start again what `kill` holds down."""
        self._ordered[name].set()

    async def stop(self, name: str, deadline: float) -> None:
        """SIGTERM `name` for good; SIGKILL when it still runs at `deadline` (time.monotonic())."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        process.terminate()
        if not await until(lambda: process.pid is None, deadline):
            self._progress(f"{name} did not end in time and is killed")
        process.kill()

    async def _keep(self, process: Process, ready: asyncio.Event) -> None:
        deaths: deque[float] = deque(maxlen=DEATHS)
        while True:
            try:
                await process.start()
                ready.set()
                await until(lambda: process.pid is None)
                how = "died"
            except DiedError as error:
                how = f"died before it was ready ({error})"
            ready.clear()
            process.kill()  # what it may have left behind
            ordered = self._ordered.get(process.name)
            if ordered is not None:
                await ordered.wait()
                del self._ordered[process.name]
                self._progress(f"{process.name} was killed and is started again")
                continue
            deaths.append(time.monotonic())
            if len(deaths) == DEATHS and deaths[-1] - deaths[0] < DEATHS_WITHIN_S:
                raise OperatorError(
                    f"{process.name} died {DEATHS} times in {DEATHS_WITHIN_S:.0f} s; its last lines:\n"
                    f"{process.last_lines()}"
                )
            recent = sum(1 for death in deaths if deaths[-1] - death < DEATHS_WITHIN_S)
            self._progress(f"{process.name} {how} and is started again")
            await asyncio.sleep(min(_BACKOFF_S * 2 ** (recent - 1), _BACKOFF_MAX_S))


async def until(holds: Callable[[], bool], deadline: float = math.inf) -> bool:
    """Wait until something about another process holds; False when it does not at `deadline` (monotonic)."""
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
