"""Escalation: who is paged when, and what stops it."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from schemas.control import Escalation, Override, Schedule, Urgency, User
from streams.policy import escalation
from streams.policy.escalation import Fired, Ladder, Page, State, Why
from streams.policy.oncall import OnCall

NOON = 1_780_315_200_000  # 2026-06-01T12:00Z
MINUTE = 60_000


def policy(*steps: dict[str, Any], **fields: Any) -> Escalation:
    """A policy of these steps."""
    return Escalation.model_validate({"id": "p", "steps": steps, **fields})


def user(name: str, *more: dict[str, Any], **fields: Any) -> User:
    """A user with e-mail, after other destinations."""
    return User.model_validate({"id": name, "destinations": [*more, {"destination": f"{name}-mail"}], **fields})


ADA = user("ada", {"destination": "ada-push"}, {"destination": "ada-slack"}, {"destination": "ada-sms", "only": "high"})
#: Bob is on call in `nights` from 18:00 on; nobody is in the afternoon.
NIGHTS = Schedule.model_validate(
    {"id": "nights", "zone": "UTC", "layers": [{"users": ["bob"], "start": "2026-01-01", "hours": "18:00-08:00"}]}
)
ONCALL = OnCall([NIGHTS], users=[ADA, user("bob"), user("cleo", accounts=["slack:U3"])])


def fire(policy: Escalation, ladder: Ladder, now: int, urgency: Urgency = "high") -> Fired:
    """With the users and the schedule above."""
    return escalation.fire(policy, ladder, ONCALL, urgency, now)


def places(fired: Fired) -> list[str]:
    """The destinations in order."""
    return [page.destination for page in fired.pages]


def run(policy: Escalation, ladder: Ladder, until: int) -> list[tuple[int, list[str]]]:
    """Everything that fires up to an instant: when, and whom it pages."""
    told = []
    while 0 < escalation.due(ladder) <= until:
        now = escalation.due(ladder)
        fired = fire(policy, ladder, now)
        told.append((now, places(fired)))
        ladder = fired.ladder
    return told


def test_a_new_incident_pages_the_first_step_at_once() -> None:
    """Contract C6, C95: every destination of a user, in order of preference; SMS for high urgency only."""
    found = policy({"users": ["ada"], "destinations": ["chat"], "delay": 60})
    fired = fire(found, escalation.start(1, NOON), NOON)
    assert fired.pages == [
        Page("ada-push", 0, "ada"), Page("ada-slack", 0, "ada"), Page("ada-sms", 0, "ada"), Page("ada-mail", 0, "ada"),
        Page("chat", 0, ""),
    ]  # fmt: skip
    quiet = fire(found, escalation.start(1, NOON), NOON, "low")
    assert places(quiet) == ["ada-push", "ada-slack", "ada-mail", "chat"]


def test_steps_follow_and_repeat() -> None:
    """Each step after the delay of the one before; `repeat` times again; then it is over."""
    found = policy({"users": ["bob"], "delay": 60}, {"destinations": ["chat"], "delay": 120}, repeat=2)
    told = run(found, escalation.start(1, NOON), NOON + 3_600_000)
    rounds = [(start, each) for start in (0, 3, 6) for each in ((start, ["bob-mail"]), (start + 1, ["chat"]))]
    assert told == [(NOON + minute * MINUTE, names) for _, (minute, names) in rounds]


def test_nothing_fires_before_its_time_or_twice() -> None:
    """A call too early, and a second call for the same step, change nothing."""
    found = policy({"users": ["bob"], "delay": 60}, {"destinations": ["chat"]})
    ladder = fire(found, escalation.start(1, NOON), NOON).ladder
    for now in (NOON, NOON + MINUTE - 1):
        assert fire(found, ladder, now) == Fired(ladder, [])
    done = fire(found, ladder, NOON + MINUTE)
    assert places(done) == ["chat"]
    assert done.ladder.state == State.EXHAUSTED
    assert fire(found, done.ladder, NOON + 10 * MINUTE) == Fired(done.ladder, [])


@pytest.mark.parametrize("moment", [-1, 0, 1])
def test_an_acknowledge_around_a_step(moment: int) -> None:
    """One millisecond before, at, and after each step: what is due up to then has fired, nothing fires later."""
    found = policy({"users": ["bob"], "delay": 60}, {"users": ["cleo"], "delay": 60}, repeat=1)
    for step in range(1, 4):
        ladder, told, at = escalation.start(1, NOON), 0, NOON + step * MINUTE + moment
        while 0 < escalation.due(ladder) <= at:
            ladder, told = fire(found, ladder, escalation.due(ladder)).ladder, told + 1
        ladder = escalation.acknowledged(found, ladder, 2, "cli:cleo", at)
        assert told == step + (moment >= 0)
        assert escalation.due(ladder) == 0
        assert fire(found, ladder, NOON + 3_600_000) == Fired(ladder, [])


def test_stale_and_double_commands_change_nothing() -> None:
    """A version that is not newer than the ladder's has no effect."""
    found = policy({"users": ["bob"]}, remind_after=600)
    taken = escalation.acknowledged(found, escalation.start(1, NOON), 2, "cli:bob", NOON)
    assert escalation.acknowledged(found, taken, 2, "cli:ada", NOON + 5) == taken
    back = escalation.unacknowledged(taken, 3, NOON + 10)
    assert back.next_at == NOON + 10
    assert escalation.acknowledged(found, back, 2, "cli:bob", NOON + 20) == back
    assert escalation.unacknowledged(back, 3, NOON + 30) == back


