"""The three Faust processes, each composed of an engine, the clients and readers it needs, and its admin port."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import uvloop

from schemas import topics
from schemas.settings import Settings
from sinks.clickhouse.client import ClickHouse
from sinks.mail import Mailer
from sinks.outbound import Outbound
from sinks.outbox.attempt import Sending
from sinks.outbox.courier import Services
from sinks.outbox.limits import Limits
from sinks.outbox.outbox import Outbox
from streams import pipeline
from streams.control import environment
from streams.control.follow import ControlReader
from streams.control.secrets import SecretKeys
from streams.engine import Engine
from streams.process.acls import topics_of
from streams.process.admin import AdminServer
from streams.process.arming import Arming
from streams.process.kafka import Kafka
from streams.process.logs import configure_logging
from streams.process.topics import check_topics


def run_worker(settings: Settings) -> NoReturn:
    """`stormweir worker`: normalize, heartbeats, dedup, correlate."""
    kafka = Kafka.of(settings)
    engine = _engine(settings, kafka, "worker", topics.WORKER_GROUP, pipeline.WORKER_OUTPUTS)
    reader = ControlReader(kafka, SecretKeys.of(settings), environment=environment.destinations(os.environ))
    engine.on_lifecycle(reader.start, reader.stop)
    control = reader.control
    arming = partial(Arming, control, engine.fail)
    pipeline.build_worker(engine, control, arming, settings.max_keys, settings.incident_retention_days)
    sys.exit(engine.run())


def run_writer(settings: Settings) -> NoReturn:
    """`stormweir writer`: history into ClickHouse."""
    engine = _engine(settings, Kafka.of(settings), "writer", topics.WRITER_GROUP, pipeline.WRITER_OUTPUTS)
    clickhouse = ClickHouse(settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database)
    engine.on_lifecycle(None, clickhouse.close)
    pipeline.build_writer(engine, clickhouse)
    sys.exit(engine.run())


def run_notifier(settings: Settings) -> NoReturn:
    """`stormweir notifier`: notifications to their destinations."""
    kafka = Kafka.of(settings)
    engine = _engine(settings, kafka, "notifier", topics.NOTIFIER_GROUP, pipeline.NOTIFIER_OUTPUTS)
    reader = ControlReader(kafka, SecretKeys.of(settings), environment=environment.destinations(os.environ))
    outbound = Outbound(settings.allowed_networks)
    mailer = Mailer(outbound, settings.allowed_networks)
    engine.on_lifecycle(reader.start, reader.stop)
    engine.on_lifecycle(None, mailer.close)
    engine.on_lifecycle(None, outbound.close)
    limits, clock = Limits(), _steady_clock()
    sending = Sending(outbound, mailer, limits, clock)
    services = Services(reader.control.destination, sending, limits, settings.public_url, clock)
    pipeline.build_notifier(engine, lambda: Outbox(services, engine.fail))
    sys.exit(engine.run())


def _steady_clock() -> Callable[[], int]:
    """Milliseconds since 1970 UTC that never go back when the machine's clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: int((time.monotonic() + offset) * 1000)


def _engine(settings: Settings, kafka: Kafka, process: str, group: str, outputs: tuple[topics.Topic, ...]) -> Engine:
    configure_logging(process, settings.log_level)
    asyncio.run(check_topics(kafka, topics_of(process)))
    uvloop.install()
    engine = Engine(
        kafka,
        group,
        data_dir=settings.data_dir / process,
        store=settings.store,
        instance=settings.instance,
        outputs=[topic.name for topic in outputs],
        losses=pipeline.lost,
    )
    admin = AdminServer(
        settings.host,
        settings.port(f"admin.{process}"),
        ready=engine.why_not_ready,
    )
    engine.on_lifecycle(admin.start, admin.stop)
    return engine
