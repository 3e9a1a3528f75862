"""An embedded installation encrypts its secrets without being asked."""

import asyncio
import hmac
import json
import os
import stat
import subprocess
from pathlib import Path

import aiohttp
import pytest

from schemas.settings import Settings
from streams.control.secrets import KEY_FILE, SecretKeys, new_key
from streams.embedded.stack import Stack
from tests.conftest import FreePorts, free_base
from tests.forks import stormweir

pytestmark = [pytest.mark.broker, pytest.mark.stack]

BODY = b'{"summary": "High CPU", "severity": "critical", "dedup_key": "a", "action": "trigger"}'


async def _run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in another process on the same settings, as a user runs it."""
    return await asyncio.to_thread(stormweir, *arguments, environ={**os.environ, **settings.environ()})


async def _post(url: str, secret: str) -> int:
    signature = {"X-Signature": f"sha256={hmac.digest(secret.encode(), BODY, 'sha256').hex()}"}
    async with aiohttp.ClientSession() as session, session.post(url, data=BODY, headers=signature) as answer:
        return answer.status


@pytest.mark.timeout(300)
async def test_what_a_command_stores_is_sealed_on_disk_and_known_to_the_gateway(
    tmp_path: Path, free_ports: FreePorts
) -> None:
    """The stack makes a key that only its user can read; commands and processes share it, also after a restart; the
    secret is in none of Kafka's files, while the gateway checks signatures with it."""
    lines: list[str] = []
    settings = Settings(data_dir=tmp_path / "data", port_base=free_base(free_ports))
    stack = Stack(settings, lines.append, processes=("gateway",))
    assert await stack.start() == []
    file = settings.data_dir / KEY_FILE
    try:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        key = file.read_text().strip()
        create = ("integrations", "create", "-t", "webhook", "-s", "shop", "-n", "of the test", "--create-service")
        created = await _run(settings, *create, "--generate-secret", "--json")
        assert (created.returncode, created.stderr) == (0, "")
        made = json.loads(created.stdout)
        secret, url = made["signature_secret"], made["webhook_url"]
        async with asyncio.timeout(10):
            while True:
                if await _post(url, secret) == 202:
                    break
                await asyncio.sleep(0.1)
        assert await _post(url, "another") == 401
    finally:
        await stack.stop()
    topic = b"".join(path.read_bytes() for path in (settings.data_dir / "kafka").rglob("control-0/*"))
    assert b"of the test" in topic
    assert secret.encode() not in topic
    told = "".join(path.read_text() for path in (settings.data_dir / "logs").iterdir()) + "".join(lines)
    assert secret not in told
    assert key not in told

    again = Stack(settings, lines.append, processes=("gateway",))
    assert await again.start() == []
    try:
        assert file.read_text().strip() == key
        assert await _post(url, secret) == 202
    finally:
        await again.stop()

    # With another key neither process starts: to them the integration would seem deleted.
    file.write_text(new_key())
    last = Stack(settings, lines.append, processes=())
    await last.start()
    try:
        for name, status in (("gateway", 2), ("notifier", 1)):
            ended = await _run(settings, name)
            assert ended.returncode == status
            assert f"keys are missing here ({SecretKeys([key]).ids[0]})" in ended.stderr
            assert secret not in ended.stderr
    finally:
        await last.stop()
