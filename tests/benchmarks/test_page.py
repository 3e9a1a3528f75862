"""The page of results: medians, worst storms, sums, and verdicts that are not given too early."""

from dataclasses import replace

import pytest

from benchmarks.labelled.alertmanager_program import Verified
from benchmarks.labelled.grader import Grade
from benchmarks.labelled.page import MANY, PRODUCT, About, Measured, text
from benchmarks.labelled.scores import Agreement

PERFECT = Grade(
    keys=100,
    roots=3,
    pairs=Agreement(1.0, 1.0),
    b_cubed=Agreement(1.0, 1.0),
    ari=1.0,
    ami=1.0,
    incidents=3,
    root_pages=3,
    other_pages=0,
    to_first_page=[100, 200, 300],
    missed=0,
    wrong_owner=0,
    merged_keys=0.0,
    merged_pairs=0.0,
)
ABOUT = About(
    commit="abc",
    hardware={"cores": 2, "cpu": "CPU", "memory_gb": 4, "python": "3.11"},
    seeds=1,
    seconds=1.0,
    alertmanager="0.25.0",
    verified=Verified(7, 10),
    settings={"window": 300},
)


def runs(*storms: Grade, many: Grade = PERFECT, null: Grade = PERFECT) -> list[Measured]:
    """The product's runs: these storms with every topology, and one storm of each other kind."""
    topologies = ("true", "10 % missing, 5 % wrong", "none")
    found = [Measured(PRODUCT, "dag", topology, grade, 1.0) for grade in storms for topology in topologies]
    others = {"rack": PERFECT, "shared": PERFECT, MANY: many, "null": null, "switch": PERFECT}
    return [*found, *(Measured(PRODUCT, kind, "true", grade, 1.0) for kind, grade in others.items())]


def line(page: str, beginning: str) -> str:
    """The line of the page's first table that begins so."""
    return next(found for found in page.splitlines() if found.startswith(f"| {beginning}"))


def test_a_goal_shows_the_median_and_the_worst_storm() -> None:
    """Five storms of which one is bad: the median meets the goal, and the bad one is shown beside it."""
    bad = replace(PERFECT, b_cubed=Agreement(0.5, 0.5))
    assert line(text(runs(bad, PERFECT), ABOUT), "B-cubed F1, topology: true").endswith("1.000 (worst 0.500) | met |")


@pytest.mark.parametrize(("roots", "missed", "verdict"), [(3, 0, "missed"), (600, 0, "met"), (600, 1, "missed")])
def test_no_miss_among_few_roots_does_not_meet_the_goal(roots: int, missed: int, verdict: str) -> None:
    """The goal asks for 500 roots: that none of a dozen was missed says too little."""
    page = text(runs(PERFECT, many=replace(PERFECT, roots=roots, missed=missed)), ABOUT)
    assert line(page, "roots missed").endswith(f"| {verdict} |")


def test_null_storms_are_judged_by_the_worst() -> None:
    """One merged key in a thousand is the most."""
    for share, verdict in ((0.001, "met"), (0.002, "missed")):
        page = text(runs(PERFECT, null=replace(PERFECT, merged_keys=share)), ABOUT)
        assert line(page, "null storm").endswith(f"| {verdict} |")
