"""The embedded broker: real starts, real stops, and the mistakes people make."""

import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import Topic
from streams.embedded import kafka as kafka_module
from streams.embedded.kafka import MARKER, EmbeddedKafka, KafkaError
from streams.embedded.kafka_jars import MissingToolError, default_jars, fetch_jars, java
from streams.process.kafka import Kafka
from streams.process.ports import PortInUseError
from streams.process.topics import create_topics
from tests.conftest import FreePorts


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.mark.broker
async def test_data_survives_sigkill_and_stop(tmp_path: Path, free_ports: FreePorts) -> None:
    """What the broker acknowledged is there after SIGKILL and after an orderly stop."""
    lines: list[str] = []
    port, controller = free_ports(2)
    kafka = EmbeddedKafka(tmp_path / "kafka", port, controller, heap_mb=256, progress=lines.append)
    kafka.start()
    try:
        await create_topics(Kafka(kafka.bootstrap), 1, 1, [Topic("t", key="none")])
        async with _producer(kafka.bootstrap) as producer:
            await producer.send_and_wait("t", b"first")
        pid = kafka.pid
        assert pid is not None
        kafka.kill()
        assert kafka.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

        kafka.start()
        assert any("hard stop" in line for line in lines)
        async with _producer(kafka.bootstrap) as producer:
            await producer.send_and_wait("t", b"second")
        kafka.stop()
        lines.clear()

        kafka.start()
        assert not any("hard stop" in line for line in lines)
        assert await _values(kafka.bootstrap, "t", 2) == [b"first", b"second"]
    finally:
        kafka.stop()
    assert kafka.pid is None
    kafka.stop()  # a second stop is nothing


def test_port_in_use_names_port_and_setting(tmp_path: Path) -> None:
    """A taken port stops the start before anything is written, and the message says what to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} \(kafka\).*STORMWEIR_PORT_BASE"):
            EmbeddedKafka(tmp_path / "kafka", port, port + 1).start()
    assert not (tmp_path / "kafka").exists()


def test_foreign_directory_is_left_alone(tmp_path: Path, free_ports: FreePorts) -> None:
    """A directory with somebody else's files is refused and not changed."""
    (tmp_path / "thesis.txt").write_text("years of work")
    port, controller = free_ports(2)
    with pytest.raises(KafkaError, match=r"not this broker's.*STORMWEIR_DATA_DIR"):
        EmbeddedKafka(tmp_path, port, controller).start()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_newer_data_is_refused(tmp_path: Path, free_ports: FreePorts) -> None:
    """Data of a newer Kafka is not opened by an older one."""
    (tmp_path / MARKER).write_text("99.0.0\n")
    port, controller = free_ports(2)
    with pytest.raises(KafkaError, match=r"written by Kafka '99\.0\.0'"):
        EmbeddedKafka(tmp_path, port, controller).start()


@pytest.mark.broker
def test_a_broker_that_dies_at_start_says_why(
    tmp_path: Path, free_ports: FreePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Kafka exits instead of answering, its own last lines are in the error."""
    monkeypatch.setattr(kafka_module, "_PROPERTIES", kafka_module._PROPERTIES + "num.io.threads=none\n")
    port, controller = free_ports(2)
    with pytest.raises(KafkaError, match=r"num\.io\.threads"):
        EmbeddedKafka(tmp_path / "kafka", port, controller, heap_mb=256).start()


def _fake_java(folder: Path, version: str) -> None:
    script = folder / "bin" / "java"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2020-01-01' >&2\n")
    script.chmod(0o755)


def test_java_is_found_and_old_or_missing_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME wins; Java 8 (which calls itself 1.8), Java 11 and no Java at all are clear errors."""
    for version, number in (("1.8.0_402", "8"), ("11.0.2", "11")):
        home = tmp_path / number
        home.mkdir()
        _fake_java(home, version)
        monkeypatch.setenv("JAVA_HOME", str(home))
        with pytest.raises(MissingToolError, match=f"is Java {number}, .* needs 17"):
            java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingToolError, match="no java in JAVA_HOME"):
        java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"no java on the PATH: install a Java 17"):
        java()


def test_missing_maven_matters_only_without_jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven the jars cannot be fetched, and nothing half-fetched stays; with jars nobody asks."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="install Maven"):
        fetch_jars(tmp_path / "cache" / "kafka", print)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "cache" / "kafka").mkdir()
    fetch_jars(tmp_path / "cache" / "kafka", print)


def test_failing_maven_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Maven that fails is quoted."""
    script = tmp_path / "mvn"
    script.write_text("#!/bin/sh\necho 'no route to the repository'; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MissingToolError, match="no route to the repository"):
        fetch_jars(tmp_path / "kafka", print)


def test_jars_of_a_checkout_lie_in_its_cache(tmp_path: Path) -> None:
    """In a checkout the jars are shared by every data directory."""
    assert default_jars(tmp_path / "a") == default_jars(tmp_path / "b" / "c")
    assert shutil.which("mvn") is not None
