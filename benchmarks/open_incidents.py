"""(g) The cost of a million open incidents: the memory of the whole worker, after they opened and after a restart.

The worker is Stormweir's own process, with both of its tables. Every alert opens an incident.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from benchmarks.broker import fill, topics_made_anew
from benchmarks.memory import alerts
from benchmarks.process import CHECKOUT, ContenderError, median, rss_mb
from benchmarks.report import Progress, Run
from schemas.settings import Settings
from schemas.topics import ALERTS_NORMALIZED, CORRELATION, DEDUP

INCIDENTS = 1_000_000
_PATIENCE_S = 600.0
#: The wait after the last incident: records in flight are then committed, and the garbage collector has run.
_SETTLE_S = 5.0


def measure(bootstrap: str, scratch: Path, port_base: int, scale: float, progress: Progress) -> list[Run]:
    """Open the incidents, end the worker, start it again."""
    settings = Settings(data_dir=scratch / "open", kafka=bootstrap, port_base=port_base)
    count = int(INCIDENTS * scale)
    asyncio.run(topics_made_anew(settings))
    with _worker(settings) as process:
        asyncio.run(_ready(settings, process, 0))
        empty = rss_mb(process.pid)
        started = time.perf_counter()
        asyncio.run(fill(bootstrap, ALERTS_NORMALIZED.name, settings.partitions, alerts(range(count), 0)))
        asyncio.run(_ready(settings, process, count))
        seconds = time.perf_counter() - started
        opened = rss_mb(process.pid)
    started = time.perf_counter()
    with _worker(settings) as process:
        # The worker's metric of keys begins with its first batch or tick, so the only sign of recovery is being ready.
        asyncio.run(_ready(settings, process, None))
        recovered_after = time.perf_counter() - started - _SETTLE_S
        recovered = rss_mb(process.pid)
    run: Run = {
        "part": "open incidents",
        "incidents": count,
        "round": 0,
        "rss_empty_mb": round(empty),
        "rss_open_mb": round(opened),
        "rss_recovered_mb": round(recovered),
        "open_s": round(seconds, 1),
        "recover_s": round(recovered_after, 1),
    }
    progress(
        f"{count:,} open incidents: the worker has {run['rss_open_mb']} MB, empty {run['rss_empty_mb']} MB, "
        f"recovered {run['rss_recovered_mb']} MB after {run['recover_s']} s"
    )
    return [run]


@contextmanager
def _worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is ended with the block."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "worker"],
            cwd=CHECKOUT, env={**os.environ, **settings.environ()}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _ready(settings: Settings, process: subprocess.Popen[bytes], keys: int | None) -> None:
    """Wait until the worker is ready, both tables show `keys` keys (None: any), and _SETTLE_S have passed since.

    Raises ContenderError when the process ends or it takes too long.
    """
    url = f"http://{settings.host}:{settings.port('admin.worker')}"
    give_up = time.perf_counter() + _PATIENCE_S
    async with aiohttp.ClientSession() as session:
        while process.poll() is None and time.perf_counter() < give_up:
            try:
                async with session.get(f"{url}/readyz") as ready, session.get(f"{url}/metrics") as answer:
                    held = _keys(await answer.text())
                    counts = {held.get(table.name, 0) for table in (DEDUP, CORRELATION)}
                    if ready.status == 200 and (keys is None or counts == {keys}):
                        await asyncio.sleep(_SETTLE_S)
                        return
            except aiohttp.ClientError:
                pass  # it does not listen yet
            await asyncio.sleep(0.2)
    raise ContenderError(f"the worker does not hold {keys} incidents; its log is in {settings.data_dir}")


def _keys(metrics: str) -> dict[str, int]:
    """The number of keys of each table, summed over its partitions."""
    held: dict[str, int] = {}
    for line in metrics.splitlines():
        if line.startswith("stormweir_state_keys{"):
            labels, _, value = line.rpartition(" ")
            table = labels.partition('table="')[2].partition('"')[0]
            held[table] = held.get(table, 0) + int(float(value))
    return held


def summary(runs: list[Run]) -> dict[str, float]:
    """The worker's memory after the opening or after the recovery, whichever is larger; empty when not measured."""
    found = [run for run in runs if run["part"] == "open incidents"]
    if not found:
        return {}
    return {"worker_rss_1m_open_mb": median([max(run["rss_open_mb"], run["rss_recovered_mb"]) for run in found])}
