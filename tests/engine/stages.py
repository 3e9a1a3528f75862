"""Stages and sinks the contract tests run: each shows one property in its table or its outputs."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.records import Output
from schemas.topics import NOTIFICATIONS
from streams.engine import Loss, Record
from streams.stages import dispatch_table
from streams.stages.dispatch import Dispatch
from tests.engine.params import Params
from tests.stages.path import control

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


def due(value: bytes) -> int:
    """The deadline in a value of Windows."""
    return int.from_bytes(value[4:12], "big")


def evictable(value: bytes) -> bool:
    """Whether a value of Windows may be forgotten: a key that came once."""
    return number(value) == 1


class Windows:
    """Counts per key until WINDOW_MS after the key's first record, then puts count and deadline out and forgets it.

    A record `poison` makes its key one that cannot fire; a record `unpoison` heals it.
    """

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, state: Any, records: Sequence[Record], now: int) -> list[Out]:
        """Count."""
        for record in records:
            held = state.get(record.key)
            at = due(held) if held else record.timestamp + WINDOW_MS
            state.put(record.key, (number(held) + 1).to_bytes(4, "big") + at.to_bytes(8, "big") + record.value, at)
        return []

    def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Out]:
        """Close windows."""
        outputs: list[Out] = []
        for key, at in due:
            held = state.get(key)
            outputs.append((self._params.output, key, b"%d %d" % (number(held), at), None, ()))
            state.delete(key)
            if held.endswith(b"poison") and not held.endswith(b"unpoison"):
                raise ValueError("poison")
        return outputs


def copies(params: Params) -> Callable[..., list[Out]]:
    """Copies records to `source`."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        return [(params.source, record.key, record.value, None, ()) for record in records]

    return run


def lost_output(params: Params) -> Callable[..., list[Out]]:
    """A defect of a stage that no dead letter can help: it sends to a topic nobody declared."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        return [("undeclared", record.key, record.value, None, ()) for record in records]

    return run


def keeps(params: Params) -> Callable[..., list[Out]]:
    """Keeps every record in the table under its place; a Clerk takes them out."""

    def run(state: Any, records: Sequence[Record], now: int) -> list[Out]:
        for record in records:
            state.put(b"%d/%d" % (record.partition, record.offset), record.value or b"")
        return []

    return run


class Tells:
    """The stage dispatch, whose notifications go to the output. What is `held` waits a second for an inhibition."""

    def __init__(self, params: Params) -> None:
        inhibition = {"id": "i", "source": ['severity="critical"'], "target": ['source="held"'], "hold": 1}
        self._dispatch = Dispatch(
            control(
                ("rule/default/all", {"id": "all", "route": ["ops"]}),
                ("service/default/web", {"id": "web", "destinations": ["ops"]}),
                ("inhibition/default/i", inhibition),
            )
        )
        self._output = params.output

    def __call__(self, state: Any, records: Sequence[Record], now: int) -> list[Out]:
        """Process a batch."""
        return self._told(self._dispatch(state, records, now))

    def on_due(self, state: Any, due: Sequence[tuple[bytes, int]], now: int) -> list[Out]:
        """Fire deadlines."""
        return self._told(self._dispatch.on_due(state, due, now))

    def _told(self, outputs: Iterable[Output]) -> list[Out]:
        told = [output for output in outputs if output.topic == NOTIFICATIONS.name]
        return [(self._output, output.key, output.value, None, ()) for output in told]


STAGES: dict[str, Callable[[Params], Any]] = {
    "counts": counts,
    "grows": grows,
    "batches": batches,
    "windows": Windows,
    "lost_output": lost_output,
    "attended": keeps,
    "dispatch": Tells,
}
#: The deadline in a value of stages that have any, and whether it may be forgotten.
TIMED: dict[str, tuple[Callable[[bytes], int], Callable[[bytes], bool] | None]] = {
    "windows": (due, evictable),
    "dispatch": (dispatch_table.due, None),
}


@dataclass(frozen=True)
class FileBatch:
    """A batch of FileBatchSink; its entries are its records."""

    topic_id: str
    number: int
    records: Sequence[Record]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Of each record."""
        return [(record.offset, 0) for record in self.records]


class FileBatchSink:
    """Appends each try of a batch to `batches.jsonl`; fails while `down` exists; stops dead while `hold` does.

    While `picky` exists it refuses whatever holds a value that begins with `bad`. With the file `hold-at-<n>` it stops
    dead after it wrote entries that begin with the n-th of their batch.
    """

    max_records = 500
    max_bytes = 1_000_000
    linger = 0.05

    def __init__(self, directory: Path, dead: str) -> None:
        self._directory = directory
        self._dead = dead

    def form(
        self, topic: str, topic_id: str, partition: int, records: Sequence[Record], marks: dict[str, int]
    ) -> FileBatch:
        """The records, and a running number that only marks can know."""
        marks["batches"] = marks.get("batches", 0) + 1
        return FileBatch(topic_id, marks["batches"], records)

    async def write(self, batch: FileBatch, start: int, stop: int) -> str | None:
        """Write a line; whether the caller learns of it depends on the files in the directory."""
        if (self._directory / "down").exists():
            raise ConnectionError("down")
        records = batch.records[start:stop]
        values = [(record.value or b"").decode() for record in records]
        if (self._directory / "picky").exists() and any(value.startswith("bad") for value in values):
            return "bad value"
        line = {
            "partition": records[0].partition,
            "offsets": [record.offset for record in records],
            "values": values,
            "number": batch.number,
            "topic_id": batch.topic_id,
        }
        _line(self._directory / "batches.jsonl", line)
        while (self._directory / "hold").exists() or (self._directory / f"hold-at-{start}").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return None

    def reason(self, error: Exception) -> str:
        """The error's text."""
        return str(error)

    def dead_letter(self, batch: FileBatch, entry: int, refusal: str) -> Out | None:
        """The refused record with the reason and its place; none for a value `bad and gone`."""
        record = batch.records[entry]
        if record.value == b"bad and gone":
            return None
        place = f"{record.partition}/{record.offset} {refusal}".encode()
        return (self._dead, record.key, record.value, record.partition, (("reason", place),))


class Clerk:
    """An attendant that deletes what was put, at most `slots` at once, and puts it out.

    It writes a line at the begin and the end of each; all wait at their end while there is a file `hold`.
    """

    slots = 8

    def __init__(self, directory: Path, output: str) -> None:
        self._directory = directory
        self._output = output
        self._ready: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def opened(self, state: Any, transact: Callable[..., Awaitable[None]]) -> None:
        """Begin with what the table holds."""
        self._state, self._transact = state, transact
        self._ready.extend(key for key, _ in state.items())
        self._fill()

    def changed(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Line up what was put."""
        self._ready.extend(key for key, value in changes.items() if value is not None)
        self._fill()

    async def close(self, patience: float) -> None:
        """Let what was begun end."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    def _fill(self) -> None:
        while self._ready and len(self._tasks) < self.slots and not self._closed:
            task = asyncio.create_task(self._do(self._ready.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._fill()

    async def _do(self, key: bytes) -> None:
        value = self._state.get(key)
        _line(self._directory / "tasks.jsonl", {"key": key.decode(), "what": "begin"})
        await asyncio.sleep(0.001)
        while (self._directory / "hold").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        _line(self._directory / "tasks.jsonl", {"key": key.decode(), "what": "end"})

        def settle(state: Any) -> list[Out]:
            state.delete(key)
            return [(self._output, key, value, None, ())]

        await self._transact(settle)


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
