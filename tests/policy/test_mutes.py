"""What keeps people from being told: silences, maintenance, inhibitions."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.control import Inhibition, Maintenance, Silence
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Transition
from streams.policy import matching
from streams.policy.language import compile_incident, equalities
from streams.policy.matching import is_broad
from streams.policy.mutes import Inhibitions, Mute, Mutes
from tests.policy.test_recurrence import ms

START, END = ms("2026-11-01T00:00"), ms("2026-11-02T00:00")
HOUR = 3_600_000
PERIOD = {
    "author": "ada",
    "reason": "new switch",
    "starts_at": "2026-11-01T00:00:00Z",
    "ends_at": "2026-11-02T00:00:00Z",
}


def incident(service: str = "web", **changes: Any) -> Incident:
    """An open incident."""
    values: dict[str, Any] = {
        "tenant": "default",
        "incident_id": bytes(16),
        "version": 1,
        "status": Status.OPEN,
        "severity": Severity.ERROR,
        "service": service,
        "title": "Disk full",
        "dedup_key": "disk/1",
        "correlation_key": bytes(16),
        "opened_at": START,
        "acknowledged_at": 0,
        "resolved_at": 0,
        "last_alert_at": START,
        "alert_count": 1,
        "repeat_count": 0,
        "member_count": 1,
    }
    return Incident(**(values | changes))


def silence(*match: str, name: str = "s", **fields: object) -> Silence:
    """A silence of the first of November."""
    return Silence.model_validate({**PERIOD, "id": name, "match": match or ('service="web"',), **fields})


def maintenance(*services: str, **fields: object) -> Maintenance:
    """Maintenance of the first of November."""
    return Maintenance.model_validate({**PERIOD, "id": "m", "services": services or ("web",), **fields})


def test_a_silence_mutes_what_matches_while_it_lasts() -> None:
    """With its reason, until its end, which is not part of it."""
    mutes = Mutes([silence()])
    assert mutes.find(incident(), START - 1) is None
    assert mutes.find(incident(), START) == Mute("silence", silence(), END)
    assert mutes.find(incident(), END - 1) == Mute("silence", silence(), END)
    assert mutes.find(incident(), END) is None
    assert mutes.find(incident("db"), START) is None
    assert mutes.find(incident(tenant="acme"), START) is None
    assert Mutes().find(incident(), START) is None


def test_all_lines_must_hold() -> None:
    """A silence of a service and a label is narrower than that of the service."""
    mutes = Mutes([silence('service="web"', 'labels.env=~"test|dev"', 'severity!="critical"')])
    assert mutes.find(incident(labels={"env": "test"}), START)
    assert not mutes.find(incident(labels={"env": "prod"}), START)
    assert not mutes.find(incident(labels={"env": "test"}, severity=Severity.CRITICAL), START)


@pytest.mark.parametrize(
    "lines",
    [
        ['service="web"'],
        ['labels.site="a"'],
        ['site="a"'],
        ['severity="error"', 'site="a"'],
        ['severity="error"'],
        ['summary=~"Disk.*"'],
        ['site!="b"', 'status="open"'],
        ['labels.none=""'],
        [r'dedup_key="say \"x\""'],
    ],
)
def test_the_index_finds_what_the_conditions_say(lines: list[str]) -> None:
    """By whatever field they are kept, conditions that hold are found, and those that do not are not."""
    mutes = Mutes([silence(*lines)])
    for each in (
        incident(labels={"site": "a"}, dedup_key='say "x"'),
        incident(labels={"site": "b"}),
        incident("db", labels={"none": "x"}, severity=Severity.INFO, title="Disk full"),
        incident(status=Status.ACKNOWLEDGED),
    ):
        assert (mutes.find(each, START) is not None) == compile_incident(lines)(each), (lines, each)


def test_contradicting_equalities_match_nothing() -> None:
    """And are no error."""
    assert Mutes([silence('service="web"', 'service="db"')]).find(incident(), START) is None


def test_of_several_the_longest_counts() -> None:
    """So that what is muted is looked at again as late as possible; maintenance counts as well."""
    later = silence(name="later", ends_at="2026-11-03T00:00:00Z")
    mutes = Mutes([silence(), later], [maintenance()])
    found = mutes.find(incident(), START)
    assert found is not None
    assert (found.name, found.until_ms) == ("silence/later", ms("2026-11-03T00:00"))


def test_maintenance_mutes_its_services() -> None:
    """All incidents of them, and of no other tenant."""
    mutes = Mutes((), [maintenance("web", "db")])
    assert mutes.find(incident("db"), START) == Mute("maintenance", maintenance("web", "db"), END)
    assert mutes.find(incident("cart"), START) is None
    assert mutes.find(incident("db", tenant="acme"), START) is None


def test_until_is_the_end_of_the_present_occurrence() -> None:
    """What repeats lets people hear between two occurrences."""
    nights = {"rrule": "FREQ=DAILY", "zone": "Europe/Berlin", "start": "22:00", "duration": 8 * 3600}
    mutes = Mutes([silence(recurrence=nights, ends_at="2026-12-01T00:00:00Z")])
    found = mutes.find(incident(), ms("2026-11-05T23:00"))
    assert found is not None
    assert found.until_ms == ms("2026-11-06T05:00")
    assert mutes.find(incident(), found.until_ms) is None


def test_lines_that_do_not_compile_mute_nothing() -> None:
    """A record that was written by hand past `apply` lets people hear; others still work."""
    mutes = Mutes([silence('service="web', name="broken"), silence('service=~"("', name="worse"), silence()])
    found = mutes.find(incident(), START)
    assert found is not None
    assert found.name == "silence/s"


def test_silences_of_others_cost_nothing() -> None:
    """Of 200 silences of other services and labels, and one of this service, one is asked."""
    asked = 0

    def counting(lines: Any) -> Callable[[Incident], bool]:
        matches = compile_incident(lines)

        def count(each: Incident) -> bool:
            nonlocal asked
            asked += 1
            return matches(each)

        return count

    others = [silence(f'service="other-{n}"', 'severity="error"', name=f"s{n}") for n in range(100)]
    others += [silence(f'labels.rack="r{n}"', 'severity="error"', name=f"r{n}") for n in range(100)]
    with patch.object(matching, "compile_incident", counting):
        mutes = Mutes([*others, silence()])
    assert mutes.find(incident(), START)
    assert asked == 1


@pytest.mark.parametrize(
    ("lines", "broad"),
    [
        (['service="web"'], False),
        (['labels.env="test"'], False),
        (['dedup_key="disk/1"'], False),
        (['severity="info"', 'env="test"'], False),
        (['severity="info"'], True),
        (['service=~".*"'], True),
        (['service!="web"'], True),
        (['env=""'], True),
        (['urgency="low"', 'status="open"', 'tenant="default"'], True),
    ],
)
def test_what_may_hide_everything(lines: list[str], broad: bool) -> None:
    """Conditions that name nothing narrow by equality; a label that is missing is everywhere."""
    assert is_broad(lines) is broad


def test_equalities() -> None:
    """Labels have one name however they are written; a field that is named twice must have both values."""
    assert equalities(['env="a"', 'labels.env="a"', 'severity!="info"', 'labels.service="x"']) == {
        "labels.env": {"a"}, "labels.service": {"x"},
    }  # fmt: skip
    assert equalities(['service="a"', 'service="b"']) == {"service": set()}


def inhibition(source: str, target: str, *equal: str, **fields: object) -> Inhibition:
    """An inhibition with a line on each side."""
    return Inhibition.model_validate({"id": "i", "source": [source], "target": [target], "equal": equal, **fields})


def inhibited(inhibitions: Inhibitions, target: Incident, *sources: Incident) -> bool:
    """Whether one of the open sources inhibits the target."""
    keys = {key for source in sources for key in inhibitions.as_source(source)}
    return any(inhibit.key in keys for inhibit in inhibitions.as_target(target))


CRITICAL, INFO = incident(severity=Severity.CRITICAL), incident(severity=Severity.INFO)


def test_a_source_inhibits_targets_with_equal_values() -> None:
    """And none with others, of other tenants, or the other way round."""
    rules = Inhibitions([inhibition('severity="critical"', 'severity="info"', "service", "labels.site")])
    assert inhibited(rules, INFO, CRITICAL)
    assert not inhibited(rules, CRITICAL, INFO)
    assert not inhibited(rules, INFO, incident("db", severity=Severity.CRITICAL))
    assert not inhibited(rules, INFO, incident(severity=Severity.CRITICAL, labels={"site": "a"}))
    assert not inhibited(rules, incident(severity=Severity.INFO, tenant="acme"), CRITICAL)
    assert rules.as_source(INFO) == []
    assert rules.as_target(CRITICAL) == []
    assert Inhibitions().as_target(INFO) == [] == Inhibitions().as_source(CRITICAL)


def test_a_missing_label_equals_a_missing_one() -> None:
    """As in Alertmanager."""
    rules = Inhibitions([inhibition('severity="critical"', 'severity="info"', "labels.site")])
    assert inhibited(rules, INFO, incident(severity=Severity.CRITICAL, labels={"site": ""}))


def test_the_hold_is_in_milliseconds() -> None:
    """10 s unless said."""
    rules = Inhibitions([inhibition('severity="critical"', 'severity="info"')])
    assert {(each.id, each.hold_ms) for each in rules.as_target(INFO)} == {("i", 10_000)}
    longer = Inhibitions([inhibition('severity="critical"', 'severity="info"', hold=300)])
    assert {each.hold_ms for each in longer.as_target(INFO)} == {300_000}


def test_an_incident_on_both_sides_inhibits_neither_itself_nor_its_like() -> None:
    """Alertmanager's rule: it is inhibited by what is on the source side only, and inhibits what is a target only."""
    rules = Inhibitions([inhibition('env="a"', 'site="b"')])
    both, other = incident(labels={"env": "a", "site": "b"}), incident("db", labels={"env": "a", "site": "b"})
    source, target = incident(labels={"env": "a"}), incident(labels={"site": "b"})
    assert not inhibited(rules, both, both, other)
    assert inhibited(rules, both, source)
    assert inhibited(rules, target, both)
    assert inhibited(rules, target, source)


