"""State machines against simple models: silences, escalation; and crashes of any stage at any record."""

import copy
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.wire.command import CommandAction
from schemas.wire.incident import Incident
from streams.rehearsal.line import step
from streams.stages import muted
from tests.stages.path import START, Path, Rec, control
from tests.stages.table import TableState
from tests.stages.test_dispatch import PAGE, people, silence

SETTINGS = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
KEYS = ("k0", "k1", "k2")
#: The delay of each step of the policy, and when an acknowledgement ends.
STEP_S, LAPSE_S = 300, 600


class Silences(RuleBasedStateMachine):
    """Three keys and two silences. The model knows of each key whether people were told that it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(control(PAGE))
        self.silences: dict[str, tuple[str, float]] = {}
        self.severity: dict[str, str] = {}
        self.told: dict[str, str] = {}
        self.heard: dict[str, list[str]] = {key: [] for key in KEYS}

    @property
    def seconds(self) -> float:
        """Since the start."""
        return (self.path.now - START) / 1000

    def silent(self, key: str) -> bool:
        """The model: whether a silence of this key is on."""
        return any(which == key and self.seconds < end for which, end in self.silences.values())

    def decide(self) -> None:
        """The model: what is open and not silent is told, if people do not know it as it is."""
        for key, severity in self.severity.items():
            if not self.silent(key) and self.told.get(key) != severity:
                self.heard[key].append("escalated" if key in self.told else "triggered")
                self.told[key] = severity

    @rule(key=st.sampled_from(KEYS), severity=st.sampled_from(["warning", "critical"]))
    def fires(self, key: str, severity: str) -> None:
        """An alert opens, repeats or rises; a rise is never taken back."""
        self.path.push("trigger", key, severity)
        if self.severity.get(key) != "critical":
            self.severity[key] = severity
        self.decide()

    @rule(key=st.sampled_from(KEYS))
    def ends(self, key: str) -> None:
        """It is over, which is told if its beginning was."""
        self.path.push("resolve", key)
        if self.severity.pop(key, None) and self.told.pop(key, None):
            self.heard[key].append("resolved")

    @rule(name=st.sampled_from("ab"), key=st.sampled_from(KEYS), lasts=st.integers(1, 400))
    def is_silenced(self, name: str, key: str, lasts: int) -> None:
        """A silence is added or replaced; within the time of a look that holds for what it hid before."""
        record = {**silence(self.seconds, self.seconds + lasts, f'dedup_key="{key}"')[1], "id": name}
        self.path.control.apply(f"silence/default/{name}", json.dumps(record).encode())
        self.silences[name] = key, self.seconds + lasts
        self.passes(muted.RECHECK_MS // 1000)

    @rule(name=st.sampled_from("ab"))
    def is_unsilenced(self, name: str) -> None:
        """A silence is deleted."""
        self.path.control.apply(f"silence/default/{name}", None)
        self.silences.pop(name, None)
        self.passes(muted.RECHECK_MS // 1000)

    @rule(seconds=st.integers(1, 300))
    def passes(self, seconds: int) -> None:
        """Time, a second at a time."""
        for _ in range(seconds):
            self.path.tick(1)
            self.decide()

    @rule()
    def restarts(self) -> None:
        """The stages are made anew."""
        self.path.restart()

    @invariant()
    def people_heard_what_the_model_says(self) -> None:
        """The messages of each key, in order."""
        for key in KEYS:
            heard = [str(each.transition) for each in self.path.notifications if each.incident.dedup_key == key]
            assert heard == self.heard[key]


class Escalation(RuleBasedStateMachine):
    """One incident, a policy of two steps that repeats once, commands at any time. The model has one deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(control(*people(repeat=1, acknowledge_timeout=LAPSE_S)))
        self.phase = "none"
        self.place, self.due = 0, 0.0
        self.pages: list[tuple[float, str]] = []
        self.commands = 0
        self.last: tuple[CommandAction, Incident] | None = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return (self.path.now - START) / 1000

    def go(self) -> None:
        """The model: what is due by now. Two steps twice; an acknowledgement ends, and the steps begin anew."""
        if self.phase == "acknowledged" and self.due <= self.seconds:
            self.phase, self.place = "running", 0
        while self.phase == "running" and self.due <= self.seconds:
            self.pages.append((self.seconds, ("ada-phone", "bob-phone")[self.place % 2]))
            self.place, self.due = self.place + 1, self.due + STEP_S
            if self.place == 4:
                self.phase = "exhausted"

    def command(self, action: CommandAction) -> None:
        """A person's command."""
        incident = list(self.path.incidents.values())[-1]
        self.commands += 1
        self.last = action, incident
        self.path.command(action, incident, command_id=self.commands.to_bytes(16, "big"))

    @rule()
    def fires(self) -> None:
        """The alert opens an incident, or repeats."""
        self.path.push("trigger", "cpu")
        if self.phase == "none":
            self.phase, self.place, self.due = "running", 0, self.seconds
        self.go()

    @precondition(lambda self: self.phase != "none")
    @rule()
    def is_acknowledged(self) -> None:
        """The steps stop until the acknowledgement ends; a second one changes nothing."""
        self.command(CommandAction.ACKNOWLEDGE)
        if self.phase != "acknowledged":
            self.phase, self.due = "acknowledged", self.seconds + LAPSE_S

    @precondition(lambda self: self.phase != "none")
    @rule()
    def is_handed_back(self) -> None:
        """Nobody has it any more: the first step again."""
        self.command(CommandAction.UNACKNOWLEDGE)
        if self.phase == "acknowledged":
            self.phase, self.place, self.due = "running", 0, self.seconds
        self.go()

    @precondition(lambda self: self.phase != "none")
    @rule(by_person=st.booleans())
    def is_resolved(self, by_person: bool) -> None:
        """Nobody is paged any more."""
        if by_person:
            self.command(CommandAction.RESOLVE)
        self.path.push("resolve", "cpu")
        self.phase = "none"

    @precondition(lambda self: self.last is not None)
    @rule()
    def a_command_comes_twice(self) -> None:
        """It has no effect."""
        assert self.last is not None
        action, incident = self.last
        self.path.command(action, incident, command_id=self.commands.to_bytes(16, "big"))

    @rule(seconds=st.one_of(st.integers(1, 30), st.sampled_from([STEP_S - 1, STEP_S, LAPSE_S - 1, LAPSE_S])))
    def passes(self, seconds: int) -> None:
        """Time, a second at a time."""
        for _ in range(seconds):
            self.path.tick(1)
            self.go()

    @rule()
    def restarts(self) -> None:
        """The stages are made anew."""
        self.path.restart()

    @invariant()
    def people_are_paged_as_the_model_says(self) -> None:
        """Who, and in which second."""
        paged = [each for each in self.path.notifications if each.transition in {"triggered", "reminder"}]
        assert [((each.queued_at - START) / 1000, each.destination) for each in paged] == self.pages


