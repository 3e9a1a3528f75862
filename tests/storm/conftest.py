"""A scripted HTTP server that is driven hard, and the real ClickHouse engine."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop

from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrate import migrate
from streams.embedded.processes import Command
from tests.conftest import free_base


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """These tests run on uvloop, as `stormweir storm` does."""
    return {"uvloop": uvloop.new_event_loop}


#: Bytes to answer a body with; None breaks the connection.
Script = Callable[[bytes], bytes | None]


def answer(status: int, *headers: str) -> bytes:
    """A whole HTTP answer with a short body."""
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", *headers, "Content-Length: 2"]
    return ("\r\n".join(lines) + "\r\n\r\n{}").encode()


class Scripted:
    """A server on loopback that notes every body and answers what `script` says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.bodies.append(body)
                reply = self.script(body)
                if reply is None:
                    writer.transport.abort()
                    return
                writer.write(reply)
                if b"connection: close" in reply.lower():
                    return
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        finally:
            writer.close()


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """The server, answering 202 until its `script` is replaced."""
    target = Scripted(lambda body: answer(202))
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.port = server.sockets[0].getsockname()[1]
    async with server:
        yield target


@pytest.fixture(scope="session")
def clickhouse_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a `stormweir clickhouse` process that runs as long as the session."""
    directory = tmp_path_factory.mktemp("storm")
    settings = Settings(data_dir=directory, port_base=free_base())
    process = Command(
        "clickhouse",
        [sys.executable, "-m", "streams.cli", "clickhouse"],
        environ={**os.environ, **settings.environ()},
        ready_url=f"http://127.0.0.1:{settings.port('admin.clickhouse')}/readyz",
        directory=directory,
        progress=print,
    )
    asyncio.run(asyncio.wait_for(process.start(), 60))
    yield settings
    process.kill()


@pytest.fixture
async def clickhouse(clickhouse_settings: Settings) -> AsyncIterator[ClickHouse]:
    """A client of a database of its own, with all migrations applied."""
    url, token = clickhouse_settings.clickhouse_url, clickhouse_settings.clickhouse_token
    database = f"test_{uuid.uuid4().hex}"
    await migrate(url, token, database)
    async with ClickHouse(url, token, database) as client:
        yield client
        await client.command(f"DROP DATABASE {database}")
