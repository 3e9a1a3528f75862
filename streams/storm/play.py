"""A storm from its first alert to its last row: prepare the sample services, send, look up every alert."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import orjson

from schemas.control import control_key
from schemas.settings import Settings
from schemas.topics import ALERTS_EVENTS, ALERTS_RAW
from schemas.wire.events import encode_avro, encode_json
from streams.control.follow import publish, read
from streams.control.secrets import SecretKeys
from streams.process.errors import OperatorError
from streams.process.kafka import Kafka
from streams.storm.bodies import Request, alertmanager, event_records, events_v2, integration_id, post
from streams.storm.counts import Counts
from streams.storm.drain import Drain
from streams.storm.http import HttpLoad
from streams.storm.kafka import send_records, topic_ends
from streams.storm.ledger import Query, Run, ranges, settle
from streams.storm.sample import sample_records
from streams.storm.shapes import Size, specs
from streams.storm.summary import Summary

#: Called with the phase, how many alerts are done and how many there are.
Progress = Callable[[str, int, int], None]

_TICK_S = 0.2
_KNOWN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One part of a storm. Over HTTP, one alert a request is Events API v2, more are Alertmanager v4."""

    shape: str
    size: Size
    via: Literal["http", "kafka"] = "http"
    per_request: int = 1
    connections: int = 64
    rate: float = 0.0
    retry: bool = False
    encoding: Literal["json", "avro"] = "json"

    @property
    def alerts(self) -> int:
        """How many alerts it will send."""
        return self.size.keys if self.shape == "resolve-wave" else self.size.alerts


async def prepare(settings: Settings, services: int, *, gateway: bool) -> None:
    """Write the records of the sample services; only records that differ are written.

    With `gateway`, waits until the gateway knows them: OperatorError after 30 s.
    """
    wanted = sample_records(services, f"http://{settings.host}:{settings.port('receiver')}/storm")
    kafka = Kafka.of(settings)
    keys = SecretKeys.of(settings)
    known = (await read(kafka, keys)).records
    if changes := [record for record in wanted if known.get(control_key(record)) != record]:
        await publish(kafka, changes, keys=keys)
    if gateway:
        await _known_to_gateway(settings, integration_id("prometheus", services - 1))


async def play(
    settings: Settings, plans: Sequence[Plan], query: Query | None, deadline_s: float, progress: Progress
) -> Summary:
    """Play the plans one after another; with `query`, wait up to `deadline_s` seconds and take the books.

    Raises OSError when the gateway does not answer at all, KafkaError when the broker does not.
    """
    kafka = Kafka.of(settings)
    topics = (ALERTS_RAW.name, ALERTS_EVENTS.name)
    before = await topic_ends(kafka, topics)
    since = _now()
    started = time.monotonic()
    parts = []
    for plan in plans:
        counts = Counts()
        parts.append(counts)
        ticker = asyncio.create_task(_report(plan, counts, progress))
        try:
            await _send(settings, kafka, plan, counts)
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker
        progress(f"sent by {plan.via}", counts.accepted, plan.alerts)
    send_seconds = time.monotonic() - started
    if query is None:
        return Summary(parts, None, send_seconds, send_seconds)
    run = Run(
        ranges(before, await topic_ends(kafka, topics)),
        accepted=sum(part.accepted for part in parts),
        per_record=max(plan.per_request if plan.via == "http" else 1 for plan in plans),
        since=since,
    )
    async with Drain(kafka) as drain:
        books, seconds = await settle(
            query, run, drain.done, deadline_s, lambda alerts: progress("stored in ClickHouse", alerts, run.accepted)
        )
    return Summary(parts, books, send_seconds, send_seconds + seconds)


async def _send(settings: Settings, kafka: Kafka, plan: Plan, counts: Counts) -> None:
    alerts = specs(plan.shape, plan.size)
    if plan.via == "kafka":
        encode = encode_avro if plan.encoding == "avro" else encode_json
        records = event_records(alerts, encode, _now)
        await send_records(kafka, ALERTS_EVENTS.name, records, counts, rate=plan.rate)
        return
    host, port = settings.host, settings.port("gateway")
    address = f"{host}:{port}"
    requests = (
        events_v2(alerts, address) if plan.per_request == 1 else alertmanager(alerts, address, plan.per_request, _now)
    )
    await HttpLoad(host, port, requests, counts, connections=plan.connections, rate=plan.rate, retry=plan.retry).run()


async def _report(plan: Plan, counts: Counts, progress: Progress) -> None:
    while True:
        progress(f"sent by {plan.via}", counts.accepted, plan.alerts)
        await asyncio.sleep(_TICK_S)


async def _known_to_gateway(settings: Settings, integration: str) -> None:
    """Poll the gateway with a body without an alert: 401 while the integration is unknown, 400 from then on."""
    host, port = settings.host, settings.port("gateway")
    path = f"/api/integrations/prometheus?integrationId={integration}"
    request = Request(0, post(path, f"{host}:{port}", orjson.dumps({})))
    deadline = time.monotonic() + _KNOWN_S
    while time.monotonic() < deadline:
        counts = Counts()
        await HttpLoad(host, port, [request], counts, connections=1).run()
        if set(counts.statuses) == {400}:
            return
        await asyncio.sleep(0.05)
    raise OperatorError(f"the gateway at {host}:{port} does not take over configuration: see its log")


def _now() -> int:
    return time.time_ns() // 1_000_000
