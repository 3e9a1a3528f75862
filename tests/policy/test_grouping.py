"""The messages of a group: timed scripts as Alertmanager's acceptance tests have them, and a model."""

from typing import Any

import msgspec
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import MAX_RELATED, Change, Transition
from streams.policy import grouping
from streams.policy.grouping import MAX_LISTED, MAX_MEMBERS, Group, Message, Tell
from streams.policy.routing import Timers
from tests.policy.test_mutes import incident

S = 1_000
MIN = 60 * S
TRIGGERED, ESCALATED, RESOLVED, REMINDER, UPDATED = (
    Transition.TRIGGERED,
    Transition.ESCALATED,
    Transition.RESOLVED,
    Transition.REMINDER,
    Transition.UPDATED,
)
#: A start, so that no time is 0, which is "none".
T0 = 1_700_000_000_000
WARNING, ERROR, CRITICAL = Severity.WARNING, Severity.ERROR, Severity.CRITICAL


def numbered(number: int, severity: Severity = ERROR, **changes: Any) -> Incident:
    """An incident whose id is a number."""
    values = {"incident_id": number.to_bytes(16, "big"), "title": f"number {number}", "severity": severity}
    return incident(**(values | changes))


class Script:
    """A group, what is done to it at which second, and the messages that leave, by second.

    The clock stops at every due time, as dispatch's table does.
    """

    def __init__(self, wait: int = 30, interval: int = 300, repeat: int = 14_400) -> None:
        self.group = Group(Timers(wait * S, interval * S, repeat * S))
        self.sent: list[tuple[float, Message]] = []

    def at(self, second: float, *doings: tuple[str, Incident]) -> None:
        """Flush what is due until then, then do this and flush what is due at once."""
        self._run(second)
        for what, subject in doings:
            now = T0 + int(second * S)
            match what:
                case "opens":
                    grouping.opened(self.group, subject, now)
                case "rises" | "acknowledged":
                    grouping.changed(self.group, subject, now)
                case "resolves":
                    grouping.resolved(self.group, subject.incident_id, now)
            # The table's entry is written and read between any two records.
            self.group = msgspec.msgpack.decode(msgspec.msgpack.encode(self.group), type=Group)
            self._run(second)

    def until(self, second: float) -> list[float]:
        """When messages left."""
        self._run(second)
        return [at for at, _ in self.sent]

    def said(self, index: int = -1) -> dict[str, list[int]]:
        """What a message says, by change."""
        changes = self.sent[index][1].changes
        return {str(kind): [_number(key) for key in each.ids] for kind, each in changes.items() if each.total}

    def tells(self, index: int = -1) -> list[tuple[int, Transition]]:
        """The messages that incidents got of their own."""
        return [(_number(key), transition) for key, transition in self.sent[index][1].tells]

    def _run(self, second: float) -> None:
        while 0 < (due := grouping.due(self.group)) <= T0 + second * S:
            message = grouping.flush(self.group, due)
            if message is not None:
                self.sent.append(((due - T0) / S, message))


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def test_the_first_page_leaves_at_once_and_the_next_wait() -> None:
    """At 1 s push, want at 1 s; further ones at 31 s in one message; then five minutes between messages."""
    script = Script()
    script.at(1, ("opens", numbered(1)))
    assert script.until(1) == [1]
    assert script.tells() == [(1, TRIGGERED)]
    script.at(2, ("opens", numbered(2, WARNING)))
    script.at(20, ("opens", numbered(3)))
    assert script.until(31) == [1]
    script.at(40, ("opens", numbered(4)))
    assert script.until(600) == [1, 32, 332]
    assert script.said(1) == {"new": [3, 2], "open": [1]}
    assert script.tells(1) == [(3, TRIGGERED)]
    assert script.said(2) == {"new": [4], "open": [1, 3, 2]}


def test_repeat_is_its_own_deadline() -> None:
    """With 7 minutes on an interval of 5, an open group is told every 7, not every 10 (AM 3370, 2398)."""
    script = Script(repeat=7 * 60)
    script.at(0, ("opens", numbered(1)))
    assert script.until(30 * 60) == [0, 420, 840, 1260, 1680]
    assert script.said() == {"open": [1]}
    assert script.tells() == [(1, REMINDER)]


