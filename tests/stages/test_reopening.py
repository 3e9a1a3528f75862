"""An incident whose key fires again soon after its resolve is open again: at most one is live for a key."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas import topics
from schemas.wire.codec import decode_incident_change
from schemas.wire.command import CommandAction, CommandEnd
from schemas.wire.incident import Incident, Status
from streams.stages.reopening import SLACK_MS
from tests.stages.path import RETENTION_MS, START, Path, control

PAGE = ("rule/default/page", {"id": "page", "route": ["ops"]})
REOPEN_S = 300


def web(**fields: Any) -> tuple[str, dict[str, Any]]:
    """The service, whose incidents are opened again within five minutes."""
    return "service/default/web", {"id": "web", "reopen": REOPEN_S, "straggler_hold": 0, **fields}


GROUPED = {"correlation": {"group_by": ["service", "source"], "window": 60, "max_window": 600}}


def live(path: Path) -> list[Incident]:
    """The incidents that are not resolved."""
    return [incident for incident in path.incidents.values() if incident.status != Status.RESOLVED]


@pytest.mark.parametrize(("seconds", "same"), [(0, True), (REOPEN_S, True), (REOPEN_S + 0.001, False)])
def test_it_is_the_same_within_the_time(seconds: float, same: bool) -> None:
    """To the millisecond: the same id and the next version, or another incident."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "cpu")
    path.tick(10)
    path.push("resolve", "cpu")
    before = path.incident
    path.tick(seconds)
    path.push("trigger", "cpu")
    if not same:
        assert len(path.incidents) == 2
        return
    after = path.incident
    assert (after.incident_id, after.version, after.status) == (before.incident_id, before.version + 1, Status.OPEN)
    assert (after.opened_at, after.resolved_at, after.alert_count, after.member_count) == (START, 0, 2, 1)
    assert [(each.kind, each.from_status, each.to_status) for each in path.events][-1] == (
        "reopened",
        "resolved",
        "open",
    )
    assert path.outcomes == ["opened", "resolved", "opened"]


def test_without_the_setting_a_new_one_opens() -> None:
    """As ever: and nothing is kept of the old one but its id."""
    path = Path(control(PAGE, web(reopen=0)))
    for _ in range(3):
        path.push("trigger", "cpu")
        path.tick(1)
        path.push("resolve", "cpu")
    assert len(path.incidents) == 3
    assert len(path.correlation_state) == 3


def test_people_are_told_again() -> None:
    """Who heard that it is over hears that it is there; an acknowledgement of before counts no more."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "cpu")
    path.command(CommandAction.ACKNOWLEDGE, path.incident)
    path.push("resolve", "cpu")
    path.tick(5)
    path.push("trigger", "cpu", "warning")
    assert [str(each.transition) for each in path.notifications] == [
        "triggered",
        "acknowledged",
        "resolved",
        "triggered",
    ]
    assert (path.incident.status, path.incident.acknowledged_at) == (Status.OPEN, 0)
    assert path.incident.severity.name == "WARNING", "what fires is what counts"
    path.push("resolve", "cpu")
    assert str(path.notifications[-1].transition) == "resolved"


def test_its_record_is_kept() -> None:
    """The resolve had set the time to delete it; the incident that is open again is not deleted."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    path.tick(1)
    path.push("trigger", "cpu")
    path.now += 2 * RETENTION_MS
    path.run()
    assert all(record.value is not None for record in path.logs[topics.INCIDENTS.name])
    path.push("resolve", "cpu")
    assert path.incident.status is Status.RESOLVED


