"""A real gateway process connects a workspace of the fake Slack, and writes its token to the real topic."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from schemas.settings import Settings
from sinks.channels.slack import SlackDestination
from sinks.fakes.slack import CLIENT, TOKEN, FakeSlack
from streams.control.follow import read
from streams.process.kafka import Kafka
from streams.slack import installation
from tests.conftest import FreePorts, free_base
from tests.gateway.conftest import running_gateway, wait_for
from tests.sinks.fake_vendor import serving
from tests.sinks.samples import LOOPBACK

pytestmark = pytest.mark.broker


async def test_a_workspace_is_connected(prepared: str, free_ports: FreePorts, tmp_path: Path) -> None:
    """A2: a browser that follows the link ends at a page that says so; a second visit of that page is refused."""
    fake, port = FakeSlack(), free_base(free_ports)
    async with serving(fake.application()) as address, aiohttp.ClientSession() as browser:
        fields = {"slack_url": address, "slack_client_id": CLIENT[0], "slack_client_secret": CLIENT[1]}
        settings = Settings(port_base=port, **fields)
        with running_gateway(prepared, port, tmp_path, allowed_networks=LOOPBACK, **fields) as gateway:
            await asyncio.to_thread(wait_for, gateway.ready, "a ready gateway")
            ticket = installation.new_ticket("default", "slack", "C0ALERTS", fake.clock())
            async with browser.get(installation.start_link(settings, ticket)) as got:
                assert (got.status, got.content_type) == (200, "text/plain"), await got.text()
                assert await got.text() == "Slack is connected: Fake workspace for the destination slack."
                assert got.headers["Cache-Control"] == "no-store"
                finished = got.url
            stored = (await read(Kafka(prepared))).destinations["default", "slack"]
            assert isinstance(stored, SlackDestination)
            assert (stored.bot_token, stored.channel) == (TOKEN, "C0ALERTS")
            async with browser.get(finished) as got:
                assert got.status == 400
            for path, status in (("/slack/oauth/start", 405), ("/slack/interactions", 404)):
                async with browser.post(gateway.url + path, data=b"payload=x") as got:
                    assert got.status == status
        log = (tmp_path / "gateway.log").read_text()
        assert TOKEN not in log
        assert CLIENT[1] not in log