def test_an_acknowledgement_lapses_and_the_first_step_is_paged_again() -> None:
    """The ladder says so once; the command that tells the incident comes back and changes nothing but the version."""
    found = policy({"users": ["ada"], "delay": 60}, {"users": ["cleo"], "delay": 60}, acknowledge_timeout=600)
    ladder = fire(found, escalation.start(1, NOON), NOON).ladder
    ladder = escalation.acknowledged(found, ladder, 2, "slack:U3 (Cleo)", NOON + MINUTE - 1)
    lapse = NOON + 11 * MINUTE - 1
    assert escalation.due(ladder) == lapse
    assert not fire(found, ladder, lapse - 1).lapsed
    fired = fire(found, ladder, lapse)
    assert fired.lapsed
    assert fired.pages[0] == Page("ada-push", 0, "ada")
    told = escalation.unacknowledged(fired.ladder, 3, lapse + 700)
    assert (told.version, told.next_at) == (3, lapse + MINUTE)
    assert run(found, told, NOON + 3_600_000) == [(lapse + MINUTE, ["cleo-mail"])]


def test_who_acknowledged_is_reminded() -> None:
    """Every `remind_after` seconds, until the acknowledgement lapses."""
    found = policy({"users": ["ada"]}, remind_after=600, acknowledge_timeout=1800)
    ladder = escalation.acknowledged(found, escalation.start(1, NOON), 2, "slack:U3 (Cleo)", NOON)
    told = run(found, ladder, NOON + 30 * MINUTE)
    assert told == [
        (NOON + 10 * MINUTE, ["cleo-mail"]),
        (NOON + 20 * MINUTE, ["cleo-mail"]),
        (NOON + 30 * MINUTE, ["ada-push", "ada-slack", "ada-sms", "ada-mail"]),
    ]
    assert fire(found, ladder, NOON + 10 * MINUTE).pages == [Page("cleo-mail", 0, "cleo", Why.REMINDER)]


def test_if_who_acknowledged_is_unknown_the_first_step_is_reminded() -> None:
    """Somebody must hear of a forgotten incident."""
    found = policy({"users": ["bob"]}, remind_after=600)
    ladder = escalation.acknowledged(found, escalation.start(1, NOON), 2, "somebody (on the phone)", NOON)
    assert fire(found, ladder, NOON + 10 * MINUTE).pages == [Page("bob-mail", 0, "bob", Why.REMINDER)]


def test_the_fallback_is_paged_when_nobody_is_on_call() -> None:
    """In the afternoon; in the night it is who is on call."""
    found = policy({"schedules": ["nights"], "delay": 60}, {"schedules": ["gone"]}, fallback=["chat"])
    fired = fire(found, escalation.start(1, NOON), NOON)
    assert fired.pages == [Page("chat", 0, "", Why.FALLBACK)]
    assert fire(found, fired.ladder, NOON + MINUTE).pages == [Page("chat", 1, "", Why.FALLBACK)]
    night = NOON + 6 * 3_600_000
    assert fire(found, escalation.start(1, night), night).pages == [Page("bob-mail", 0, "bob")]


