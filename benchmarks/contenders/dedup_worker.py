"""Stormweir's dedup stage alone on the engine, with its own source topic and changelog, until SIGTERM.

Arguments: bootstrap, source topic, changelog topic, number of records, data directory. Prints a line of
JSON when its state is recovered and one when the records are processed and committed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import uvloop

from schemas import topics
from schemas.control import Service
from schemas.records import Output, Record, State
from streams.control.state import Control
from streams.engine import Engine, TableSpec
from streams.pipeline import lost
from streams.process.kafka import Kafka
from streams.stages import dedup_entry
from streams.stages.dedup import Dedup
from streams.stages.normalize import dead_letter

_POLL_S = 0.002


class Watched:
    """The dedup stage; reports how many records it has processed and their CPU time."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._count = count
        self._seen = 0
        self._cpu_from = 0.0
        control = Control()
        # The window is longer than any run, so every repeat is folded.
        control.apply("service/bench", Service(id="bench", dedup_window=86_400).model_dump_json().encode())
        self._stage = Dedup(control)

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterable[Output]:
        """Process a batch."""
        self._seen += len(records)
        return list(self._stage(state, records, now))

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterable[Output]:
        """Process the due keys."""
        return self._stage.on_due(state, due, now)

    async def report(self) -> None:
        """Print a report when the state is recovered, and one when all records are processed and committed."""
        while not self._engine.ready:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(_POLL_S)
        _say(event="ready", keys=self._keys())
        cpu, seen = time.process_time(), self._seen
        while self._behind():  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(_POLL_S)
        used = (time.process_time() - cpu) * 1e6 / max(self._seen - seen, 1)
        _say(event="done", keys=self._keys(), records=self._seen, cpu_us=round(used, 2))

    def _behind(self) -> bool:
        return self._seen < self._count or any(lane.uncommitted for lane in self._engine.lanes.values())

    def _keys(self) -> int:
        return sum(len(lane.table.state) for lane in self._engine.lanes.values() if lane.table is not None)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(bootstrap: str, source: str, changelog: str, count: int, data_dir: Path) -> int:
    """Run until SIGTERM."""
    uvloop.install()
    outputs = [topics.ALERTS_UNIQUE.name, topics.ALERTS_HISTORY.name, topics.DEADLETTERS.name]
    engine = Engine(Kafka(bootstrap), changelog, data_dir=data_dir, outputs=outputs, losses=lost)
    stage = Watched(engine, count)
    engine.stage(
        topics.AGENT_DEDUP,
        source,
        stage,
        table=TableSpec(topics.DEDUP.name, changelog, due=dedup_entry.due),
        dead_letters=lambda record, error, now: dead_letter("dedup", type(error).__name__, error, record, now),
    )
    reporting: list[asyncio.Task[None]] = []

    async def start() -> None:
        reporting.append(asyncio.create_task(stage.report()))

    engine.on_lifecycle(start, None)
    return engine.run()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(*arguments[:3], int(arguments[3]), Path(arguments[4])))  # type: ignore[call-arg,arg-type]
