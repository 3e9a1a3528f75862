"""`python -m benchmarks.compare [--before COMMIT] [--rounds N] [--only hop,...]`: this checkout beside an earlier one.

Both run `benchmarks` in turn, one short round each at a time, so that what else the machine does concerns both alike.
Each has its own broker and its own contenders; the figures compared are ratios that each measured for itself. The
table goes to benchmarks/COMPARED.md. About seven minutes a round.
"""

import argparse
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

from benchmarks.process import CHECKOUT, ContenderError, median
from benchmarks.worktree import worktree

BEFORE = "fdd26b8"
NOW = "now"
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
            for number in range(1, arguments.rounds + 1):
                for name, checkout in ((arguments.before, before), (NOW, CHECKOUT)):
                    print(f"{time.strftime('%H:%M:%S')} round {number}, {name}", flush=True)
                    for figure, value in _round(checkout, arguments.only).items():
                        found[figure][name].append(value)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text, worse = table(found, arguments.before)
    PAGE.write_text(text)
    print(text)
    return 1 if worse else 0


def _round(checkout: Path, parts: str) -> Mapping[str, float]:
    """The figures of one round. Raises ContenderError."""
    environ = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.run(
        [sys.executable, "-c", _ROUND, parts], cwd=checkout, env=environ, capture_output=True, text=True
    )
    if process.returncode != 0:
        raise ContenderError(f"{checkout}: {process.stdout[-1000:]}{process.stderr[-1000:]}")
    return {name: float(value) for name, value in _FIGURE.findall(process.stdout)}


def table(found: Mapping[str, Mapping[str, Sequence[float]]], before: str) -> tuple[str, list[str]]:
    """The page, and the figures that got worse by more than ALLOWED. All figures are better when larger."""
    head = subprocess.run(
        ["git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [
        f"# Commit `{head}` beside `{before}`",
        "",
        f"Written by `python -m benchmarks.compare` on {time.strftime('%d %B %Y')}. Medians of rounds in turn; every",
        "figure is a ratio (see RESULTS.md).",
        "",
        f"| figure | `{before}` | now | now / before | every round before | every round now |",
        "|---|---|---|---|---|---|",
    ]
    worse = []
    for figure, by_name in found.items():
        earlier, later = median(by_name[before]), median(by_name[NOW])
        if later < earlier * (1 - ALLOWED):
            worse.append(figure)
        every = (" ".join(f"{value:.3f}" for value in by_name[name]) for name in (before, NOW))
        lines.append(f"| {figure} | {earlier:.3f} | {later:.3f} | {later / earlier:.3f} | {' | '.join(every)} |")
    return "\n".join(lines) + "\n", worse


if __name__ == "__main__":
    sys.exit(main())
