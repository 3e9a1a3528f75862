"""The grade of what a system made of a storm: which keys it put together, and whom it paged when.

Scores count keys (an alert's deduplication key), not repeats. `groups` has for each key the incident that people are
paged for: a parent, if the key's own incident has one; of several incidents of one key the first. A key that is in no
incident counts as one that is alone, so that leaving out what is hard does not help.
A page belongs to the cause that has the most keys in its incident, of equals the earliest. So a root that was swallowed
by the incident of another is missed. A page that came before any alert of that cause, or whose incident has no key
because all were in another before, belongs to the cause of the alert that it names. Times are milliseconds.
"""

import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.labelled.scores import (
    Agreement,
    Contingency,
    adjusted_mutual_information,
    adjusted_rand,
    b_cubed,
    pairwise,
)


class Page(NamedTuple):
    """A message that wakes somebody: `owner` is the team that it went to, `key` the alert that it names."""

    at: int
    incident: str
    owner: str
    key: str


class Result(NamedTuple):
    """What a system made of a storm: for each key the incident that people are paged for, and the pages."""

    groups: dict[str, str]
    pages: list[Page]


@dataclass(frozen=True)
class Grade:
    """The scores of one storm. `pairs` is an average over roots.

    `to_first_page` has, for each root that was paged for, the time from the first alert of the root's service to the
    page, 0 if the page was earlier. The first page of `wrong_owner` roots went to a team that does not own the root's
    service. `merged_keys` is the share of keys that are in an incident with a key of another cause, `merged_pairs` the
    share of the pairs of keys of different causes that are in one incident.
    """

    keys: int
    roots: int
    pairs: Agreement
    b_cubed: Agreement
    ari: float
    ami: float
    incidents: int
    root_pages: int
    other_pages: int
    to_first_page: list[int]
    missed: int
    wrong_owner: int
    merged_keys: float
    merged_pairs: float

    @property
    def pages_per_root(self) -> float:
        """Pages that belong to roots, by the number of roots."""
        return self.root_pages / self.roots if self.roots else 0.0


def read(path: Path) -> dict[str, Any]:
    """The truth as the generator wrote it: `keys`, key -> cause, and `causes`, by their ids."""
    truth: dict[str, Any] = json.loads(path.read_text())
    return truth


def grade(truth: Mapping[str, Any], result: Result) -> Grade:
    """The grade; see the module. Raises ValueError for keys that the storm does not have."""
    groups, pages = result
    keys: dict[str, str] = truth["keys"]
    causes: dict[str, dict[str, Any]] = truth["causes"]
    if unknown := (groups.keys() | {page.key for page in pages}) - keys.keys():
        raise ValueError(f"keys that were never sent: {sorted(unknown)[:3]}")
    # A tuple cannot be equal to the name of an incident.
    found: dict[str, Hashable] = {key: groups.get(key, ("alone", key)) for key in keys}
    table = Contingency(keys, found)
    roots = {cause for cause, about in causes.items() if about["kind"] == "root"}
    belongs = _causes_of(table, causes)
    first: dict[str, Page] = {}
    root_pages = 0
    for page in sorted(pages):
        cause = belongs.get(page.incident)
        if cause is None or page.at < causes[cause]["began"]:
            cause = keys[page.key]
        if cause in roots:
            root_pages += 1
            first.setdefault(cause, page)
    mixed = {part for part, of in Counter(found_part for _, found_part in table.cells).items() if of > 1}
    return Grade(
        keys=len(keys),
        roots=len(roots),
        pairs=pairwise(table, set(roots)),
        b_cubed=b_cubed(table),
        ari=adjusted_rand(table),
        ami=adjusted_mutual_information(table),
        incidents=len(set(groups.values())),
        root_pages=root_pages,
        other_pages=len(pages) - root_pages,
        to_first_page=sorted(max(0, page.at - causes[cause]["at"]) for cause, page in first.items()),
        missed=len(roots) - len(first),
        wrong_owner=sum(page.owner != causes[cause]["owner"] for cause, page in first.items()),
        merged_keys=sum(table.found[part] for part in mixed) / len(keys),
        merged_pairs=_merged_pairs(table),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least value that at least this share of the values does not exceed; None without values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _merged_pairs(table: Contingency) -> float:
    together = sum(math.comb(n, 2) for n in table.cells.values())
    merged = sum(math.comb(n, 2) for n in table.found.values()) - together
    different = math.comb(table.items, 2) - sum(math.comb(n, 2) for n in table.true.values())
    return merged / different if different else 0.0


def _causes_of(table: Contingency, causes: Mapping[str, Mapping[str, Any]]) -> dict[Hashable, str]:
    """Per incident the cause that it is about."""
    best: dict[Hashable, tuple[int, int, str]] = {}
    for (cause, part), number in table.cells.items():
        rank = number, -causes[str(cause)]["at"], str(cause)
        if part not in best or rank > best[part]:
            best[part] = rank
    return {part: rank[2] for part, rank in best.items()}
