"""The admin port over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from streams.process import admin
from streams.process.admin import AdminServer, Check, healthy
from streams.process.ports import PortInUseError
from tests.conftest import FreePorts


@asynccontextmanager
async def _served(port: int, live: Check, ready: Check) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        AdminServer("127.0.0.1", port, live, ready),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def test_health_follows_its_checks(free_ports: FreePorts) -> None:
    """200 while a check gives None, 503 with its reason afterwards; plain and async checks both work."""
    reasons: dict[str, str | None] = {"live": None, "ready": "recovering 3 partitions"}

    async def ready() -> str | None:
        return reasons["ready"]

    async with _served(free_ports(1)[0], lambda: reasons["live"], ready) as session:
        async with session.get("/livez") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert await answer.json() == {"status": "failed", "reason": "recovering 3 partitions"}
        reasons.update(live="no progress for 60 s", ready=None)
        async with session.get("/livez") as answer:
            assert answer.status == 503
        async with session.get("/readyz") as answer:
            assert answer.status == 200


async def test_check_that_raises_or_hangs_has_failed(free_ports: FreePorts, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a check is a 503 that names its type and not its text; a check that hangs is cut off."""
    monkeypatch.setattr(admin, "_CHECK_TIMEOUT_S", 0.05)

    def broken() -> str | None:
        raise ValueError("password=hunter2")

    async def hanging() -> str | None:
        await asyncio.Event().wait()
        return None

    async with _served(free_ports(1)[0], broken, hanging) as session:
        async with session.get("/livez") as answer:
            assert answer.status == 503
            assert (await answer.json())["reason"] == "the check failed: ValueError"
        async with session.get("/readyz") as answer:
            assert answer.status == 503
            assert "did not end" in (await answer.json())["reason"]


async def test_metrics_and_version(free_ports: FreePorts) -> None:
    """/metrics is Prometheus text of the default registry, /version is JSON; other methods are refused."""
    async with _served(free_ports(1)[0], healthy, healthy) as session:
        async with session.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert "python_info" in await answer.text()
        async with session.get("/version") as answer:
            assert set(await answer.json()) == {"version"}
        async with session.post("/livez") as answer:
            assert answer.status == 405


async def test_taken_admin_port_is_named() -> None:
    """A taken port is an error that names the port and the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"admin port {port} .*STORMWEIR_PORT_BASE"):
            await AdminServer("127.0.0.1", port).start()
