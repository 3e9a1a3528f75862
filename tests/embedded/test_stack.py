"""The whole stack as processes: ready, killed, stopped, continued."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from schemas.control import Integration, Service
from schemas.settings import PORTS, Settings
from schemas.topics import CONTROL
from sinks.clickhouse.client import ClickHouse
from streams.control.follow import publish
from streams.embedded.stack import LOCK, PROCESSES, Stack
from streams.embedded.supervisor import until
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.ports import is_free
from tests.conftest import FreePorts, free_base

pytestmark = [pytest.mark.broker, pytest.mark.stack]


def _settings(data_dir: Path, free_ports: FreePorts) -> Settings:
    """Settings on a range of ports of which every one is free."""
    return Settings(data_dir=data_dir, port_base=free_base(free_ports))


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _alive(pids: Mapping[str, int]) -> list[str]:
    alive = []
    for name, pid in pids.items():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        alive.append(name)
    return alive


async def _count_control(settings: Settings) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all")
    await producer.start()
    try:
        sent = await producer.send_and_wait(CONTROL.name, b"{}", key=b"unknown/test")
        return int(sent.offset) + 1
    finally:
        await producer.stop()


@pytest.mark.timeout(300)
async def test_a_stack_starts_survives_kills_stops_and_continues(tmp_path: Path, free_ports: FreePorts) -> None:
    """All is ready after `start`; every process and Kafka come back after SIGKILL; `stop` ends all within ten
    seconds; a second start has the data of the first; a second stack on the directory is refused."""
    lines: list[str] = []
    settings = _settings(tmp_path / "data", free_ports)
    stack = Stack(settings, lines.append)
    await stack.start()
    try:
        assert set(stack.pids) == {"kafka", "clickhouse", *PROCESSES}
        async with aiohttp.ClientSession() as session:
            for name in ("clickhouse", *PROCESSES):
                async with session.get(f"http://127.0.0.1:{settings.port(f'admin.{name}')}/readyz") as answer:
                    assert (name, answer.status) == (name, 200)
        assert await _count_control(settings) == 1

        with pytest.raises(OperatorError, match=rf"in use by another stack \(pid {os.getpid()}\)"):
            await Stack(settings, lines.append).start()

        before = dict(stack.pids)
        for name in ("kafka", "clickhouse", "gateway"):
            stack.kill(name)
        for name in before:
            await asyncio.wait_for(stack.ready(name), 120)
        changed = {name for name, pid in stack.pids.items() if before[name] != pid}
        assert changed >= {"kafka", "clickhouse", "gateway"}
    finally:
        pids = dict(stack.pids)
        began = time.monotonic()
        await stack.stop()
    assert time.monotonic() - began < 10
    assert _alive(pids) == []

    again = Stack(settings, lines.append, processes=())
    await again.start()
    try:
        assert await _count_control(settings) == 2
        async with ClickHouse(
            settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        ) as store:
            assert await store.query("SELECT count() AS n FROM alerts") == [{"n": 0}]
    finally:
        await again.stop()


@pytest.mark.timeout(300)
async def test_a_worker_that_cannot_run_stops_nothing_and_its_alerts_are_kept(
    tmp_path: Path, free_ports: FreePorts
) -> None:
    """While another program holds the worker's port the worker crash-loops: Kafka and the gateway run on, alerts
    are answered 202; once the port is free the worker runs, and they become incidents."""
    alarms: list[str] = []
    settings = _settings(tmp_path / "data", free_ports)
    stack = Stack(settings, alarm=alarms.append)
    assert await stack.start() == []
    try:
        await publish(
            Kafka(settings.bootstrap),
            [Service(id="s"), Integration(id="a" * 32, name="a", type="webhook", service="s")],
        )
        before = dict(stack.pids)
        waiting = asyncio.create_task(stack.wait())
        stack.kill("worker", hold=True)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((settings.host, settings.port("admin.worker")))
            taken.listen()
            resuming = asyncio.create_task(stack.resume("worker"))
            assert await until(lambda: len(alarms) >= 3, time.monotonic() + 120)
            assert "5 times in a row" in alarms[2]
            assert {name: pid for name, pid in stack.pids.items() if name != "worker"} == {
                name: pid for name, pid in before.items() if name != "worker"
            }
            url = f"http://{settings.host}:{settings.port('gateway')}/api/integrations/webhook?integrationId={'a' * 32}"
            async with aiohttp.ClientSession() as session, session.post(url, json={"title": "kept"}) as answer:
                assert answer.status == 202
        await asyncio.wait_for(resuming, 120)
        async with (
            ClickHouse(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database) as store,
            asyncio.timeout(60),
        ):
            found: list[object] = []
            while found != [{"service": "s"}]:
                await asyncio.sleep(0.2)
                found = list(await store.query("SELECT service FROM incidents FINAL"))
        assert not waiting.done()
        waiting.cancel()
    finally:
        await stack.stop()


async def test_given_kafka_is_used(broker: str, tmp_path: Path, free_ports: FreePorts) -> None:
    """With a Kafka by setting no broker is started, and the topics are made on the given one."""
    settings = replace(_settings(tmp_path / "data", free_ports), kafka=broker)
    lines: list[str] = []
    stack = Stack(settings, lines.append, processes=())
    await stack.start()
    try:
        assert set(stack.pids) == {"clickhouse"}
        assert any(line.startswith(f"topics are ready on {broker}") for line in lines)
    finally:
        await stack.stop()


async def test_a_port_in_use_starts_nothing(tmp_path: Path, free_ports: FreePorts) -> None:
    """The message names port, role and setting; nothing runs and the directory is free again."""
    settings = _settings(tmp_path / "data", free_ports)
    stack = Stack(settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.port("admin.worker")))
        taken.listen()
        with pytest.raises(OperatorError, match=rf"port {settings.port('admin.worker')} \(admin\.worker\).*PORT_BASE"):
            await stack.start()
    assert stack.pids == {}
    assert _names(settings.data_dir) == [LOCK]


async def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory with somebody else's files is refused with what to do, and not changed."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OperatorError, match=r"not Stormweir's \(thesis\.txt.*STORMWEIR_DATA_DIR"):
        await Stack(Settings(data_dir=tmp_path)).start()
    assert _names(tmp_path) == ["thesis.txt"]


async def test_a_clickhouse_that_does_not_answer_is_named(broker: str, tmp_path: Path, free_ports: FreePorts) -> None:
    """A given ClickHouse that is not there is an error with its address, and nothing stays running."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    stack = Stack(replace(_settings(tmp_path / "data", free_ports), kafka=broker, clickhouse=url))
    with pytest.raises(OperatorError, match=f"ClickHouse at {url}"):
        await stack.start()
    assert stack.pids == {}


async def test_ctrl_c_while_starting_ends_everything(tmp_path: Path, free_ports: FreePorts) -> None:
    """SIGINT during the start of `stormweir up` stops what runs already; status 0, within ten seconds."""
    settings = _settings(tmp_path / "data", free_ports)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STORMWEIR_")}
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.cli", "up",
        env={**inherited, **settings.environ()},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert up.stdout is not None
    async for line in up.stdout:
        if b"topics are ready" in line:
            break
    up.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(up.communicate(), 12)
    assert up.returncode == 0
    assert rest.decode().rstrip().endswith("stopped")
    assert _names(settings.data_dir / "pids") == []
    assert all(is_free(settings.port(role)) for role in PORTS)