def test_a_message_puts_the_repeat_off() -> None:
    """Repeat counts from the last message, whatever caused it (AM 1063)."""
    script = Script(repeat=7 * 60)
    script.at(0, ("opens", numbered(1)))
    script.at(100, ("opens", numbered(2)))
    assert script.until(14 * 60) == [0, 130, 550]


def test_a_repeat_shorter_than_the_interval_is_kept() -> None:
    """What is configured happens (AM 3552)."""
    script = Script(repeat=60)
    script.at(0, ("opens", numbered(1)))
    assert script.until(200) == [0, 60, 120, 180]


def test_a_change_that_waits_is_told_by_a_repeat() -> None:
    """A message tells everything up to its time, and nothing twice."""
    script = Script(repeat=7 * 60)
    script.at(0, ("opens", numbered(1)))
    script.at(10, ("opens", numbered(2)))
    script.at(11, ("opens", numbered(3)))
    assert script.until(41) == [0, 40]
    script.at(459, ("opens", numbered(4)))
    assert script.until(1000) == [0, 40, 460, 880]
    assert script.said(2) == {"new": [4], "open": [1, 2, 3]}
    assert script.said(3) == {"open": [1, 2, 3, 4]}


def test_the_end_of_what_was_told_is_told() -> None:
    """In its own message if it had one, else in another's; nothing of it again (AM 226, 2496)."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(1, ("opens", numbered(2)))
    script.at(2, ("opens", numbered(3)))
    script.at(40, ("resolves", numbered(3)))
    assert script.until(400) == [0, 31, 331]
    assert (script.said(), script.tells()) == ({"resolved": [3], "open": [1, 2]}, [(1, UPDATED)])
    script.at(400, ("resolves", numbered(1)))
    script.at(401, ("resolves", numbered(2)))
    assert script.until(5_000) == [0, 31, 331, 631]
    assert (script.said(), script.tells()) == ({"resolved": [1, 2]}, [(1, RESOLVED), (2, RESOLVED)])
    assert grouping.is_over(script.group)


def test_a_flap_within_an_interval_is_told_as_such() -> None:
    """What opened and ended between two messages is in the next one (AM 2320)."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(40, ("opens", numbered(2)), ("resolves", numbered(2)))
    script.at(50, ("resolves", numbered(1)), ("opens", numbered(1)))
    assert script.until(70) == [0, 70]
    assert script.said() == {"flapped": [1, 2]}
    assert script.tells() == [(1, TRIGGERED)]
    assert [(each.title, each.change) for each in script.sent[-1][1].related] == [("number 2", Change.FLAPPED)]
    assert script.until(4_000) == [0, 70]
    script.at(4_000, ("opens", numbered(3)))
    assert script.until(4_030) == [0, 70, 4_030]
    assert script.said() == {"new": [3], "open": [1]}


def test_a_flap_alone_is_told() -> None:
    """Nothing else is open: the message says that it opened and resolved."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(1, ("resolves", numbered(1)))
    assert script.until(40) == [0, 31]
    script.at(50, ("opens", numbered(2)))
    script.at(60, ("resolves", numbered(2)))
    assert script.until(100) == [0, 31, 80]
    assert script.said() == {"flapped": [2]}
    assert script.tells() == [(2, TRIGGERED), (2, RESOLVED)]


def test_a_group_that_is_over_stays_for_an_interval() -> None:
    """What opens meanwhile waits `group_wait`, so a flapping alert does not page each time; later it is at once."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(1, ("resolves", numbered(1)))
    script.at(100, ("opens", numbered(2)))
    script.at(101, ("resolves", numbered(2)))
    assert script.until(429) == [0, 31, 130]
    assert not grouping.is_over(script.group)
    script.until(430)
    assert grouping.is_over(script.group)


