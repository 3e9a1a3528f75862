"""`python -m benchmarks.delivery [--only walls,burst,kills] [--quick]`: notifications to 50 destinations. 15 minutes.

Five destinations are dead (nothing listens), five take 30 s for an answer, five answer 429 above ten requests a second,
35 are healthy. The notifier of this checkout and that of BEFORE run in turn on one broker, each with topics made anew.

`walls`: the time from a notification to its healthy receiver, alone and with BACKLOG notifications waiting for the ill
ones. `burst`: 100,000 notifications at once, seconds until the healthy ones have theirs. `kills`: kill -9 in a burst,
and how many notifications arrive again.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.broker import broker, fill, topics_made_anew
from benchmarks.command import Command
from benchmarks.process import CHECKOUT, ContenderError, median, quantile, rss_mb
from benchmarks.receivers import DEAD, HEALTHY, LIMITED, SLOW, Receivers, receiving
from benchmarks.report import Goal, Page, Progress, Run
from benchmarks.worktree import worktree
from schemas.fingerprint import digest
from schemas.settings import Settings
from schemas.topics import CONTROL, NOTIFICATIONS
from schemas.wire.alert import Severity
from schemas.wire.codec import encode
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Notification, Transition, notification_id

BEFORE = "c776d86"
NOW = "now"
PARTS = ("walls", "burst", "kills")
PORTS = 18_500
PARTITIONS = 2
ILL = (DEAD, SLOW, LIMITED)
DESTINATIONS = {HEALTHY: 35, DEAD: 5, SLOW: 5, LIMITED: 5}
#: Notifications a second while the walls are measured.
TRICKLE = 100
#: How long a burst may take, seconds; what has not arrived by then is not counted.
_BURST_S = 180.0
#: The most messages of one destination that may be under way.
CONCURRENCY = 8

GOALS = (
    Goal(
        "walls_p99_added_ms", "p99 to a healthy destination: added by what waits for ill ones (ms)", 50, at_least=False
    ),
    Goal("walls_memory_mb", "notifier's memory with everything waiting (MB)", 400, at_least=False),
    Goal("burst_per_s", "healthy deliveries a second beside 15 ill destinations", 500),
    Goal("kill_repeats_per_destination", "repeats a kill and destination", CONCURRENCY, at_least=False),
)
PAGE = Page("Delivery", "python -m benchmarks.delivery", "delivery", "DELIVERY.md", GOALS)


class Sizes(NamedTuple):
    """The sizes of a run: what waits for the ill, seconds of the trickle, notifications of a burst, kills."""

    backlog: int
    trickle_s: int
    burst: int
    kills: int


FULL = Sizes(backlog=300_000, trickle_s=15, burst=100_000, kills=20)
QUICK = Sizes(backlog=3_000, trickle_s=3, burst=1_000, kills=2)


def main() -> int:
    """Measure the wanted parts. Returns 1 when a part failed; the newest result is then not replaced."""
    command = Command("python -m benchmarks.delivery", __doc__, PARTS)
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-delivery-"))
    sizes = QUICK if command.quick else FULL
    runs: list[Run] = []
    failed: list[str] = []
    try:
        with (
            broker(scratch / "kafka", PORTS, command.progress) as kafka,
            worktree(BEFORE, scratch / "before") as before,
        ):
            for part in command.wanted:
                for name, checkout in ((BEFORE, before), (NOW, CHECKOUT)):
                    command.progress(f"-- {part}, {name}")
                    # Of BEFORE fewer kills show enough: it repeats hundreds each time.
                    own = sizes if name == NOW else sizes._replace(kills=max(1, sizes.kills // 5))
                    measured = _measure(part, name, checkout, kafka.bootstrap, scratch, own, command.progress)
                    try:
                        runs.append(uvloop.run(measured))
                    except (ContenderError, TimeoutError, OSError) as error:
                        command.progress(f"{part} of {name} failed: {error}")
                        failed.append(f"{part} of {name}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return command.conclude(runs, summary(runs), failed, PAGE)


def summary(runs: list[Run]) -> dict[str, float]:
    """The figures of this checkout."""
    found: dict[str, float] = {}
    for run in runs:
        if run["notifier"] != NOW:
            continue
        if run["part"] == "walls":
            found["walls_p99_added_ms"] = run["beside_p99_ms"] - run["alone_p99_ms"]
            found["walls_memory_mb"] = run["memory_mb"]
        elif run["part"] == "burst":
            found["burst_per_s"] = run["healthy_per_s"]
        else:
            found["kill_repeats_per_destination"] = run["most_repeats_of_a_destination"]
    return found


async def _measure(
    part: str, name: str, checkout: Path, bootstrap: str, scratch: Path, sizes: Sizes, progress: Progress
) -> Run:
    settings = Settings(
        data_dir=scratch / f"{part}-{name}", kafka=bootstrap, port_base=PORTS + 20, partitions=PARTITIONS
    )
    await topics_made_anew(settings)
    receivers_port = PORTS + 50
    await _configure(bootstrap, receivers_port)
    bench = Bench(settings, checkout, by_destination=(checkout / "sinks" / "outbox").exists())
    async with receiving(receivers_port) as receivers:
        run = await {"walls": _walls, "burst": _burst, "kills": _kills}[part](bench, receivers, sizes, progress)
    progress(f"{part} {name}: " + ", ".join(f"{key} {value}" for key, value in run.items()))
    return {"part": part, "notifier": name, **run}


class Bench:
    """A notifier process of a checkout, and notifications for it."""

    def __init__(self, settings: Settings, checkout: Path, *, by_destination: bool) -> None:
        self.settings = settings
        self._checkout = checkout
        self._by_destination = by_destination
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """The notifier runs during the block; its pid."""
        await self.start()
        try:
            yield self.pid
        finally:
            self.kill()

    async def start(self) -> None:
        """Start the notifier and wait until it is ready. Raises ContenderError, and TimeoutError after 60 s."""
        self._process = self._spawn()
        url = f"http://127.0.0.1:{self.settings.port('admin.notifier')}/readyz"
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(_answers, url):
                if self._process.poll() is not None:
                    raise ContenderError("the notifier ended")
                await asyncio.sleep(0.05)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        settings = self.settings
        # Only what BEFORE knows too: it refuses other settings.
        environ = {
            **os.environ,
            "PYTHONPATH": str(self._checkout),
            "STORMWEIR_DATA_DIR": str(settings.data_dir),
            "STORMWEIR_KAFKA": settings.kafka,
            "STORMWEIR_PORT_BASE": str(settings.port_base),
            "STORMWEIR_ALLOWED_NETWORKS": "127.0.0.0/8",
            "STORMWEIR_INSTANCE": "bench",
        }
        with (self.settings.data_dir.parent / "notifier.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "notifier"],
                cwd=self._checkout,
                env=environ,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def send(self, kinds: list[tuple[str, int]], count: int) -> dict[str, float]:
        """Put `count` notifications of distinct incidents on Kafka, evenly for these; when each was made, by id."""
        made: dict[str, float] = {}

        def records() -> Iterator[tuple[bytes, bytes]]:
            for index in range(count):
                kind, number = kinds[index % len(kinds)]
                notification = self._notification(f"{kind}-{number}")
                if kind == HEALTHY:
                    made[str(UUID(bytes=notification.notification_id))] = notification.queued_at / 1000
                yield self._key(notification), encode(notification)

        await fill(self.settings.bootstrap, NOTIFICATIONS.name, PARTITIONS, records())
        return made

    def _key(self, notification: Notification) -> bytes:
        if self._by_destination:
            return f"{notification.tenant}/{notification.destination}".encode()
        return digest(notification.destination, notification.incident.incident_id.hex())

    def _notification(self, destination: str) -> Notification:
        self._number += 1
        now = int(time.time() * 1000)
        incident = Incident(
            tenant="default", incident_id=digest("delivery", str(self._number)), version=1, status=Status.OPEN,
            severity=Severity.WARNING, service="checkout", title=f"Queue {self._number} is longer than 10,000",
            dedup_key=f"queue/{self._number}", correlation_key=bytes(16), opened_at=now, acknowledged_at=0,
            resolved_at=0, last_alert_at=now, alert_count=1, repeat_count=0, member_count=1,
            labels={"env": "production", "region": "eu-north-1"}, source="broker-7",
        )  # fmt: skip
        return Notification(
            notification_id=notification_id(incident.incident_id, 1, Transition.TRIGGERED, destination),
            tenant="default", destination=destination, transition=Transition.TRIGGERED, queued_at=now,
            incident=incident,
        )  # fmt: skip


async def _walls(bench: Bench, receivers: Receivers, sizes: Sizes, progress: Progress) -> Run:
    healthy = [each for each in _everybody() if each[0] == HEALTHY]
    async with bench.running() as pid:
        await _trickle(bench, receivers, healthy, 2)
        alone = await _trickle(bench, receivers, healthy, sizes.trickle_s)
        await bench.send([each for each in _everybody() if each[0] in ILL], sizes.backlog)
        progress(f"{sizes.backlog:,} wait for the ill")
        await asyncio.sleep(sizes.trickle_s)
        beside = await _trickle(bench, receivers, healthy, sizes.trickle_s)
        return {
            "alone_p50_ms": _ms(quantile(alone, 50)), "alone_p99_ms": _ms(quantile(alone, 99)),
            "beside_p50_ms": _ms(quantile(beside, 50)), "beside_p99_ms": _ms(quantile(beside, 99)),
            "beside_missing": sum(each == float("inf") for each in beside), "memory_mb": round(rss_mb(pid)),
        }  # fmt: skip


async def _trickle(bench: Bench, receivers: Receivers, healthy: list[tuple[str, int]], seconds: int) -> list[float]:
    """Seconds from each of TRICKLE notifications a second to its receiver; infinite if it took more than 60 s."""
    made: dict[str, float] = {}
    started = time.perf_counter()
    for tick in range(seconds * 10):
        made |= await bench.send(healthy[tick % 5 :: 5], TRICKLE // 10)
        await asyncio.sleep(max(0.0, started + (tick + 1) / 10 - time.perf_counter()))
    await _until(lambda: made.keys() <= receivers.arrivals.keys(), 60)
    return [receivers.arrivals.get(each, float("inf")) - at for each, at in made.items()]


async def _burst(bench: Bench, receivers: Receivers, sizes: Sizes, progress: Progress) -> Run:
    async with bench.running() as pid:
        made = await bench.send(_everybody(), sizes.burst)
        started = min(made.values())
        await _until(lambda: made.keys() <= receivers.arrivals.keys(), _BURST_S)
        arrived = len(made.keys() & receivers.arrivals.keys())
        last = max(receivers.arrivals[each] for each in made if each in receivers.arrivals)
        latencies = [receivers.arrivals.get(each, float("inf")) - at for each, at in made.items()]
        return {
            "healthy": len(made), "arrived": arrived, "seconds": round(last - started, 1),
            "healthy_per_s": round(arrived / (last - started)), "p99_s": round(quantile(latencies, 99), 1),
            "memory_mb": round(rss_mb(pid)),
        }  # fmt: skip


async def _kills(bench: Bench, receivers: Receivers, sizes: Sizes, progress: Progress) -> Run:
    healthy = [each for each in _everybody() if each[0] == HEALTHY]
    repeats: list[int] = []
    in_flight: list[int] = []
    most = 0
    try:
        for number in range(sizes.kills):
            await bench.start()
            made = await bench.send(healthy, 2_000)
            before = receivers.repeats.copy()
            # At another point of the burst each time.
            enough = 100 + 1_700 * number // sizes.kills
            await _until(lambda: len(made.keys() & receivers.arrivals.keys()) >= enough, 60)  # noqa: B023
            in_flight.append(receivers.busy)
            bench.kill()
            await bench.start()
            if not await _until(lambda: made.keys() <= receivers.arrivals.keys(), 120):  # noqa: B023
                raise ContenderError(f"{len(made.keys() - receivers.arrivals.keys())} notifications did not arrive")
            # A repeat may come after the last first arrival.
            await asyncio.sleep(1)
            again = receivers.repeats - before
            repeats.append(again.total())
            most = max(most, *again.values(), 0)
            bench.kill()
    finally:
        bench.kill()
    progress(f"repeats {repeats}, under way at the receivers {in_flight}")
    return {
        "kills": sizes.kills, "repeats": sum(repeats), "most_repeats_of_a_kill": max(repeats),
        "median_repeats": median([float(each) for each in repeats]), "most_repeats_of_a_destination": most,
    }  # fmt: skip


def _everybody() -> list[tuple[str, int]]:
    return [(kind, number) for kind, count in DESTINATIONS.items() for number in range(count)]


async def _configure(bootstrap: str, port: int) -> None:
    """Write the destinations, with the fields alone that BEFORE knows too: it rejects others."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for kind, number in _everybody():
            at = port + 1 if kind == DEAD else port
            url = f"http://127.0.0.1:{at}/{kind}/{number}"
            value = orjson.dumps({"id": f"{kind}-{number}", "type": "webhook", "url": url})
            await producer.send_and_wait(CONTROL.name, value, key=f"destination/default/{kind}-{number}".encode())
    finally:
        await producer.stop()


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until it holds; whether it does after so many seconds."""
    give_up = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > give_up:
            return False
        await asyncio.sleep(0.005)
    return True


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
