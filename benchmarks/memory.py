"""(e) The cost of a million live dedup keys: memory, recovery after a restart, and CPU for one more repeat.

The measured process holds Stormweir's dedup stage, its table and nothing else, so that the cost of a key is
visible; benchmarks.open_incidents measures the whole worker.
"""

import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.broker import create, delete, fill, topics_made_anew
from benchmarks.contenders.hop_data import PARTITIONS
from benchmarks.process import CHECKOUT, ContenderError, median, rss_mb
from benchmarks.report import Progress, Run
from schemas.fingerprint import fingerprint, uuid7
from schemas.settings import Settings
from schemas.wire.alert import Action, Alert, Severity
from schemas.wire.codec import encode

FEW, MANY = 10_000, 1_000_000
REPEATS = 400_000


def measure(bootstrap: str, scratch: Path, rounds: int, scale: float, progress: Progress) -> list[Run]:
    """For FEW and for MANY keys: open them and end the process; then per round, start it again and send repeats."""
    settings = Settings(data_dir=scratch / "memory", kafka=bootstrap)
    asyncio.run(topics_made_anew(settings))
    runs: list[Run] = []
    for keys in (int(FEW * scale), int(MANY * scale)):
        source, changelog = f"bench.normalized.{keys}", f"bench.dedup.{keys}"
        data_dir = scratch / f"dedup-{keys}"
        data_dir.mkdir()
        asyncio.run(create(bootstrap, PARTITIONS, source))
        asyncio.run(create(bootstrap, PARTITIONS, changelog, compact=True))
        asyncio.run(fill(bootstrap, source, PARTITIONS, alerts(range(keys), 0)))
        opened = _worker(bootstrap, source, changelog, keys, data_dir, keys)
        sent = keys
        for number in range(rounds):
            repeats = int(REPEATS * scale)
            chance = random.Random(number)
            again = (chance.randrange(keys) for _ in range(repeats))
            asyncio.run(fill(bootstrap, source, PARTITIONS, alerts(again, sent)))
            sent += repeats
            result = _worker(bootstrap, source, changelog, repeats, data_dir, keys)
            run: Run = {
                "part": "memory",
                "keys_live": keys,
                "round": number,
                "opening_rss_mb": opened["rss_mb"],
                "opening_us": opened["cpu_us"],
                "rss_mb": result["rss_mb"],
                "recover_s": result["recover_s"],
                "repeat_us": result["cpu_us"],
            }
            runs.append(run)
            progress(
                f"memory {keys:,} keys: {run['opening_rss_mb']} MB, recovered in {run['recover_s']} s "
                f"(then {run['rss_mb']} MB), {run['repeat_us']} us of CPU a repeat"
            )
        asyncio.run(delete(bootstrap, source, changelog))
        shutil.rmtree(data_dir)
    return runs


def _worker(bootstrap: str, source: str, changelog: str, count: int, data_dir: Path, keys: int) -> dict[str, Any]:
    """Run the dedup worker over `count` records. Returns seconds until ready, CPU per record, and memory at the end."""
    command = [sys.executable, "-m", "benchmarks.contenders.dedup_worker", bootstrap, source, changelog, str(count)]
    started = time.perf_counter()
    process = subprocess.Popen([*command, str(data_dir)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reports: dict[str, dict[str, Any]] = {}
    ready_after = 0.0
    try:
        for line in process.stdout:
            if "{" not in line:
                continue
            report = json.loads(line[line.index("{") :])
            reports[report["event"]] = report
            if report["event"] == "ready":
                ready_after = time.perf_counter() - started
            else:
                break
        if "done" not in reports or reports["done"]["keys"] != keys or reports["done"]["records"] != count:
            raise ContenderError(f"the dedup worker with {keys} keys: {reports}")
        memory = rss_mb(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return {"recover_s": round(ready_after, 2), "rss_mb": round(memory), "cpu_us": reports["done"]["cpu_us"]}


def alerts(keys: Iterator[int] | range, first: int) -> Iterator[tuple[bytes, bytes]]:
    """Fingerprint and encoded alert of typical size for each key; offsets from `first` on, as if of one partition."""
    now = int(time.time() * 1000)
    event_id = uuid7(now)
    for number, key in enumerate(keys, first):
        dedup_key = f"switch-{key:07d}/port-{key % 48:02d}/down"
        print_id = fingerprint("default", "bench", dedup_key)
        yield (
            print_id,
            encode(
                Alert(
                    tenant="default",
                    service="bench",
                    integration="",
                    provider="kafka",
                    event_id=event_id,
                    dedup_key=dedup_key,
                    fingerprint=print_id,
                    action=Action.TRIGGER,
                    severity=Severity.ERROR,
                    summary=f"Port {key % 48} of switch {key:07d} in rack r{key % 300:03d} is down",
                    source=f"sw-{key:07d}.example.com",
                    component="switch",
                    group="network",
                    labels={"region": "eu-central", "rack": f"r{key % 300:03d}", "team": "network", "env": "prod"},
                    received_at=now,
                    origin_topic="bench",
                    origin_offset=number,
                )
            ),
        )


def summary(runs: list[Run]) -> dict[str, float]:
    """The figures at the most keys, and the cost of a repeat there divided by the cost at the fewest."""
    found = [run for run in runs if run["part"] == "memory"]
    if not found:
        return {}
    few, many = min(run["keys_live"] for run in found), max(run["keys_live"] for run in found)

    def middle(figure: str, keys: int) -> float:
        return median([run[figure] for run in found if run["keys_live"] == keys])

    return {
        "rss_1m_keys_mb": max(middle("rss_mb", many), middle("opening_rss_mb", many)),
        "recover_1m_keys_s": middle("recover_s", many),
        "cost_1e6_vs_1e4_keys": middle("repeat_us", many) / middle("repeat_us", few),
    }
