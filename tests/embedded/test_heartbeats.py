"""A monitor on the whole stack: missing, back, and not missing because Stormweir was away."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from schemas.control import Heartbeat, Integration, Service
from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from streams.control.follow import publish
from streams.embedded.stack import Stack
from streams.process.kafka import Kafka
from tests.conftest import FreePorts, free_base

pytestmark = [pytest.mark.broker, pytest.mark.stack]

KEY, WEBHOOK = "c" * 32, "a" * 32
PERIOD_S = 8


class Beats:
    """Beats a monitor every second while `on`, however many attempts fail."""

    def __init__(self, url: str) -> None:
        self.on = False
        self._url = url

    async def run(self) -> None:
        """Until it is cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
            while True:
                if self.on:
                    try:
                        async with session.get(f"{self._url}/v1/heartbeats/{KEY}"):
                            pass
                    except (aiohttp.ClientError, TimeoutError):
                        pass
                await asyncio.sleep(1)


@pytest.mark.timeout(300)
async def test_a_monitor_on_a_real_stack(tmp_path: Path, free_ports: FreePorts) -> None:
    """Never beaten: missing. Beaten: resolved. Worker away for longer than its period, gateway away for longer than
    its period, Kafka killed: not missing. Silent: missing, in a second incident.
    """
    settings = Settings(data_dir=tmp_path / "data", port_base=free_base(free_ports))
    stack = Stack(settings)
    assert await stack.start() == []
    url = f"http://127.0.0.1:{settings.port('gateway')}"
    beats = Beats(url)
    task = asyncio.create_task(beats.run())
    marked = 0

    async def passed() -> None:
        """Wait until the stream has processed what was sent by now, deadlines included."""
        nonlocal marked
        marked += 1
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    body = {"summary": "mark", "dedup_key": f"mark-{marked}"}
                    path = f"{url}/api/integrations/webhook?integrationId={WEBHOOK}"
                    async with session.post(path, json=body) as answer:
                        if answer.status == 202:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        await _until(settings, f"countIf(dedup_key = 'mark-{marked}')", 1)

    try:
        await publish(
            Kafka(settings.bootstrap),
            [
                Service(id="jobs"),
                Integration(id=WEBHOOK, name="w", type="webhook", service="jobs", rate_limit="unlimited"),
                Heartbeat(id="cron", service="jobs", every=PERIOD_S - 2, grace=2, key=KEY),
            ],
        )
        await _until(settings, "countIf(status = 'open' AND dedup_key = 'heartbeat/cron')", 1)
        beats.on = True
        await _until(settings, "countIf(status = 'resolved' AND dedup_key = 'heartbeat/cron')", 1)

        for process in ("worker", "gateway", "kafka"):
            stack.kill(process, hold=process != "kafka")
            if process == "kafka":
                await asyncio.wait_for(stack.ready(process), 120)
            else:
                await asyncio.sleep(PERIOD_S + 4)  # the outage itself
                await stack.resume(process)
            await passed()
            if process != "worker":
                # Beats were lost: whoever would be missing for that is so after another period at the latest.
                await asyncio.sleep(PERIOD_S + 2)
                await passed()
            assert await _count(settings, "countIf(dedup_key = 'heartbeat/cron')") == 1, process

        beats.on = False
        await _until(settings, "countIf(status = 'open' AND dedup_key = 'heartbeat/cron')", 1)
        assert await _count(settings, "countIf(dedup_key = 'heartbeat/cron')") == 2
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stack.stop()


async def _count(settings: Settings, what: str) -> int:
    async with ClickHouse(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database) as store:
        (row,) = await store.query(f"SELECT {what} AS n FROM incidents FINAL")
        return int(row["n"])


async def _until(settings: Settings, what: str, expected: int) -> None:
    async with asyncio.timeout(60):
        while True:
            if await _count(settings, what) == expected:
                return
            await asyncio.sleep(0.2)
