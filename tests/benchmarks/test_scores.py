"""The scores of a partition against the true one, by hand and by brute force."""

from itertools import combinations, permutations
from math import comb, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.labelled.scores import (
    Contingency,
    adjusted_mutual_information,
    adjusted_rand,
    b_cubed,
    pairwise,
)

#: Six items: A has a, b, c and B has d, e, f; found are {a, b}, {c, d} and {e, f}.
TRUE = dict(zip("abcdef", "AAABBB", strict=True))
FOUND = dict(zip("abcdef", "xxyyzz", strict=True))

labels = st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("wxyz")), min_size=1, max_size=9)


def table(true: str, found: str) -> Contingency:
    """The contingency of two partitions, given as one letter for each item."""
    names = [str(number) for number in range(len(true))]
    return Contingency(dict(zip(names, true, strict=True)), dict(zip(names, found, strict=True)))


def test_b_cubed_by_hand() -> None:
    """Four items are in pure parts, two in a part that is half theirs; each item has two, or one, of its three."""
    agreement = b_cubed(Contingency(TRUE, FOUND))
    assert agreement.precision == pytest.approx((4 * 1 + 2 * 1 / 2) / 6)
    assert agreement.recall == pytest.approx((4 * 2 / 3 + 2 * 1 / 3) / 6)
    assert agreement.f1 == pytest.approx(2 * (5 / 6) * (5 / 9) / (5 / 6 + 5 / 9))


def test_pairwise_by_hand() -> None:
    """Of the found pairs ab and cd one is A's own, of A's three pairs one was found; B is its mirror image."""
    assert pairwise(Contingency(TRUE, FOUND), {"A", "B"}) == pytest.approx((1 / 2, 1 / 3))


def test_pairwise_of_what_was_not_grouped() -> None:
    """Who claims nothing is wrong in nothing, and finds nothing; a part of one item has no pairs and is not judged."""
    assert pairwise(table("AABC", "1234"), {"A", "B"}) == (1.0, 0.0)
    assert pairwise(table("AB", "11"), {"A", "B"}) == (1.0, 1.0)


def test_adjusted_rand_by_hand() -> None:
    """Two agreeing pairs; by chance 6 * 3 / 15 = 1.2 of at most 4.5."""
    assert adjusted_rand(Contingency(TRUE, FOUND)) == pytest.approx((2 - 1.2) / (4.5 - 1.2))


def test_adjusted_mutual_information_by_hand() -> None:
    """Four items: the information is 0; by chance it is log(2) in one of three ways; both entropies are log(2)."""
    expected = log(2) / 3
    assert adjusted_mutual_information(table("AABB", "xyxy")) == pytest.approx((0 - expected) / (log(2) - expected))


@pytest.mark.parametrize("letters", ["A", "AA", "AB", "AAABB", "ABCDE"])
def test_equal_partitions_have_the_highest_scores(letters: str) -> None:
    """All scores of a partition against itself are 1, also of one part and of single items."""
    equal = table(letters, letters.lower())
    assert b_cubed(equal) == (1.0, 1.0)
    assert adjusted_rand(equal) == pytest.approx(1.0)
    assert adjusted_mutual_information(equal) == pytest.approx(1.0)


@given(labels)
def test_b_cubed_and_rand_equal_their_definitions(pairs: list[tuple[str, str]]) -> None:
    """The formulas over the contingency give what a loop over items and pairs of items gives."""
    true, found = zip(*pairs, strict=True)
    items = range(len(pairs))
    got = table("".join(true), "".join(found))
    shares = [
        sum(true[j] == true[i] and found[j] == found[i] for j in items) / sum(found[j] == found[i] for j in items)
        for i in items
    ]
    assert b_cubed(got).precision == pytest.approx(sum(shares) / len(pairs))
    both = sum(true[i] == true[j] and found[i] == found[j] for i, j in combinations(items, 2))
    in_true = sum(true[i] == true[j] for i, j in combinations(items, 2))
    in_found = sum(found[i] == found[j] for i, j in combinations(items, 2))
    expected = in_true * in_found / comb(len(pairs), 2) if len(pairs) > 1 else 0
    if (in_true + in_found) / 2 != expected:
        assert adjusted_rand(got) == pytest.approx((both - expected) / ((in_true + in_found) / 2 - expected))


@pytest.mark.parametrize(("true", "found"), [("AAABB", "xxyyy"), ("AABCC", "xyyzz"), ("AAAAB", "xyzzz")])
def test_the_expected_information_is_the_mean_over_all_orders(true: str, found: str) -> None:
    """Adjusted mutual information averages 0 over every way to deal the found parts to the items."""
    dealt = [adjusted_mutual_information(table(true, "".join(order))) for order in permutations(found)]
    assert sum(dealt) / len(dealt) == pytest.approx(0, abs=1e-9)
