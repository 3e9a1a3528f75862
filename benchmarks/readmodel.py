"""`python -m benchmarks.readmodel [--only list,clients] [--quick]`: the list of incidents and its stream. 15 minutes.

A real `stormweir api` follows a real Kafka, without ClickHouse. `list`, four minutes: 100,000 incidents are open when
it starts over an empty directory (`cold`); then come 10,000 updates a second for half a minute, while pages are read
(as the console reads them, with a filter, with a text that few and one that all have). Every incident that opens tells
with its title when it was sent, so its event tells how old it is. `clients`: 500 clients of the stream for ten minutes.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from aiokafka import AIOKafkaProducer

from benchmarks.broker import broker, fill, topics_made_anew
from benchmarks.command import Command
from benchmarks.process import CHECKOUT, ContenderError, median, quantile, rss_mb
from benchmarks.report import Goal, Page, Progress, Run
from schemas.fingerprint import partition_for
from schemas.settings import Settings
from schemas.topics import INCIDENTS
from schemas.wire.alert import Severity
from schemas.wire.codec import encode
from schemas.wire.incident import Incident, Status

PORTS = 21_300
PARTS = ("list", "clients")
OPEN, UPDATES_S, SECONDS, CLIENTS, CLIENT_S = 100_000, 10_000, 30, 500, 600
#: The pages that are read in turn: each as often as a caller may, and a little less.
LISTS = {"all": {}, "service": {"service": "service-7"}, "few": {"q": "disk-4711"}, "every": {"q": "full"}}
LISTS_S = 16
#: Updates leave so often.
_TICK_S = 0.02
_PARTITIONS = 4
_PATIENCE_S = 120.0
_PASSWORD = "correct horse battery"

GOALS = (
    Goal("list_p99_ms", "a page of 100,000 open incidents beside 10,000 updates/s, p99 (ms)", 100, at_least=False),
    Goal("updates_s", "of 10,000 updates asked for in a second, sent and taken in", 9_500),
    Goal("event_p99_ms", "an incident opens to its event at a client, p99 (ms)", 1_000, at_least=False),
    Goal("cold_s", "from an empty directory to ready, with 100,000 open (s)", 10, at_least=False),
    Goal("clients_lost", "of 500 clients of the stream, those that it lost", 0, at_least=False),
)
PAGE = Page("The list of incidents", "python -m benchmarks.readmodel", "readmodel", "READMODEL.md", GOALS)


def main() -> int:
    """Measure, and write the page."""
    command = Command("python -m benchmarks.readmodel", __doc__, PARTS)
    part = 0.1 if command.quick else 1.0
    with TemporaryDirectory() as folder, broker(Path(folder) / "kafka", PORTS + 1, command.progress) as kafka:
        settings = Settings(
            data_dir=Path(folder) / "data", kafka=kafka.bootstrap, port_base=PORTS, partitions=_PARTITIONS
        )
        runs = asyncio.run(measure(settings, command.wanted, part, command.progress))
    return command.conclude(runs, summary(runs), [], PAGE)


async def measure(settings: Settings, wanted: Sequence[str], part: float, progress: Progress) -> list[Run]:
    """Three rounds of `cold` and `list`, one of `clients`, as far as they are wanted; `part` of the sizes."""
    runs: list[Run] = []
    count = int(OPEN * part)
    for number in range(3 if "list" in wanted else 0):
        await _begin_anew(settings, count)
        began = time.monotonic()
        async with _serving(settings) as (api, process):
            runs.append({"part": "cold", "incidents": count, "round": number, "seconds": time.monotonic() - began})
            progress(f"ready with {count:,} after {runs[-1]['seconds']:.1f} s, {rss_mb(process.pid):.0f} MB")
            runs.append(await _listed(settings, api, count, SECONDS * part, number))
            progress(f"{runs[-1]}")
    if "clients" in wanted:
        await _begin_anew(settings, count)
        async with _serving(settings) as (api, process):
            runs.append(await _watched(settings, api, process.pid, int(CLIENTS * part), CLIENT_S * part))
            progress(f"{runs[-1]}")
    return runs


async def _begin_anew(settings: Settings, count: int) -> None:
    """Make the topics anew, with `count` open incidents, and empty the API's directory."""
    await topics_made_anew(settings)
    opened = ((each.incident_id, encode(each)) for each in _opened(count))
    await fill(settings.bootstrap, INCIDENTS.name, _PARTITIONS, opened)
    for file in (settings.data_dir / "api").glob("*"):
        file.unlink()


