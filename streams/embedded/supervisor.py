"""Processes that should run do run: what dies is started again, what keeps dying waits longer each time.

The death of one process never ends another: as long as Kafka and the gateway run, alerts are accepted and kept.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from streams.embedded.kafka_jars import Progress

#: Deaths in a row after which a process counts as crash-looping.
CRASH_LOOP = 3
#: A process that was ready for so long ran well: its next death is a first one again.
RAN_WELL_S = 60.0
_PAUSE_S = 0.25
_PAUSE_MAX_S = 30.0
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
    """Runs processes in the loop that calls `start`.

    `progress` gets a line for every death and restart; `alarm` gets the lines about a process that crash-loops.
    """

    def __init__(self, progress: Progress, alarm: Progress) -> None:
        self._progress = progress
        self._alarm = alarm
        self._processes: dict[str, Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._crash_loops: dict[str, asyncio.Event] = {}
        #: Processes whose death was ordered, with whether they may come back.
        self._ordered: dict[str, asyncio.Event] = {}

    @property
    def pids(self) -> Mapping[str, int]:
        """Process ids by name, of those that run now."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    async def start(self, process: Process, timeout: float) -> bool:
        """Start it and keep it running from now on; whether it became ready.

        Returns False once it crash-loops, or when it is not ready after `timeout` seconds; it is still kept
        running then. Raises what `process.start` raises other than DiedError and OSError.
        """
        ready, crash_loops = asyncio.Event(), asyncio.Event()
        self._processes[process.name] = process
        self._ready[process.name], self._crash_loops[process.name] = ready, crash_loops
        task = self._tasks[process.name] = asyncio.create_task(self._keep(process), name=process.name)
        waiting = [asyncio.create_task(event.wait()) for event in (ready, crash_loops)]
        try:
            await asyncio.wait({task, *waiting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        if task.done():
            task.result()
        if not ready.is_set() and not crash_loops.is_set():
            self._alarm(f"{process.name} is not ready after {timeout:.0f} s:\n{process.last_lines()}")
        return ready.is_set()

    async def wait(self) -> None:
        """Wait until cancelled. Raises what `start` of a process raises other than DiedError and OSError."""
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def ready(self, name: str) -> None:
        """Wait until `name` is ready, now or again."""
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

    async def _keep(self, process: Process) -> None:
        name, ready, crash_loops = process.name, self._ready[process.name], self._crash_loops[process.name]
        deaths = 0
        while True:
            ready_at = math.inf
            try:
                await process.start()
                ready_at = time.monotonic()
                ready.set()
                if crash_loops.is_set():
                    crash_loops.clear()
                    self._progress(f"{name} is ready again")
                await until(lambda: process.pid is None)
                how = "died"
            except (DiedError, OSError) as error:
                how = f"died before it was ready ({error})"
            ready.clear()
            process.kill()  # what it may have left behind
            ordered = self._ordered.get(name)
            if ordered is not None:
                await ordered.wait()
                del self._ordered[name]
                self._progress(f"{name} was killed and is started again")
                continue
            deaths = 1 if time.monotonic() - ready_at >= RAN_WELL_S else deaths + 1
            pause = pause_after(deaths)
            if deaths < CRASH_LOOP:
                self._progress(f"{name} {how} and is started again")
            else:
                crash_loops.set()
                self._alarm(
                    f"{name} {how}, {deaths} times in a row; the next try is in {pause:.0f} s, "
                    f"everything else goes on; its last lines:\n{process.last_lines()}"
                )
            await asyncio.sleep(pause)


def pause_after(deaths: int) -> float:
    """Seconds until a process is started again that died so many times in a row."""
    return min(_PAUSE_S * 2.0 ** min(deaths - 1, 16), _PAUSE_MAX_S)


async def until(holds: Callable[[], bool], deadline: float = math.inf) -> bool:
    """Wait until something about another process holds; False when it does not at `deadline` (monotonic)."""
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
