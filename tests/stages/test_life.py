"""The life of a key: windows, holds, thresholds, flapping, and an end without a resolve."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.control.life import Threshold
from schemas.wire.incident import Status
from streams.policy.life import Course, reached
from tests.stages.path import Path, control

PAGE = ("rule/default/all", {"id": "all", "route": ["ops"]})


def living(**life: Any) -> Path:
    """A path whose service has this life."""
    return Path(control(PAGE, ("service/default/web", {"id": "web", "life": life})))


def told(path: Path) -> list[str]:
    """What people heard."""
    return [str(each.transition) for each in path.notifications]


class TestHold:
    """Told only if it is still open after a time."""

    @pytest.mark.parametrize(("after", "opens"), [(299, False), (301, True)])
    def test_a_resolve_before_it_cancels(self, after: int, opens: bool) -> None:
        """Resolved within the hold: nobody hears of it, and both alerts say why. Later: opened, then resolved."""
        path = living(hold=300)
        path.push("trigger", "cpu")
        path.tick(after)
        path.push("resolve", "cpu")
        path.tick(600)
        assert told(path) == (["triggered", "resolved"] if opens else [])
        assert path.outcomes == (["opened", "resolved"] if opens else ["suppressed", "suppressed"])

    def test_an_outage_between_changes_nothing(self) -> None:
        """Trigger, ten minutes without us, resolve: the deadline is earlier than the resolve, so it fires first."""
        path = living(hold=300)
        path.push("trigger", "cpu")
        path.restart()
        path.now += 600_000
        path.push("resolve", "cpu")
        assert told(path) == ["triggered", "resolved"]

    def test_repeats_wait_with_it(self) -> None:
        """The most severe alert opens the incident, and the others count as repeats."""
        path = living(hold=60)
        for severity in ("warning", "critical", "error"):
            path.push("trigger", "cpu", severity)
        path.tick(180)
        assert (path.incident.severity.name, path.incident.alert_count) == ("CRITICAL", 3)
        path.push("trigger", "cpu", "warning")
        path.tick(120)
        assert path.incident.alert_count == 4
        assert sorted(path.outcomes) == ["deduplicated"] * 3 + ["opened"]

    def test_a_rule_may_ask_for_it(self) -> None:
        """The rule's life overrides the service's."""
        hold = ("rule/default/hold", {"id": "hold", "match": ['severity="warning"'], "life": {"hold": 60}})
        path = Path(control(PAGE, hold))
        path.push("trigger", "cpu", "warning")
        path.push("trigger", "disk", "critical")
        assert told(path) == ["triggered"]
        path.tick(61)
        assert told(path) == ["triggered", "triggered"]


class TestThreshold:
    """Told only once enough came within a time."""

    def test_the_alert_that_makes_it_enough_opens(self) -> None:
        """Those before it end as suppressed, and are counted later."""
        path = living(threshold={"count": 3, "within": 60})
        for _ in range(3):
            path.push("trigger", "login")
            path.tick(20)
        assert path.outcomes == ["suppressed", "suppressed", "opened"]
        assert told(path) == ["triggered"]
        assert path.notifications[0].incident.alert_count == 3

    def test_too_slow_is_never_enough(self) -> None:
        """The window slides: three in 61 seconds are not three in 60."""
        path = living(threshold={"count": 3, "within": 60})
        for _ in range(10):
            path.push("trigger", "login")
            path.tick(31)
        assert path.outcomes == ["suppressed"] * 10

    def test_nothing_is_kept_for_ever(self) -> None:
        """A key of which no more comes is forgotten when its window is over."""
        path = living(threshold={"count": 3, "within": 60})
        path.push("trigger", "login")
        path.tick(61)
        assert not list(path.dedup_state.items())

    def test_it_counts_anew_after_a_resolve(self) -> None:
        """It is armed again below the count."""
        path = living(threshold={"count": 2, "within": 60})
        for action in ("trigger", "trigger", "resolve", "trigger"):
            path.push(action, "login")
            path.tick(1)
        assert path.outcomes == ["suppressed", "opened", "resolved", "suppressed"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=40), st.integers(2, 6), st.integers(1, 60))
def test_a_threshold_is_exact(times: list[int], count: int, within: int) -> None:
    """In any order: it is reached when the newest `count` of all that came lie within the time."""
    course, limits, seen = Course(), Threshold(count=count, within=within), []
    for at in times:
        seen.append(at)
        newest = sorted(seen)[-count:]
        assert reached(course, limits, at) == (len(newest) == count and newest[-1] - newest[0] <= within * 1000)


class TestFlapping:
    """A key whose state changes too often is told once, and then when it is stable."""

    LIFE = {"flapping": {"changes": 6, "within": 600, "quiet": 300}}  # noqa: RUF012 - never changed

    def flip(self, path: Path, times: int) -> None:
        """Trigger and resolve in turn, ten seconds apart."""
        for number in range(times):
            path.push("trigger" if number % 2 == 0 else "resolve", "link")
            path.tick(10)

    def test_it_is_told_once_and_then_its_end(self) -> None:
        """Twenty flips that end resolved: the incidents before it flapped, one that flaps, and its end."""
        path = living(**self.LIFE)
        self.flip(path, 20)
        assert told(path) == ["triggered", "resolved"] * 3 + ["triggered"]
        assert path.notifications[-1].incident.labels["stormweir.flapping"] == "true"
        path.tick(301)
        assert told(path) == ["triggered", "resolved"] * 4
        assert path.outcomes.count("suppressed") == 7, "resolves that nobody was told of"

    def test_one_that_ends_open_stays_open(self) -> None:
        """What was told last is true, so nothing more is told; its next resolve is."""
        path = living(**self.LIFE)
        self.flip(path, 21)
        path.tick(400)
        assert told(path) == ["triggered", "resolved"] * 3 + ["triggered"]
        path.push("resolve", "link")
        assert told(path)[-1] == "resolved"

    def test_slow_changes_are_no_flapping(self) -> None:
        """Six changes in more than the time are six changes."""
        path = living(**self.LIFE)
        for number in range(12):
            path.push("trigger" if number % 2 == 0 else "resolve", "link")
            path.tick(130)
        assert told(path) == ["triggered", "resolved"] * 6


class TestSilence:
    """A key whose sender never resolves ends by itself (contract C117)."""

    def test_no_alert_for_so_long_is_its_end(self) -> None:
        """Each alert puts it off; the timeline says why it ended, and a later alert is a new incident."""
        path = living(resolve_after=600)
        for _ in range(3):
            path.push("trigger", "job")
            path.tick(500)
        assert path.incident.status == Status.OPEN
        path.tick(101)
        assert path.incident.status == Status.RESOLVED
        assert path.events[-1].note == "it did not fire for 600 s"
        path.push("trigger", "job")
        assert len(path.incidents) == 2
        assert told(path) == ["triggered", "resolved", "triggered"]

    def test_members_of_a_group_end_one_by_one(self) -> None:
        """The incident ends with its last member."""
        group = {"id": "web", "life": {"resolve_after": 600}, "correlation": {"group_by": ["source"]}}
        path = Path(control(PAGE, ("service/default/web", group)))
        path.push("trigger", "a")
        path.tick(300)
        path.push("trigger", "b")
        path.tick(301)
        assert path.incident.status == Status.OPEN
        path.tick(301)
        assert path.incident.status == Status.RESOLVED


def test_two_rows_of_one_record_are_in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer takes the first block of an offset only: a resolve that cancels a hold writes two rows."""
    monkeypatch.setattr("streams.stages.history_rows.MAX_ROWS", 1)
    path = living(hold=300)
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    assert path.outcomes == ["suppressed", "suppressed"]
    assert len(path.logs["alerts.history"]) == 1


