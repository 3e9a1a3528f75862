"""The page of the labelled storm's results, LABELLED.md, and beside it every storm's grade as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.labelled.alertmanager_program import Verified
from benchmarks.labelled.grader import Grade, percentile
from benchmarks.labelled.topology import FAMILIES

_BENCHMARKS = Path(__file__).resolve().parents[1]
PRODUCT = "Stormweir"
#: The kind of the small storms that are many, for figures that need hundreds of roots.
MANY = "many"
_ROOTS = 500
_SLIGHT_ERRORS = "10 % missing, 5 % wrong"


class Measured(NamedTuple):
    """One storm's grade: `storm` is its kind; `topology`, what the product was handed over, is "" for the others."""

    system: str
    storm: str
    topology: str
    grade: Grade
    seconds: float


@dataclass(frozen=True)
class About:
    """What was measured, on what."""

    commit: str
    hardware: Mapping[str, object]
    seeds: int
    seconds: float
    alertmanager: str
    verified: Verified
    settings: Mapping[str, Any]


def write(text: str, measured: Sequence[Measured], about: About) -> None:
    """Replace the page and the newest results."""
    (_BENCHMARKS / "LABELLED.md").write_text(text)
    runs = [_kept(one) for one in measured if one.storm != MANY]
    kept = {**asdict(about), "verified": about.verified._asdict(), "runs": runs}
    (_BENCHMARKS / "results" / "labelled.json").write_text(json.dumps(kept, indent=1) + "\n")


def text(measured: Sequence[Measured], about: About) -> str:
    """The page."""
    hardware = about.hardware
    lines = [
        "# The labelled storm",
        "",
        "Written by `python -m benchmarks.labelled`; grades, but of small storms, are in `results/labelled.json`.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit `{about.commit}`, {hardware['cores']} cores of "
        f"{hardware['cpu']}, {hardware['memory_gb']} GB, Python {hardware['python']}; {about.seconds:.0f} s. The seeds "
        f"follow from the commit. Storms of each of {len(FAMILIES)} families of topologies: {about.seeds}; null "
        f"storms: {about.seeds}; storms of one switch: 1.",
        "",
        "Scores count alert keys, not repeats. Figures are medians over storms, in brackets the worst storm. Missed "
        "roots and wrong owners are sums, times to the first page percentiles over the roots of all storms. A page "
        "belongs to the cause that has the most keys in its incident; a root without a page of its own is missed. "
        "`labelled/grader.py` says what all scores mean, `labelled/generator.py` how storms are made.",
        "",
        "Stormweir: its stages in memory, in the time of the data, with this tenant and every service like this, and "
        f"its owner as destination: `{json.dumps(about.settings)}`. A page is the first message of an incident to a "
        "destination. Alertmanager: its grouping computed in the time of the data, with its default timers; in the "
        f"same run the program (version {about.alertmanager}) sent the same {about.verified.notices} notifications as "
        f"the computation for a script of 15 s, at most {about.verified.worst_ms} ms apart. A page is a message with "
        "an alert that was not told as firing. "
        "The oracle is told the truth.",
        "",
        "## Goals",
        "",
        *_goals(measured),
        "",
        "## Storms with overlapping roots",
        "",
        *_table([one for one in measured if one.storm in FAMILIES], _STORM_COLUMNS),
    ]
    for family in FAMILIES:
        of_family = [one for one in measured if one.storm == family]
        lines += ["", f"### Family `{family}`", "", *_table(of_family, _FAMILY_COLUMNS)]
    lines += ["", "## Many small storms, true topology", ""]
    lines += _table([one for one in measured if one.storm == MANY], _FAMILY_COLUMNS)
    lines += ["", "## Null storm: noise of 24 hours, no roots", ""]
    lines += _table([one for one in measured if one.storm == "null"], _NULL_COLUMNS)
    lines += ["", "## One switch, 200,000 alerts", ""]
    lines += _table([one for one in measured if one.storm == "switch"], _SWITCH_COLUMNS)
    return "\n".join(lines) + "\n"


def _of(worst: Callable[[list[float]], float], read: Callable[[Grade], float], form: str) -> "Column":
    """A column with the median and the worst of a figure."""

    def cell(runs: Sequence[Measured]) -> str:
        values = [read(one.grade) for one in runs]
        middle = format(median(values), form)
        return middle if len(values) == 1 else f"{middle} ({worst(values):{form}})"

    return cell


def _to_page(share: float) -> "Column":
    """A column with the percentile of the time to the first page, over the roots of all storms, in seconds."""

    def cell(runs: Sequence[Measured]) -> str:
        found = percentile([ms for one in runs for ms in one.grade.to_first_page], share)
        return "-" if found is None else f"{found / 1000:.2f}"

    return cell


def _missed(runs: Sequence[Measured]) -> str:
    return f"{sum(one.grade.missed for one in runs)} of {sum(one.grade.roots for one in runs)}"


def _wrong_owner(runs: Sequence[Measured]) -> str:
    return str(sum(one.grade.wrong_owner for one in runs))


def _seconds(runs: Sequence[Measured]) -> str:
    return f"{median([one.seconds for one in runs]):.1f}"


