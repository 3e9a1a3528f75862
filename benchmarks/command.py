"""The command line of a benchmark with parts: its options, lines of progress, and the figures at the end."""

import argparse
import logging
import time
from collections.abc import Mapping, Sequence

from benchmarks.report import Page, Run, write


class Command:
    """`wanted` are the parts to measure, `quick` asks for small sizes. The clock starts with the instance."""

    def __init__(self, prog: str, description: str | None, parts: Sequence[str]) -> None:
        parser = argparse.ArgumentParser(prog=prog, description=description)
        parser.add_argument("--only", default=",".join(parts), help=f"parts to measure, of {','.join(parts)}")
        parser.add_argument("--quick", action="store_true", help="small sizes, to try the benchmarks themselves")
        arguments = parser.parse_args()
        self.wanted: list[str] = arguments.only.split(",")
        self.quick: bool = arguments.quick
        if unknown := set(self.wanted) - set(parts):
            parser.error(f"--only: {', '.join(sorted(unknown))} is not one of {', '.join(parts)}")
        self._whole = not self.quick and set(self.wanted) == set(parts)
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        self._started = time.monotonic()

    def progress(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {line}", flush=True)

    def conclude(self, runs: list[Run], figures: Mapping[str, float], failed: Sequence[str], page: Page) -> int:
        """Write the runs, print the figures. Returns 1 when a part failed; the newest result is then not replaced."""
        written = write(runs, figures, partial=bool(failed) or not self._whole, page=page)
        for goal in page.goals:
            if goal.name in figures:
                print(f"{goal.name:<34} {figures[goal.name]:8.3f}  {goal.verdict(figures[goal.name])}")
        seconds = time.monotonic() - self._started
        print(f"{written} after {seconds:.0f} s{', failed: ' * bool(failed)}{', '.join(failed)}")
        return 1 if failed else 0