def test_a_window_of_its_own() -> None:
    """`window` of a rule folds repeats for longer than the service's."""
    wide = ("rule/default/wide", {"id": "wide", "life": {"window": 600}})
    path = Path(control(PAGE, wide))
    for _ in range(5):
        path.push("trigger", "cpu")
        path.tick(100)
    assert path.incident.alert_count == 1, "not told yet"
    path.tick(200)
    assert path.incident.alert_count == 5


@pytest.mark.parametrize("seed", range(30))
def test_any_order_and_any_restart_give_one_answer(seed: int) -> None:
    """The same alerts, with restarts between any two, end alike; every alert ends exactly once."""
    chance = random.Random(seed)
    life = {
        "hold": chance.choice([None, 20]),
        "threshold": chance.choice([None, {"count": 2, "within": 60}]),
        "flapping": chance.choice([None, {"changes": 4, "within": 300, "quiet": 60}]),
        "resolve_after": chance.choice([None, 120]),
    }
    script = [(chance.choice(["trigger", "trigger", "resolve", "acknowledge"]), chance.choice("ab"),
               chance.choice(["info", "critical"]), chance.randrange(40)) for _ in range(60)]  # fmt: skip
    whole, restarted = living(**life), living(**life)
    for path in (whole, restarted):
        for action, key, severity, pause in script:
            if path is restarted and chance.random() < 0.5:
                path.restart()
            path.push(action, key, severity)
            path.tick(pause)
        path.tick(1000)
    assert whole.outcomes == restarted.outcomes
    assert told(whole) == told(restarted)
    assert len(whole.outcomes) == len(script), "every alert ended once"


def test_counts_of_an_earlier_episode_are_none_of_the_newer() -> None:
    """A crashed worker sends what it sent before its crash once more; by then the key may have another incident."""
    path = Path(control(PAGE, ("service/default/web", {"id": "web", "dedup_window": 60})))
    for _ in range(5):
        path.push("trigger", "cpu")
    path.tick(61)
    count = path.logs[topics.ALERTS_UNIQUE.name][-1]
    path.push("resolve", "cpu")
    path.tick(1)
    path.push("trigger", "cpu")
    path.append(count.topic, count.value, count.key)
    path.run()
    assert [each.alert_count for each in path.incidents.values()] == [5, 1]


def test_an_end_of_an_earlier_episode_is_none_of_the_newer() -> None:
    """The same for a key that ended because it was silent."""
    path = living(resolve_after=60)
    path.push("trigger", "cpu")
    path.tick(61)
    ended = path.logs[topics.ALERTS_UNIQUE.name][-1]
    path.push("trigger", "cpu")
    path.append(ended.topic, ended.value, ended.key)
    path.run()
    assert [each.status for each in path.incidents.values()] == [Status.RESOLVED, Status.OPEN]


def test_a_rule_may_say_what_flapping_is() -> None:
    """As if the service said it, also where a rule moved the alert to another service."""
    life = {"flapping": {"changes": 4, "within": 600, "quiet": 300}}
    by_rule = Path(control(PAGE, ("rule/default/links", {"id": "links", "life": life, "service": "net"})))
    by_service = living(**life)
    for path in (by_rule, by_service):
        for number in range(9):
            path.push("trigger" if number % 2 == 0 else "resolve", "link")
            path.tick(10)
        path.tick(400)
    assert told(by_rule) == told(by_service)
    assert by_rule.outcomes == by_service.outcomes
    assert by_rule.incidents.popitem()[1].labels["stormweir.flapping"] == "true"
