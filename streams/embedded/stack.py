"""All of Stormweir on one machine: starts Kafka, ClickHouse and our processes, keeps them running and stops them.

All files are in one data directory: `kafka/`, `clickhouse/`, `api/`, `logs/`, `pids/` and the lock of the stack.
"""

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import IO, TypeVar

from schemas.settings import PORTS, PREFIX, Settings
from sinks.clickhouse.client import ClickHouseError
from sinks.clickhouse.migrate import MigrationError, migrate
from streams.control.secrets import KEY_FILE, make_key_file
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.kafka_jars import Progress, silent
from streams.embedded.processes import Broker, Command, end_orphans
from streams.embedded.supervisor import Process, Supervisor
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.ports import require_free
from streams.process.topics import create_topics

T = TypeVar("T")

LOCK = "stormweir.lock"
PROCESSES = ("writer", "worker", "notifier", "gateway", "api")
#: On a few cores, history yields CPU time to notifications: Kafka keeps the records that history has not written yet.
_HISTORY = frozenset({"clickhouse", "writer"})
_YIELDING = ("nice", "-n", "5")
#: Processes that stop together, and seconds after which those still running are killed: a stop takes at most ten.
_STOP = (
    (("gateway", "api"), 2.0),
    (("worker", "writer", "notifier", "receiver"), 5.0),
    (("clickhouse",), 6.0),
    (("kafka",), 8.5),
)
_READY_S = 180.0
#: The names of files and folders that a stack and its commands keep in a data directory.
_OURS = {"api", "kafka", "clickhouse", "logs", "pids", "receiver.jsonl", KEY_FILE, LOCK}