def test_a_rise_is_told_and_a_severe_one_is_paged() -> None:
    """An incident that was only named gets a message of its own when it gets worse; other changes are no reason."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(1, ("opens", numbered(2)), ("opens", numbered(3, WARNING)))
    script.at(40, ("acknowledged", numbered(1, status=Status.ACKNOWLEDGED)))
    assert script.until(1_000) == [0, 31]
    script.at(1_000, ("rises", numbered(3, CRITICAL)), ("rises", numbered(1, CRITICAL)))
    assert script.until(1_100) == [0, 31, 1_030]
    assert script.said() == {"escalated": [1, 3], "open": [2]}
    assert script.tells() == [(3, TRIGGERED), (1, ESCALATED)]


def test_somebody_open_always_has_a_message_of_its_own() -> None:
    """When the only one that did is over, the worst of the others gets one: PagerDuty has an open alert."""
    script = Script()
    script.at(0, ("opens", numbered(1)))
    script.at(1, ("opens", numbered(2, CRITICAL)), ("opens", numbered(3)))
    script.at(40, ("resolves", numbered(1)), ("resolves", numbered(2)))
    assert script.until(400) == [0, 31, 331]
    assert script.tells() == [(3, TRIGGERED), (2, RESOLVED), (1, RESOLVED)]


def test_only_what_is_due_is_put_off() -> None:
    """A calendar that mutes moves what is due to a later time, and nothing else."""
    group = Group(Timers())
    group.send_at, group.look_at = 500, 100
    grouping.postpone(group, 100, 160)
    assert (group.send_at, group.look_at) == (500, 160)
    grouping.postpone(group, 600, 660)
    assert (group.send_at, group.look_at) == (660, 660)
    idle = Group(Timers())
    grouping.postpone(idle, 600, 660)
    assert (idle.send_at, idle.look_at) == (0, 0)


def test_what_is_early_or_late_does_nothing() -> None:
    """A flush before it is due, a resolve of what is unknown or over, an opening that comes twice."""
    script = Script()
    script.at(0, ("resolves", numbered(1)))
    assert grouping.due(script.group) == 0
    script.at(0, ("opens", numbered(1)))
    assert grouping.flush(script.group, T0 + 1) is None
    script.at(2, ("opens", numbered(1)))
    script.at(3, ("resolves", numbered(1)))
    script.at(4, ("resolves", numbered(1)), ("rises", numbered(9, CRITICAL)))
    assert script.until(10_000) == [0, 33]
    assert grouping.is_over(script.group)


def test_a_storm_is_bounded() -> None:
    """Beyond the bound incidents are counted; the worst stay known by name, and the sums are right."""
    script, count = Script(), MAX_MEMBERS + 500
    script.at(0, ("opens", numbered(1)))
    now = T0 + S
    for number in range(2, count + 1):
        grouping.opened(script.group, numbered(number, CRITICAL if number == count else WARNING), now)
    assert len(script.group.members) == MAX_MEMBERS
    script.until(31)
    message = script.sent[-1][1]
    assert message.tells == (Tell(numbered(count).incident_id, TRIGGERED),)
    assert (message.changes[Change.NEW].total, message.changes[Change.OPEN].total) == (count - 1, 1)
    assert len(message.changes[Change.NEW].ids) == MAX_LISTED
    assert (len(message.related), message.more) == (MAX_RELATED, count - 1 - MAX_RELATED)
    for number in range(1, count + 1):
        grouping.resolved(script.group, numbered(number).incident_id, T0 + 40 * S)
    script.until(331)
    assert {kind: each.total for kind, each in script.sent[-1][1].changes.items() if each.total} == {"resolved": count}
    script.until(1_000)
    assert grouping.is_over(script.group)
    assert len(msgspec.msgpack.encode(script.group)) < 100


def test_a_rise_beyond_the_bound_is_told() -> None:
    """One that was only counted is named when it changes."""
    script = Script()
    script.at(0, ("opens", numbered(0)))
    for number in range(1, MAX_MEMBERS + 1):
        grouping.opened(script.group, numbered(number, WARNING), T0 + S)
    script.until(31)
    script.at(400, ("rises", numbered(MAX_MEMBERS, CRITICAL)))
    script.until(430)
    assert script.tells() == [(MAX_MEMBERS, TRIGGERED)]
    assert script.said()["new"] == [MAX_MEMBERS]
    assert sum(each.total for each in script.sent[-1][1].changes.values()) == MAX_MEMBERS + 1


def test_a_full_group_has_a_known_size() -> None:
    """Titles of any length are cut."""
    group = Group(Timers())
    for number in range(MAX_MEMBERS):
        grouping.opened(group, numbered(number, title="x" * 10_000), T0)
    assert len(msgspec.msgpack.encode(group)) < 200_000


class Model(RuleBasedStateMachine):
    """Any order of changes and times: every message is the difference between what is so and what was told last."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group(Timers(30 * S, 300 * S, 420 * S))
        self.now = T0
        self.incidents: dict[int, Incident] = {}
        self.told: dict[int, Severity] = {}
        self.turned: set[int] = set()
        self.own: set[int] = set()
        self.last: int = 0
        self.changed_at = 0

    @rule(number=st.integers(0, 2), severity=st.sampled_from(Severity))
    def open(self, number: int, severity: Severity) -> None:
        """An incident opens, or opens again."""
        if number in self.incidents:
            return
        self.incidents[number] = numbered(number, severity)
        if number in self.told:
            self.turned.add(number)
        grouping.opened(self.group, self.incidents[number], self.now)
        self.changed_at = self.changed_at or self.now

    @rule(number=st.integers(0, 2))
    def rise(self, number: int) -> None:
        """It gets worse."""
        if number not in self.incidents or self.incidents[number].severity == CRITICAL:
            return
        worse = numbered(number, Severity(self.incidents[number].severity + 1))
        self.incidents[number] = worse
        grouping.changed(self.group, worse, self.now)
        if worse.severity > self.told.get(number, 0):
            self.changed_at = self.changed_at or self.now

    @rule(number=st.integers(0, 2))
    def resolve(self, number: int) -> None:
        """It is over."""
        if number not in self.incidents:
            return
        del self.incidents[number]
        self.turned.add(number)
        grouping.resolved(self.group, number.to_bytes(16, "big"), self.now)
        self.changed_at = self.changed_at or self.now

    @rule(seconds=st.sampled_from([1, 10, 30, 100, 300, 420]))
    def wait(self, seconds: int) -> None:
        """Time goes by; the group is flushed whenever it is due."""
        end = self.now + seconds * S
        while 0 < (due := grouping.due(self.group)) <= end:
            self.now = max(self.now, due)
            self._flush(grouping.flush(self.group, self.now))
        self.now = end

    def _flush(self, message: Message | None) -> None:
        expected: dict[Change, set[int]] = {change: set() for change in Change}
        for number, known in self.incidents.items():
            if number not in self.told:
                expected[Change.NEW].add(number)
            elif known.severity > self.told[number]:
                expected[Change.ESCALATED].add(number)
            else:
                expected[Change.FLAPPED if number in self.turned else Change.OPEN].add(number)
        for number in self.turned - self.incidents.keys():
            expected[Change.RESOLVED if number in self.told else Change.FLAPPED].add(number)
        if message is None:
            assert not any(expected.values())
            return
        assert {change: {*map(_number, each.ids)} for change, each in message.changes.items()} == expected
        self._owns(message, expected)
        if self.changed_at and self.last:
            # Nothing waits longer than an interval, or group_wait.
            assert self.now <= max(self.changed_at + 30 * S, self.last + 300 * S)
        self.told = {number: known.severity for number, known in self.incidents.items()}
        self.turned, self.changed_at, self.last = set(), 0, self.now

    def _owns(self, message: Message, expected: dict[Change, set[int]]) -> None:
        tells = [(_number(key), transition) for key, transition in message.tells]
        begun = {number for number, transition in tells if transition == TRIGGERED}
        over = {number for number, transition in tells if transition == RESOLVED}
        assert over == (self.own & expected[Change.RESOLVED]) | (begun & expected[Change.FLAPPED] - {*self.incidents})
        assert len(tells) == len(set(tells)) >= 1
        self.own = (self.own | begun) & self.incidents.keys()
        assert self.own or not self.incidents
        named = {_number(each.incident_id) for each in message.related} | {tells[0][0]}
        assert named == set().union(*expected.values())

    @invariant()
    def everything_has_its_time(self) -> None:
        """A change that is not told, and an incident that is open, have a time at which they are told."""
        if self.changed_at or self.incidents:
            assert grouping.due(self.group)


Model.TestCase.settings = hypothesis_settings(max_examples=200, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
