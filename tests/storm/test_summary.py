"""What a storm reports, and what makes it a failure."""

from rich.console import Console

from streams.storm.counts import Counts
from streams.storm.ledger import Books, Doubled, Missing, Stored
from streams.storm.summary import Summary


def _counts(**values: int) -> Counts:
    counts = Counts(**{"sent": 10, "accepted": 10, **values})
    counts.statuses[202] = counts.accepted
    counts.latency.add(0.004)
    return counts


def test_a_good_storm_has_no_problems() -> None:
    """Counts of all parts are added up, and the keys people and machines read are there."""
    books = Books(Stored(20, 20, 0), outcomes={"opened": 20}, incidents=3, notifications=4, drained=True)
    summary = Summary([_counts(), _counts(refused=5, sent=15)], books, 2.0, 4.0)
    assert summary.problems == []
    result = summary.json()
    assert (result["sent"], result["accepted"], result["refused"], result["unknown"]) == (25, 20, 5, 0)
    assert (result["stored"], result["unaccounted"], result["duplicates"]) == (20, 0, 0)
    assert (result["incidents"], result["notifications"], result["outcomes"]) == (3, 4, {"opened": 20})
    assert (result["seconds"], result["rate"], result["statuses"]) == (4.0, 10.0, {"202": 20})
    assert 3.9 < result["latency_ms"]["p50"] < 4.1


def test_what_is_missing_or_doubled_is_a_problem_and_shown() -> None:
    """Losses and duplicates are problems, and the table names their places."""
    books = Books(Stored(9, 9, 0), unaccounted=1, duplicates=2)
    books.missing = [Missing("alerts.raw", 1, 77, None)]
    books.doubled = [Doubled("alerts.events", 2, 88, 0, 3, ["opened", "stale"])]
    summary = Summary([_counts()], books, 1.0, 1.0)
    assert len(summary.problems) == 2
    console = Console(width=120)
    with console.capture() as capture:
        console.print(summary.table())
    assert "offset 77" in capture.get()
    assert "offset 88" in capture.get()


def test_without_a_ledger_nothing_is_claimed() -> None:
    """When nobody looked, the result does not say that nothing is missing."""
    summary = Summary([_counts()], None, 1.0, 1.0)
    assert summary.problems == []
    assert not {"stored", "unaccounted", "duplicates"} & summary.json().keys()


def test_nothing_accepted_is_a_problem() -> None:
    """A storm whose every request was refused failed, and its statuses are told."""
    counts = Counts(sent=5, refused=5)
    counts.statuses[401] = 5
    (problem,) = Summary([counts], None, 1.0, 1.0).problems
    assert "401" in problem


def test_a_load_that_stopped_early_is_a_problem() -> None:
    """The reason a load ended early is a problem."""
    counts = _counts()
    counts.stopped = "no connection for 30 s"
    assert Summary([counts], None, 1.0, 1.0).problems == ["no connection for 30 s"]