class Stack:
    """One machine's stack. `start` starts all processes; from then on a process that dies is restarted.

    `processes` are commands of `stormweir`; the demo adds `receiver`. A Kafka or ClickHouse that the
    settings name is used instead of the embedded one. `progress` gets lines for people; `alarm` (by default
    `progress`) gets the lines about a process that crash-loops.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress = silent,
        processes: Sequence[str] = PROCESSES,
        alarm: Progress | None = None,
    ) -> None:
        self.settings = settings
        self._progress = progress
        self._names = processes
        self._supervisor = Supervisor(progress, alarm or progress)
        self._lock: IO[str] | None = None

    @property
    def pids(self) -> Mapping[str, int]:
        """Ids of the running processes by name (`kafka`, `clickhouse`, `gateway`, ...)."""
        return self._supervisor.pids

    async def start(self) -> list[str]:
        """Start all processes on the existing data. Return the names of processes that are not ready.

        Raises OperatorError if Kafka or ClickHouse cannot start; then nothing runs. Another process that
        crash-loops or is not ready in time does not hold up the rest; it is restarted like one that dies later.
        """
        self._claim()
        commands = [self._command(name) for name in self._names]
        try:
            await end_orphans(self.settings.data_dir, self._progress)
            self._check_ports()
            self._make_key()
            for command in commands:
                command.prepare()
            await _together(self._start_kafka(), self._start_clickhouse())
            return [name for name in await _together(*map(self._start, commands)) if name is not None]
        except BaseException:
            await self.stop()
            for command in commands:
                command.kill()
            raise

    async def stop(self) -> None:
        """Stop all processes within ten seconds: the gateway first, Kafka last. A second stop does nothing."""
        started = time.monotonic()
        for names, seconds in _STOP:
            await asyncio.gather(*(self._supervisor.stop(name, started + seconds) for name in names))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def wait(self) -> None:
        """Wait until cancelled; the death of a process does not end the wait."""
        await self._supervisor.wait()

    def kill(self, process: str, *, hold: bool = False) -> None:
        """Send SIGKILL to one process, for fault tests. It is restarted at once, with `hold` only after `resume`."""
        self._supervisor.kill(process, hold=hold)

    async def resume(self, process: str) -> None:
        """Restart a held process, and wait until it is ready."""
        self._supervisor.resume(process)
        await self._supervisor.ready(process)

    async def ready(self, process: str) -> None:
        """Wait until a process is ready; return at once if it is ready now."""
        await self._supervisor.ready(process)

    def _claim(self) -> None:
        directory = self.settings.data_dir
        try:
            directory.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in directory.iterdir()}
            foreign = sorted(names - _OURS)
            if foreign and LOCK not in names:
                raise OperatorError(
                    f"{directory} holds files that are not Stormweir's ({', '.join(foreign[:3])}, ...): "
                    "choose an empty or new data directory with STORMWEIR_DATA_DIR"
                )
            self._lock = (directory / LOCK).open("a+")
        except OSError as error:
            raise OperatorError(
                f"data directory {directory}: {error.strerror}: choose another with STORMWEIR_DATA_DIR"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip()
            self._lock.close()
            self._lock = None
            raise OperatorError(
                f"{directory} is in use by another stack (pid {owner}): stop that one, "
                "or choose another STORMWEIR_DATA_DIR and STORMWEIR_PORT_BASE"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _make_key(self) -> None:
        """Give a new installation its key for secrets; processes and commands find it in the data directory."""
        try:
            path = make_key_file(self.settings)
        except OSError as error:
            raise OperatorError(f"{self.settings.data_dir}: no file for the key of secrets: {error.strerror}") from None
        if path is not None:
            self._progress(f"made the key for stored secrets, {path}: keep a copy")

    def _check_ports(self) -> None:
        settings = self.settings
        if not settings.kafka:
            require_free("kafka", settings.port("kafka"))
            require_free("kafka.controller", settings.port("kafka.controller"))
        served = [*self._names, *([] if settings.clickhouse else ["clickhouse"])]
        for name in served:
            for role in {name, f"admin.{name}"} & set(PORTS):
                require_free(role, settings.port(role), settings.host)

    async def _start_kafka(self) -> None:
        settings = self.settings
        if not settings.kafka:
            kafka = EmbeddedKafka(
                settings.data_dir / "kafka",
                settings.port("kafka"),
                settings.port("kafka.controller"),
                progress=self._progress,
            )
            await self._require(Broker(kafka, settings.data_dir))
        created = await create_topics(Kafka.of(settings), settings.partitions, settings.replication)
        self._progress(f"topics are ready on {settings.bootstrap} ({len(created)} new)")

    async def _start_clickhouse(self) -> None:
        settings = self.settings
        if not settings.clickhouse:
            await self._require(self._command("clickhouse"))
        try:
            await migrate(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database)
        except (ClickHouseError, MigrationError, ValueError) as error:
            raise OperatorError(f"ClickHouse at {settings.clickhouse_url}: {error}") from error

    async def _require(self, process: Process) -> None:
        if not await self._supervisor.start(process, _READY_S):
            raise OperatorError(f"{process.name} does not start; its last lines:\n{process.last_lines()}")
        self._progress(f"{process.name} is ready")

    async def _start(self, command: Command) -> str | None:
        """Start a command. Return its name if it is not ready, else None."""
        if not await self._supervisor.start(command, _READY_S):
            return command.name
        self._progress(f"{command.name} is ready")
        return None

    def _command(self, name: str) -> Command:
        settings = self.settings
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
        # The receiver stands for an external server and has no admin port.
        address = (
            f"{settings.port('receiver')}/summary" if name == "receiver" else f"{settings.port(f'admin.{name}')}/readyz"
        )
        return Command(
            name,
            [*(_YIELDING if name in _HISTORY else ()), sys.executable, "-m", "streams.embedded.prepared", name],
            # There is one process of each kind, so each may have a fixed name in its group.
            environ={**inherited, **settings.environ(), f"{PREFIX}INSTANCE": settings.instance or "stack"},
            ready_url=f"http://{host}:{address}",
            directory=settings.data_dir,
            progress=self._progress,
        )


async def _together(*starting: Coroutine[None, None, T]) -> list[T]:
    """Run the coroutines at once. Return their results in order. The first error cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in starting]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
