"""`python -m benchmarks.flood [--only providers,before,fairness] [--quick]`: what every way in costs. About 10 minutes.

`providers`: what a request costs by provider. `before`: the gateway of this checkout beside that of BEFORE, the last
commit without limits, routes and verdicts, both up at once on one broker and loaded in turn. `fairness`: what a
steady sender of an unlimited integration notices while another integration is far above its limit.
"""

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks import providers
from benchmarks.broker import broker, topics_made_anew
from benchmarks.command import Command
from benchmarks.gateway import GATEWAY, KEYS, NULL, SERVICES, request_file, run_wrk, running_gateway, wrk_command
from benchmarks.process import ContenderError, cpu_us, median, quantile
from benchmarks.report import Goal, Page, Progress, Run
from benchmarks.worktree import worktree
from schemas.control import Integration, Service, control_key
from schemas.fingerprint import digest
from schemas.settings import Settings
from schemas.topics import CONTROL
from streams.control.follow import publish
from streams.process.kafka import Kafka
from streams.storm.bodies import integration_id
from streams.storm.sample import PROVIDERS, sample_records

BEFORE = "088821e"
NOW = "now"
PARTS = ("providers", "before", "fairness")
PORTS = 18_600
#: Alerts per request, and connections.
LOADS = ((1, 64), (1, 256), (64, 8))
#: The floods of `fairness`: connections, and the pause of each connection after an answer, ms. The second sends about
#: 1,000 requests a second, 500 times the limit; the third sends as fast as its requests are rejected.
FLOODS: dict[str, tuple[int, int | None]] = {"none": (0, None), "1,000/s": (16, 16), "flat out": (16, None)}
JUDGED = "1,000/s"
#: The steady sender's requests a second, and its connections.
STEADY_RATE, STEADY_CONNECTIONS = 200, 8
_STEADY = digest("stormweir benchmarks", "steady").hex()
_FLOODER = digest("stormweir benchmarks", "flooder").hex()

GOALS = (
    Goal("before_single_64", "1 alert a request, 64 connections: gateway now / before", 0.9),
    Goal("before_single_256", "1 alert a request, 256 connections: gateway now / before", 0.9),
    Goal("before_batch_8", "64 alerts a request, 8 connections: gateway now / before", 0.9),
    Goal("before_cpu_256", "the same, 1 alert, 256 connections: CPU a request now / before", 1.1, at_least=False),
    Goal("fairness_p99", "p99 of a steady sender: beside a flood of 429 / alone", 1.2, at_least=False),
)
PAGE = Page("Every way in", "python -m benchmarks.flood", "inbound", "INBOUND.md", GOALS)


class Sizes(NamedTuple):
    """The sizes of a run: rounds, and seconds of one load."""

    rounds: int
    wrk_s: int
    steady_s: int


FULL = Sizes(rounds=5, wrk_s=5, steady_s=15)
QUICK = Sizes(rounds=1, wrk_s=1, steady_s=3)


