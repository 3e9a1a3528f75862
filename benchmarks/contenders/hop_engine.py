"""The hop's work as a stage of the engine: durable state, fenced changelog, windows that expire, metrics.

Arguments: bootstrap, source topic, output topic, number of records, changelog topic, data directory.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
import uvloop
from xxhash import xxh3_128_digest

from benchmarks.contenders.hop_data import PACKED, SEVERITIES, WINDOW_MS, Clock
from schemas.records import Output, Record, State
from streams.engine import Engine, Loss, TableSpec
from streams.process.kafka import Kafka


class Hop:
    """The stage. Prints the report and ends the process once the last record is committed."""

    def __init__(self, engine: Engine, output: str, count: int) -> None:
        self._engine = engine
        self._output = output
        self._clock = Clock(count)
        self._forwarded = 0
        self._reporting: asyncio.Task[None] | None = None

    def __call__(self, state: State, records: Sequence[Record], now: int) -> Iterable[Output]:
        """Process a batch."""
        outputs: list[Output] = []
        get, put, topic = state.get, state.put, self._output
        for record in records:
            body = record.value or b""
            alert = orjson.loads(body)
            key = xxh3_128_digest(f"{alert['tenant']}\0{alert['service']}\0{alert['dedup_key']}".encode())
            received = alert["received_at"]
            value = get(key)
            until = 0 if value is None else int.from_bytes(value[10:18], "little")
            if value is None or received >= until:
                window_end = received + WINDOW_MS
                value = PACKED.pack(1, SEVERITIES[alert["severity"]], received, window_end, received, 0, 0)
                put(key, value, window_end)
                outputs.append(Output(topic, key, body))
            else:
                repeats = int.from_bytes(value[26:30], "little") + 1
                put(
                    key,
                    value[:2]
                    + received.to_bytes(8, "little")
                    + value[10:26]
                    + repeats.to_bytes(4, "little")
                    + value[30:],
                    until,
                )
        self._forwarded += len(outputs)
        if self._clock.take(len(records)):
            self._reporting = asyncio.get_running_loop().create_task(self._report())
        return outputs

    def on_due(self, state: State, due: Sequence[tuple[bytes, int]], now: int) -> Iterable[Output]:
        """Delete the keys whose window has ended."""
        for key, _ in due:
            state.delete(key)
        return ()

    async def _report(self) -> None:
        lanes = self._engine.lanes.values()
        while any(lane.uncommitted for lane in lanes):  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.002)
        keys = sum(len(lane.table.state) for lane in lanes if lane.table is not None)
        print(self._clock.stop(forwarded=self._forwarded, keys=keys), flush=True)
        # The measurement is over; leaving the group is not part of it.
        os._exit(0)


def due(value: bytes) -> int:
    """The end of the window in this value, milliseconds since 1970 UTC."""
    return int.from_bytes(value[10:18], "little")


def _lost(loss: Loss, now: int) -> Output:
    raise NotImplementedError("the benchmark's topics lose nothing")


def main(bootstrap: str, source: str, output: str, count: int, changelog: str, data_dir: Path) -> None:
    """Run until the report is printed."""
    uvloop.install()
    engine = Engine(Kafka(bootstrap), changelog, data_dir=data_dir, outputs=[output], losses=_lost)
    engine.stage(
        "hop",
        source,
        Hop(engine, output, count),
        table=TableSpec("hop", changelog, due=due),
        dead_letters=lambda record, error, now: Output(output, None, repr(error).encode(), record.partition),
    )
    sys.exit(engine.run())


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:3], int(arguments[3]), arguments[4], Path(arguments[5]))  # type: ignore[call-arg,arg-type]
