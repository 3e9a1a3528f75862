"""`python -m benchmarks.compare [--before COMMIT] [--rounds N] [--only hop,...]`: this checkout beside an earlier one.

Both are measured in turn, one short round each at a time, so that what else the machine does concerns both alike. The
`hop` of both reads the same records on one broker, in records a second. `gateway` and `path` run as `benchmarks`
runs them, each on a broker of its own, and the ratios that each measured for itself are compared. `path` measures
`hop` again, for the bare loop that its ratios need. `memory` and `latency` may be compared too.
The table goes to benchmarks/COMPARED.md. A round takes half a minute for `hop`, six minutes for `gateway` and `path`.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.broker import broker, create, delete, fill
from benchmarks.contenders.hop_data import PARTITIONS, records
from benchmarks.hop import WORKLOADS
from benchmarks.process import CHECKOUT, ContenderError, median
from benchmarks.report import GOALS
from benchmarks.worktree import worktree

BEFORE = "fdd26b8"
NOW = "now"
PORT = 18_400
PAGE = CHECKOUT / "benchmarks" / "COMPARED.md"
#: Run in a checkout: one round of each part, with loads of 20 s.
_ROUND = """
import sys
import benchmarks.__main__ as bench
bench.FULL = bench.FULL._replace(hop_rounds=1, rounds=1, path_rounds=1, path_s=20)
sys.argv = ["benchmarks", "--only", sys.argv[1]]
sys.exit(bench.main())
"""
_FIGURE = re.compile(r"^(\w+)\s+([\d.]+)\s+(?:met|missed)", re.MULTILINE)
#: A figure may get worse by this much, in parts of one.
ALLOWED = 0.05


def main() -> int:
    """Measure and write the table. Returns 1 if a figure got worse by more than ALLOWED."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--before", default=BEFORE, help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="hop,gateway,path", help="parts to measure")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-compare-"))
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        with worktree(arguments.before, scratch / "before") as before:
            checkouts = {arguments.before: before, NOW: CHECKOUT}
            parts = arguments.only.split(",")
            if "hop" in parts:
                _hops(checkouts, arguments.rounds, scratch, found)
            others = [part for part in parts if part != "hop"]
            if "path" in others:
                # Its figures are ratios to the bare loop of the same run.
                others.insert(0, "hop")
            if others:
                for number in range(1, arguments.rounds + 1):
                    for name, checkout in checkouts.items():
                        _say(f"round {number}, {name}")
                        for figure, value in _round(checkout, ",".join(others)).items():
                            found[figure][name].append(value)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text, worse = table(found, arguments.before)
    PAGE.write_text(text)
    print(text)
    return 1 if worse else 0


def _hops(checkouts: Mapping[str, Path], rounds: int, scratch: Path, found: dict[str, dict[str, list[float]]]) -> None:
    """Measure the hop of each checkout once a round, on the same records."""
    with broker(scratch / "kafka", PORT, _say) as kafka:
        bootstrap = kafka.bootstrap
        for workload, (count, keys) in WORKLOADS.items():
            source = f"compare.{workload}"
            asyncio.run(create(bootstrap, PARTITIONS, source))
            asyncio.run(fill(bootstrap, source, PARTITIONS, records(count, keys)))
            for number in range(1, rounds + 1):
                for name, checkout in checkouts.items():
                    _say(f"hop {workload}, round {number}, {name}")
                    output, changelog = f"{source}.{name}.{number}.out", f"{source}.{name}.{number}.changelog"
                    asyncio.run(create(bootstrap, PARTITIONS, output))
                    asyncio.run(create(bootstrap, PARTITIONS, changelog, compact=True))
                    arguments = [bootstrap, source, output, str(count), changelog, str(scratch / changelog)]
                    said = _run(checkout, ["-m", "benchmarks.contenders.hop_engine", *arguments])
                    found[f"hop {workload}, records/s"][name].append(json.loads(said[said.index("{") :])["rate"])
                    asyncio.run(delete(bootstrap, output, changelog))
            asyncio.run(delete(bootstrap, source))


def _round(checkout: Path, parts: str) -> Mapping[str, float]:
    """The figures of one round. Raises ContenderError."""
    return {name: float(value) for name, value in _FIGURE.findall(_run(checkout, ["-c", _ROUND, parts]))}


def _run(checkout: Path, arguments: Sequence[str]) -> str:
    """What Python prints with these arguments in a checkout. Raises ContenderError."""
    environ = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.run([sys.executable, *arguments], cwd=checkout, env=environ, capture_output=True, text=True)
    if process.returncode != 0:
        raise ContenderError(f"{checkout}: {process.stdout[-1000:]}{process.stderr[-1000:]}")
    return process.stdout


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def table(found: Mapping[str, Mapping[str, Sequence[float]]], before: str) -> tuple[str, list[str]]:
    """The page, and the figures that got worse by more than ALLOWED.

    A figure is better if larger, unless its goal is an upper bound.
    """
    bounded = {goal.name for goal in GOALS if not goal.at_least}
    head = subprocess.run(
        ["git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    smaller = ", ".join(sorted(bounded & found.keys()))
    lines = [
        f"# Commit `{head}` beside `{before}`",
        "",
        f"Written by `python -m benchmarks.compare` on {time.strftime('%d %B %Y')}. Medians of rounds in turn;",
        f"larger is better{', smaller for ' * bool(smaller)}{smaller}.",
        "",
        f"| figure | `{before}` | now | now / before | every round before | every round now |",
        "|---|---|---|---|---|---|",
    ]
    worse = []
    for figure, by_name in found.items():
        earlier, later = median(by_name[before]), median(by_name[NOW])
        grown = later / earlier - 1
        if (grown if figure in bounded else -grown) > ALLOWED:
            worse.append(figure)
        every = (" ".join(f"{value:,.5g}" for value in by_name[name]) for name in (before, NOW))
        lines.append(f"| {figure} | {earlier:,.5g} | {later:,.5g} | {later / earlier:.3f} | {' | '.join(every)} |")
    return "\n".join(lines) + "\n", worse


if __name__ == "__main__":
    sys.exit(main())