def main() -> int:
    """Measure the wanted parts. Returns 1 when a part failed; the newest result is then not replaced."""
    command = Command("python -m benchmarks.flood", __doc__, PARTS)
    wanted, progress = command.wanted, command.progress
    sizes = QUICK if command.quick else FULL
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-flood-"))
    runs: list[Run] = []
    try:
        if "providers" in wanted:
            runs += providers.measure(sizes.rounds, progress)
        if wanted != ["providers"]:
            with broker(scratch / "kafka", PORTS, progress) as kafka:
                if "before" in wanted:
                    runs += before(kafka.bootstrap, scratch, sizes, progress)
                if "fairness" in wanted:
                    runs += fairness(kafka.bootstrap, scratch, sizes, progress)
    except (ContenderError, TimeoutError, OSError) as error:
        progress(f"failed: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    measured = {run["part"] for run in runs}
    return command.conclude(runs, summary(runs), [part for part in wanted if part not in measured], PAGE)


def before(bootstrap: str, scratch: Path, sizes: Sizes, progress: Progress) -> list[Run]:
    """With both gateways running, put every load on each once per round; the order alternates between rounds."""
    if shutil.which("wrk") is None:
        raise ContenderError("wrk is missing: apt-get install -y wrk")
    settings = {
        NOW: Settings(data_dir=scratch / NOW, port_base=PORTS + 20, kafka=bootstrap),
        BEFORE: Settings(data_dir=scratch / BEFORE, port_base=PORTS + 40, kafka=bootstrap),
    }
    asyncio.run(topics_made_anew(settings[NOW]))
    asyncio.run(_senders(bootstrap))
    files = {(name, size): _own_requests(scratch, name, size) for name in settings for size in {1, 64}}
    runs: list[Run] = []
    with (
        worktree(BEFORE, scratch / "before") as checkout,
        running_gateway(settings[BEFORE], checkout) as then,
        running_gateway(settings[NOW]) as now,
    ):
        gateways = {BEFORE: then, NOW: now}
        for size, connections in LOADS:
            for name in gateways:
                run_wrk(gateways[name][0], connections, max(sizes.wrk_s // 2, 1), files[name, size])
            for number in range(sizes.rounds):
                for name in (BEFORE, NOW) if number % 2 == 0 else (NOW, BEFORE):
                    port, pid = gateways[name]
                    used = cpu_us(pid)
                    result = run_wrk(port, connections, sizes.wrk_s, files[name, size])
                    run: Run = {
                        "part": "before",
                        "contender": name,
                        "alerts_per_request": size,
                        "connections": connections,
                        "round": number,
                        "requests_s": round(result["requests"] / result["seconds"]),
                        "cpu_us": round((cpu_us(pid) - used) / result["requests"], 2),
                        "p50_ms": result["p50_ms"],
                        "p99_ms": result["p99_ms"],
                    }
                    runs.append(run)
                    progress(
                        f"{name} {connections} x {size}: {run['requests_s']:,} requests/s, {run['cpu_us']} us, "
                        f"p99 {run['p99_ms']} ms"
                    )
    return runs


def fairness(bootstrap: str, scratch: Path, sizes: Sizes, progress: Progress) -> list[Run]:
    """Measure the steady sender's latencies alone and beside each flood, in turn."""
    settings = Settings(data_dir=scratch / "fairness", port_base=PORTS + 60, kafka=bootstrap)
    asyncio.run(topics_made_anew(settings))
    asyncio.run(
        publish(
            Kafka(bootstrap),
            [
                Service(id="fairness"),
                Integration(id=_STEADY, name="steady", type="events_v2", service="fairness", rate_limit="unlimited"),
                Integration(id=_FLOODER, name="flooder", type="events_v2", service="fairness"),
            ],
        )
    )
    flood = scratch / "flood.requests"
    flood.write_text(f"/v2/enqueue\t{_event(_FLOODER, 'flood').decode()}\n")
    runs: list[Run] = []
    with running_gateway(settings) as (port, pid):
        uvloop.run(_steady(port, 1))
        for number in range(sizes.rounds):
            for name, (connections, pause_ms) in FLOODS.items():
                used = cpu_us(pid)
                with _flooding(port, connections, pause_ms, sizes.steady_s + 1, flood) as flooder:
                    latencies = uvloop.run(_steady(port, sizes.steady_s))
                    busy = (cpu_us(pid) - used) / sizes.steady_s / 1e6
                refused = _refused(flooder) if flooder is not None else 0
                run: Run = {
                    "part": "fairness",
                    "flood": name,
                    "round": number,
                    "refused_s": round(refused / (sizes.steady_s + 1)),
                    "requests": len(latencies),
                    "p50_ms": round(quantile(latencies, 50) * 1000, 2),
                    "p99_ms": round(quantile(latencies, 99) * 1000, 2),
                    "cpu_share": round(busy, 3),
                }
                runs.append(run)
                progress(
                    f"flood {name}: {run['refused_s']:,} refused/s, p50 {run['p50_ms']} ms, p99 {run['p99_ms']} ms"
                )
    return runs


def summary(runs: list[Run]) -> dict[str, float]:
    """Medians over the rounds' ratios. The runs of a round follow each other because the machine's speed varies.

    Parts that were not measured have no figure.
    """
    figures = providers.summary(runs)
    loads: dict[tuple[str, int, int], list[Run]] = {}
    floods: dict[str, list[float]] = {}
    for run in runs:
        if run["part"] == "before":
            loads.setdefault((run["contender"], run["alerts_per_request"], run["connections"]), []).append(run)
        if run["part"] == "fairness":
            floods.setdefault(run["flood"], []).append(run["p99_ms"])

    def ratio(figure: str, size: int, connections: int) -> float:
        now, then = ([run[figure] for run in loads[name, size, connections]] for name in (NOW, BEFORE))
        return median([after / before for after, before in zip(now, then, strict=True)])

    if loads:
        figures["before_single_64"] = ratio("requests_s", 1, 64)
        figures["before_single_256"] = ratio("requests_s", 1, 256)
        figures["before_batch_8"] = ratio("requests_s", 64, 8)
        figures["before_cpu_256"] = ratio("cpu_us", 1, 256)
    if floods:
        figures["fairness_p99"] = median([m / n for m, n in zip(floods[JUDGED], floods["none"], strict=True)])
    return figures


def _own(key: str) -> str:
    """The key for the gateway of this checkout: it reads other integration records than the gateway of BEFORE."""
    return key[::-1]


def _own_requests(scratch: Path, name: str, size: int) -> Path:
    """The requests of benchmarks.gateway, with the keys of the contender `name`."""
    file = request_file(scratch, NULL, size)
    if name == BEFORE:
        return file
    text = file.read_text()
    for provider in PROVIDERS:
        for service in range(SERVICES):
            text = text.replace(integration_id(provider, service), _own(integration_id(provider, service)))
    own = scratch / f"{GATEWAY}-{size}-{KEYS}.requests"
    own.write_text(text)
    return own


async def _senders(bootstrap: str) -> None:
    """Publish separate integrations for each contender: BEFORE rejects records with fields that it does not know."""
    samples = sample_records(SERVICES, "http://127.0.0.1:9/")
    senders = [record for record in samples if isinstance(record, Integration)]
    await publish(Kafka(bootstrap), [record for record in samples if isinstance(record, Service)])
    own = [sender.model_copy(update={"id": _own(sender.id), "rate_limit": "unlimited"}) for sender in senders]
    await publish(Kafka(bootstrap), own)
    known = {"id", "tenant", "name", "type", "service"}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for sender in senders:
            value = sender.model_dump_json(include=known).encode()
            await producer.send_and_wait(CONTROL.name, value, key=control_key(sender).encode(), partition=0)
    finally:
        await producer.stop()


@contextmanager
def _flooding(
    port: int, connections: int, pause_ms: int | None, seconds: int, requests: Path
) -> Iterator[subprocess.Popen[str] | None]:
    """Send a flood while the block runs; at the end of the block, wait for the flood's end."""
    if not connections:
        yield None
        return
    command, environ = wrk_command(port, connections, seconds, requests)
    if pause_ms is not None:
        environ["DELAY_MS"] = str(pause_ms)
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
        process.wait(seconds + 30)
    finally:
        process.kill()
        process.wait()


def _refused(flooder: "subprocess.Popen[str]") -> int:
    """How many requests of a flood were rejected. Raises ContenderError when fewer than 90 % were."""
    assert flooder.stdout is not None
    lines = flooder.stdout.read().strip().splitlines()
    result: dict[str, Any] = orjson.loads(lines[-1])
    if result["refused"] < 0.9 * result["requests"]:
        raise ContenderError(f"the flood was not refused: {result}")
    return int(result["refused"])


async def _steady(port: int, seconds: int) -> list[float]:
    """Send STEADY_RATE requests a second at uneven intervals. Returns the seconds until the answer of each."""
    latencies: list[float] = []
    chance = random.Random(1)
    ends_at = time.perf_counter() + seconds
    async with aiohttp.ClientSession() as session:

        async def send(connection: int) -> None:
            number = 0
            while (at := time.perf_counter()) < ends_at:
                number += 1
                body = _event(_STEADY, f"{connection}/{number}")
                async with session.post(f"http://127.0.0.1:{port}/v2/enqueue", data=body) as answer:
                    if answer.status != 202:
                        raise ContenderError(f"the steady sender is answered {answer.status}: {await answer.text()}")
                    await answer.read()
                latencies.append(time.perf_counter() - at)
                await asyncio.sleep(chance.uniform(0.5, 1.5) * STEADY_CONNECTIONS / STEADY_RATE)

        await asyncio.gather(*(send(connection) for connection in range(STEADY_CONNECTIONS)))
    return latencies


def _event(key: str, dedup_key: str) -> bytes:
    payload = {"summary": "A probe", "source": "benchmark", "severity": "critical"}
    return orjson.dumps({"routing_key": key, "event_action": "trigger", "dedup_key": dedup_key, "payload": payload})


if __name__ == "__main__":
    sys.exit(main())