def test_what_a_person_resolved_is_open_again() -> None:
    """An alert that fires on opens the same incident, not a new one for each time that somebody resolves it."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "cpu")
    path.command(CommandAction.RESOLVE, path.incident)
    path.tick(120)
    path.push("trigger", "cpu")
    assert path.incident.status is Status.OPEN
    path.push("resolve", "cpu")
    assert path.incident.status is Status.RESOLVED


def test_members_that_fire_on_are_counted_once() -> None:
    """Of three members whose incident a person resolved one is resolved, one fires on: two are left to resolve."""
    path = Path(control(PAGE, web(**GROUPED)))
    for key in "abc":
        path.push("trigger", key)
    path.command(CommandAction.RESOLVE, path.incident)
    path.tick(100)
    path.push("resolve", "a")
    path.push("trigger", "b")
    assert (path.incident.status, path.incident.member_count) == (Status.OPEN, 3)
    path.push("resolve", "b")
    assert path.incident.status is Status.OPEN
    path.push("resolve", "c")
    assert path.incident.status is Status.RESOLVED


def test_a_group_is_open_again_with_a_new_window() -> None:
    """Another alert of the group opens it, and further ones join it within the window."""
    path = Path(control(PAGE, web(**GROUPED)))
    path.push("trigger", "a")
    path.push("resolve", "a")
    path.tick(200)
    path.push("trigger", "b")
    path.tick(50)
    path.push("trigger", "c")
    assert (path.incident.member_count, path.incident.version) == (3, 4)
    path.tick(61)
    path.push("trigger", "d")
    assert len(path.incidents) == 2


def test_a_newer_incident_of_the_key_is_not_passed_by() -> None:
    """An older incident of a group that resolves while, or after, a newer one was open is not opened again."""
    path = Path(control(PAGE, web(**GROUPED)))
    path.push("trigger", "a")
    path.tick(61)
    path.push("trigger", "b")
    old, new = path.incidents
    path.push("resolve", "a")
    path.tick(61)
    path.push("trigger", "c")
    assert len(path.incidents) == 3, "while a newer one is open, what does not join opens a new one"
    path.push("resolve", "c")
    path.push("resolve", "b")
    path.tick(10)
    path.push("trigger", "d")
    assert path.incidents[old].status is path.incidents[new].status is Status.RESOLVED
    assert [incident.version for incident in live(path)] == [3]


def test_the_past_is_forgotten() -> None:
    """The entry of a resolved incident shrinks to its id when it may not be opened again."""
    path = Path(control(PAGE, web()))
    path.push("trigger", "cpu")
    path.push("resolve", "cpu")
    sizes = sum(len(value) for _, value in path.correlation_state.items())
    path.now += REOPEN_S * 1000 + SLACK_MS
    path.run()
    assert sum(len(value) for _, value in path.correlation_state.items()) == 9 < sizes


class Life(RuleBasedStateMachine):
    """One service's incidents against a model: for each key, when its incident was resolved, and whether it is live."""

    keys = st.sampled_from("abc")

    @initialize(grouped=st.just(False))
    def start(self, grouped: bool) -> None:
        """Nothing is open."""
        self.path = Path(control(PAGE, web()))
        self.ids: dict[str, bytes] = {}
        self.open: set[str] = set()
        self.resolved_at: dict[str, int] = {}
        self.acknowledged: set[str] = set()
        self.opened = 0

    def _fires(self, key: str) -> None:
        if key in self.open:
            return
        again = key in self.resolved_at and self.path.now <= self.resolved_at[key] + REOPEN_S * 1000
        self.open.add(key)
        if not again:
            self.opened += 1
            self.ids[key] = b""
        self.acknowledged.discard(key)

    @rule(key=keys)
    def trigger(self, key: str) -> None:
        """An alert fires; whether it did before or not."""
        self.path.now += 1
        self.path.push("trigger", key)
        self._fires(key)

    @rule(key=keys)
    def resolve(self, key: str) -> None:
        """Its tool resolves it."""
        self.path.now += 1
        self.path.push("resolve", key)
        if key in self.open:
            self.open.discard(key)
            self.resolved_at[key] = self.path.now

    @rule(key=keys)
    def acknowledge(self, key: str) -> None:
        """Somebody takes it."""
        if self.ids.get(key):
            end = self.path.command(CommandAction.ACKNOWLEDGE, self.path.incidents[self.ids[key]]).end
            assert (end is CommandEnd.DONE) == (key in self.open and key not in self.acknowledged)
            if key in self.open:
                self.acknowledged.add(key)

    @rule(seconds=st.sampled_from([1, 100, 299, 300, 301, 1000]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.path.now += seconds * 1000
        self.path.run()

    @rule()
    def restart(self) -> None:
        """The worker starts anew."""
        self.path.restart()

    @precondition(lambda self: self.opened > 0)
    @rule()
    def again(self) -> None:
        """A crashed worker sends the newest records once more: correlation knows them."""
        for record in self.path.logs[topics.ALERTS_UNIQUE.name][-5:]:
            if not record.headers:
                self.path.append(topics.ALERTS_UNIQUE.name, record.value, record.key)
        self.path.run()

    @invariant()
    def as_the_model_says(self) -> None:
        """As many incidents as it has, at most one is live for a key, and versions only grow."""
        found = self.path.incidents
        assert len(found) == self.opened
        here = {incident.dedup_key: incident for incident in live(self.path)}
        assert len(here) == len(live(self.path))
        assert set(here) == self.open
        for key in self.ids:
            newest = max((each for each in found.values() if each.dedup_key == key), key=lambda each: each.opened_at)
            self.ids[key] = newest.incident_id
            assert (newest.status is Status.ACKNOWLEDGED) == (key in self.open and key in self.acknowledged)
        versions: dict[bytes, int] = {}
        for record in self.path.logs[topics.INCIDENTS_CHANGES.name]:
            incident = decode_incident_change(record.value or b"").incident
            assert incident.version > versions.get(incident.incident_id, 0)
            versions[incident.incident_id] = incident.version


TestLife = Life.TestCase
