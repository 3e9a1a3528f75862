"""How well one partition of the same items (the found one) agrees with another (the true one).

Both are given as a mapping of item -> name of its part, over the same items. All scores but ARI and AMI are between 0
and 1. Formulas are exact and computed from the contingency table, so their cost grows with the number of pairs of parts
that share an item, not with the number of pairs of items.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from typing import NamedTuple

Parts = Mapping[str, Hashable]


class Agreement(NamedTuple):
    """Precision is lost by joining what is apart, recall by parting what belongs together."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.precision * self.recall / (self.precision + self.recall) if any(self) else 0.0


class Contingency:
    """The number of items in each part, and in each pair of a true and a found part."""

    def __init__(self, true: Parts, found: Parts) -> None:
        self.cells = Counter((part, found[item]) for item, part in true.items())
        self.true: Counter[Hashable] = Counter(true.values())
        self.found: Counter[Hashable] = Counter(found[item] for item in true)
        self.items = len(true)


def b_cubed(table: Contingency) -> Agreement:
    """B-cubed (Bagga and Baldwin 1998): per item the share of its found part that has its true part (precision), and
    the share of its true part that is in its found part (recall), averaged over items.
    """
    precision = sum(n * n / table.found[found] for (_, found), n in table.cells.items())
    recall = sum(n * n / table.true[true] for (true, _), n in table.cells.items())
    return Agreement(precision / table.items, recall / table.items)


def pairwise(table: Contingency, parts: set[Hashable]) -> Agreement:
    """Pairs of items, macro-averaged over those true `parts` that have a pair: of the found pairs with an item of the
    part, those that are both of it (precision; 1 without any); of the pairs of the part, those found (recall).

    Without any such part both are 1.
    """
    together: defaultdict[Hashable, int] = defaultdict(int)
    apart: defaultdict[Hashable, int] = defaultdict(int)
    for (true, found), n in table.cells.items():
        together[true] += math.comb(n, 2)
        apart[true] += n * (table.found[found] - n)
    judged = [part for part in parts if table.true[part] > 1]
    if not judged:
        return Agreement(1.0, 1.0)
    claimed = [(together[part], together[part] + apart[part]) for part in judged]
    precision = sum(right / all_ if all_ else 1.0 for right, all_ in claimed)
    recall = sum(together[part] / math.comb(table.true[part], 2) for part in judged)
    return Agreement(precision / len(judged), recall / len(judged))


def adjusted_rand(table: Contingency) -> float:
    """The adjusted Rand index (Hubert and Arabie 1985, Journal of Classification 2, equation 5): 1 for equal
    partitions, 0 on average for chance.
    """
    both = sum(math.comb(n, 2) for n in table.cells.values())
    true = sum(math.comb(n, 2) for n in table.true.values())
    found = sum(math.comb(n, 2) for n in table.found.values())
    pairs = math.comb(table.items, 2)
    expected = true * found / pairs if pairs else 0.0
    most = (true + found) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def adjusted_mutual_information(table: Contingency) -> float:
    """Adjusted mutual information (Vinh, Epps and Bailey 2010, JMLR 11: AMI_sum, with the expectation of equation 24a):
    the mutual information above what chance gives, by the mean of both entropies above it.
    """
    count = table.items
    mutual = sum(
        n / count * math.log(count * n / (table.true[true] * table.found[found]))
        for (true, found), n in table.cells.items()
    )
    expected = _expected_mutual(Counter(table.true.values()), Counter(table.found.values()), count)
    mean = (_entropy(table.true, count) + _entropy(table.found, count)) / 2
    # Both are exact, so a difference this small is rounding: only one partition is possible.
    return 1.0 if abs(mean - expected) < 1e-12 else (mutual - expected) / (mean - expected)


def _entropy(sizes: Counter[Hashable], count: int) -> float:
    return -sum(n / count * math.log(n / count) for n in sizes.values())


def _expected_mutual(true: Counter[int], found: Counter[int], count: int) -> float:
    """The mean over all partitions with these sizes of parts: the hypergeometric law gives the size of a common part.

    `true` and `found` are the numbers of parts by their size: parts of equal sizes contribute the same.
    """
    log = [0.0, *map(math.log, range(1, count + 1))]
    factorial = [0.0] * (count + 1)
    for n in range(1, count + 1):
        factorial[n] = factorial[n - 1] + log[n]
    total = 0.0
    for a, of_a in true.items():
        for b, of_b in found.items():
            fixed = factorial[a] + factorial[b] + factorial[count - a] + factorial[count - b] - factorial[count]
            mean = 0.0
            for n in range(max(1, a + b - count), min(a, b) + 1):
                chance = fixed - factorial[n] - factorial[a - n] - factorial[b - n] - factorial[count - a - b + n]
                mean += n / count * (log[count] + log[n] - log[a] - log[b]) * math.exp(chance)
            total += of_a * of_b * mean
    return total
