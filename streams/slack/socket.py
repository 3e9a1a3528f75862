"""Socket Mode: clicks come over a WebSocket that we open, so Slack need not reach the gateway.

https://docs.slack.dev/apis/events-api/using-socket-mode . Slack sends each click over one of the open sockets, and
wants it acknowledged within 3 s. What comes over the socket is from Slack, because its address is.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
import msgspec
import orjson
import structlog

from streams.slack import clicks
from streams.slack.handler import ClickHandler, Client

log = structlog.get_logger(__name__)

#: The pause before a new connection, seconds, times 0.5 to 1 by chance; it doubles with each that Slack did not greet.
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
HEARTBEAT_S = 20.0


class SocketClient(Client, Protocol):
    """An outgoing client that also opens WebSockets, under the same guard."""

    def websocket(
        self, url: str, heartbeat_s: float
    ) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]: ...


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    envelope_id: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class _Opened(msgspec.Struct, frozen=True):
    ok: bool
    url: str = ""
    error: str = ""


_envelope = msgspec.json.Decoder(_Envelope)
_opened = msgspec.json.Decoder(_Opened)


class Socket:
    """Listens for clicks with an app-level token (`xapp-`), until it is cancelled."""

    def __init__(
        self,
        app_token: str,
        api_url: str,
        client: SocketClient,
        handler: ClickHandler,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._token = app_token
        self._api_url = api_url
        self._client = client
        self._handler = handler
        self._clock = clock
        self._sleep = sleep
        self._greeted = False

    async def run(self) -> None:
        """Connect, listen, and connect again whenever the connection ends."""
        pause = FIRST_PAUSE_S
        while True:
            self._greeted = False
            try:
                await self._listen()
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # Only the type, or our own text: the socket's address is a credential.
                reason = str(error) if isinstance(error, _RefusedError) else type(error).__name__
                log.warning("no clicks from Slack", error=reason)
            pause = FIRST_PAUSE_S if self._greeted else min(2 * pause, MAX_PAUSE_S)
            await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads connections

    async def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._client.post(f"{self._api_url}/apps.connections.open", b"", headers)
        opened = _opened.decode(answer.body)
        if not opened.ok:
            raise _RefusedError(opened.error)
        async with self._client.websocket(opened.url, HEARTBEAT_S) as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                envelope = _envelope.decode(message.data)
                if envelope.type == "hello":
                    self._greeted = True
                elif envelope.type == "disconnect":
                    return
                elif envelope.envelope_id:
                    await socket.send_bytes(orjson.dumps({"envelope_id": envelope.envelope_id}))
                    if envelope.type == "interactive":
                        self._clicked(bytes(envelope.payload))

    def _clicked(self, payload: bytes) -> None:
        try:
            click = clicks.of_payload(payload, int(self._clock() * 1000))
        except ValueError:
            log.warning("an interaction of Slack could not be read")
            return
        if click is not None:
            self._handler.start(click)


class _RefusedError(OSError):
    """Slack refuses a connection; the text is its reason if that is a word."""

    def __init__(self, error: str) -> None:
        super().__init__(error if error.isascii() and error.replace("_", "").isalnum() else "refused")
