"""`python -m benchmarks [--only hop,...] [--quick]`: measure and write the results. 25 to 45 minutes in full."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks import deadlines, gateway, hop, latency, memory, open_incidents, path
from benchmarks.broker import broker
from benchmarks.command import Command
from benchmarks.process import ContenderError
from benchmarks.report import RESULTS, VAR, Progress, Run
from benchmarks.stack import running
from streams.embedded.kafka import EmbeddedKafka

PARTS = ("hop", "gateway", "path", "latency", "memory", "deadlines", "incidents")
#: The first of the ports; all servers listen on loopback.
PORTS = 18_700


class Sizes(NamedTuple):
    """The sizes of a run: rounds, scale of the record counts, and seconds of one load."""

    hop_rounds: int
    rounds: int
    path_rounds: int
    scale: float
    wrk_s: int
    path_s: int
    latency_s: int


FULL = Sizes(hop_rounds=5, rounds=3, path_rounds=3, scale=1, wrk_s=4, path_s=60, latency_s=60)
QUICK = Sizes(hop_rounds=1, rounds=1, path_rounds=1, scale=0.1, wrk_s=1, path_s=5, latency_s=5)


def main() -> int:
    """Measure the wanted parts in order. Returns 1 when a part failed; the newest result is then not replaced."""
    command = Command("python -m benchmarks", __doc__, PARTS)
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-bench-"))
    try:
        with broker(scratch / "kafka", PORTS, command.progress) as kafka:
            runs, failed = _measure(kafka, scratch, command.wanted, QUICK if command.quick else FULL, command.progress)
        if failed and (logs := scratch / "stack" / "logs").exists():
            shutil.copytree(logs, kept := VAR / "logs", dirs_exist_ok=True)
            command.progress(f"logs of the stack: {kept}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    summary = {**hop.summary(runs), **gateway.summary(runs), **path.summary(runs)}
    summary |= {**latency.summary(runs), **memory.summary(runs), **open_incidents.summary(runs)}
    summary |= deadlines.summary(runs)
    return command.conclude(runs, summary, failed, RESULTS)


def _measure(
    kafka: EmbeddedKafka, scratch: Path, wanted: Sequence[str], sizes: Sizes, progress: Progress
) -> tuple[list[Run], list[str]]:
    """All runs, and the parts that failed; a part is measured even if an earlier one failed."""
    runs: list[Run] = []
    bootstrap = kafka.bootstrap

    def stacked() -> list[Run]:
        uvloop.run(_stacked(kafka, scratch, wanted, sizes, runs, progress))
        return []

    parts: dict[str, Callable[[], list[Run]]] = {
        "hop": lambda: hop.measure(bootstrap, scratch, sizes.hop_rounds, sizes.scale, progress),
        "gateway": lambda: gateway.measure(bootstrap, scratch, PORTS + 20, sizes.rounds, sizes.wrk_s, progress),
        "memory": lambda: memory.measure(bootstrap, scratch, sizes.path_rounds, sizes.scale, progress),
        "incidents": lambda: open_incidents.measure(bootstrap, scratch, PORTS + 100, sizes.scale, progress),
        "deadlines": lambda: deadlines.measure(bootstrap, scratch, sizes.path_rounds, sizes.scale, progress),
        "path": stacked,
        "latency": stacked,
    }
    failed = []
    for name in PARTS:
        # One stack serves path and latency.
        if name not in wanted or (name == "latency" and "path" in wanted):
            continue
        progress(f"-- {name}")
        try:
            runs += parts[name]()
        except (ContenderError, AssertionError, TimeoutError, OSError) as error:
            progress(f"{name} failed: {error}")
            failed.append(name)
    return runs, failed


async def _stacked(
    kafka: EmbeddedKafka, scratch: Path, wanted: Sequence[str], sizes: Sizes, runs: list[Run], progress: Progress
) -> None:
    """Measure the parts that need the whole stack; runs are added to `runs` at once, so a later failure loses none."""
    async with running(kafka, scratch / "stack", PORTS + 60) as stack:
        if "path" in wanted:
            await path.measure(stack, scratch, sizes.path_rounds, sizes.path_s, runs, progress)
        if "latency" in wanted:
            await latency.measure(stack, sizes.latency_s, runs, progress)


if __name__ == "__main__":
    sys.exit(main())
