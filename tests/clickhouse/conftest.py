"""A real `stormweir clickhouse` process, and databases of their own on it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrate import migrate
from streams.process.ports import is_free
from tests.conftest import free_base

TOKEN = "test-token"


class Server:
    """The process on `data_dir`; `start` it as often as you like. Its stderr is in `log`."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir, port_base=free_base(), clickhouse_token=TOKEN)
        self.url = self.settings.clickhouse_url
        self.admin = f"http://127.0.0.1:{self.settings.port('admin.clickhouse')}"
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start a process on this folder and these ports, and do not wait for it."""
        environ = {**os.environ, **self.settings.environ()}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "clickhouse"], env=environ, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start and wait until the port answers."""
        self._process = self.spawn()
        deadline = time.monotonic() + 60
        while is_free(self.settings.port("admin.clickhouse")):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not end it."""
    server = Server(tmp_path_factory.mktemp("clickhouse") / "data dir")
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for a test that ends it; start it yourself."""
    server = Server(tmp_path / "data")
    yield server
    if server._process is not None and server._process.poll() is None:
        server.end(signal.SIGKILL)


@pytest.fixture
async def clickhouse(server: Server) -> AsyncIterator[ClickHouse]:
    """A client of a database of its own, with all migrations applied."""
    database = f"test_{uuid.uuid4().hex}"
    await migrate(server.url, TOKEN, database)
    async with ClickHouse(server.url, TOKEN, database) as client:
        yield client
        await client.command(f"DROP DATABASE {database}")
