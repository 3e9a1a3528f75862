"""The token bucket keeps its rate on a clock of our own."""

import pytest

from streams.storm.pace import Pace


def _run(pace: Pace, units: int, seconds: float) -> int:
    now, sent = 100.0, 0
    while now < 100.0 + seconds:
        wait = pace.take(units, now)
        if wait:
            now += wait
        else:
            sent += units
    return sent


@pytest.mark.parametrize(("rate", "units"), [(50.0, 1), (2_000.0, 1), (2_000.0, 64), (100.0, 64)])
def test_rate_is_kept(rate: float, units: int) -> None:
    """Over ten seconds the units let through are the rate's, whatever the size of a request."""
    assert _run(Pace(rate, 100.0), units, 10.0) == pytest.approx(rate * 10, rel=0.02, abs=units)


def test_pauses_are_not_made_up_for() -> None:
    """After a pause only the small burst goes out at once."""
    pace = Pace(1_000.0, 0.0)
    sent = 0
    while pace.take(1, 60.0) == 0.0:
        sent += 1
    assert sent == 50


def test_no_rate_never_waits() -> None:
    """A rate of 0 lets everything through."""
    pace = Pace(0.0, 0.0)
    assert [pace.take(1_000, 0.0) for _ in range(100)] == [0.0] * 100
