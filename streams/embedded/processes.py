"""The processes that a supervisor runs: our commands and the embedded broker. Each has a file with its pid.

The file holds pid and start time, so that a later stack ends only processes that a killed stack left running.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.kafka_jars import Progress
from streams.embedded.supervisor import DiedError, until
from streams.process.errors import OperatorError

_POLL_S = 0.05
#: A healthy start takes a few seconds; a longer start is reported, with the reason, this often.
_SHOW_S = 15.0
_LOG_BYTES = 10_000_000
_ORPHAN_S = 8.0


class Command:
    """One command as a child process in a session of its own; ready when `ready_url` answers 200.

    Its output goes to `logs/<name>.log` (moved to `.1` at a start when above 10 MB).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        ready_url: str,
        directory: Path,
        progress: Progress,
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._ready_url = ready_url
        self._log = directory / "logs" / f"{name}.log"
        self._pid_file = directory / "pids" / name
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def prepare(self) -> None:
        """Start the process; it waits until `start` closes its standard input."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                env=dict(self._environ),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal must not reach the process: the stack decides which process ends first.
                start_new_session=True,
            )
        remember(self._pid_file, self._process.pid)

    async def start(self) -> None:
        """Start the process, prepared or not, and wait until it is ready. Raises DiedError if it ends before."""
        if self._process is None:
            self.prepare()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        started = shown = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while (reason := await self._unready(session)) is not None:
                if process.poll() is not None:
                    raise DiedError(f"status {process.returncode}")
                if time.monotonic() - shown > _SHOW_S:
                    shown = time.monotonic()
                    self._progress(f"{self.name} is still starting after {shown - started:.0f} s: {reason}")
                await asyncio.sleep(_POLL_S)

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and to processes it started."""
        if self._process is None:
            return
        kill_group(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def last_lines(self) -> str:
        """The last 8 lines of its log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-8:])

    async def _unready(self, session: aiohttp.ClientSession) -> str | None:
        try:
            async with session.get(self._ready_url) as answer:
                if answer.status == 200:
                    return None
                body = await answer.json(content_type=None)
                return str(body["reason"])
        except (aiohttp.ClientError, TimeoutError):
            return "it does not answer yet"
        except (ValueError, TypeError, KeyError):
            return f"it answers {answer.status}"


class Broker:
    """The embedded Kafka as a process for the supervisor."""

    name = "kafka"

    def __init__(self, kafka: EmbeddedKafka, directory: Path) -> None:
        self._kafka = kafka
        self._pid_file = directory / "pids" / self.name
        self._problem = ""
        self._has_run = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._kafka.pid

    async def start(self) -> None:
        """Start the broker and wait until it answers. Raises OperatorError, or DiedError if it ran before."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._kafka.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be cancelled; it returns once its broker is killed.
            while not starting.done():
                self._kafka.kill()
                await asyncio.wait({starting}, timeout=_POLL_S)
            starting.exception()
            raise
        except OperatorError as error:
            if not self._has_run:
                raise
            self._problem = str(error)
            raise DiedError(self._problem.partition("\n")[0]) from None
        self._has_run = True
        if self._kafka.pid is not None:
            remember(self._pid_file, self._kafka.pid)

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._kafka.kill()
        self._pid_file.unlink(missing_ok=True)

    def last_lines(self) -> str:
        """Why the broker last failed to start."""
        return self._problem


def kill_group(leader: int) -> None:
    """Send SIGKILL to every process of the group that `leader` leads."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def remember(pid_file: Path, pid: int) -> None:
    """Record a process in its pid file, so that `end_orphans` of a later stack finds it."""
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.write_text(f"{pid} {_started(pid)}\n")


async def end_orphans(directory: Path, progress: Progress) -> None:
    """End processes that an earlier stack of this directory left running when it was killed."""
    orphans: dict[int, str] = {}
    for path in sorted((directory / "pids").glob("*")):
        number, _, started = path.read_text().strip().partition(" ")
        path.unlink()
        if not number.isdigit() or not started or _started(int(number)) != started:
            continue
        progress(f"ending {path.name} (pid {number}), which an earlier stack left running")
        os.kill(int(number), signal.SIGTERM)
        orphans[int(number)] = started
    deadline = time.monotonic() + _ORPHAN_S
    await until(lambda: not any(_started(pid) == started for pid, started in orphans.items()), deadline)
    for pid in orphans:
        kill_group(pid)


def _started(pid: int) -> str:
    """When a process started (clock ticks after boot, field 22 of /proc/<pid>/stat), "" if it has ended."""
    try:
        # Fields from the third on follow the last `)`: the second is the name, which may hold any character.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
