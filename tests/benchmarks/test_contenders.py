"""The product and the baselines over labelled storms."""

from pathlib import Path

import pytest

from benchmarks.labelled import alertmanager, baselines, product
from benchmarks.labelled.__main__ import SETTINGS
from benchmarks.labelled.alertmanager import Route
from benchmarks.labelled.generator import Event, Storm, chance_of, storm
from benchmarks.labelled.grader import Result, grade, read

BY_SERVICE = Route(("service",), group_wait=10_000, group_interval=60_000, resolve_timeout=300_000)


@pytest.fixture(scope="module")
def small() -> Storm:
    """A storm with overlapping roots."""
    return storm("shared", chance_of("tests", "contenders"), instances=1)


def event(at: int, key: str, action: str = "trigger", service: str = "db") -> Event:
    """One event, `at` milliseconds."""
    payload = {"class": key, "group": "one", "source": "host", "severity": "error", "custom_details": {"owner": "ada"}}
    return Event(at, service, {"event_action": action, "dedup_key": key, "payload": payload})


def test_the_oracle_is_perfect(small: Storm, tmp_path: Path) -> None:
    """Who knows the truth has full marks: one page at once for each root, to its owner."""
    small.truth.write(tmp_path / "truth.json")
    found = grade(read(tmp_path / "truth.json"), baselines.oracle(small.events, small.truth))
    assert (found.b_cubed.f1, found.pages_per_root, found.missed, found.wrong_owner) == (1.0, 1.0, 0, 0)
    assert set(found.to_first_page) == {0}


def test_without_grouping_every_opening_pages() -> None:
    """A repeat pages nobody; an alert that opens again after its resolve does."""
    events = [event(0, "a"), event(1, "a"), event(2, "b"), event(3, "a", "resolve"), event(4, "a")]
    found = baselines.ungrouped(events)
    assert found.groups == {"a": "a#1", "b": "b#1"}
    assert [(page.at, page.incident) for page in found.pages] == [(0, "a#1"), (2, "b#1"), (4, "a#2")]


def test_a_time_window_takes_all_that_opens_in_it() -> None:
    """The window is of the clock: alerts on both sides of its edge are apart, however near."""
    edge = baselines.WINDOW_MS
    found = baselines.time_window([event(1, "a"), event(edge - 1, "b"), event(edge, "c", service="web")])
    assert found.groups == {"a": "0", "b": "0", "c": "1"}
    assert [page.at for page in found.pages] == [1, edge]


def test_alertmanager_waits_then_keeps_its_interval() -> None:
    """The first flush is `group_wait` after the first alert; a later alert waits for the next `group_interval`."""
    notices = alertmanager.notices([event(0, "a"), event(5_000, "b"), event(12_000, "c")], BY_SERVICE, 100_000)
    assert [(notice.at, notice.firing) for notice in notices] == [
        (10_000, {"a", "b"}),
        (70_000, {"a", "b", "c"}),
    ]


def test_alertmanager_does_not_tell_of_a_flap_within_an_interval() -> None:
    """An alert that resolves and fires again between two flushes is as it was; one that is resolved is told."""
    events = [event(0, "a"), event(20_000, "a", "resolve"), event(30_000, "a"), event(100_000, "a", "resolve")]
    notices = alertmanager.notices(events, BY_SERVICE, 200_000)
    assert [(notice.at, set(notice.firing), set(notice.resolved)) for notice in notices] == [
        (10_000, {"a"}, set()),
        (130_000, set(), {"a"}),
    ]


def test_alertmanager_forgets_a_group_that_is_empty() -> None:
    """After the cleanup that follows its last resolve a group waits `group_wait` again: another life, another page."""
    events = [event(0, "a"), event(20_000, "a", "resolve"), event(95_000, "a")]
    found = alertmanager.run(events, BY_SERVICE)
    assert found.groups == {"a": "db#1"}
    assert [(page.at, page.incident) for page in found.pages] == [(10_000, "db#1"), (105_000, "db#2")]


def test_alertmanager_resolves_what_is_not_sent_again() -> None:
    """`resolve_timeout` after the last trigger an alert counts as resolved."""
    notices = alertmanager.notices([event(0, "a")], BY_SERVICE, 600_000)
    assert [(notice.at, set(notice.resolved)) for notice in notices] == [(10_000, set()), (310_000, {"a"})]


def run(small: Storm, directory: Path) -> Result:
    """The product over the storm's files."""
    small.write(directory / "events.jsonl")
    small.hand_over(directory / "topology.json", small.topology)
    return product.run(directory / "events.jsonl", directory / "topology.json", SETTINGS)


def test_the_product_gives_every_alert_an_incident_and_the_same_twice(small: Storm, tmp_path: Path) -> None:
    """Every key that fired is in an incident, every page is of one of them, and a second run is equal."""
    first, second = run(small, tmp_path), run(small, tmp_path)
    fired = {event.body["dedup_key"] for event in small.events if event.body["event_action"] == "trigger"}
    assert set(first.groups) == fired
    assert {page.key for page in first.pages} <= fired
    assert first == second


def test_the_product_pages_within_a_batch(small: Storm, tmp_path: Path) -> None:
    """A root whose alert opens an incident is paged for within the time of one batch."""
    small.truth.write(tmp_path / "truth.json")
    found = grade(read(tmp_path / "truth.json"), run(small, tmp_path))
    assert min(found.to_first_page) <= product.BATCH_MS
    assert found.missed == 0