def test_without_a_fallback_the_next_step_fires_at_once() -> None:
    """A step that reaches nobody is no pause; the step after it counts its own delay."""
    found = policy({"schedules": ["nights"], "delay": 600}, {"users": ["cleo"], "delay": 60}, {"users": ["bob"]})
    fired = fire(found, escalation.start(1, NOON), NOON)
    assert fired.pages == [Page("cleo-mail", 1, "cleo")]
    assert (escalation.due(fired.ladder), fired.ladder.step) == (NOON + MINUTE, 2)


def test_a_policy_that_reaches_nobody_says_so() -> None:
    """Users that are gone: somebody else must be told, and the steps are tried again while repeats are left."""
    found = policy({"users": ["bob"], "delay": 60}, {"users": ["gone"], "delay": 120}, repeat=1)
    only = policy({"users": ["gone"], "delay": 60}, repeat=1)
    first = fire(only, escalation.start(1, NOON), NOON)
    assert (first.pages, first.nobody, escalation.due(first.ladder)) == ([], True, NOON + MINUTE)
    last = fire(only, first.ladder, NOON + MINUTE)
    assert (last.pages, last.nobody, last.ladder.state) == ([], True, State.EXHAUSTED)
    assert [names for _, names in run(found, escalation.start(1, NOON), NOON + 3_600_000)] == [
        ["bob-mail"], ["bob-mail"], [],
    ]  # fmt: skip


def test_nobody_is_paged_twice_by_one_step() -> None:
    """Whoever is named and on call, and a destination that two users share."""
    night = NOON + 6 * 3_600_000
    found = policy({"users": ["bob"], "schedules": ["nights"], "destinations": ["bob-mail", "chat"]})
    assert fire(found, escalation.start(1, night), night).pages == [Page("bob-mail", 0, "bob"), Page("chat", 0, "")]


def test_an_override_is_who_is_paged() -> None:
    """At the time of the step, not at that of the incident."""
    times = {"starts_at": "2026-06-01T12:01:00Z", "ends_at": "2026-06-01T13:00:00Z"}
    stand_in = Override.model_validate({"id": "o", "schedule": "nights", "user": "cleo", **times})
    oncall = OnCall([NIGHTS], [stand_in], [user("cleo")])
    found = policy({"schedules": ["nights"], "delay": 60}, {"schedules": ["nights"]}, fallback=["chat"])
    fired = escalation.fire(found, escalation.start(1, NOON), oncall, "high", NOON)
    assert places(fired) == ["chat"]
    assert places(escalation.fire(found, fired.ladder, oncall, "high", NOON + MINUTE)) == ["cleo-mail"]


def test_after_an_outage_people_still_get_the_time_to_react() -> None:
    """Steps that are long overdue do not fire all at once; in time, delays do not add up."""
    found = policy({"users": ["bob"], "delay": 60}, {"users": ["cleo"], "delay": 60}, {"users": ["ada"]})
    late = fire(found, escalation.start(1, NOON), NOON + 3_600_000)
    assert escalation.due(late.ladder) == NOON + 3_600_000 + MINUTE
    soon = fire(found, escalation.start(1, NOON), NOON + 900)
    assert escalation.due(soon.ladder) == NOON + MINUTE


def test_a_shorter_policy_holds_from_now_on() -> None:
    """A step that is gone ends the round; with repeats left the first step follows."""
    ladder = Ladder(State.RUNNING, 1, step=3, next_at=NOON)
    short = {"users": ["bob"], "delay": 60}
    assert fire(policy(short), ladder, NOON).ladder.state == State.EXHAUSTED
    assert places(fire(policy(short, repeat=1), ladder, NOON)) == ["bob-mail"]


def test_a_ladder_is_a_few_bytes() -> None:
    """It is packed into an entry for each open incident, and reads back as it was."""
    ladder = Ladder(State.ACKNOWLEDGED, 7, 1, 2, NOON, NOON + 1, "slack:U0123 (Ada)")
    packed = msgspec.msgpack.encode(ladder)
    assert len(packed) < 48
    assert msgspec.msgpack.decode(packed, type=Ladder) == ladder


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": []}, "at least 1 item"),
        ({"steps": [{"delay": 60}]}, "users, schedules or destinations are needed"),
        ({"steps": [{"schedules": ["nights"]}]}, "a fallback is needed"),
        ({"repeat": 10}, "less than or equal to 9"),
        ({"acknowledge_timeout": 0}, "greater than or equal to 60"),
    ],
)
def test_a_policy_that_could_end_in_silence_is_refused(wrong: dict[str, Any], told: str) -> None:
    """Without steps, without anybody in a step, without a fallback where nobody may be on call."""
    with pytest.raises(ValidationError, match=told):
        Escalation.model_validate({"id": "p", "steps": [{"users": ["bob"]}]} | wrong)