def summary(runs: Sequence[Run]) -> dict[str, float]:
    """The figures of the goals: medians of the rounds, of the slowest page."""
    parts = {name: [run for run in runs if run["part"] == name] for name in ("cold", "list", "clients")}
    found: dict[str, float] = {}
    if lists := parts["list"]:
        found["list_p99_ms"] = max(median([run[f"{name}_p99_ms"] for run in lists]) for name in LISTS)
        found |= {name: median([run[name] for run in lists]) for name in ("updates_s", "event_p99_ms")}
        found["cold_s"] = median([run["seconds"] for run in parts["cold"]])
    if parts["clients"]:
        found["clients_lost"] = sum(run["lost"] for run in parts["clients"])
    return found


def _opened(count: int) -> Iterator[Incident]:
    return (_incident(number, 1, f"disk-{number} of host-{number % 997} is full") for number in range(count))


def _incident(number: int, version: int, title: str) -> Incident:
    now = time.time_ns() // 1_000_000
    return Incident(
        tenant="default", incident_id=number.to_bytes(16, "big"), version=version, status=Status.OPEN,
        severity=Severity(2 + number % 3), service=f"service-{number % 50}", title=title, dedup_key=f"disk/{number}",
        correlation_key=number.to_bytes(16, "big"), opened_at=now, acknowledged_at=0, resolved_at=0, last_alert_at=now,
        alert_count=version, repeat_count=version - 1, member_count=1, labels={"cluster": f"c{number % 20}"},
    )  # fmt: skip


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[tuple[httpx2.AsyncClient, asyncio.subprocess.Process]]:
    """The API's process, once it is ready, and a client that is logged in; both end with the block."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    output = settings.data_dir / "api.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streams.cli", "api",
            cwd=CHECKOUT, env={**os.environ, **settings.environ()}, stdout=log, stderr=log,
        )  # fmt: skip
    base = f"http://127.0.0.1:{settings.port('api')}/api/v1"
    try:
        # The default is 100 connections at most: further clients of the stream would count as lost.
        limits = httpx2.Limits(max_connections=None)
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=30, limits=limits) as api:
            await _ready(settings, process)
            login = {"login": "ada", "password": _PASSWORD}
            if token := re.search(r"make the first account at \S+?([\w-]{20,})\s", output.read_text()):
                (await api.post("/setup", json={"token": token[1], "name": "Ada", **login})).raise_for_status()
            (await api.post("/session", json=login)).raise_for_status()
            yield api, process
    finally:
        process.terminate()
        await process.wait()


async def _ready(settings: Settings, process: asyncio.subprocess.Process) -> None:
    url = f"http://127.0.0.1:{settings.port('admin.api')}/readyz"
    give_up = time.monotonic() + _PATIENCE_S
    async with httpx2.AsyncClient() as client:
        while process.returncode is None and time.monotonic() < give_up:
            with suppress(httpx2.TransportError):
                if (await client.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.02)
    raise ContenderError(f"the api is not ready; its log is in {settings.data_dir}")


async def _listed(settings: Settings, api: httpx2.AsyncClient, count: int, seconds: float, number: int) -> Run:
    """Pages and events beside the updates."""
    ages: list[float] = []
    took: dict[str, list[float]] = {name: [] for name in LISTS}
    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(_watch(api, ages))
        updates = tasks.create_task(_update(settings.bootstrap, count, seconds, number))
        began = time.monotonic()
        for turn in range(int(seconds * LISTS_S)):
            await asyncio.sleep(max(0.0, began + turn / LISTS_S - time.monotonic()))
            name = list(LISTS)[turn % len(LISTS)]
            start = time.monotonic()
            (await api.get("/incidents", params=LISTS[name])).raise_for_status()
            took[name].append((time.monotonic() - start) * 1000)
        sent = await updates
        # All of it has been taken in once the list is as new as the last update.
        now = time.time()
        while (await _as_of(api)) < now:  # noqa: ASYNC110 - the API tells nobody
            await asyncio.sleep(0.2)
        taken = time.monotonic() - began
        watcher.cancel()
    run: Run = {
        "part": "list",
        "incidents": count,
        "round": number,
        "updates_s": round(sent / taken),
        "events": len(ages),
    }
    for name, values in (*took.items(), ("event", ages)):
        run |= {f"{name}_p{share}_ms": round(quantile(values, share), 1) for share in (50, 99)}
    return run


async def _update(bootstrap: str, count: int, seconds: float, number: int) -> int:
    """Update incidents at the rate, and open one at each tick; how many records were sent."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=500_000)
    await producer.start()
    size, sent, began = int(UPDATES_S * _TICK_S), 0, time.monotonic()
    try:
        for tick in range(int(seconds / _TICK_S)):
            await asyncio.sleep(max(0.0, began + tick * _TICK_S - time.monotonic()))
            updated = [(sent + each) * 7919 % count for each in range(size)]
            changes = [_incident(each, 2 + sent + number * 10_000_000, f"disk-{each} is full") for each in updated]
            newest = 10**12 + number * 10**9 + tick
            changes.append(_incident(newest, 1, f"sent-{time.monotonic_ns()} full"))
            for partition in range(_PARTITIONS):
                batch = producer.create_batch()
                for each in changes:
                    if partition_for(each.incident_id, _PARTITIONS) == partition:
                        batch.append(key=each.incident_id, value=encode(each), timestamp=None)
                await producer.send_batch(batch, INCIDENTS.name, partition=partition)
            sent += len(changes)
        await producer.flush()
    finally:
        await producer.stop()
    return sent


