"""The engine with one deadline per record, all at the same moment: how long the engine blocks the event loop.

Arguments: bootstrap, source topic, output topic, number of records, changelog topic, data directory.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import uvloop

from schemas.records import Output, Record, State
from streams.engine import Engine, Loss, TableSpec
from streams.process.kafka import Kafka

_STEP_S = 0.001
#: Longer than the records take, and shorter than the engine estimates the time without an acknowledgement.
_DUE_AFTER_MS = 40_000


class Deadlines:
    """The stage: every key is due at the same moment, and is sent to the output topic then."""

    def __init__(self, output: str, count: int) -> None:
        self._output = output
        self._count = count
        self._at = int(time.time() * 1000) + _DUE_AFTER_MS
        self._taken = 0
        self.fired = 0

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterable[Output]:
        """Set the deadlines of the records' keys."""
        assert now < self._at, "the deadline came before all keys were armed"
        value = self._at.to_bytes(8, "big")
        for record in records:
            state.put(record.key or b"", value, self._at)
        self._taken += len(records)
        return [Output(self._output, b"taken", b"", records[0].partition)]

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterable[Output]:
        """Delete the due keys and send them to the output topic."""
        self.fired += len(due)
        for key, _ in due:
            state.delete(key)
            yield Output(self._output, key, b"")

    async def report(self) -> None:
        """Print the longest turn of the event loop while the deadlines fire, and end the process.

        `worked_ms` is the most that the loop itself computed in a turn; the rest of a turn it waited for a processor.
        """
        while not self.fired:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(_STEP_S)
        began, lags, worked, armed = time.perf_counter(), [0.0], 0.0, self._taken
        while self.fired < self._count:
            before, worked_before = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_STEP_S)
            lags.append(time.perf_counter() - before - _STEP_S)
            worked = max(worked, time.thread_time() - worked_before)
        lags.sort()
        seconds = time.perf_counter() - began
        at_999 = lags[len(lags) * 999 // 1000]
        figures = {"armed": armed, "seconds": round(seconds, 2), "lag_ms": round(lags[-1] * 1000, 1)}
        figures["lag_p999_ms"], figures["worked_ms"] = round(at_999 * 1000, 1), round(worked * 1000, 1)
        print(json.dumps(figures), flush=True)
        # The measurement is over; leaving the group is not part of it.
        os._exit(0)


def due(value: bytes) -> int:
    """The deadline in this value, milliseconds since 1970 UTC."""
    return int.from_bytes(value, "big")


def _lost(loss: Loss, now: int) -> Output:
    raise NotImplementedError("the benchmark's topics lose nothing")


def main(bootstrap: str, source: str, output: str, count: int, changelog: str, data_dir: Path) -> None:
    """Run until the report is printed."""
    uvloop.install()
    engine = Engine(Kafka(bootstrap), changelog, data_dir=data_dir, outputs=[output], losses=_lost)
    stage = Deadlines(output, count)
    engine.stage(
        "deadlines",
        source,
        stage,
        table=TableSpec("deadlines", changelog, due=due),
        dead_letters=lambda record, error, now: Output(output, None, repr(error).encode(), record.partition),
    )
    reporting: list[asyncio.Task[None]] = []

    async def start() -> None:
        reporting.append(asyncio.create_task(stage.report()))

    engine.on_lifecycle(start, None)
    sys.exit(engine.run())


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:3], int(arguments[3]), arguments[4], Path(arguments[5]))  # type: ignore[call-arg,arg-type]
