"""Order between events of one alert: like times of one sender, else the order of arrival."""

import pytest

from streams.policy.order import Times, Verdict, after_resolve, is_stale_resolve

A, B = 1, 3


@pytest.mark.parametrize(
    ("trigger", "resolve", "matched", "soon", "verdict"),
    [
        # nothing to compare: arrival order
        (Times(0, 0, 0, 0), Times(0, 0, 0, 0), True, True, Verdict.OPENS),
        (Times(A, 5, 5, 0), Times(0, 0, 0, 0), True, True, Verdict.OPENS),
        # another sender's clock says nothing
        (Times(B, 5, 4, 0), Times(A, 9, 5, 9), True, True, Verdict.OPENS),
        # but a start it was told by the same source is the same start
        (Times(B, 0, 5, 0), Times(A, 0, 5, 9), True, True, Verdict.HELD),
        # the sender's own clock: older is stale, the same moment or newer opens
        (Times(A, 8, 0, 0), Times(A, 9, 0, 0), True, False, Verdict.STALE),
        (Times(A, 9, 0, 0), Times(A, 9, 0, 0), True, True, Verdict.OPENS),
        (Times(A, 10, 0, 0), Times(A, 9, 0, 0), True, True, Verdict.OPENS),
        # the start of what was resolved: held for a while, then a new beginning
        (Times(A, 0, 5, 0), Times(A, 0, 5, 9), True, True, Verdict.HELD),
        (Times(A, 0, 5, 0), Times(A, 0, 5, 9), True, False, Verdict.OPENS),
        # a resolve that found nothing open has overtaken its trigger
        (Times(A, 0, 5, 0), Times(A, 0, 5, 9), False, True, Verdict.STALE),
        # starts only: one before the end may be a straggler, one after it is new
        (Times(A, 0, 7, 0), Times(A, 0, 5, 9), True, True, Verdict.HELD),
        (Times(A, 0, 10, 0), Times(A, 0, 5, 9), True, True, Verdict.OPENS),
    ],
)
def test_a_trigger_after_a_resolve(trigger: Times, resolve: Times, matched: bool, soon: bool, verdict: Verdict) -> None:
    """What a trigger does that arrives after the resolve of its key."""
    assert after_resolve(trigger, resolve, matched=matched, within_hold=soon) is verdict


@pytest.mark.parametrize(
    ("resolve", "trigger", "stale"),
    [
        (Times(0, 0, 0, 0), Times(A, 5, 5, 0), False),
        (Times(A, 4, 0, 0), Times(A, 5, 0, 0), True),
        (Times(A, 5, 0, 0), Times(A, 5, 0, 0), False),
        (Times(B, 4, 0, 0), Times(A, 5, 0, 0), False),
        (Times(A, 0, 1, 4), Times(A, 0, 5, 0), True),
        (Times(A, 0, 5, 9), Times(A, 0, 5, 0), False),
    ],
)
def test_a_resolve_older_than_the_trigger(resolve: Times, trigger: Times, stale: bool) -> None:
    """Only the same sender's clock makes a resolve stale."""
    assert is_stale_resolve(resolve, trigger) is stale
