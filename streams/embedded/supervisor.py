"""Keeps processes running: a process that dies is restarted, after a longer pause each time it dies in a row.

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
#: After a process was ready for this many seconds, its next death counts as the first in a row again.
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
        """Start the process and return once it is ready. Raises DiedError."""

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM). Does nothing if it does not run."""

    def kill(self) -> None:
        """End the process, and processes it started, with SIGKILL. Does nothing if it does not run."""

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
        #: Processes that `kill` ended; the event is set when the process may be restarted.
        self._ordered: dict[str, asyncio.Event] = {}

    @property
    def pids(self) -> Mapping[str, int]:
        """Ids of the running processes by name."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    async def start(self, process: Process, timeout: float) -> bool:
        """Start a process and keep it running from now on. Return whether it became ready.

        Returns False once the process crash-loops, or if it is not ready after `timeout` seconds; it is still kept
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
        """Wait until `name` is ready; return at once if it is ready now."""
        waiting = asyncio.create_task(self._ready[name].wait())
        await asyncio.wait({self._tasks[name], waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._tasks[name].done():
            self._tasks[name].result()

    def kill(self, name: str, *, hold: bool = False) -> None:
        """Send SIGKILL to `name`. It is restarted at once, with `hold` only after `resume`."""
        back = self._ordered[name] = asyncio.Event()
        if not hold:
            back.set()
        self._ready[name].clear()
        self._processes[name].kill()

    def resume(self, name: str) -> None:
        """Restart a process that `kill` with `hold` ended."""
        self._ordered[name].set()

    async def stop(self, name: str, deadline: float) -> None:
        """Stop `name` for good with SIGTERM, and with SIGKILL if it still runs at `deadline` (time.monotonic())."""
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
            process.kill()  # also processes that it may have left behind
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
    """Seconds until a process that died `deaths` times in a row is restarted."""
    return min(_PAUSE_S * 2.0 ** min(deaths - 1, 16), _PAUSE_MAX_S)


async def until(holds: Callable[[], bool], deadline: float = math.inf) -> bool:
    """Wait until a condition on another process holds. Return False if it does not by `deadline` (monotonic)."""
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
