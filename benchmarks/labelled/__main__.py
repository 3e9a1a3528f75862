"""`python -m benchmarks.labelled [--seeds N] [--quick]`: grade the product and its peers, and write LABELLED.md.

The seeds follow from the commit under test. The product runs in processes that are given the paths of the events and
of the topology, and the truth of a storm is in no file until they are done with it. About seven minutes with 5 seeds on
two cores. `--quick` tries the benchmark itself with small storms, and writes nothing.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.labelled import alertmanager, alertmanager_program, baselines, page, product
from benchmarks.labelled.generator import (
    MINUTE_MS,
    SWITCH_KEYS,
    Event,
    Storm,
    Truth,
    chance_of,
    null_storm,
    storm,
    switch_storm,
)
from benchmarks.labelled.grader import Result, grade, read
from benchmarks.labelled.page import Measured
from benchmarks.labelled.topology import FAMILIES
from benchmarks.report import commit, hardware

#: The errors with which a topology is handed over: its name, and the shares of edges that are missing and wrong.
TOPOLOGIES = (("true", 0.0, 0.0), ("10 % missing, 5 % wrong", 0.10, 0.05), ("none", 1.0, 0.0))
#: Four openings a minute are more than chance brings to one service; what opens in the hour after is part of it.
SETTINGS = product.Settings(
    tenant={"topology_window": 900, "topology_hold": 0, "topology_causes": "storms", "topology_peers": 75},
    service={
        "reopen": 600,
        "storm": {"above": 4, "below": 2, "within": 60, "quiet": 3600, "wait": 30},
        "life": {"flapping": {"changes": 3, "within": 900, "quiet": 300}},
    },
)
#: Prometheus' usual grouping by service, and one by place and name; timers are Alertmanager's defaults.
ROUTES = (
    ("Alertmanager, by service", alertmanager.Route(("service",))),
    ("Alertmanager, by cluster and alertname", alertmanager.Route(("cluster", "alertname"))),
)


class _Sizes(NamedTuple):
    """`many_roots` are those of all small storms, in which a service has one instance; they make rare misses show."""

    instances: int
    many_roots: int
    null_hours: int
    switch_keys: int


FULL, QUICK = _Sizes(24, 500, 24, SWITCH_KEYS), _Sizes(3, 10, 2, 4_000)


class _Run(NamedTuple):
    """What a system made of a storm, in so many seconds, and what it is to be graded with."""

    system: str
    storm: str
    topology: str
    truth: Truth
    result: Result
    seconds: float


def main() -> int:
    """Measure, print the page, and write it unless `--quick`. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelled", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="storms of each family")
    parser.add_argument("--quick", action="store_true", help="small storms, nothing is written")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stormweir-labelled-") as scratch:
        directory = Path(scratch)
        verified = alertmanager_program.verify(_made(directory / "alertmanager"))
        measured = _measure(directory, arguments.seeds, QUICK if arguments.quick else FULL)
    about = page.About(
        commit=commit(),
        hardware=hardware(),
        seeds=arguments.seeds,
        seconds=time.monotonic() - begun,
        alertmanager=alertmanager_program.version(),
        verified=verified,
        settings=SETTINGS._asdict(),
    )
    text = page.text(measured, about)
    print(text)
    if not arguments.quick:
        page.write(text, measured, about)
    return 0


def _measure(directory: Path, seeds: int, sizes: _Sizes) -> list[Measured]:
    """Every storm through every contender; nothing is graded before all are done."""
    tested = commit()
    runs: list[_Run] = []
    under_way: list[tuple[str, str, Truth, Future[tuple[Result, float]]]] = []
    # Such a process starts anew and is not forked, so it has nothing of this one's memory.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for number, (name, made) in enumerate(_storms(tested, seeds, sizes)):
            place = _made(directory / str(number))
            made.write(place / "events.jsonl")
            for topology, missing, wrong in TOPOLOGIES if name in FAMILIES else TOPOLOGIES[:1]:
                handed = place / f"topology-{missing}.json"
                chance = chance_of(tested, number, name, topology)
                made.hand_over(handed, made.topology.with_errors(missing, wrong, chance))
                done = pool.submit(product.timed, place / "events.jsonl", handed, SETTINGS)
                under_way.append((name, topology, made.truth, done))
            runs += _baselines(name, made)
            print(f"{name} {number}: {len(made.events)} events, {len(made.truth.keys)} keys", file=sys.stderr)
        for name, topology, truth, done in under_way:
            runs.append(_Run(page.PRODUCT, name, topology, truth, *done.result()))
    return [_graded(run, directory / "truth.json") for run in runs]


def _storms(tested: str, seeds: int, sizes: _Sizes) -> Iterator[tuple[str, Storm]]:
    """Each storm with the name of its kind. The largest comes first, so that no processor waits for it at the end."""
    yield "switch", switch_storm(chance_of(tested, "switch"), keys=sizes.switch_keys)
    for number in range(seeds):
        for family in FAMILIES:
            yield family, storm(family, chance_of(tested, number, family), instances=sizes.instances)
        yield "null", null_storm(chance_of(tested, number, "null"), hours=sizes.null_hours)
    roots, number = 0, 0
    while roots < sizes.many_roots:
        family = FAMILIES[number % len(FAMILIES)]
        small = storm(family, chance_of(tested, page.MANY, number, family), instances=1)
        roots += sum(cause.kind == "root" for cause in small.truth.causes.values())
        number += 1
        yield page.MANY, small


def _baselines(name: str, made: Storm) -> Iterator[_Run]:
    """Those who know no topology, and the oracle."""
    contenders: list[tuple[str, Callable[[Sequence[Event]], Result]]] = [
        ("no grouping", baselines.ungrouped),
        (f"time window, {baselines.WINDOW_MS // MINUTE_MS} min", baselines.time_window),
        *((label, partial(alertmanager.run, route=route)) for label, route in ROUTES),
        ("oracle", partial(baselines.oracle, truth=made.truth)),
    ]
    for label, run in contenders:
        begun = time.monotonic()
        result = run(made.events)
        yield _Run(label, name, "", made.truth, result, time.monotonic() - begun)


def _graded(run: _Run, written: Path) -> Measured:
    run.truth.write(written)
    return Measured(run.system, run.storm, run.topology, grade(read(written), run.result), run.seconds)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    sys.exit(main())
