"""Stages and sinks the contract tests run: each shows one property in its table or its outputs."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from streams.engine import Loss, Record
from tests.engine.params import Params

Out = tuple[str, bytes | None, bytes | None, int | None, tuple[tuple[str, bytes], ...]]
WINDOW_MS = 10_000


def number(value: bytes | None) -> int:
    """A count as the stages keep it: its first four bytes."""
    return int.from_bytes(value[:4], "big") if value else 0


def counts(params: Params) -> Callable[..., list[Out]]:
    """Counts records per key and puts out the first record of each key."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        outputs: list[Out] = []
        for record in records:
            count = number(state.get(record.key)) + 1
            state.put(record.key, count.to_bytes(4, "big") + bytes(params.padding))
            if count == 1:
                outputs.append((params.output, record.key, record.value, None, ()))
            # Last of all, so that a failing record has already changed something.
            if record.value == b"poison":
                raise ValueError("poison")
        return outputs

    return run


def grows(params: Params) -> Callable[..., list[Out]]:
    """As counts, with padding from the record on whose value is `pad`."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        outputs: list[Out] = []
        for record in records:
            padding = params.padding if record.value == b"pad" else 0
            count = number(state.get(record.key)) + 1
            if count == 1:
                outputs.append((params.output, record.key, record.value, None, ()))
            state.put(record.key, count.to_bytes(4, "big") + bytes(padding))
        return outputs

    return run


def batches(params: Params) -> Callable[..., list[Out]]:
    """Puts out what it was given: one record per batch, with the offsets in it."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        offsets = [record.offset for record in records]
        return [(params.output, b"batch", json.dumps([records[0].partition, offsets]).encode(), 0, ())]

    return run


def windows(params: Params) -> Callable[..., list[Out]]:
    """Counts per key until WINDOW_MS after the key's first event time, then puts the count out and forgets it.

    Event time is in the record's value, milliseconds; a value in the table is count and deadline.
    """

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        outputs: list[Out] = []
        latest = state.stream_time if not records else max(int(record.value or b"0") for record in records)
        state.marks["event_time"] = max(state.marks.get("event_time", 0), latest)
        for record in records:
            held = state.get(record.key)
            at = deadline(held) if held else int(record.value or b"0") + WINDOW_MS
            state.put(record.key, (number(held) + 1).to_bytes(4, "big") + at.to_bytes(8, "big"))
            if held is None:
                state.schedule(record.key, at)
        for key in state.due(state.marks["event_time"]):
            held = state.get(key)
            if held is not None and deadline(held) <= state.marks["event_time"]:
                outputs.append((params.output, key, str(number(held)).encode(), None, ()))
                state.delete(key)
        return outputs

    return run


def deadline(value: bytes) -> int:
    """The deadline in a value of `windows`."""
    return int.from_bytes(value[4:12], "big")


def ticking_windows(params: Params) -> Callable[..., list[Out]]:
    """Forgets a key WINDOW_MS after its first record by the engine's `now`, and puts it out."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        for record in records:
            if state.get(record.key) is None:
                state.put(record.key, (1).to_bytes(4, "big") + (now + WINDOW_MS).to_bytes(8, "big"))
                state.schedule(record.key, now + WINDOW_MS)
        due = state.due(now)
        for key in due:
            state.delete(key)
        return [(params.output, key, b"closed", None, ()) for key in due]

    return run


def silent_windows(params: Params) -> Callable[..., list[Out]]:
    """As ticking_windows, with nothing put out."""
    run = ticking_windows(params)

    def silent(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        run(state, records, now)
        return []

    return silent


def lost_output(params: Params) -> Callable[..., list[Out]]:
    """A defect of a stage that no dead letter can help: it sends to a topic nobody declared."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        return [("undeclared", record.key, record.value, None, ()) for record in records]

    return run


def broken_tick(params: Params) -> Callable[..., list[Out]]:
    """Fails when time passes on an idle partition."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        if not records:
            raise RuntimeError("tick")
        return []

    return run


STAGES = {
    "counts": counts,
    "grows": grows,
    "batches": batches,
    "windows": windows,
    "ticking_windows": ticking_windows,
    "silent_windows": silent_windows,
    "lost_output": lost_output,
    "broken_tick": broken_tick,
}


class FileBatchSink:
    """Appends each try of a batch to `batches.jsonl`; fails while `down` exists; stops dead while `hold` does."""

    max_records = 500
    max_bytes = 1_000_000
    linger = 0.05

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def form(self, topic: str, partition: int, records: Sequence[Record], marks: dict[str, int]) -> Any:
        """The offsets and a running number that only marks can know."""
        marks["batches"] = marks.get("batches", 0) + 1
        return {
            "partition": partition,
            "offsets": [record.offset for record in records],
            "values": [(record.value or b"").decode() for record in records],
            "number": marks["batches"],
        }

    async def write(self, batch: Any) -> None:
        """Write a line; whether the caller learns of it depends on the files in the directory."""
        if (self._directory / "down").exists():
            raise ConnectionError("down")
        _line(self._directory / "batches.jsonl", batch)
        while (self._directory / "hold").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class FileTaskSink:
    """Writes a line at the start and the end of each record; a record waits while a file of its key exists."""

    max_tasks = 50
    patience = 60.0

    def __init__(self, directory: Path, output: str) -> None:
        self._directory = directory
        self._output = output

    def order_key(self, record: Record) -> bytes:
        """The record's key."""
        return record.key or b""

    async def perform(self, record: Record) -> Sequence[Any]:
        """Do nothing, slowly enough to be interrupted."""
        key = (record.key or b"").decode()
        line = {"key": key, "partition": record.partition, "offset": record.offset}
        _line(self._directory / "tasks.jsonl", {**line, "what": "begin", "at": time.monotonic()})
        await asyncio.sleep(0.001)
        while (self._directory / f"wait-{key}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        _line(self._directory / "tasks.jsonl", {**line, "what": "end", "at": time.monotonic()})
        return [(self._output, record.key, record.value, None, ())]


def _line(path: Path, content: Any) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(content).encode() + b"\n")


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that a process may have been killed while writing."""
    found: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


def losses(params: Params) -> Callable[[Loss, int], Out]:
    """What was lost, as JSON."""

    def make(loss: Loss, now: int) -> Out:
        return (params.dead, loss.key, json.dumps(loss._asdict() | {"key": loss.key.decode()}).encode(), 0, ())

    return make


def dead_letters(params: Params) -> Callable[..., Out]:
    """The failed record with its reason and place."""

    def make(record: Record, error: Exception, now: int) -> Out:
        place = f"{record.partition}/{record.offset} {error}".encode()
        return (params.dead, record.key, record.value, record.partition, (("reason", place),))

    return make
