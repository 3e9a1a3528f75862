"""A worker process for the contract tests.

It writes `status.json` into its directory five times a second: lanes, readiness and metrics.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import REGISTRY

from streams.engine import Engine, TableSpec
from streams.engine.broker import Broker, Groups, Item, Refused
from streams.engine.lane import Lane
from streams.engine.transport import EngineConsumerThread
from streams.process.kafka import Kafka
from tests.engine import stages
from tests.engine.params import Params


def work(params: bytes, log: str) -> None:
    """Run with these parameters (JSON) until a signal, output in the file `log`; ends with the engine's exit status."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(_run(msgspec.json.decode(params, type=Params)))


def _run(params: Params) -> int:
    directory = Path(params.directory)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    Lane.stalled_after = params.stalled_after
    _interfere(params, directory)
    if params.clock_ahead:
        _set_clock(params.clock_ahead)
    engine = Engine(
        Kafka(params.bootstrap),
        params.group,
        data_dir=directory,
        store=params.store,
        outputs=[params.output, params.dead, *([params.source] if params.relay else [])],
        losses=stages.losses(params),
        session_timeout=params.session_timeout,
    )
    due, evictable = stages.TIMED.get(params.run, (None, None))
    table = TableSpec(
        "table",
        params.changelog,
        max_keys=params.max_keys,
        due=due,
        evictable=evictable,
    )
    if params.relay:
        engine.stage(
            "relay",
            params.relay,
            stages.copies(params),
            dead_letters=stages.dead_letters(params),
            feeds=[params.source],
        )
    if params.run == "batch_sink":
        engine.batches(params.run, params.source, stages.FileBatchSink(directory, params.dead), table=table)
    else:
        engine.stage(
            params.run,
            params.source,
            stages.STAGES[params.run](params),
            dead_letters=stages.dead_letters(params),
            table=None if params.run in ("batches", "lost_output") else table,
            attend=(lambda: stages.Clerk(directory, params.output)) if params.run == "attended" else None,
        )
    engine.app.timer(0.2, name="status")(lambda: _status(engine, directory))
    return engine.run()


async def _status(engine: Engine, directory: Path) -> None:
    at = time.monotonic()
    lanes = {
        f"{tp.partition}": {
            "processed": lane.processed,
            "committed": lane.committed,
            "uncommitted": lane.uncommitted,
            "keys": len(lane.table.state) if lane.table is not None else 0,
        }
        for tp, lane in list(engine.lanes.items())
        if not lane.closed
    }
    metrics: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith("stormweir_"):
                metrics[sample.name] = metrics.get(sample.name, 0.0) + sample.value
    coordinator = engine.app.consumer._thread._consumer._coordinator
    member = coordinator.member_id if coordinator is not None else ""
    fresh = directory / "status.new"
    found = {"at": at, "ready": engine.ready, "lanes": lanes, "metrics": metrics, "member": member}
    fresh.write_text(json.dumps(found))
    fresh.rename(directory / "status.json")


def _set_clock(ahead: float) -> None:
    """Set this process's wall clock forward, and later back."""
    right, started = time.time, time.monotonic()
    time.time = lambda: right() + (ahead if time.monotonic() < started + 3 else -ahead)


def _interfere(params: Params, directory: Path) -> None:
    """Make the process end, or wait, at the place the test asks for."""
    send, append = Broker.send, Broker.append
    where, left = params.die_at
    gate = directory / "gate"
    intrusion = list(params.intrusion)

    def pass_by(place: str) -> None:
        nonlocal left
        if place == where:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def watched_send(self: Broker, groups: Groups) -> list[Refused]:
        if groups:
            pass_by("send")
        while params.gate and gate.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return await send(self, groups)

    async def watched_append(
        self: Broker, topic: str, partition: int, chunks: Iterable[Sequence[Item]]
    ) -> tuple[int, int]:
        def counted() -> Iterator[Sequence[Item]]:
            for number, chunk in enumerate(chunks):
                if number:
                    pass_by("chunk")
                yield chunk

        if intrusion:
            await append(self, topic, partition, [[(key, value, ()) for key, value in intrusion]])
            intrusion.clear()
        result = await append(self, topic, partition, counted())
        pass_by("append")
        return result

    fetch = EngineConsumerThread._fetch_records

    async def late_fetch(self: EngineConsumerThread, *args: Any, **options: Any) -> Any:
        generation = self.app.consumer_generation_id
        if (directory / "late").exists():
            while generation == self.app.consumer_generation_id:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            (directory / "late").unlink()
            await asyncio.sleep(0.5)
            options["timeout"] = 1.0
        return await fetch(self, *args, **options)

    async def deaf_fetch(self: EngineConsumerThread, *args: Any, **options: Any) -> Any:
        records = await fetch(self, *args, **options)
        while (directory / "deaf").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return records

    ends = EngineConsumerThread.highwaters

    async def deaf_ends(self: EngineConsumerThread, *args: Any) -> Any:
        while (directory / "deaf").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return await ends(self, *args)

    if params.late_fetch:
        EngineConsumerThread._fetch_records = late_fetch
    if params.deaf:
        EngineConsumerThread._fetch_records, EngineConsumerThread.highwaters = deaf_fetch, deaf_ends
    broker: Any = Broker
    broker.send, broker.append = watched_send, watched_append
