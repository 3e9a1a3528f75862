"""The report of a run of the benchmarks: machine, commit, every single run, medians, and the goals."""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.process import median
from streams.embedded.kafka_jars import VERSION, java

#: One measured run: `part`, the labels that distinguish it from others (contender, workload, ...), and its figures.
Run = dict[str, Any]
#: Prints a line of progress.
Progress = Callable[[str], None]

_HERE = Path(__file__).resolve().parent
#: The directory of partial results and of the logs of failed runs.
VAR = _HERE.parent / "var" / "bench"
_PACKAGES = ("faust-streaming", "aiokafka", "uvloop", "orjson", "msgspec", "granian", "chdb", "clickhouse-connect")


class Goal(NamedTuple):
    """The bound of a figure of the summary: its least value, or with `at_least` false its largest."""

    name: str
    meaning: str
    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether the figure meets the goal."""
        return value >= self.bound if self.at_least else value <= self.bound

    def verdict(self, value: float) -> str:
        """The verdict as text: `met`, or `missed by` a percentage; of a bound of 0 there is none."""
        if self.met(value):
            return "met"
        return f"missed by {abs(value / self.bound - 1):.0%}" if self.bound else "missed"


GOALS = (
    Goal("hop_storm_vs_bare", "dedup hop, storm: engine / bare aiokafka loop", 0.75),
    Goal("hop_unique_vs_bare", "dedup hop, all distinct: engine / bare aiokafka loop", 0.65),
    Goal("hop_storm_vs_faust", "dedup hop, storm: engine / stock Faust", 50),
    Goal("gateway_single_vs_null", "1 alert a request, 256 connections: gateway / null handler", 0.35),
    Goal("gateway_single_vs_alertmanager", "1 alert a request, 256 connections: gateway / Alertmanager", 0.8),
    Goal("gateway_batch_vs_alertmanager", "64 alerts a request, best of each: gateway / Alertmanager", 1.5),
    Goal("path_kafka_storm_vs_bare", "whole path from Kafka, storm / bare loop", 1 / 12),
    Goal("path_kafka_unique_vs_bare", "whole path from Kafka, all distinct / bare loop", 1 / 20),
    Goal("path_http_storm_vs_bare", "whole path over HTTP, storm / bare loop", 1 / 18),
    Goal("latency_idle_p50_ms", "webhook to notification, idle, p50 (ms)", 25, at_least=False),
    Goal("latency_idle_p99_ms", "webhook to notification, idle, p99 (ms)", 80, at_least=False),
    Goal("latency_half_load_p99_ms", "webhook to notification at half load, p99 (ms)", 150, at_least=False),
    Goal("rss_1m_keys_mb", "worker memory at 1,000,000 live dedup keys (MB)", 400, at_least=False),
    Goal("worker_rss_1m_open_mb", "worker memory at 1,000,000 open incidents (MB)", 450, at_least=False),
    Goal("recover_1m_keys_s", "recovering 1,000,000 keys (s)", 60, at_least=False),
    Goal("cost_1e6_vs_1e4_keys", "CPU per repeat, 1,000,000 keys / 10,000 keys", 1.2, at_least=False),
    Goal("deadlines_1m_lag_ms", "1,000,000 deadlines at once, longest turn of the loop (ms)", 50, at_least=False),
)


class Page(NamedTuple):
    """The files of a benchmark's results: `name`.json is the newest, `file` its table; `command` writes them."""

    title: str
    command: str
    name: str
    file: str
    goals: Sequence[Goal]


RESULTS = Page("Measured", "make bench", "latest", "RESULTS.md", GOALS)


def write(runs: list[Run], summary: Mapping[str, float], *, partial: bool, page: Page) -> Path:
    """Write the runs as JSON, partial ones to var/bench, whole ones also as newest result and table; the path."""
    now = datetime.now(UTC)
    kept: dict[str, Any] = {
        "commit": commit(),
        "at": now.isoformat(timespec="seconds"),
        "partial": partial,
        "machine": machine(),
        "summary": {name: round(value, 4) for name, value in summary.items()},
        "runs": runs,
    }
    results = VAR if partial else _HERE / "results"
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(kept, indent=1) + "\n"
    prefix = "" if page is RESULTS else f"{page.name}-"
    path = results / f"{prefix}{now:%Y-%m-%d}-{kept['commit'][:10]}.json"
    path.write_text(text)
    if not partial:
        (results / f"{page.name}.json").write_text(text)
        (_HERE / page.file).write_text(table(kept, page))
    return path


def hardware() -> dict[str, object]:
    """The machine, its system and its Python."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().partition("MemTotal:")[2].split()[0]
    return {
        "cpu": cpus[0].partition(": ")[2] if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 1024**2, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def machine() -> dict[str, object]:
    """The machine and the versions of the software that were measured."""
    java_line = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True).stderr
    return {
        **hardware(),
        "java": java_line.splitlines()[0],
        "kafka": VERSION,
        **{name: version(name) for name in _PACKAGES},
    }


def commit() -> str:
    """The checkout's commit, with `-dirty` when tracked files of streams, schemas or sinks differ from it."""
    git = ["git", "-C", str(_HERE.parent)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "--", "streams", "schemas", "sinks"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return head + "-dirty" * bool(changed)


def table(kept: Mapping[str, Any], page: Page) -> str:
    """The text of the page: the goals, then the medians of all runs."""
    machine = kept["machine"]
    lines = [
        f"# {page.title}",
        "",
        f"Written by `{page.command}`; every run is in `results/{page.name}.json`. Goals are ratios of what ran",
        "in turn on the same machine and broker; absolute figures below are for that machine only.",
        "",
        f"{kept['at']}, commit `{kept['commit'][:12]}`, {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gb']} GB, Linux {machine['kernel']}, Python {machine['python']}, "
        f"Kafka {machine['kafka']} on {machine['java']}. "
        "Load, broker and all processes share these cores.",
        "",
        "| figure | goal | measured | |",
        "|---|---|---|---|",
    ]
    for goal in page.goals:
        value = kept["summary"].get(goal.name)
        bound = f"{'>=' if goal.at_least else '<='} {goal.bound:.3g}"
        shown, verdict = ("not measured", "") if value is None else (f"{value:.3g}", goal.verdict(value))
        lines.append(f"| {goal.meaning} | {bound} | {shown} | {verdict} |")
    for part in dict.fromkeys(run["part"] for run in kept["runs"]):
        lines += ["", f"## {part}", "", *_medians_table([run for run in kept["runs"] if run["part"] == part])]
    return "\n".join(lines) + "\n"


def _medians_table(runs: list[Run]) -> list[str]:
    """One line for each distinct combination of labels, with the median of every figure."""
    labels = [name for name in runs[0] if isinstance(runs[0][name], str) and name != "part"]
    labels += [name for name in ("connections", "alerts_per_request", "keys_live", "incidents") if name in runs[0]]
    figures = [
        name
        for name in dict.fromkeys(name for run in runs for name in run)
        if name not in (*labels, "part", "round") and any(isinstance(run.get(name), int | float) for run in runs)
    ]
    lines = ["| " + " | ".join([*labels, "runs", *figures]) + " |", "|" + "---|" * (len(labels) + 1 + len(figures))]
    for place in dict.fromkeys(tuple(run.get(name) for name in labels) for run in runs):
        group = [run for run in runs if tuple(run.get(name) for name in labels) == place]
        cells = [str(value) for value in place] + [str(len(group))]
        for figure in figures:
            values = [run[figure] for run in group if run.get(figure) is not None]
            cells.append(f"{median(values):,.6g}" if values else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines
