"""The detectors of storms: exact against models that remember every opening."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Service
from schemas.control.storm import Storm
from streams.policy.storm import CELLS, count, idle_at, is_on, over_at

START = 1_750_000_000_000
STORM = Storm(above=5, within=60, below=2, quiet=30)

STORMS = st.tuples(st.integers(2, 8), st.integers(1, 7), st.sampled_from([1, 7, 60, 3600]), st.integers(1, 90)).map(
    lambda drawn: Storm(above=max(drawn[0], drawn[1] + 1), below=drawn[1], within=drawn[2], quiet=drawn[3])
)
#: Milliseconds between one opening and the next; some come late.
STEPS = st.lists(st.one_of(st.integers(0, 3000), st.integers(-40_000, 200_000)), max_size=60)


def after(times: list[int], storm: Storm = STORM) -> bytes:
    """The state after openings at these times."""
    state = b""
    for at in times:
        state = count(state, storm, at)
    return state


class Model:
    """A storm by the definition: every opening is kept, every cell is looked at."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.cells: list[int] = []
        self.newest = 0
        self.on = False
        self.calm_since = 0

    def rate(self, cell: int) -> int:
        """Openings in the cells of the window that ends with this one."""
        return sum(cell - CELLS < each <= cell for each in self.cells)

    def begin(self, cell: int) -> int:
        """The first millisecond of a cell."""
        return next(ms for ms in range(int(cell * self.width) - 1, int(cell * self.width) + 3) if self.cell(ms) == cell)

    @property
    def width(self) -> float:
        """Milliseconds."""
        return self.storm.within * 1000 / CELLS

    def cell(self, at: int) -> int:
        """The cell of a time."""
        return at * CELLS // (self.storm.within * 1000)

    def count(self, at: int) -> None:
        """One more opening."""
        cell = self.cell(at)
        if not self.cells:
            self.newest = cell
        for each in range(self.newest + 1, min(cell, self.newest + CELLS) + 1):
            if self.on and not self.calm_since and self.rate(each) < self.storm.below:
                self.calm_since = self.begin(each)
        if cell > self.newest:
            self.newest = cell
            if self.calm_since and at - self.calm_since >= self.storm.quiet * 1000:
                self.on, self.calm_since = False, 0
        self.cells.append(cell)
        rate = self.rate(self.newest)
        if self.on and rate >= self.storm.below:
            self.calm_since = 0
        self.on = self.on or rate >= self.storm.above


@settings(max_examples=300)
@given(STORMS, STEPS)
def test_a_rate_is_exact(storm: Storm, steps: list[int]) -> None:
    """On and off, opening by opening, as a model says that keeps every opening; late ones have their own cell."""
    state, model = b"", Model(storm)
    for at in accumulate(steps, initial=START):
        state = count(state, storm, at)
        model.count(at)
        assert is_on(state) == model.on


@given(st.lists(st.integers(0, 5000), max_size=80))
def test_cells_are_close_to_a_sliding_window(steps: list[int]) -> None:
    """A storm begins at `above` openings within 59/60 of the window at the latest, and never at fewer within it."""
    state, times = b"", []
    for at in accumulate(steps, initial=START):
        was_on, state = is_on(state), count(state, STORM, at)
        times.append(at)
        if not was_on and is_on(state):
            assert sum(each > at - 60_000 for each in times) >= STORM.above
        if sum(each > at - 59_000 for each in times) >= STORM.above:
            assert is_on(state)


@given(STORMS, STEPS, st.integers(1, 10**6))
def test_the_end_is_known_before(storm: Storm, steps: list[int], later: int) -> None:
    """An opening before `over_at` finds the storm on, one at it or after it finds it off: the end needs no opening."""
    state = after(list(accumulate(steps, initial=START)), storm)
    end = over_at(state, storm)
    assert bool(end) == is_on(state)
    if end:
        alone = storm.model_copy(update={"above": 10_000})
        assert is_on(count(state, alone, end - 1))
        assert not is_on(count(state, alone, end))
        assert not is_on(count(state, alone, end + later))


@given(STORMS, STEPS, st.integers(0, 10**6))
def test_an_idle_state_is_none(storm: Storm, steps: list[int], later: int) -> None:
    """From `idle_at` on, whatever opens finds what it would find without a state."""
    state = after(list(accumulate(steps, initial=START)), storm)
    at = idle_at(state, storm) + later
    assert count(state, storm, at) == count(b"", storm, at)


def test_between_the_limits_nothing_changes() -> None:
    """Hysteresis: three in a window neither begin a storm nor end one."""
    slow = [START + n * 20_000 for n in range(50)]
    assert not is_on(after(slow))
    burst = [START - 5 + n for n in range(5)]
    assert is_on(after(burst + slow))


@pytest.mark.parametrize(("quiet", "on"), [(29_999, True), (30_000, False)])
def test_a_storm_is_over_after_quiet(quiet: int, on: bool) -> None:
    """Five openings at once leave the window 60 s later; 30 s after that the storm is over, to the millisecond."""
    state = after([START] * 5)
    assert over_at(state, STORM) == START + 60_000 + 30_000
    assert is_on(count(state, STORM, START + 60_000 + quiet)) is on


def test_a_late_opening_refreshes_nothing() -> None:
    """One of long ago is not counted; one that is late leaves the window as if it had come in time."""
    state = after([START] * 5 + [START + 70_000])
    assert over_at(state, STORM) == START + 60_000 + 30_000
    assert count(state, STORM, START - 100_000) == state
    assert over_at(count(state, STORM, START + 11_000), STORM) == START + 11_000 + 60_000 + 30_000


def test_a_window_of_another_length_is_counted_anew() -> None:
    """A changed configuration never reads cells of another length; a storm that is on goes on, and ends."""
    state = after([START] * 5)
    longer = STORM.model_copy(update={"within": 600})
    assert is_on(count(state, longer, START + 1000))
    assert not is_on(count(state, longer, START + 3_600_000))
    calm = after([START] * 4)
    assert not is_on(count(calm, longer, START + 1000))


def test_a_state_has_one_size() -> None:
    """Whatever the rate is, so that the table does not grow in a storm."""
    storm = STORM.model_copy(update={"above": 10_000, "below": 9_000})
    assert len(after([START] * 70_000, storm)) == len(after([START])) <= 160


@pytest.mark.parametrize(
    "wrong",
    [
        {"storm": {"above": 5, "below": 5}},
        {"storm": {"above": 1, "below": 1}},
        {"storm": {"above": 5, "below": 2, "within": 0}},
        {"storm": {"above": 5, "below": 2}, "correlation": {"group_by": ["source"]}},
        {"reopen": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    """Limits without hysteresis, no limit, and a group that is of no single service."""
    with pytest.raises(ValidationError):
        Service.model_validate({"id": "web", **wrong})
