"""A single-node Apache Kafka (KRaft) as a child process on loopback: the embedded broker.

All its files are in one data directory: `log/` (Kafka's data), `server.properties`, `log4j2.xml`,
`kafka.log` and a marker that says which version wrote them. Kafka's own documentation is the source of every
property: https://kafka.apache.org/documentation/#brokerconfigs
"""

import base64
import re
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from streams.embedded.kafka_jars import VERSION, Progress, archive_of, default_jars, fetch_jars, java, silent
from streams.process.errors import OperatorError
from streams.process.ports import require_free

MARKER = "stormweir-kafka"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=33554432
"""

_LOG4J2 = """\
<Configuration status="error">
  <Appenders>
    <RollingFile name="file" fileName="{file}" filePattern="{file}.%i">
      <PatternLayout pattern="%d{{ISO8601}} %p %c %m%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""


#: A start runs much code only a few times. With Java's own thresholds the optimizing compiler takes a quarter of its
#: CPU time, so these thresholds are ten times higher: code under load reaches them within a second, a start does not.
_LONG = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
#: In a tool that runs for a second, the optimizing compiler costs more than it saves.
_BRIEF = ("-XX:TieredStopAtLevel=1",)


class KafkaError(OperatorError):
    """The embedded broker cannot start; the message says why and what to do."""


class EmbeddedKafka:
    """One broker. `start` returns once it answers; it continues with the data of an earlier run.

    `progress` gets lines for people. With `record`, Java writes the classes that it loaded to this file when it ends.
    Must not be used from two threads at once.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int,
        controller_port: int,
        *,
        heap_mb: int = 512,
        jars: Path | None = None,
        record: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.controller_port = controller_port
        self.heap_mb = heap_mb
        self.jars = jars or default_jars(data_dir)
        self._record = record
        self.progress = progress
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, timeout: float = 120) -> None:
        """Run the broker and wait until it answers metadata requests.

        Raises KafkaError (foreign data, broker died, no answer in `timeout` seconds), MissingToolError
        (Java, Maven) or PortInUseError.
        """
        if self.pid is not None:
            raise KafkaError(f"the broker of {self.data_dir} runs already (pid {self.pid})")
        executable = java()
        require_free("kafka", self.port)
        require_free("kafka.controller", self.controller_port)
        self._claim()
        fetch_jars(self.jars, self.progress)
        recovering = self._has_data() and not (self.data_dir / "log" / ".kafka_cleanshutdown").exists()
        self._configure(executable)
        self._process = self._java(executable, "kafka.Kafka", str(self.data_dir / "server.properties"))
        try:
            self._wait(timeout, "recovering its log after a hard stop" if recovering else "starting")
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 15) -> None:
        """Stop with SIGTERM, after `timeout` seconds with SIGKILL. Does nothing if the broker does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.progress("Kafka did not stop in time and is killed; its next start recovers the log")
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the process with SIGKILL and wait for it; the data stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _claim(self) -> None:
        """Mark an empty directory as ours; reject a foreign directory and one that a newer Kafka wrote."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        marker = self.data_dir / MARKER
        if marker.exists():
            found = marker.read_text().strip()
            if not re.fullmatch(r"\d+\.\d+\.\d+", found) or _numbers(found) > _numbers(VERSION):
                raise KafkaError(
                    f"{self.data_dir} was written by Kafka {found!r}, this is {VERSION}: "
                    "use that version or another data directory (STORMWEIR_DATA_DIR)"
                )
        elif any(self.data_dir.iterdir()):
            raise KafkaError(
                f"{self.data_dir} holds files that are not this broker's: "
                "choose an empty data directory (STORMWEIR_DATA_DIR) or move them away"
            )
        marker.write_text(VERSION + "\n")

    def _configure(self, executable: str) -> None:
        properties = self.data_dir / "server.properties"
        properties.write_text(self._properties())
        (self.data_dir / "log4j2.xml").write_text(_LOG4J2.format(file=self.data_dir / "kafka.log"))
        if self._has_data():
            return
        self.progress("formatting Kafka's storage")
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).rstrip(b"=").decode()
        tool = self._java(
            executable,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            cluster,
            "-c",
            str(properties),
            jit=_BRIEF,
        )
        if tool.wait() != 0:
            raise KafkaError(f"formatting {self.data_dir} failed:\n{self._last_lines()}")

    def _properties(self) -> str:
        """The text of `server.properties`."""
        return _PROPERTIES.format(port=self.port, controller_port=self.controller_port, log_dir=self.data_dir / "log")

    def _has_data(self) -> bool:
        return (self.data_dir / "log" / "meta.properties").exists()

    def _java(self, executable: str, main: str, *arguments: str, jit: Sequence[str] = _LONG) -> subprocess.Popen[bytes]:
        heap = [f"-Xms{min(256, self.heap_mb)}m", f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC"]
        # Java ignores an archive that does not fit it or the jars.
        archive = archive_of(self.jars)
        if self._record is not None:
            heap.append(f"-XX:ArchiveClassesAtExit={self._record}")
        elif archive.is_file():
            heap += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
        logging = f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.xml'}"
        command = [executable, *heap, *jit, logging, "-cp", f"{self.jars}/*", main, *arguments]
        with (self.data_dir / "stdout.log").open("wb") as output:
            # A session of its own: Ctrl-C in the terminal must not reach Kafka before the processes that use it.
            return subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _wait(self, timeout: float, doing: str) -> None:
        process = self._process
        assert process is not None
        started = time.monotonic()
        shown = 0
        self.progress(f"Kafka {VERSION} is {doing}")
        while not _answers(self.port):
            seconds = time.monotonic() - started
            if process.poll() is not None:
                raise KafkaError(f"Kafka ended with status {process.returncode}:\n{self._last_lines()}")
            if seconds > timeout:
                raise KafkaError(f"Kafka did not answer in {timeout:.0f} s:\n{self._last_lines()}")
            if seconds - shown >= 5:
                shown = int(seconds)
                self.progress(f"Kafka is still {doing} ({shown} s)")
            time.sleep(0.05)
        self.progress(f"Kafka answers on {self.bootstrap} after {time.monotonic() - started:.1f} s")

    def _last_lines(self) -> str:
        lines: list[str] = []
        for name in ("stdout.log", "kafka.log"):
            path = self.data_dir / name
            if path.exists():
                found = path.read_text(errors="replace").splitlines()
                # the reasons, not the frames of Java's stack traces
                lines += [f"  {name}: {line}" for line in found if not line.startswith("\tat ")][-8:]
        return "\n".join(lines)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _answers(port: int) -> bool:
    """Whether the broker answers a Metadata request (version 4) and counts itself among the live brokers.

    Wire format: https://kafka.apache.org/protocol#The_Messages_Metadata
    """
    client = b"stormweir"
    # api key 3, version 4, correlation id 0, client id; no topics, no topic creation
    body = struct.pack(f">hhih{len(client)}sib", 3, 4, 0, len(client), client, 0, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = b""
            # length, correlation id, throttle time, number of brokers
            while len(answer) < 16:
                part = connection.recv(4096)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    brokers: int = struct.unpack_from(">i", answer, 12)[0]
    return brokers > 0
