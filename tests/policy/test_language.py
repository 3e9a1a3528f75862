"""Conditions: how they are read, what they say in English, and that no text stops a worker."""

import time

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.wire.alert import Alert, Severity
from streams.policy.language import (
    ALERT_FIELDS,
    DOMAINS,
    can_hold,
    check,
    compile_alert,
    compile_incident,
    compile_node,
    parse,
    sentence,
)
from streams.policy.language.pattern import anchored, check_pattern, matcher
from streams.policy.language.tree import Node
from tests.clickhouse.samples import incident
from tests.policy.conditions import ALERTS, HOUR_MS, START, Half, conditions, understood, written
from tests.policy.test_rules import ALERT

PIECES = ("a", "b", "c", ".*", "|", "(", "(?:", ")", "\\.", ".", "+", "?", "\\|", "[ab]", "ab")


def truth(node: Node) -> list[bool]:
    holds = compile_node(node, Half())
    return [holds(alert) for alert in ALERTS]


@settings(max_examples=300)
@given(condition=conditions)
def test_text_sentence_and_function_agree(condition: Node) -> None:
    """A condition holds for the same alerts after it was written and read, and as a reader of its sentence says."""
    expected = truth(condition)
    assert truth(parse([written(condition)])) == expected
    assert truth(understood(sentence(condition, ALERT_FIELDS), ALERT_FIELDS)) == expected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("service=web", True),
        ('"service"="web"', True),
        ('{service="web",severity="critical",}', True),
        ('service="web", severity="critical"', True),
        ('service="web", severity="info"', False),
        ('service="db" or severity="critical" and env="prod"', True),
        ('(service="db" or severity="critical") and env="test"', False),
        ('not service="db"', True),
        ('not (service="web" or service="db")', False),
        ('service in ("db", "web")', True),
        ("service in (db, web)", True),
        ('service not in ("db", "web")', False),
        ("service in ()", False),
        ("labels.cpu > 90", True),
        ("labels.cpu>=95.5", True),
        ("labels.cpu < 9e1", False),
        ("labels.cpu <= 95.4", False),
        ("labels.env > 0", False),
        ("not labels.env > 0", True),
        ("labels.missing < 1", False),
        ('"größe in GB" = "12"', True),
        ('"labels.größe in GB" > 11', True),
        ('severity=~critical|error and {env=~"p.*",team!~"b.*"}', True),
        ('summary=~"say .*"', True),
        ('class =~ "c\\\\.?pu"', True),
    ],
)  # fmt: skip
def test_conditions(text: str, holds: bool) -> None:
    """`and` binds closer than `or`, a comma is `and`; what is missing is "", and no number."""
    labels = {**ALERT.labels, "cpu": "95.5", "größe in GB": "12"}
    alert = Alert(**{name: getattr(ALERT, name) for name in ALERT.__struct_fields__} | {"labels": labels})
    assert compile_alert([text])(alert) is holds


def test_a_calendar_is_asked_at_the_time_of_the_alert() -> None:
    """`during` and `not during`; a calendar that does not exist has no time inside."""
    first, second = (
        Alert(**{name: getattr(ALERT, name) for name in ALERT.__struct_fields__} | {"received_at": START + at})
        for at in (0, HOUR_MS // 2)
    )
    inside, outside = compile_alert(["during first-half"], Half()), compile_alert(['not during "first-half"'], Half())
    assert [inside(first), inside(second), outside(first), outside(second)] == [True, False, False, True]
    assert not compile_alert(["during gone"], Half())(first)


def test_incidents_have_fields_of_their_own() -> None:
    """Status and urgency; other names are labels."""
    opened = incident(severity=Severity.ERROR, labels={"env": "prod"})
    assert compile_incident(['status="open" and urgency=high', "env=prod", "component=''".replace("''", '""')])(opened)
    assert not compile_incident(['urgency="low"'])(opened)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("", "needs a condition"),
        ("{}", "needs a condition"),
        ("service", "needs one of ="),
        ("service=", "needs a value at its end"),
        ('service=="web"', "needs a value before '='"),
        ('a="b" c="d"', "has 'c' where it should end"),
        ('a="b" and', "needs a condition"),
        ('(a="b"', "needs ')' at its end"),
        ('a="b")', "has ')' where it should end"),
        ('a in ("b" "c")', "needs ','"),
        ('a in "b"', "needs '('"),
        ('a not "b"', "needs 'in'"),
        ("a > high", "'high', which is no number"),
        ("a > 1e999", "no number"),
        ("during", "needs a calendar's id"),
        ('a="b', "cannot be read from '\"b'"),
        ("a=b'c", "put values into quotes"),
        ('a="b" and c="d", e="f"', "commas beside `and`"),
        ('"" = "x"', "name is empty"),
        ('a=~"("', "no regular expression of RE2"),
        ('a=~"(?=x)"', "no regular expression of RE2"),
        ('a=~"b)|(c"', "no regular expression of RE2"),
        ('a=~"\\Qb"', "no regular expression of RE2"),
        ('a="\ud800"', "is no UTF-8"),
    ],
)
def test_what_is_wrong_is_said(bad: str, told: str) -> None:
    """A text that is no condition is refused with the place."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        check([bad])
    assert told in str(caught.value)


def test_a_pattern_is_not_written_to_a_log(capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 would write what it cannot read to the standard error output."""
    with pytest.raises(ValueError, match="no regular expression"):
        check(['a=~"(forged\nline"'])
    assert capfd.readouterr() == ("", "")