@pytest.mark.parametrize(("late_by", "told"), [(-60_000, False), (0, False), (9_999, False), (10_001, True)])
@pytest.mark.parametrize("source_first", [True, False])
def test_a_target_waits_for_its_source_whichever_is_seen_first(late_by: int, told: bool, source_first: bool) -> None:
    """What decides is what is open at the end of the hold, by the time of the data; not the order of arrival."""
    rules = Inhibitions([inhibition('severity="critical"', 'severity="info"', "service")])
    source = incident(severity=Severity.CRITICAL, opened_at=START + late_by)
    seen = [source, INFO] if source_first else [INFO, source]
    (due,) = {INFO.opened_at + each.hold_ms for each in rules.as_target(INFO)}
    open_then = [each for each in seen if each.opened_at <= due]
    assert inhibited(rules, INFO, *open_then) is not told


def test_two_inhibitions_do_not_mix() -> None:
    """Their keys are apart though the values are equal, also those of two tenants."""
    first = inhibition('env="a"', 'site="b"', "service")
    second = inhibition('env="x"', 'site="y"', "service", id="j")
    rules = Inhibitions([first, second, first.model_copy(update={"tenant": "acme"})])
    assert not inhibited(rules, incident(labels={"site": "y"}), incident(labels={"env": "a"}))
    assert not inhibited(rules, incident(labels={"site": "b"}), incident(labels={"env": "a"}, tenant="acme"))


