"""The gateway as a process: control and Kafka first, then the HTTP server, and an orderly shutdown on SIGTERM."""

import asyncio
import gc
import signal
from functools import partial
from typing import Protocol

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from prometheus_client import REGISTRY

from schemas.settings import Settings
from schemas.topics import ALERTS_RAW, CHANGES
from streams.control.audit import Actor
from streams.control.catalogue import catalogue_json
from streams.control.follow import ControlReader, following
from streams.control.secrets import SecretKeys
from streams.control.transaction import transact
from streams.gateway import body
from streams.gateway.app import Gateway
from streams.gateway.auth import unsigned
from streams.gateway.commands import Commands
from streams.gateway.lanes import Lanes
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.presence import Presence
from streams.gateway.rejections import Rejections
from streams.gateway.slack import Slack
from streams.gateway.sns import Client as Fetching
from streams.gateway.sns import Sns
from streams.gateway.verdicts import Verdicts
from streams.gateway.watchdog import Watchdog
from streams.process.admin import AdminServer
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.process.ports import require_free
from streams.slack.socket import SocketClient

log = structlog.get_logger(__name__)

#: Longer than a flush may take, so every request that was accepted for producing is answered.
DRAIN_S = 4.2
CLOSE_S = 0.5
#: How many requests may be open at once; more wait in the accept queue.
CONCURRENCY = 1024
#: How many integrations a warning names.
_NAMES = 20


class Client(Fetching, SocketClient, Protocol):
    """The outgoing client."""


async def serve(settings: Settings, client: Client) -> None:
    """Run until SIGTERM or SIGINT. While Kafka is away at the start, `/readyz` fails and the gateway does not listen.

    `client` makes the requests that vendors ask for; the caller closes it. Raises OperatorError when a port is in use
    or a key for secrets is missing, RuntimeError when the gateway ends for any other reason.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    require_free("gateway", settings.port("gateway"), settings.host)
    process = _Process(settings, client)
    async with AdminServer(settings.host, settings.port("admin.gateway"), ready=process.readiness):
        stop = asyncio.create_task(stopping.wait())
        running = asyncio.create_task(process.run())
        await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
        await process.stop_serving()
        await asyncio.wait([running], timeout=CLOSE_S if process.serving else 0)
        running.cancel()
        ended = await asyncio.gather(running, return_exceptions=True)
        await process.close()
        stop.cancel()
    if not stopping.is_set():
        cause = ended[0]
        if isinstance(cause, OperatorError):
            raise cause
        raise RuntimeError("the gateway ended by itself") from cause if isinstance(cause, BaseException) else None


class _Process:
    """The parts of a running gateway."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._kafka = kafka = Kafka.of(settings)
        self._keys = SecretKeys.of(settings)
        self._reader: ControlReader | None = None
        self._lanes = Lanes(kafka, ALERTS_RAW.name)
        self._changes = Lanes(kafka, CHANGES.name)
        self._verdicts = Verdicts(kafka)
        self._commands = Commands(kafka, self._verdicts)
        self._sns = Sns(client)
        self._bodies = body.Reader(settings.max_body)
        self._rejections = Rejections(kafka)
        self._presence = Presence(kafka)
        self._metrics = GatewayMetrics()
        write = partial(transact, kafka, keys=self._keys, by=Actor("slack"))
        self._slack = Slack(settings, client, self._commands, write)
        self._watchdog = Watchdog(self._pending_since)
        self._gateway: Gateway | None = None
        self._server: Server | None = None

    def readiness(self) -> str | None:
        """Why the gateway does not take alerts now, None if it does."""
        if self._gateway is None:
            return "waiting for Kafka"
        if self._gateway.draining:
            return "stopping"
        return None if self._lanes.connected else "Kafka is away"

    async def run(self) -> None:
        """Start, and serve until `stop_serving`."""
        self._reader = await following(self._kafka, self._keys)
        if names := unsigned(self._reader.control):
            log.warning("integrations without a signature secret", count=len(names), first=names[:_NAMES])
        await self._lanes.start()
        await self._changes.start()
        await self._verdicts.start()
        self._commands.start()
        self._bodies.start()
        self._rejections.start()
        self._presence.start()
        self._slack.start()
        REGISTRY.register(self._metrics)
        self._watchdog.start()
        host, port = self._settings.host, self._settings.port("gateway")
        self._gateway = Gateway(
            self._reader.control,
            self._lanes,
            self._changes,
            self._verdicts,
            self._commands,
            self._sns,
            self._bodies,
            self._rejections,
            self._metrics,
            catalogue_json(self._settings.public_url),
            self._slack.pages,
        )
        self._server = Server(
            self._gateway,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=CONCURRENCY,
            backpressure=CONCURRENCY,
            log_enabled=False,
        )
        # The objects that exist now live long: the garbage collector need not look at them again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        log.info("listening", host=host, port=port)
        await self._server.serve()

    @property
    def serving(self) -> bool:
        """Whether the HTTP server was started."""
        return self._server is not None

    async def stop_serving(self) -> None:
        """Answer the requests in progress, and stop the HTTP server."""
        if self._gateway is not None and self._server is not None:
            await self._gateway.drain(DRAIN_S)
            self._server.stop()  # type: ignore[no-untyped-call]

    def _pending_since(self) -> float | None:
        since = (self._lanes.pending_since(), self._changes.pending_since(), self._commands.pending_since())
        return min((at for at in since if at is not None), default=None)

    async def close(self) -> None:
        """Stop every part that was started."""
        await self._bodies.stop()
        await self._rejections.stop()
        await self._presence.stop()
        await self._verdicts.stop()
        await self._commands.stop()
        await self._sns.close()
        await self._slack.close()
        await self._changes.stop()
        await self._lanes.stop()
        if self.serving:
            REGISTRY.unregister(self._metrics)
        self._watchdog.stop()
        if self._reader is not None:
            await self._reader.stop()