Column = Callable[[Sequence[Measured]], str]
_F1: tuple[str, Column] = ("B-cubed F1", _of(min, lambda grade: grade.b_cubed.f1, ".3f"))
_INCIDENTS: tuple[str, Column] = ("incidents", _of(max, lambda grade: grade.incidents, ".0f"))
_ROOT_PAGES: tuple[str, Column] = ("pages a root", _of(max, lambda grade: grade.pages_per_root, ".2f"))
_MISSED: tuple[str, Column] = ("missed", _missed)
_P95: tuple[str, Column] = ("p95 (s)", _to_page(0.95))
_STORM_COLUMNS: tuple[tuple[str, Column], ...] = (
    _F1,
    ("precision", _of(min, lambda grade: grade.b_cubed.precision, ".3f")),
    ("recall", _of(min, lambda grade: grade.b_cubed.recall, ".3f")),
    ("pair precision", _of(min, lambda grade: grade.pairs.precision, ".3f")),
    ("pair recall", _of(min, lambda grade: grade.pairs.recall, ".3f")),
    ("ARI", _of(min, lambda grade: grade.ari, ".3f")),
    ("AMI", _of(min, lambda grade: grade.ami, ".3f")),
    _INCIDENTS,
    _ROOT_PAGES,
    ("pages without root", _of(max, lambda grade: grade.other_pages, ".0f")),
    _MISSED,
    ("wrong owner", _wrong_owner),
    ("first page p50 (s)", _to_page(0.5)),
    _P95,
)
_FAMILY_COLUMNS = (_F1, _INCIDENTS, _ROOT_PAGES, _MISSED, ("wrong owner", _wrong_owner), _P95)
_NULL_COLUMNS: tuple[tuple[str, Column], ...] = (
    ("keys", _of(max, lambda grade: grade.keys, ".0f")),
    ("keys merged with another cause's", _of(max, lambda grade: grade.merged_keys, ".2%")),
    ("pairs merged", _of(max, lambda grade: grade.merged_pairs, ".3%")),
    _INCIDENTS,
    ("pages", _of(max, lambda grade: grade.other_pages, ".0f")),
)
_SWITCH_COLUMNS: tuple[tuple[str, Column], ...] = (
    _INCIDENTS,
    ("pages", _of(max, lambda grade: grade.root_pages, ".0f")),
    _F1,
    _MISSED,
    ("wrong owner", _wrong_owner),
    _P95,
    ("computed in (s)", _seconds),
)


def _table(runs: Sequence[Measured], columns: Sequence[tuple[str, Column]]) -> list[str]:
    """One line for each system and topology; the product first."""
    names = ["system", "topology", *(name for name, _ in columns)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    places = dict.fromkeys((one.system, one.topology) for one in sorted(runs, key=lambda one: one.system != PRODUCT))
    for system, topology in places:
        group = [one for one in runs if (one.system, one.topology) == (system, topology)]
        lines.append("| " + " | ".join([system, topology, *(column(group) for _, column in columns)]) + " |")
    return lines


def _goals(measured: Sequence[Measured]) -> list[str]:
    """The goals and what the product reaches. The median is compared where there is one; of null storms the worst."""
    own = [one for one in measured if one.system == PRODUCT]
    storms = [one for one in own if one.storm in FAMILIES]
    true = [one for one in storms if one.topology == "true"]
    p95 = percentile([ms for one in true for ms in one.grade.to_first_page], 0.95)
    rows: list[tuple[str, str, str, bool]] = []
    for topology, bound in (("true", 0.93), (_SLIGHT_ERRORS, 0.85), ("none", 0.70)):
        f1 = [one.grade.b_cubed.f1 for one in storms if one.topology == topology]
        rows.append((f"B-cubed F1, topology: {topology}", f">= {bound}", _median(f1, min), median(f1) >= bound))
    per_root = [one.grade.pages_per_root for one in true]
    rows.append(("pages a root, true topology", "<= 1.2", _median(per_root, max), median(per_root) <= 1.2))
    every = [one for one in own if one.topology == "true"]
    none_missed = not any(one.grade.missed for one in every) and sum(one.grade.roots for one in every) >= _ROOTS
    rows.append(("roots missed, true topology, all storms", f"0 of >= {_ROOTS}", _missed(every), none_missed))
    merged = [one.grade.merged_keys for one in own if one.storm == "null"]
    rows.append(("null storm, share of keys merged", "<= 0.001", _median(merged, max), max(merged) <= 0.001))
    shown = "-" if p95 is None else f"{p95 / 1000:.2f}"
    rows.append(("first page of a root, p95 (s), true topology", "<= 2", shown, p95 is not None and p95 <= 2_000))
    switch = next(one.grade for one in own if one.storm == "switch")
    rows.append(("one switch: incidents", "<= 3", str(switch.incidents), switch.incidents <= 3))
    rows.append(("one switch: pages", "<= 3", str(switch.root_pages), switch.root_pages <= 3))
    lines = ["| figure | goal | measured | |", "|---|---|---|---|"]
    return lines + [f"| {name} | {goal} | {value} | {'met' if met else 'missed'} |" for name, goal, value, met in rows]


def _median(values: Sequence[float], worst: Callable[[Sequence[float]], float]) -> str:
    return f"{median(values):.3f} (worst {worst(values):.3f})"


def _kept(one: Measured) -> dict[str, Any]:
    """A run for JSON; of the times to the first page the percentiles that the page shows."""
    grade = asdict(one.grade) | {"pairs": one.grade.pairs._asdict(), "b_cubed": one.grade.b_cubed._asdict()}
    times = grade.pop("to_first_page")
    grade["to_first_page_ms"] = {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95)}
    return {**one._asdict(), "grade": grade}
