"""Rule sets: the index decides as trying every rule does, and the effects of rules add up in their order."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from schemas.control import Lookup, Rule
from schemas.control.life import Flapping, Life
from schemas.wire.alert import Alert, Severity
from streams.policy.language import compile_alert, parse
from streams.policy.rule_index import RuleIndex, demands
from streams.policy.rule_sentence import rule_sentence
from streams.policy.rules import NO_LIFE, Decision, RuleSet
from tests.policy.conditions import ALERTS, PATTERNS, TEXTS, Half, conditions, written
from tests.policy.test_rules import ALERT

HOSTS = Lookup(id="hosts", key="source", rows={text: {"rack": text, "env": "table"} for text in TEXTS[1:9]})


def naive(rules: list[Rule], lookup: Lookup, alert: Alert) -> Decision:
    """What the pages say that rules decide, rule by rule."""
    decision = Decision(alert.severity, False, {}, (), ())
    life: dict[str, Any] = {}
    for rule in sorted(rules, key=lambda rule: (rule.order, rule.id)):
        if not compile_alert(rule.conditions, Half())(alert):
            continue
        if rule.drop:
            return Decision(alert.severity, True, {}, (), (rule.id,))
        life |= rule.life.model_dump(exclude_none=True)
        looked_up = lookup.rows.get(alert.source, {}) if rule.enrich else {}
        decision = Decision(
            severity=Severity[rule.severity.upper()] if rule.severity else decision.severity,
            suppress=decision.suppress or rule.suppress,
            labels={**decision.labels, **looked_up, **rule.labels},
            routes=tuple(dict.fromkeys([*decision.routes, *rule.route])),
            rules=(*decision.rules, rule.id),
            urgency=rule.urgency or decision.urgency,
            service=rule.service or decision.service,
            group_by=rule.group_by or decision.group_by,
            life=Life.model_validate(life),
        )
        if rule.stop:
            break
    return decision


_lines = st.one_of(
    conditions.map(written),
    st.builds(
        "{}={!r}".format, st.sampled_from(("service", "severity", "labels.env")), st.sampled_from(("web", "db"))
    ).map(lambda line: line.replace("'", '"')),
)
_effects = st.fixed_dictionaries(
    {},
    optional={
        "suppress": st.booleans(),
        "stop": st.sampled_from((False, False, True)),
        "severity": st.sampled_from((None, "info", "critical")),
        "urgency": st.sampled_from((None, "high", "low")),
        "service": st.sampled_from((None, "db", "web")),
        "group_by": st.sampled_from(((), ("source",), ("labels.rack",))),
        "enrich": st.sampled_from(((), ("hosts",))),
        "labels": st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")),
        "route": st.lists(st.sampled_from("pqr"), max_size=2).map(tuple),
        "life": st.sampled_from((Life(), Life(window=5), Life(hold=9, window=7), Life(flapping=Flapping(changes=3)))),
    },
)
_rules = st.lists(
    st.builds(
        lambda name, order, lines, effects: Rule(id=name, order=order, match=tuple(lines), **effects),
        st.text("abcdefgh", min_size=1, max_size=4),
        st.integers(0, 3),
        st.lists(_lines, max_size=2),
        st.one_of(_effects, _effects, st.just({"drop": True})),
    ),
    max_size=12,
    unique_by=lambda rule: rule.id,
)


@settings(max_examples=200)
@given(rules=_rules)
def test_the_index_decides_as_trying_every_rule(rules: list[Rule]) -> None:
    """Order, stop, drop and all effects, on alerts of every kind."""
    compiled = RuleSet(rules, [HOSTS], Half())
    for alert in ALERTS[:40]:
        assert compiled.decide(alert) == naive(rules, HOSTS, alert)


@settings(max_examples=200)
@given(nodes=st.lists(conditions, max_size=20))
def test_every_rule_that_matches_is_found(nodes: list[Any]) -> None:
    """The index leaves out no rule that matches, whatever its condition demands."""
    index = RuleIndex([demands(node) for node in nodes])
    matches = [compile_alert([written(node)], Half()) for node in nodes]
    for alert in ALERTS[:40]:
        found = list(index.find(alert))
        assert found == sorted(set(found))
        assert {place for place, holds in enumerate(matches) if holds(alert)} <= set(found)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_is_found(pattern: str) -> None:
    """Rules with a regular expression alone."""
    line = 'summary=~"' + pattern.replace("\\", "\\\\") + '"'
    index, holds = RuleIndex([demands(parse([line]))]), compile_alert([line])
    assert all(list(index.find(alert)) for alert in ALERTS if holds(alert))


def test_an_alert_is_tried_against_the_rules_that_may_match() -> None:
    """Of ten thousand rules, those of the alert's service, host or summary."""
    lines = [
        *([f'service="web-{number}"', 'severity="critical"'] for number in range(4_000)),
        *([f'labels.host="host-{number}" or labels.host="spare-{number}"'] for number in range(2_000)),
        *([f'summary=~"disk-{number} .*"', 'severity!="info"'] for number in range(2_000)),
        *([f'provider in (kafka, zabbix) and not source="x" and labels.cpu="{number}"'] for number in range(1_999)),
        ["labels.cpu > 90"],
    ]
    index = RuleIndex([demands(parse(each)) for each in lines])
    alert = structs.replace(
        ALERT, service="web-77", summary="disk-1234 is full", labels={"host": "spare-9", "cpu": "3"}
    )
    found = list(index.find(alert))
    assert {77, 4_009, 7_234, 8_003, 9_999} <= set(found)
    assert len(found) < 40


