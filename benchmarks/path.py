"""(c) The whole path into ClickHouse: every process, the broker and the load on the same cores.

A load is sent as fast as it is accepted, and the clock stops when its last alert is in ClickHouse, so no backlog
is left out of the rate. Requests and records are built before the clock starts.
"""

import asyncio
import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gateway import run_wrk
from benchmarks.process import median
from benchmarks.report import Progress, Run
from benchmarks.stack import Running, Send
from schemas.topics import ALERTS_EVENTS
from schemas.wire.events import encode_json
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.storm.bodies import event_records, events_v2
from streams.storm.counts import Counts
from streams.storm.kafka import KeyValue, send_records
from streams.storm.sample import sample_records
from streams.storm.shapes import Size, specs

KEYS, SERVICES = 5_000, 20
CONNECTIONS = 256
RULE = "rule/default/storm-to-receiver"
#: The expected rate, alerts a second: it determines how many alerts a run of a given length sends.
EXPECTED = {"storm": 36_000, "unique": 18_000}
_PATIENCE_S = 300.0


async def measure(
    stack: Running, scratch: Path, rounds: int, seconds: int, runs: list[Run], progress: Progress
) -> None:
    """Measure in turn, each for about `seconds`: storm by Kafka, storm over HTTP, distinct alerts by Kafka.

    Adds its runs to `runs`.
    """
    records = sample_records(SERVICES, f"http://127.0.0.1:{stack.settings.port('receiver')}/storm")
    for number in range(rounds):
        for workload, via in (("storm", "kafka"), ("storm", "http"), ("unique", "kafka")):
            # Distinct alerts open incidents without notifications: nobody wants ten thousand webhooks a second.
            routed = workload == "storm"
            await publish(Kafka(stack.settings.bootstrap), records if routed else (), () if routed else (RULE,))
            await stack.quiet()
            seed = int(time.time()) % 100_000_000 + number
            build = _kafka_load if via == "kafka" else _http_load
            send = build(stack, scratch, workload, seed, seconds)
            figures = await stack.timed(send, _PATIENCE_S)
            run: Run = {
                "part": "path",
                "workload": workload,
                "via": via,
                "round": number,
                **figures,
                **stack.memory(),
            }
            runs.append(run)
            progress(f"path {workload} by {via}: {run['rate']:,} alerts/s for {run['seconds']} s")


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios to the bare loop of the same run, without those of which one side was not measured."""

    def rate(**which: str) -> float | None:
        rates = [run["rate"] for run in runs if all(run.get(name) == value for name, value in which.items())]
        return median(rates) if rates else None

    found: dict[str, float] = {}
    for workload, via in (("storm", "kafka"), ("unique", "kafka"), ("storm", "http")):
        whole = rate(part="path", workload=workload, via=via)
        bare = rate(part="hop", contender="bare", workload=workload)
        if whole is not None and bare is not None:
            found[f"path_{via}_{workload}_vs_bare"] = whole / bare
    return found


def _kafka_load(stack: Running, scratch: Path, workload: str, seed: int, seconds: int) -> Send:
    """Records for `alerts.events`, as a producer in the company sends them (JSON)."""
    alerts = EXPECTED[workload] * seconds
    size = Size(alerts, KEYS if workload == "storm" else alerts, SERVICES, seed)
    records = list(event_records(specs(workload, size), encode_json, lambda: time.time_ns() // 1_000_000))
    return kafka_send(stack, ALERTS_EVENTS.name, records)


def kafka_send(stack: Running, topic: str, records: Sequence[KeyValue]) -> Send:
    """Sends these records to a topic. AssertionError if one is not acknowledged."""
    # The garbage collector must not traverse a minute of prepared records during the load.
    gc.freeze()

    async def send() -> float:
        counts, before = Counts(), time.process_time()
        await send_records(Kafka(stack.settings.bootstrap), topic, records, counts)
        if counts.accepted != len(records):
            raise AssertionError(f"{counts.accepted} of {len(records)} records were acknowledged")
        return (time.process_time() - before) * 1e6

    return send


def _http_load(stack: Running, scratch: Path, workload: str, seed: int, seconds: int) -> Send:
    """Requests of one alert each (Events API v2). wrk sends them without pause; every answer waits for Kafka."""
    port = stack.settings.port("gateway")
    path = scratch / "path.requests"
    with path.open("wb") as file:
        for request in events_v2(specs(workload, Size(KEYS, KEYS, SERVICES, seed)), f"127.0.0.1:{port}"):
            file.write(b"/v2/enqueue\t%b\n" % request.wire.partition(b"\r\n\r\n")[2])

    async def send() -> float:
        before = os.times()
        await asyncio.to_thread(run_wrk, port, CONNECTIONS, seconds, path)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return used * 1e6

    return send
