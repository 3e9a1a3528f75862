"""Socket Mode: clicks over a WebSocket to the fake Slack, for a gateway that Slack cannot reach."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from structlog.testing import capture_logs

from schemas.settings import Settings
from sinks.channels.slack import SlackDestination
from sinks.fakes.slack import APP_TOKEN, TOKEN
from sinks.outbound import BlockedTargetError, Outbound
from streams.control.transaction import Plan
from streams.gateway.slack import Slack
from streams.slack.handler import ClickHandler
from streams.slack.socket import MAX_PAUSE_S, Socket
from tests.sinks.samples import LOOPBACK, notification, until
from tests.sinks.slack_room import SlackRoom, slack_room
from tests.slack.desk import Incidents


@dataclass
class Listening:
    """A card in Slack, a socket that listens, and the pauses that it made."""

    on: SlackRoom
    incidents: Incidents
    pauses: list[float]

    async def press(self, action: str) -> str:
        """Click, and what the person is told."""
        before = len(self.on.slack.truth.responses)
        await self.on.slack.press(self.on.slack.truth.messages[0].ts, action, self.on.url)
        await until(lambda: len(self.on.slack.truth.responses) > before)
        return str(self.on.slack.truth.responses[-1]["text"])


@asynccontextmanager
async def listening(token: str = APP_TOKEN, *script: str) -> AsyncIterator[Listening]:
    """A socket with this token; `script` are Slack's first refusals."""
    async with slack_room() as on:
        on.desk.take(notification())
        await on.ended(1)
        on.slack.script += script
        outbound, incidents, pauses = Outbound(LOOPBACK), Incidents(), []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0.001)

        handler = ClickHandler(incidents, outbound)
        socket = Socket(token, f"{on.url}/api", outbound, handler, on.slack.clock, sleep)
        task = asyncio.create_task(socket.run())
        try:
            yield Listening(on, incidents, pauses)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await handler.close()
            await outbound.close()


async def test_a_click_comes_over_the_socket() -> None:
    """C98 without a public address: one change, each envelope acknowledged, the person told."""
    async with listening() as at:
        await until(lambda: at.on.slack.sockets)
        assert await at.press("acknowledge") == "Acknowledged: Disk full"
        assert await at.press("acknowledge") == "Already done: the incident is acknowledged: Disk full"
        assert len(at.on.slack.truth.acknowledged) == 2
        assert [command.actor for command in at.incidents.commands] == ["slack:U0ADA (ada)"] * 2


@pytest.mark.parametrize("polite", [True, False])
async def test_a_new_connection_follows_the_old(polite: bool) -> None:
    """Slack asks for a new one every few hours, or the old one breaks: the next click arrives."""
    async with listening() as at:
        await until(lambda: at.on.slack.sockets)
        [first] = at.on.slack.sockets
        if polite:
            await first.send_json({"type": "disconnect", "reason": "refresh_requested"})
        else:
            await first.close()
        await until(lambda: at.on.slack.sockets and at.on.slack.sockets != [first])
        assert await at.press("resolve") == "Resolved: Disk full"


@pytest.mark.parametrize(
    "message",
    ["{", "[]", '{"type":7}', '{"type":"interactive","envelope_id":"e","payload":{"type":"block_actions"}}'],
)
async def test_what_cannot_be_read_ends_nothing(message: str) -> None:
    """A message that is no envelope, or an interaction that is none, and the next click arrives."""
    async with listening() as at:
        await until(lambda: at.on.slack.sockets)
        [first] = at.on.slack.sockets
        await first.send_str(message)
        if "envelope_id" not in message:
            await until(lambda: at.on.slack.sockets and at.on.slack.sockets != [first])
        assert await at.press("resolve") == "Resolved: Disk full"


async def test_a_refusal_is_tried_again_ever_more_seldom_and_told_without_the_token() -> None:
    """Pauses double up to a minute; the log has Slack's reason, and neither token nor address."""
    with capture_logs() as logs:
        async with listening(TOKEN) as at:
            await until(lambda: len(at.pauses) > 10)
    assert at.pauses[-1] <= MAX_PAUSE_S
    assert at.pauses[3] >= 4
    assert {line["error"] for line in logs} == {"not_allowed_token_type"}
    assert TOKEN not in str(logs)


async def test_it_listens_after_passing_failures() -> None:
    """Two failures of Slack's own, then a connection."""
    async with listening(APP_TOKEN, "internal_error", "<script>") as at:
        await until(lambda: at.on.slack.sockets)
        assert len(at.pauses) == 2
        assert await at.press("resolve") == "Resolved: Disk full"


async def test_the_gateway_listens_if_it_has_the_token() -> None:
    """By the setting alone; closing it ends the connection."""

    async def store(plan: Plan[SlackDestination]) -> SlackDestination:
        raise AssertionError

    async with slack_room() as on:
        outbound = Outbound(LOOPBACK)
        settings = Settings(slack_app_token=APP_TOKEN, slack_url=on.url)
        slack = Slack(settings, outbound, Incidents(), store)
        slack.start()
        await until(lambda: on.slack.sockets)
        await slack.close()
        await until(lambda: not on.slack.sockets)
        await outbound.close()


async def test_a_socket_outlives_the_time_limit_of_requests_and_is_guarded_like_them() -> None:
    """The limit is for the handshake; a private address that is not allowed is not dialled."""
    async with slack_room() as on:
        outbound = Outbound(LOOPBACK, aiohttp.ClientTimeout(total=0.2, connect=0.2))
        handler = ClickHandler(Incidents(), outbound)
        task = asyncio.create_task(Socket(APP_TOKEN, f"{on.url}/api", outbound, handler).run())
        await until(lambda: on.slack.sockets)
        [first] = on.slack.sockets
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(until(lambda: on.slack.sockets != [first]), 0.6)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await outbound.close()
        guarded = Outbound(())
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            async with guarded.websocket(on.url.replace("http", "ws") + "/socket/x", 20):
                pass
        assert isinstance(caught.value.os_error, BlockedTargetError)
        with pytest.raises(ValueError, match="neither"):
            guarded.websocket("file:///etc/passwd", 20)
        await guarded.close()
