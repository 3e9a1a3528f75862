"""The API as a process: Kafka's records first, then the HTTP server, and an orderly shutdown on SIGTERM."""

import asyncio
import gc
import signal
import time
from contextlib import AsyncExitStack

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from sinks.outbound import Outbound
from streams.api.app import application
from streams.api.audit import Audit, AuditTopic
from streams.api.identity.console import ConsoleTopic
from streams.api.identity.oidc import Oidc
from streams.api.identity.people import People
from streams.api.identity.sessions import Sessions
from streams.api.identity.setup import first_owner_link
from streams.api.model.model import FILE, Model
from streams.api.parts import Parts
from streams.api.replays import Replays
from streams.control.follow import following
from streams.control.secrets import SecretKeys
from streams.gateway.commands import Commands
from streams.gateway.verdicts import Verdicts
from streams.process.admin import AdminServer
from streams.process.kafka import Kafka
from streams.process.ports import require_free

log = structlog.get_logger(__name__)

_LISTENING_S = 0.01
_BACKLOG = 1024


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. While Kafka is away at the start, `/readyz` fails and nothing listens.

    Raises OperatorError when a port is in use or a key for secrets is missing.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    require_free("api", settings.port("api"), settings.host)
    serving: list[Server] = []
    ready = "waiting for Kafka"
    async with AdminServer(settings.host, settings.port("admin.api"), ready=lambda: None if serving else ready):
        stop = asyncio.create_task(stopping.wait())
        running = asyncio.create_task(_run(settings, serving))
        await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
        if not stopping.is_set():
            stop.cancel()
            await running
            raise RuntimeError("the API ended by itself")
        if serving:
            serving[0].stop()  # type: ignore[no-untyped-call]
            await asyncio.wait([running], timeout=1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _run(settings: Settings, serving: list[Server]) -> None:
    kafka, keys = Kafka.of(settings), SecretKeys.of(settings)
    async with AsyncExitStack() as stack:
        reader = await following(kafka, keys)
        stack.push_async_callback(reader.stop)
        verdicts = Verdicts(kafka)
        stack.push_async_callback(verdicts.stop)
        await verdicts.start()
        commands = Commands(kafka, verdicts)
        stack.push_async_callback(commands.stop)
        commands.start()
        address = settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        clickhouse = await stack.enter_async_context(ClickHouse(*address))
        producer = kafka.producer(acks="all")
        stack.push_async_callback(producer.stop)
        await producer.start()
        store = ConsoleTopic(kafka, producer)
        stack.push_async_callback(store.stop)
        await store.start()
        sessions = Sessions(store, _now)
        sweeping = asyncio.create_task(sessions.sweep(), name="sweep")
        stack.callback(sweeping.cancel)
        outbound = Outbound(settings.allowed_networks)
        stack.push_async_callback(outbound.close)
        replays = Replays(settings)
        stack.push_async_callback(replays.close)
        model = Model(kafka, settings.data_dir / FILE)
        stack.push_async_callback(model.stop)
        await model.start()
        parts = Parts(
            settings=settings,
            kafka=kafka,
            keys=keys,
            control=reader.control,
            query=clickhouse.query,
            commands=commands,
            model=model,
            identity=People(reader.control, sessions, _now),
            audit=Audit(AuditTopic(kafka, producer), _now),
            store=store,
            sessions=sessions,
            replays=replays,
            now=_now,
            oidc=Oidc(settings, outbound) if settings.oidc_issuer else None,
        )
        server = Server(
            application(parts),
            address=settings.host,
            port=settings.port("api"),
            interface=Interfaces.ASGI,
            http=HTTPModes.auto,
            websockets=False,
            backlog=_BACKLOG,
            log_enabled=False,
        )
        if link := await first_owner_link(settings, reader.control):
            # On standard output, as the log has no secrets.
            print(f"nobody can log in yet: make the first account at {link}", flush=True)
        # What lives now lives long. The garbage collector takes 100 ms to look at it, in which nobody is answered.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        announcing = asyncio.create_task(_announce(server, settings, serving), name="announce")
        stack.callback(announcing.cancel)
        await server.serve()


async def _announce(server: Server, settings: Settings, serving: list[Server]) -> None:
    """The process is ready once the port answers: the server listens some time after it was started."""
    host, port = settings.host, settings.port("api")
    while not serving:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_LISTENING_S)
        else:
            writer.close()
            serving.append(server)
    log.info("listening", host=host, port=port)
