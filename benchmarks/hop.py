"""(a) The dedup hop: the engine compared with a bare loop without durable state, and with stock Faust."""

import asyncio
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.broker import create, delete, fill
from benchmarks.contenders.hop_data import PARTITIONS, records
from benchmarks.process import median, run_contender
from benchmarks.report import Progress, Run

ENGINE, BARE, FAUST = "engine", "bare", "faust"
#: The number of records, and of their distinct keys.
WORKLOADS = {"storm": (600_000, 5_000), "unique": (300_000, 300_000)}
FAUST_RECORDS = 20_000


def measure(bootstrap: str, scratch: Path, rounds: int, scale: float, progress: Progress) -> list[Run]:
    """Measure every contender once per round and workload, in turn. `scale` multiplies the workloads' sizes."""
    runs: list[Run] = []
    for workload, (count, keys) in WORKLOADS.items():
        count, keys = int(count * scale), int(keys * (scale if keys == count else 1))
        source = f"bench.hop.{workload}"
        progress(f"hop {workload}: filling {count:,} records")
        asyncio.run(create(bootstrap, PARTITIONS, source))
        asyncio.run(fill(bootstrap, source, PARTITIONS, records(count, keys)))
        for number in range(rounds):
            for contender in (BARE, ENGINE, FAUST):
                if contender == FAUST and workload != "storm":
                    continue
                wanted = int(FAUST_RECORDS * min(scale, 1)) if contender == FAUST else count
                result = _once(bootstrap, scratch, contender, source, wanted)
                _check(contender, workload, result, wanted, keys)
                runs.append({"part": "hop", "contender": contender, "workload": workload, "round": number, **result})
                progress(f"hop {workload} {contender}: {result['rate']:,} records/s, {result['cpu_s']} s of CPU")
        asyncio.run(delete(bootstrap, source))
    return runs


def _once(bootstrap: str, scratch: Path, contender: str, source: str, count: int) -> dict[str, Any]:
    name = f"bench-{contender}-{uuid4().hex[:8]}"
    output, changelog = f"{name}.out", f"{name}.changelog"
    data_dir = scratch / name
    asyncio.run(create(bootstrap, PARTITIONS, output))
    asyncio.run(create(bootstrap, PARTITIONS, changelog, compact=True))
    more: dict[str, tuple[str | Path, ...]] = {BARE: (), ENGINE: (changelog, data_dir), FAUST: (name, data_dir)}
    data_dir.mkdir(parents=True)
    try:
        return run_contender(f"hop_{contender}", bootstrap, source, output, count, *map(str, more[contender]))
    finally:
        asyncio.run(delete(bootstrap, output, changelog))
        shutil.rmtree(data_dir)


def _check(contender: str, workload: str, result: dict[str, Any], count: int, keys: int) -> None:
    """Raise AssertionError when a contender did not do all of the work. Stock Faust is not checked."""
    if contender == FAUST:
        return
    wanted = {"records": count, "forwarded": min(keys, count), "keys": min(keys, count)}
    found = {name: result[name] for name in wanted}
    if found != wanted:
        raise AssertionError(f"{contender} on {workload}: {found}, not {wanted}")


def summary(runs: list[Run]) -> dict[str, float]:
    """The ratios; empty when this part was not measured."""

    def rate(contender: str, workload: str) -> float:
        return median([run["rate"] for run in runs if (run["contender"], run["workload"]) == (contender, workload)])

    runs = [run for run in runs if run["part"] == "hop"]
    if not runs:
        return {}
    return {
        "hop_storm_vs_bare": rate(ENGINE, "storm") / rate(BARE, "storm"),
        "hop_unique_vs_bare": rate(ENGINE, "unique") / rate(BARE, "unique"),
        "hop_storm_vs_faust": rate(ENGINE, "storm") / rate(FAUST, "storm"),
    }