@given(pattern=st.lists(st.sampled_from(PIECES), max_size=8).map("".join), text=st.text("abc.\n|", max_size=6))
@settings(max_examples=1000)
def test_patterns_that_need_no_re2_match_as_it_does(pattern: str, text: str) -> None:
    """Literals, alternatives and `.*` in any order."""
    try:
        check_pattern(pattern)
    except ValueError:
        return
    assert matcher(pattern)(text) is (re2.fullmatch(anchored(pattern), text) is not None)


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 5_000 + "a=b" + ")" * 5_000,
        "not " * 2_000 + "a=b",
        "(" * 100_000,
        "a=b and " * 5_000,
        'a="' + "\\" * 9_990,
        "a in (" + "b," * 2_000 + "b)",
        'a=~"' + "(" * 400 + "x" + "*)" * 400 + '"',
        'a=~"' + "(" * 490 + "x" + ")" * 490 + "(" + '"',
        'a=~"' + "x" * 1_001 + '"',
        'a=~"((((x{100}){100}){100}){100})"',
        " " * 9_999,
    ],
    ids=range(11),
)
def test_hostile_texts_are_refused_quickly(hostile: str) -> None:
    """Depth, size and patterns are limited."""
    started = time.process_time()
    with pytest.raises(ValueError, match=r"\S") as caught:
        check([hostile])
    assert len(str(caught.value)) < 2_000
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("lines", "possible"),
    [
        (['a="x"', 'a="y"'], False),
        (['a="x" and b="y"'], True),
        (["a in ()"], False),
        (['a="x" or a in ()'], True),
        (['a="x" and (a="y" or a="z")'], False),
        (['a="x"', 'a!="x"'], False),
        (['a in ("x","y")', 'a=~"x|z"'], True),
        (['a in ("x","y")', 'a=~"z.*"'], False),
        (['severity="high"'], False),
        (['severity=~"crit.*"'], True),
        (['severity=~"disaster|fatal"'], False),
        (['severity!="info" and not severity in (warning, error, critical)'], False),
        (["a > 5", "a < 3"], False),
        (["a > 5", "a <= 5"], False),
        (["a >= 5", "a <= 5"], True),
        (["a > 5", "a > 7", "a < 9", "a <= 8"], True),
        (['a > 5 and a="7"'], True),
        (['a > 5 and a="five"'], False),
        (['not (a="x" and a="y")'], True),
        (["during night"], True),
        ([], True),
    ],
)
def test_contradictions_are_found(lines: list[str], possible: bool) -> None:
    """What can never hold is known from the values of each field."""
    assert can_hold(parse(lines), DOMAINS) is possible


@settings(max_examples=200)
@given(condition=conditions)
def test_what_holds_for_an_alert_can_hold(condition: Node) -> None:
    """Nothing that matches is called a contradiction."""
    assert can_hold(condition, DOMAINS) or not any(truth(condition))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "always"),
        (['service="web"', 'env!=""'], 'the service is "web" and the label "env" is not empty'),
        (['(a=~"x.*" or b in (c, d)) and not during night'],
         '(the label "a" matches "x.*" or the label "b" is one of "c", "d") and it is not during "night"'),
        (["not (cpu > 90 or service!~db)"],
         'it is not so that (the label "cpu" is a number of more than 90 or the service does not match "db")'),
    ],
)  # fmt: skip
def test_sentences(lines: list[str], expected: str) -> None:
    """A condition in words."""
    assert sentence(parse(lines), ALERT_FIELDS) == expected
