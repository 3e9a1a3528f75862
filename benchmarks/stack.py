"""The whole stack on the run's broker, the cost of each of its processes, and how much of a load is stored."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.broker import topics_made_anew
from benchmarks.process import cpu_us, rss_mb
from benchmarks.report import Run
from schemas.settings import Settings
from schemas.topics import ALERTS_EVENTS, ALERTS_RAW
from sinks.clickhouse.client import ClickHouse
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.stack import PROCESSES, Stack
from streams.process.kafka import Kafka
from streams.storm.kafka import topic_ends
from streams.storm.ledger import Range, count_stored, ranges

#: Sends a load that was built before. Returns the CPU microseconds of sending.
Send = Callable[[], Awaitable[float]]
#: One for each core of the machine that the goals are stated for; more would only make batches smaller.
PARTITIONS = 2
_POLL_S = 0.1
#: The stack counts as idle below this CPU time of all processes together, microseconds a second.
_QUIET_US = 400_000
_QUIET_WITHIN_S = 600.0


class Running:
    """A running stack. `pids` includes the broker, which the stack did not start."""

    def __init__(self, settings: Settings, stack: Stack, kafka: int, clickhouse: ClickHouse) -> None:
        self.settings = settings
        self._stack = stack
        self._kafka = kafka
        self._clickhouse = clickhouse

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {"kafka": self._kafka, **self._stack.pids}

    def cpu(self) -> dict[str, int]:
        """CPU microseconds that each process has used so far."""
        return {name: cpu_us(pid) for name, pid in self.pids.items()}

    def memory(self) -> dict[str, float]:
        """Resident MB of each process."""
        return {f"{name}_rss_mb": round(rss_mb(pid)) for name, pid in self.pids.items()}

    async def quiet(self) -> None:
        """Wait until the processes have finished all earlier loads. Raises TimeoutError after _QUIET_WITHIN_S."""
        give_up = time.perf_counter() + _QUIET_WITHIN_S
        while True:
            before = sum(self.cpu().values())
            await asyncio.sleep(1)
            if sum(self.cpu().values()) - before < _QUIET_US:
                return
            if time.perf_counter() > give_up:
                raise TimeoutError(f"the stack is still busy after {_QUIET_WITHIN_S:.0f} s")

    async def arrived(self, before: Mapping[tuple[str, int], int]) -> int:
        """Wait until no more records arrive, because a client does not wait for its last answers.

        Returns how many arrived since `before`.
        """
        ends = await self.ends()
        while True:
            await asyncio.sleep(_POLL_S)
            earlier, ends = ends, await self.ends()
            if ends == earlier:
                return sum(ends.values()) - sum(before.values())

    async def ends(self) -> Mapping[tuple[str, int], int]:
        """The end offsets of `alerts.raw` and `alerts.events`, by topic and partition."""
        return await topic_ends(Kafka(self.settings.bootstrap), (ALERTS_RAW.name, ALERTS_EVENTS.name))

    async def stored(self, before: Mapping[tuple[str, int], int], alerts: int, deadline_s: float) -> float:
        """Wait until ClickHouse holds `alerts` alerts that arrived since `before`.

        Returns the `time.perf_counter` of the query that found them, which is exact to 0.1 s. Raises TimeoutError, and
        AssertionError when a row is stored twice.
        """
        give_up = time.perf_counter() + deadline_s
        spans = ranges(before, await self.ends())
        while (rows := await self._rows(spans)) < alerts:
            if time.perf_counter() > give_up:
                raise TimeoutError(f"{rows} of {alerts} alerts are stored after {deadline_s:.0f} s")
            await asyncio.sleep(_POLL_S)
        finished = time.perf_counter()
        distinct = (await count_stored(self._clickhouse.query, spans)).alerts
        if distinct != alerts or rows != alerts:
            raise AssertionError(f"{alerts} alerts were accepted, {rows} rows of {distinct} alerts are stored")
        return finished

    async def timed(self, send: Send, deadline_s: float) -> Run:
        """Send a load, and wait until ClickHouse holds all of its alerts: how many, the rate, and CPU an alert.

        Raises as `stored` does.
        """
        before, cpu, started = await self.ends(), self.cpu(), time.perf_counter()
        load_us = await send()
        alerts = await self.arrived(before)
        seconds = await self.stored(before, alerts, deadline_s) - started
        used = {name: now - cpu.get(name, 0) for name, now in self.cpu().items()}
        costs = {f"{name}_us": round(value / alerts, 1) for name, value in used.items()}
        return {
            "rate": round(alerts / seconds),
            "seconds": round(seconds, 1),
            "alerts": alerts,
            **costs,
            "load_us": round(load_us / alerts, 1),
        }

    async def _rows(self, spans: Sequence[Range]) -> int:
        """A cheap count for the wait: an exact count, over a million rows, would slow down the measured processes."""
        clauses, values = ["0"], dict[str, Any]()
        for n, (topic, partition, first, end) in enumerate(spans):
            clauses.append(
                f"(kafka_topic = {{t{n}:String}} AND kafka_partition = {{p{n}:UInt16}}"
                f" AND kafka_offset >= {{a{n}:UInt64}} AND kafka_offset < {{b{n}:UInt64}})"
            )
            values |= {f"t{n}": topic, f"p{n}": partition, f"a{n}": first, f"b{n}": end}
        sql = f"SELECT count() AS stored FROM alerts WHERE {' OR '.join(clauses)}"
        return int((await self._clickhouse.query(sql, values))[0]["stored"])


@asynccontextmanager
async def running(kafka: EmbeddedKafka, data_dir: Path, port_base: int) -> AsyncIterator[Running]:
    """A stack on a running broker, with fresh topics and tables, that ends with the block."""
    assert kafka.pid is not None
    settings = Settings(
        data_dir=data_dir,
        port_base=port_base,
        kafka=kafka.bootstrap,
        partitions=PARTITIONS,
        allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),),
        base_url=f"http://127.0.0.1:{port_base}",
    )
    await topics_made_anew(settings)
    stack = Stack(settings, processes=("receiver", *PROCESSES))
    assert await stack.start() == [], "a process does not start"
    try:
        async with ClickHouse(
            settings.clickhouse_url, settings.clickhouse_token, settings.clickhouse_database
        ) as clickhouse:
            yield Running(settings, stack, kafka.pid, clickhouse)
    finally:
        await stack.stop()
