"""`python -m benchmarks [--only hop,...] [--quick]`: measure and write the results. About 20 minutes in full."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import hop
from benchmarks.broker import broker
from benchmarks.report import GOALS, Run, medians, write

PARTS = ("hop",)
PORT = 18_700


def main() -> None:
    """Measure the wanted parts in order; the status says whether all could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to measure, of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benchmarks themselves")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs (default 3)")
    arguments = parser.parse_args()
    started = time.monotonic()

    def progress(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {line}", flush=True)

    runs: list[Run] = []
    scratch = Path(tempfile.mkdtemp(prefix="stormweir-bench-"))
    try:
        with broker(scratch / "kafka", PORT) as kafka:
            runs += hop.measure(kafka.bootstrap, scratch, arguments.rounds, 0.2 if arguments.quick else 1, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    summary = hop.summary(lambda **which: medians(runs, **which))
    path = write(runs, summary, [], quick=arguments.quick)
    for goal in GOALS:
        if goal.name in summary:
            print(f"{goal.name:<34} {summary[goal.name]:8.3f}  {goal.verdict(summary[goal.name])}")
    print(path)
    sys.exit(0)


if __name__ == "__main__":
    main()