TestSilences = Silences.TestCase
TestSilences.settings = SETTINGS
TestEscalation = Escalation.TestCase
TestEscalation.settings = SETTINGS


class Crashing(Path):
    """A path whose stages are killed at some of their records: what they sent is there, what they kept is not.

    They are made anew, over the table of before, and process the same again.
    """

    def __init__(self, config: Any, kills: set[int]) -> None:
        super().__init__(config)
        self.kills = kills
        self.calls = 0

    def stage(self, state: TableState, run: Any, records: list[Rec]) -> None:
        """One batch, and once more if it is killed. The second time gives the same, byte by byte."""
        if not records and not state.armed(self.now):
            return
        self.calls += 1
        if self.calls not in self.kills:
            super().stage(state, run, records)
            return
        before = copy.deepcopy(state.__dict__)
        first = list(step(run, state, records, self.now))
        self.emit(first)
        state.__dict__ = before
        self.restart()
        again = {type(each): each for each in (self._dedup, self._correlate, self._dispatch)}.get(type(run), run)
        second = list(step(again, state, records, self.now))
        assert first == second
        self.emit(second)


#: Every timer there is: a hold, a threshold, flapping, an end without a resolve, groups, repeats, escalation, targets,
#: a silence with a notice, an inhibition, a cause, a storm of the tenant.
EVERYTHING = [
    PAGE,
    ("tenant/default", {"id": "default", "storm": {"above": 3, "below": 2, "within": 60, "quiet": 30, "wait": 15}}),
    ("service/default/web", {
        "id": "web", "escalation": "crew", "life": {"hold": 20, "resolve_after": 3000},
        "sla": [{"severities": ["error"], "acknowledge_within": 400, "resolve_within": 900}],
    }),
    ("service/default/db", {"id": "db", "destinations": ["dba"], "life": {"threshold": {"count": 2, "within": 60}}}),
    ("service/default/net", {"id": "net", "depends_on": ["db"], "life": {"flapping": {"changes": 4, "quiet": 300}}}),
    ("route/default/main", {"id": "main", "destinations": ["team"], "group_wait": 30, "repeat_interval": 700}),
    ("inhibition/default/i", {
        "id": "i", "source": ['dedup_key="k0"'], "target": ['dedup_key="k1"'], "equal": ["service"], "hold": 15,
    }),
    silence(50, 500, 'dedup_key="k2"'),
    *(each for each in people(repeat=1, acknowledge_timeout=600) if not each[0].startswith("service/")),
]  # fmt: skip
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["trigger", "trigger", "trigger", "resolve", "acknowledge"]),
        st.sampled_from(["web", "db", "net"]),
        st.sampled_from(KEYS),
        st.sampled_from([1, 10, 25, 120]),
    ),
    min_size=1,
    max_size=12,
)