class Told(RuleBasedStateMachine):
    """Incidents, silences and a clock. The dispatcher asks when an incident changes, when the configuration changes,
    and when a mute said that it must be looked at again; the model asks every silence at every step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.silences: dict[str, Silence] = {}
        self.mutes = Mutes()
        self.open: dict[str, Incident] = {}
        self.told: set[str] = set()
        self.look: dict[str, int] = {}
        self.messages: list[tuple[int, str, Transition]] = []

    def decide(self, name: str) -> None:
        """The dispatcher on an open incident."""
        mute = self.mutes.find(self.open[name], self.now)
        if mute is not None:
            assert mute.until_ms > self.now
            self.look[name] = mute.until_ms
        else:
            self.look.pop(name, None)
            if name not in self.told:
                assert not self.silent(name), "told in a silence"
                self.told.add(name)
                self.messages.append((self.now, name, Transition.TRIGGERED))

    def silent(self, name: str) -> bool:
        """The model: whether one of all silences is active and matches."""
        return any(
            f'service="{self.open[name].service}"' in each.match and self.active(each)
            for each in self.silences.values()
        )

    def active(self, each: Silence) -> bool:
        """The model: a silence of a number of hours, or of some hours of each day, which begin after its start."""
        if not each.starts_ms <= self.now < each.ends_ms:
            return False
        if each.recurrence is None:
            return True
        hour, length = int(each.recurrence.start[:2]), each.recurrence.duration // 3600
        since = (self.now // HOUR - hour) % 24
        return since < length and (self.now // HOUR - since) * HOUR >= each.starts_ms

    @rule(service=st.sampled_from(["web", "db"]), number=st.integers(0, 3))
    def opens(self, service: str, number: int) -> None:
        """A new incident."""
        name = f"{service}/{number}"
        if name not in self.open:
            self.open[name] = incident(service)
            self.told.discard(name)
            self.decide(name)

    @rule(data=st.data())
    def resolves(self, data: st.DataObject) -> None:
        """An open incident is over."""
        if self.open:
            name = data.draw(st.sampled_from(sorted(self.open)))
            del self.open[name]
            self.look.pop(name, None)

    @rule(
        name=st.sampled_from("abc"),
        service=st.sampled_from(["web", "db"]),
        begins=st.integers(-30, 30),
        hours=st.integers(1, 100),
        daily=st.none() | st.tuples(st.integers(0, 23), st.integers(1, 24)),
    )
    def silences_(self, name: str, service: str, begins: int, hours: int, daily: tuple[int, int] | None) -> None:
        """A silence is added or replaced."""
        now = self.now // HOUR * HOUR
        fields: dict[str, Any] = {"starts_at": at(now + begins * HOUR), "ends_at": at(now + (begins + hours) * HOUR)}
        if daily is not None:
            times = {"start": f"{daily[0]:02}:00", "duration": daily[1] * 3600}
            fields["recurrence"] = {"rrule": "FREQ=DAILY", "zone": "UTC", **times}
        self.silences[name] = silence(f'service="{service}"', name=name, **fields)
        self.configure()

    @rule(name=st.sampled_from("abc"))
    def unsilences(self, name: str) -> None:
        """A silence is deleted."""
        if self.silences.pop(name, None) is not None:
            self.configure()

    def configure(self) -> None:
        """A new version: everything open is looked at again."""
        self.mutes = Mutes(self.silences.values())
        for name in self.open:
            self.decide(name)

    @rule(minutes=st.integers(1, 3000))
    def passes(self, minutes: int) -> None:
        """Time, with every look that was due meanwhile, each at its time."""
        end = self.now + minutes * 60_000
        while due := [(at, name) for name, at in self.look.items() if at <= end]:
            self.now, name = min(due)
            self.decide(name)
        self.now = end

    @invariant()
    def nothing_is_lost_in_silence(self) -> None:
        """What is open and was not told is silent now; only what is silent waits for a look, which is ahead.

        A silence that begins later than the incident was told needs no look.
        """
        for name in self.open:
            if name not in self.told:
                assert self.silent(name)
                assert self.look[name] > self.now


def at(milliseconds: int) -> str:
    """An instant as RFC 3339 writes it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


TestTold = Told.TestCase
TestTold.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