async def _watch(api: httpx2.AsyncClient, ages: list[float]) -> None:
    """The age of every new incident, in milliseconds, when its event arrives."""
    async with api.stream("GET", "/stream", timeout=60) as answer:
        async for line in answer.aiter_lines():
            now = time.monotonic_ns()
            ages += [(now - int(each)) / 1e6 for each in re.findall(r"\"sent-(\d+) full\"", line)]


async def _as_of(api: httpx2.AsyncClient) -> float:
    """The time up to which the list has everything, seconds since 1970 UTC."""
    answer = (await api.get("/incidents", params={"limit": 1})).json()
    return datetime.fromisoformat(answer["as_of"]).timestamp()


async def _watched(settings: Settings, api: httpx2.AsyncClient, pid: int, clients: int, seconds: float) -> Run:
    """Clients of the stream, while ten updates a second come: how many are lost, and what they cost."""
    before = rss_mb(pid)
    heard = [0] * clients
    lost: list[str] = []

    async def client(number: int) -> None:
        try:
            async with api.stream("GET", "/stream", timeout=60) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    heard[number] += line.startswith("data:")
        except (httpx2.HTTPError, OSError) as error:
            lost.append(f"{type(error).__name__}: {error}")
            return
        lost.append("the stream ended")

    tasks = []
    for number in range(clients):
        tasks.append(asyncio.create_task(client(number)))
        await asyncio.sleep(1 / 18)  # a caller may ask 20 times a second
    cpu = _cpu_s(pid)
    heard[:] = [0] * clients
    began = time.monotonic()
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap)
    await producer.start()
    try:
        for tick in range(int(seconds * 10)):
            await asyncio.sleep(max(0.0, began + tick / 10 - time.monotonic()))
            opened = _incident(2 * 10**12 + tick, 1, "watched")
            await producer.send_and_wait(INCIDENTS.name, encode(opened), key=opened.incident_id)
        await asyncio.sleep(2)
    finally:
        await producer.stop()
    gone = len(lost)
    run: Run = {
        "part": "clients", "clients": clients, "round": 0, "seconds": round(time.monotonic() - began),
        "lost": gone + sum(not each for each in heard), "events_each": median([float(each) for each in heard]),
        "rss_before_mb": round(before), "rss_mb": round(rss_mb(pid)),
        "cpu": round((_cpu_s(pid) - cpu) / (time.monotonic() - began), 3),
    }  # fmt: skip
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return run


def _cpu_s(pid: int) -> float:
    """Seconds of CPU time that the process has used. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