def test_rules_of_another_tenant_do_not_count() -> None:
    """A tenant without rules costs one look-up."""
    rules = RuleSet([Rule(id="all", tenant="acme", suppress=True)])
    assert rules.decide(ALERT) == Decision(ALERT.severity, False, {}, (), ())
    assert rules.decide(structs.replace(ALERT, tenant="acme")).suppress


def test_an_invalid_set_never_replaces_a_valid_one() -> None:
    """A set with one rule that cannot be compiled changes nothing; the next valid one does."""
    valid = RuleSet([Rule(id="all", route=("ops",))])
    kept = valid.followed_by([Rule(id="all", route=("chat",)), Rule(id="bad", match=("service",))], [])
    assert kept.decide(ALERT).routes == ("ops",)
    assert kept.followed_by([Rule(id="all", route=("chat",))], []).decide(ALERT).routes == ("chat",)
    with pytest.raises(ValueError, match="rule bad: 'service' needs"):
        RuleSet([Rule(id="bad", match=("service",))])


def test_a_set_that_stays_the_same_is_not_made_again() -> None:
    """Neither the set nor a rule of it; a rule that names a calendar follows the calendars."""
    rule, timed = Rule(id="a"), Rule(id="b", when="during first-half")
    first = RuleSet([rule, timed], [HOSTS])
    assert first.followed_by([rule, timed], [HOSTS]) is first
    assert first.decide(ALERTS[0]).rules == ("a",)
    second = first.followed_by([rule, timed], [HOSTS], Half())
    assert [len(second.decide(alert).rules) for alert in ALERTS] == [
        2 if Half().inside("default", "first-half", alert.received_at) else 1 for alert in ALERTS
    ]
    assert second._compiled["default", "a"] is first._compiled["default", "a"]


def test_the_settings_of_matching_rules_are_merged() -> None:
    """A later rule changes what it names of `life`, and no more; without any there is none."""
    rules = [Rule(id="a", life=Life(window=5, hold=60)), Rule(id="b", life=Life(hold=90, resolve_after=600))]
    assert RuleSet(rules).decide(ALERT).life == Life(window=5, hold=90, resolve_after=600)
    assert RuleSet([Rule(id="a")]).decide(ALERT).life is NO_LIFE


def test_a_rule_in_english() -> None:
    """Its condition, then each effect."""
    rule = Rule(
        id="a", match=('service="web"',), when="cpu > 90", severity="critical", urgency="high", service="db",
        group_by=("labels.rack",), enrich=("hosts",), labels={"team": "a"}, route=("ops", "chat"), life=Life(hold=60),
        stop=True,
    )  # fmt: skip
    assert rule_sentence(rule) == (
        'If the service is "web" and the label "cpu" is a number of more than 90: make it critical, make its urgency '
        "high, move it to the service db, group it by labels.rack, add labels from hosts, add the label "
        '"team" = "a", tell ops, chat, set hold, try no later rule.'
    )
    assert rule_sentence(Rule(id="b", drop=True)) == "If always: drop it."