def played(path: Path, actions: list[tuple[str, str, str, int]]) -> Counter[tuple[str, ...]]:
    """What people heard of these actions and an hour after them, each message once."""
    for action, service, key, pause in actions:
        path.push(action, key, service=service)
        path.tick(pause)
    for _ in range(120):
        path.now += 30_000
        path.run()
    seen = {each.notification_id: each for each in path.notifications}
    return Counter(
        (str(each.transition), each.destination, each.incident.service, each.incident.dedup_key, str(each.queued_at))
        for each in seen.values()
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, st.sets(st.integers(1, 200), max_size=60))
def test_a_crash_at_any_record_tells_the_same(actions: list[tuple[str, str, str, int]], kills: set[int]) -> None:
    """With every timer, and kills at any calls of any stage: no message more, none less, none at another time."""
    assert played(Crashing(control(*EVERYTHING), kills), actions) == played(Path(control(*EVERYTHING)), actions)


@pytest.mark.parametrize("kind", ["all", "even", "odd"])
def test_a_storm_of_the_tenant_tells_once(kind: str) -> None:
    """Openings in three services, a lead that ends, the end of the storm, killed as in the test after this one."""
    actions = [
        *(("trigger", service, f"k{key}", 1) for key in range(3) for service in ("db", "web", "db", "net")),
        ("trigger", "web", "k3", 30), ("trigger", "net", "k4", 10), ("resolve", "web", "k0", 90),
    ]  # fmt: skip
    calls = {"all": set(range(1, 5000)), "even": set(range(2, 5000, 2)), "odd": set(range(1, 5000, 2))}[kind]
    whole, crashing = Path(control(*EVERYTHING)), Crashing(control(*EVERYTHING), calls)
    assert played(whole, actions) == played(crashing, actions)
    notes = [each.note for each in whole.notifications if each.transition != "reminder"]
    assert any(note.startswith("a storm: ") for note in notes)
    assert any(note.startswith("the storm is over") for note in notes)


@pytest.mark.parametrize("kind", ["all", "even", "odd"])
def test_every_timer_fires_once(kind: str) -> None:
    """A script in which each timer fires, killed at all calls of all stages, at every second one, at the others."""
    actions = [
        ("trigger", "web", "k0", 25), ("trigger", "web", "k1", 10), ("trigger", "db", "k0", 10),
        ("trigger", "db", "k0", 10), ("trigger", "net", "k0", 10), ("resolve", "net", "k0", 10),
        ("trigger", "net", "k0", 10), ("resolve", "net", "k0", 10), ("trigger", "net", "k0", 120),
        ("trigger", "web", "k2", 120), ("acknowledge", "web", "k0", 120), ("resolve", "db", "k0", 120),
    ]  # fmt: skip
    calls = {"all": set(range(1, 5000)), "even": set(range(2, 5000, 2)), "odd": set(range(1, 5000, 2))}[kind]
    whole = played(Path(control(*EVERYTHING)), actions)
    assert played(Crashing(control(*EVERYTHING), calls), actions) == whole
    assert {change for change, *_ in whole} == {
        "triggered", "acknowledged", "unacknowledged", "resolved", "reminder", "sla_breach", "updated"
    }  # fmt: skip
