"""(f) A million deadlines at the same moment: the longest time for which they block the event loop."""

import asyncio
import shutil
from pathlib import Path

from benchmarks.broker import create, delete, fill
from benchmarks.contenders.hop_data import PARTITIONS, records
from benchmarks.process import ContenderError, median, run_contender
from benchmarks.report import Progress, Run

DEADLINES = 1_000_000


def measure(bootstrap: str, scratch: Path, rounds: int, scale: float, progress: Progress) -> list[Run]:
    """Set the deadlines, wait until they fire, and measure the event loop meanwhile; one run per round."""
    runs: list[Run] = []
    count = int(DEADLINES * scale)
    source = "bench.deadlines"
    asyncio.run(create(bootstrap, PARTITIONS, source))
    asyncio.run(fill(bootstrap, source, PARTITIONS, records(count, count)))
    for number in range(rounds):
        output, changelog = f"{source}.{number}.out", f"{source}.{number}.changelog"
        data_dir = scratch / output
        data_dir.mkdir()
        asyncio.run(create(bootstrap, PARTITIONS, output))
        asyncio.run(create(bootstrap, PARTITIONS, changelog, compact=True))
        result = run_contender("deadlines_engine", bootstrap, source, output, count, changelog, str(data_dir))
        if result["armed"] != count:
            raise ContenderError(f"deadlines fired before all were armed: {result}")
        runs.append({"part": "deadlines", "round": number, "deadlines": count, **result})
        progress(
            f"deadlines {count:,}: fired in {result['seconds']} s, longest turn of the loop {result['lag_ms']} ms, "
            f"in which it computed at most {result['worked_ms']} ms"
        )
        asyncio.run(delete(bootstrap, output, changelog))
        shutil.rmtree(data_dir)
    asyncio.run(delete(bootstrap, source))
    return runs


def summary(runs: list[Run]) -> dict[str, float]:
    """The longest turn of the event loop, milliseconds, as the median of the rounds; empty when not measured."""
    found = [run["lag_ms"] for run in runs if run["part"] == "deadlines"]
    return {"deadlines_1m_lag_ms": median(found)} if found else {}
