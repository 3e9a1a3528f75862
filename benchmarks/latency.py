"""(d) The time from a webhook's first byte to its notification at a receiver on loopback; one incident per alert."""

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
from aiohttp import web
from pydantic import HttpUrl

from benchmarks.appended import hops
from benchmarks.process import CHECKOUT, ContenderError, median, quantile
from benchmarks.report import Progress, Run
from benchmarks.stack import Running
from schemas.control import Integration, Rule, Service
from schemas.fingerprint import digest
from sinks.channels.webhook import WebhookDestination
from streams.control.follow import publish
from streams.process.kafka import Kafka

RATE = 10
#: The load of the second run as a share of the rate of (c) over HTTP, and the rate used when (c) was not measured.
HALF, ASSUMED = 0.5, 8_000
KEYS = 5_000
LEAD_S = 3
_KEY = digest("stormweir benchmarks", "latency").hex()
_LATE_S = 15.0
#: The dedup key of a probe.
_PROBE = re.compile(rb"latency-[0-9]{19}")


async def measure(stack: Running, seconds: int, runs: list[Run], progress: Progress) -> None:
    """Measure idle, then under half of the rate that the path over HTTP reached in `runs`. Adds its runs to `runs`."""
    port = stack.settings.port("receiver") + 20
    await publish(
        Kafka(stack.settings.bootstrap),
        [
            Service(id="latency"),
            Integration(id=_KEY, name="latency", type="events_v2", service="latency", rate_limit="unlimited"),
            WebhookDestination(id="latency", url=HttpUrl(f"http://127.0.0.1:{port}/")),
            Rule(id="latency", match=('service="latency"',), route=("latency",)),
        ],
    )
    await stack.quiet()
    arrivals: dict[str, float] = {}
    found: list[Run] = []
    async with _receiver(port, arrivals):
        await _probe(stack, arrivals, 3)
        found += await _measured(stack, "idle", 0, arrivals, seconds)
        rates = [run["rate"] for run in runs if (run["part"], run.get("via")) == ("path", "http")]
        rate = int((median(rates) if rates else ASSUMED) * HALF)
        # The load's keys are opened beforehand: an even load is to be measured, not its first second.
        seed = int(time.time())
        async with _load(stack, 0, KEYS, seed):
            pass
        await stack.quiet()
        async with _load(stack, rate, rate * (seconds + LEAD_S + 2), seed):
            await asyncio.sleep(LEAD_S)
            found += await _measured(stack, "half load", rate, arrivals, seconds)
    for run in found:
        if run["part"] == "latency":
            progress(f"latency {run['load']}: p50 {run['p50_ms']} ms, p99 {run['p99_ms']} ms of {run['alerts']} alerts")
    runs += found


def summary(runs: list[Run]) -> dict[str, float]:
    """The quantiles; empty when this part was not measured."""
    by_load = {run["load"]: run for run in runs if run["part"] == "latency"}
    if not by_load:
        return {}
    return {
        "latency_idle_p50_ms": by_load["idle"]["p50_ms"],
        "latency_idle_p99_ms": by_load["idle"]["p99_ms"],
        "latency_half_load_p99_ms": by_load["half load"]["p99_ms"],
    }


async def _measured(stack: Running, load: str, rate: int, arrivals: dict[str, float], seconds: int) -> list[Run]:
    """The latency of probes, the cores that each process used meanwhile, and the time that each hop took."""
    before, started = stack.cpu(), time.perf_counter()
    sent = await _probe(stack, arrivals, seconds)
    took = (time.perf_counter() - started) * 1e6
    cores = {f"{name}_cores": round((used - before[name]) / took, 2) for name, used in stack.cpu().items()}
    latencies = [arrivals[key] - at for key, at in sent.items()]
    quantiles = {f"p{share}_ms": round(quantile(latencies, share) * 1000, 2) for share in (50, 90, 99)}
    slowest = round(max(latencies) * 1000, 2)
    run: Run = {"part": "latency", "load": load, "beside": rate, "alerts": len(latencies), **quantiles}
    epoch = time.time() - time.perf_counter()
    times = [{key: epoch + at for key, at in each.items()} for each in (sent, arrivals)]
    return [{**run, "max_ms": slowest, **cores}, *await hops(Kafka(stack.settings.bootstrap), load, _PROBE, *times)]


async def _probe(stack: Running, arrivals: dict[str, float], seconds: int) -> dict[str, float]:
    """Send distinct alerts at uneven intervals, so that no timer is hit in step, and wait until all were told of.

    Returns when each was sent, by `time.perf_counter`.
    """
    chance = random.Random(1)
    url = f"http://127.0.0.1:{stack.settings.port('gateway')}/v2/enqueue"
    sent: dict[str, float] = {}
    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            key = f"latency-{time.time_ns()}"
            body = {
                "routing_key": _KEY,
                "event_action": "trigger",
                "dedup_key": key,
                "payload": {"summary": "A probe", "source": "benchmark", "severity": "critical"},
            }
            sent[key] = time.perf_counter()
            async with session.post(url, data=orjson.dumps(body)) as answer:
                if answer.status != 202:
                    raise ContenderError(f"the gateway answers {answer.status}: {await answer.text()}")
            await asyncio.sleep(chance.uniform(0.5, 1.5) / RATE)
    late = time.perf_counter() + _LATE_S
    while not arrivals.keys() >= sent.keys():
        if time.perf_counter() > late:
            raise ContenderError(f"{len(sent.keys() - arrivals.keys())} of {len(sent)} alerts were not told of")
        await asyncio.sleep(0.01)
    return sent


@asynccontextmanager
async def _receiver(port: int, arrivals: dict[str, float]) -> AsyncIterator[None]:
    """Receive notifications during the block, and put the time of the first of each dedup key into `arrivals`."""

    async def take(request: web.BaseRequest) -> web.Response:
        now = time.perf_counter()
        arrivals.setdefault(orjson.loads(await request.read())["incident"]["dedup_key"], now)
        return web.Response()

    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _load(stack: Running, rate: int, alerts: int, seed: int) -> AsyncIterator[None]:
    """Run `stormweir storm` over HTTP during the block: one alert a request, `rate` alerts a second (0: unlimited)."""
    options = {"via": "http", "alerts": alerts, "keys": KEYS, "rate": rate, "connections": 32, "seed": seed}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.cli", "storm", "--no-ledger", *(f"--{k}={v}" for k, v in options.items()),
        cwd=CHECKOUT, env={**os.environ, **stack.settings.environ()},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield
        _, err = await process.communicate()
        if process.returncode != 0:
            raise ContenderError(f"the load beside failed: {err.decode()[-2000:]}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
