"""The rates of the whole path with a large configuration beside those without one, in turn on one stack.

Requests of Prometheus go straight to `alerts.raw`, as the gateway would put them there; the clock stops when the last
alert is in ClickHouse. In both cases alerts of the storm are told to one webhook and distinct alerts to nobody, as in
`benchmarks.path`: the work of sending is the same with and without. So rules set a label instead of a destination, and
services page nobody.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import HttpUrl

from benchmarks.broker import broker
from benchmarks.path import kafka_send
from benchmarks.process import median
from benchmarks.report import Progress, Run
from benchmarks.stack import Running, running
from schemas.control import AnyRecord, Rule, Service, Silence, control_key
from schemas.topics import ALERTS_RAW
from sinks.channels.webhook import WebhookDestination
from streams.control.follow import publish
from streams.control.state import Control
from streams.process.kafka import Kafka

PORTS = 21_700
#: Alerts of a load: ten seconds and more on two cores.
ALERTS: Mapping[str, int] = {"distinct": 80_000, "storm": 250_000}
_PATIENCE_S = 300.0
#: Makes the requests of a load: its name, how many, a name that no other load has, and their time.
Make = Callable[[str, int, str, int], list[tuple[str, bytes]]]
_ROUTE = Rule(id="zz-all", order=1_000, route=("ops",))


def measure(control: Control, make: Make, scratch: Path, rounds: int, progress: Progress) -> list[Run]:
    """One run for each round, load and configuration: `plain`, and `apart` with the rules, silences and services."""
    with broker(scratch / "kafka", PORTS + 50, progress) as kafka:

        async def run() -> list[Run]:
            async with running(kafka, scratch / "stack", PORTS) as stack:
                return await _measure(stack, list(_quiet(control)), make, rounds, progress)

        return asyncio.run(run())


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios of the median rates, with the configuration to without."""

    def rate(load: str, name: str) -> float:
        return median([run["rate"] for run in runs if (run["workload"], run["configuration"]) == (load, name)])

    loads = dict.fromkeys(run["workload"] for run in runs)
    return {f"path_{load}_apart_vs_plain": rate(load, "apart") / rate(load, "plain") for load in loads}


async def _measure(stack: Running, large: list[AnyRecord], make: Make, rounds: int, progress: Progress) -> list[Run]:
    kafka = Kafka(stack.settings.bootstrap)
    ops = WebhookDestination(id="ops", url=HttpUrl(f"http://127.0.0.1:{stack.settings.port('receiver')}/storm"))
    await publish(kafka, [ops])
    names = [control_key(record) for record in large]
    runs: list[Run] = []
    # The first round warms up.
    for number in range(-1, rounds):
        for load, alerts in ALERTS.items():
            for name in ("plain", "apart"):
                routed = [_ROUTE] if load == "storm" else []
                deleted = [*(names if name == "plain" else []), *([] if routed else [control_key(_ROUTE)])]
                await publish(kafka, [*(large if name == "apart" else []), *routed], deleted)
                await stack.quiet()
                requests = make(load, alerts, f"{name}-{number}-", time.time_ns() // 1_000_000)
                send = kafka_send(stack, ALERTS_RAW.name, [(key.encode(), value) for key, value in requests])
                figures = await stack.timed(send, _PATIENCE_S)
                run: Run = {"part": "path", "workload": load, "configuration": name, "round": number, **figures}
                progress(f"path {load} {name}: {run['rate']:,} alerts/s")
                if number >= 0:
                    runs.append(run)
    return runs


def _quiet(control: Control) -> Iterator[AnyRecord]:
    """The rules, silences and services of a configuration, such that nobody is told because of them."""
    for record in control.records.values():
        if isinstance(record, Rule) and record.id != _ROUTE.id:
            yield record.model_copy(update={"route": (), "labels": {"tier": record.id}})
        elif isinstance(record, Service):
            yield record.model_copy(update={"escalation": None})
        elif isinstance(record, Silence):
            yield record