class Planned(NamedTuple):
    """What the model expects: when, and which step (-1: a reminder)."""

    at: int
    step: int


class Escalating(RuleBasedStateMachine):
    """Any order of commands, also stale and double ones, at and around each due time, against a written-out plan."""

    DELAYS = (60, 90)
    REPEAT = 1
    TIMEOUT = 400
    REMIND = 150

    def __init__(self) -> None:
        super().__init__()
        steps = [{"users": [name], "delay": delay} for name, delay in zip(("bob", "cleo"), self.DELAYS, strict=True)]
        times = {"acknowledge_timeout": self.TIMEOUT, "remind_after": self.REMIND}
        self.policy = policy(*steps, repeat=self.REPEAT, **times)
        self.now, self.version = NOON, 1
        self.ladder = escalation.start(1, NOON)
        self.told: list[Planned] = []
        self.wanted: list[Planned] = []
        self.plan = self._steps(NOON)
        self.taken = False

    def _steps(self, since: int) -> list[Planned]:
        plan, at = [], since
        for _ in range(self.REPEAT + 1):
            for step, delay in enumerate(self.DELAYS):
                plan.append(Planned(at, step))
                at += delay * 1000
        return plan

    def _advance(self, to: int) -> None:
        self.now = to
        while 0 < (due := escalation.due(self.ladder)) <= to:
            fired = fire(self.policy, self.ladder, due)
            assert len(fired.pages) == 1, "each step and each reminder pages one"
            (page,) = fired.pages
            self.told.append(Planned(due, -1 if page.why == Why.REMINDER else page.step))
            self.ladder = fired.ladder
        while self.plan and self.plan[0].at <= to:
            self.wanted.append(self.plan.pop(0))
            if self.taken and self.wanted[-1].step == 0:
                self.taken = False

    @rule(offset=st.sampled_from([-1, 0, 1]))
    def to_the_next_step(self, offset: int) -> None:
        """Exactly there, or a millisecond beside it."""
        if self.plan:
            self._advance(max(self.now, self.plan[0].at + offset))

    @rule(milliseconds=st.integers(0, 500_000))
    def later(self, milliseconds: int) -> None:
        self._advance(self.now + milliseconds)

    @rule(age=st.integers(0, 2))
    def acknowledge(self, age: int) -> None:
        """A version that is new, the present one, or an old one."""
        version = self.version + 1 - age
        self.ladder = escalation.acknowledged(self.policy, self.ladder, version, "cli:cleo", self.now)
        if age == 0:
            self.version, self.taken = version, True
            lapse = self.now + self.TIMEOUT * 1000
            reminders = range(self.now + self.REMIND * 1000, lapse, self.REMIND * 1000)
            self.plan = [*(Planned(at, -1) for at in reminders), *self._steps(lapse)]

    @rule(age=st.integers(0, 2))
    def unacknowledge(self, age: int) -> None:
        version = self.version + 1 - age
        self.ladder = escalation.unacknowledged(self.ladder, version, self.now)
        if age == 0:
            self.version = version
            if self.taken:
                self.plan, self.taken = self._steps(self.now), False

    @rule()
    def reopen(self) -> None:
        """It was resolved, and is opened again."""
        self.version += 1
        self.ladder = escalation.start(self.version, self.now)
        self.plan, self.taken = self._steps(self.now), False

    @rule()
    def restart(self) -> None:
        """The process starts again with what its table holds."""
        self.ladder = msgspec.msgpack.decode(msgspec.msgpack.encode(self.ladder), type=Ladder)

    @invariant()
    def as_planned(self) -> None:
        assert self.told == self.wanted
        assert escalation.due(self.ladder) == (self.plan[0].at if self.plan else 0)


TestEscalating = Escalating.TestCase
TestEscalating.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
