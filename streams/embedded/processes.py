"""The processes a supervisor runs: commands of ours, and the embedded broker. Each leaves its pid in a file.

The file holds pid and start time, so that a later stack ends what a killed one left and nothing else.
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
#: A healthy start takes a few seconds; what takes longer is told, with the reason, this often.
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
        """Start it up to where it waits for its standard input to end, which `start` ends."""
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
                # Ctrl-C in the terminal must not reach it: what ends first is for the stack to say.
                start_new_session=True,
            )
        remember(self._pid_file, self._process.pid)

    async def start(self) -> None:
        """Start it, or what was prepared, and wait, as long as it lives, until it is ready. Raises DiedError."""
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
        """SIGTERM."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL for it and for processes it started."""
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
        """Start it and wait until it answers. The first start raises OperatorError, later ones DiedError."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._kafka.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be cancelled; without its broker it returns.
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
        """SIGTERM."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._kafka.kill()
        self._pid_file.unlink(missing_ok=True)

    def last_lines(self) -> str:
        """Why it last failed to start."""
        return self._problem


def kill_group(leader: int) -> None:
    """SIGKILL every process of the group that `leader` began."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def remember(pid_file: Path, pid: int) -> None:
    """Write down a process, so that `end_orphans` of a later stack knows it."""
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.write_text(f"{pid} {_started(pid)}\n")


async def end_orphans(directory: Path, progress: Progress) -> None:
    """End what an earlier stack of this directory left running when it was killed itself."""
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
        # Fields from the third on follow the last `)`: the second is the name, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
