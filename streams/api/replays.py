"""Replays in the background: each is a process `stormweir replay`, so that nobody else waits for it."""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from schemas.settings import Settings
from streams.api.problems import ProblemError

#: Replays that are remembered, and seconds that one may take.
_KEPT = 10
_LONGEST_S = 1_800.0
#: The statuses of the command: it reproduced the record, or not.
_REPORTED = (0, 1)


@dataclass(slots=True)
class Job:
    """One replay; times are milliseconds since 1970 UTC."""

    id: str
    tenant: str
    since: int
    until: int
    started_at: int
    state: Literal["running", "done", "failed"] = "running"
    progress: float = 0.0
    error: str = ""
    report: dict[str, Any] | None = None
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


class Note(Protocol):
    """Puts on record that a replay begins."""

    async def __call__(self, job: Job) -> None: ...


class Replays:
    """Runs one replay at a time, and remembers the last ones until the process ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs: list[Job] = []

    def of(self, tenant: str) -> list[Job]:
        """The tenant's replays, the oldest first."""
        return [job for job in self._jobs if job.tenant == tenant]

    async def start(
        self, tenant: str, since: int, until: int, configuration: str | None, anyway: bool, note: Note
    ) -> Job:
        """Begin a replay once `note` has returned; if that raises, there is none. Raises ProblemError if one runs."""
        if any(job.state == "running" for job in self._jobs):
            raise ProblemError(409, "another replay runs: wait for it, or delete it")
        job = Job(secrets.token_hex(8), tenant, since, until, time.time_ns() // 1_000_000)
        self._jobs = [*self._jobs[1 - _KEPT :], job]
        try:
            await note(job)
        except BaseException:
            if job in self._jobs:
                self._jobs.remove(job)
            raise
        if job not in self._jobs:
            raise ProblemError(409, "the replay was deleted before it began")
        job.task = asyncio.create_task(self._run(job, configuration, anyway), name="replay")
        job.task.add_done_callback(lambda task: _ended(job, task))
        return job

    async def forget(self, job: Job) -> None:
        """End it, if it runs, and forget it."""
        self._jobs.remove(job)
        if job.task is not None:
            job.task.cancel()
            with suppress(asyncio.CancelledError):
                await job.task

    async def close(self) -> None:
        """End what runs."""
        for job in list(self._jobs):
            await self.forget(job)

    async def _run(self, job: Job, configuration: str | None, anyway: bool) -> None:
        with tempfile.TemporaryDirectory(prefix="stormweir-replay-") as directory:
            options = ["--from", _text(job.since), "--to", _text(job.until), "--tenant", job.tenant]
            if configuration is not None:
                path = Path(directory) / "stormweir.yaml"
                path.write_text(configuration)
                options += ["--config", str(path)]
            if anyway:
                options.append("--anyway")
            command = (sys.executable, "-m", "streams.cli", "replay", "--json", "--progress", *options)
            environ = {**os.environ, **self._settings.environ()}
            process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, stderr=PIPE)
            try:
                async with asyncio.timeout(_LONGEST_S):
                    told, _ = await asyncio.gather(_read(process), self._follow(process, job))
                    status = await process.wait()
                if status in _REPORTED and told:
                    job.report, job.progress, job.state = orjson.loads(told), 1.0, "done"
                else:
                    job.error, job.state = job.error or f"the replay ended with status {status}", "failed"
            except TimeoutError:
                job.error, job.state = f"the replay took longer than {_LONGEST_S:.0f} s", "failed"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _follow(self, process: asyncio.subprocess.Process, job: Job) -> None:
        """Read how far it is, and what it says when it fails."""
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode("utf-8", "replace").strip()
            try:
                job.progress = float(text)
            except ValueError:
                if text.startswith("stormweir: "):
                    job.error = text.removeprefix("stormweir: ")


def _ended(job: Job, task: asyncio.Task[None]) -> None:
    """A job whose task ended by an error has failed: one that runs for ever would keep all others from running."""
    if job.state == "running":
        job.state = "failed"
        error = None if task.cancelled() else task.exception()
        job.error = f"the replay could not be run: {type(error).__name__}" if error else "the replay was ended"


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.read()


def _text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
