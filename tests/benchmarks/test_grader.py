"""The grader: cases small enough to judge by hand."""

from typing import Any

import pytest

from benchmarks.labelled.grader import Page, Result, grade, percentile


def cause(kind: str, at: int, began: int | None = None) -> dict[str, Any]:
    """A cause whose service's first alert arrives `at`; it is owned by the team of its kind."""
    return {"kind": kind, "service": "s", "at": at, "began": at if began is None else began, "owner": kind}


#: Two roots of two keys each, and one alert of noise.
TRUTH = {
    "keys": {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "n": "N"},
    "causes": {"A": cause("root", 1_000), "B": cause("root", 5_000), "N": cause("noise", 0)},
}
RIGHT = {"a1": "1", "a2": "1", "b1": "2", "b2": "2", "n": "3"}


def test_a_perfect_result() -> None:
    """Each root once, at once, to its owner; the page of noise is counted apart."""
    pages = [Page(1_500, "1", "root", "a1"), Page(5_000, "2", "root", "b1"), Page(0, "3", "noise", "n")]
    found = grade(TRUTH, Result(RIGHT, pages))
    assert (found.b_cubed.f1, found.pairs, found.ari) == (1.0, (1.0, 1.0), 1.0)
    assert (found.roots, found.root_pages, found.pages_per_root, found.other_pages) == (2, 2, 1.0, 1)
    assert (found.missed, found.wrong_owner, found.to_first_page) == (0, 0, [0, 500])
    assert (found.incidents, found.keys, found.merged_keys, found.merged_pairs) == (3, 5, 0.0, 0.0)


def test_a_swallowed_root_is_missed() -> None:
    """One incident with both roots: the earlier has its page, the other none, though all its keys are there."""
    together = dict.fromkeys(RIGHT, "1") | {"n": "3"}
    found = grade(TRUTH, Result(together, [Page(1_000, "1", "root", "a1")]))
    assert (found.missed, found.pages_per_root) == (1, 0.5)
    assert found.merged_keys == 4 / 5
    assert found.merged_pairs == 4 / 8
    assert found.pairs == pytest.approx((1 / 5, 1.0))


def test_the_cause_with_most_keys_has_the_page() -> None:
    """An incident with two keys of B and one of A pages for B."""
    found = grade(TRUTH, Result({"a1": "1", "b1": "1", "b2": "1"}, [Page(6_000, "1", "root", "a1")]))
    assert (found.missed, found.to_first_page) == (1, [1_000])


def test_a_page_before_the_root_is_none_for_it() -> None:
    """Noise opened the incident that a root joined later: the page of the noise told nobody of the root."""
    joined = {"n": "1", "a1": "1", "a2": "1"}
    early = Page(0, "1", "noise", "n")
    assert grade(TRUTH, Result(joined, [early])).missed == 2
    assert grade(TRUTH, Result(joined, [early, Page(2_000, "1", "root", "a1")])).missed == 1


def test_a_page_before_the_alert_of_the_roots_own_service_is_in_time() -> None:
    """A dependent alerted first and its owner was paged: 0 ms, and the wrong team."""
    causes = {**TRUTH["causes"], "A": cause("root", 1_000, began=200)}
    found = grade({**TRUTH, "causes": causes}, Result(RIGHT, [Page(300, "1", "other", "a2")]))
    assert (found.to_first_page, found.wrong_owner, found.missed) == ([0], 1, 1)


def test_only_the_first_page_is_judged_by_its_owner() -> None:
    """The owner is paged second: wrong. The order in which pages are given does not matter."""
    pages = [Page(2_000, "1", "root", "a1"), Page(1_100, "1", "other", "a2")]
    found = grade(TRUTH, Result(RIGHT, pages))
    assert (found.wrong_owner, found.root_pages, found.to_first_page) == (1, 2, [100])


def test_keys_left_out_are_alone() -> None:
    """Who drops every alert is graded like one who groups none, and misses every root."""
    nothing, single = grade(TRUTH, Result({}, [])), grade(TRUTH, Result({key: key for key in RIGHT}, []))
    assert (nothing.b_cubed, nothing.ami, nothing.pairs) == (single.b_cubed, single.ami, single.pairs)
    assert nothing.missed == 2


def test_a_page_of_an_incident_whose_keys_were_in_another_before() -> None:
    """A key that opened again made a second incident: its page belongs to the cause of the alert that it names."""
    pages = [Page(1_000, "1", "root", "a1"), Page(9_000, "1 again", "root", "a2")]
    assert grade(TRUTH, Result(RIGHT, pages)).root_pages == 2


def test_keys_that_were_never_sent_are_refused() -> None:
    """A result for another storm is an error, not a score."""
    with pytest.raises(ValueError, match="never sent"):
        grade(TRUTH, Result({"x": "1"}, []))
    with pytest.raises(ValueError, match="never sent"):
        grade(TRUTH, Result({}, [Page(0, "1", "root", "x")]))


def test_percentiles() -> None:
    """The nearest rank: the least value that the share does not exceed."""
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(range(1, 21), 0.95) == 19
    assert percentile([], 0.5) is None
