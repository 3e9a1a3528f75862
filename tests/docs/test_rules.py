"""docs/rules.md: its rules are valid and say what the page says, its conditions hold as the table says."""

import json
import re
from typing import Any

import pytest

from schemas.control import Lookup, Rule
from schemas.wire.alert import Action, Alert, Severity
from streams.control import document, lookups
from streams.policy.language import ALERT_FIELDS, compile_alert, parser, pattern
from streams.policy.rule_sentence import rule_sentence
from streams.policy.rules import RuleSet
from tests.docs.conftest import Reader
from tests.docs.page import blocks, codes, read, section, table

PAGE = read("docs/rules.md")
#: What the page's rules name beside themselves.
REST = """
services: [{id: database}]
destinations:
  - {id: dba, url: "https://chat.example.com/dba"}
  - {id: on-call, url: "https://chat.example.com/on-call"}
"""


def example() -> Alert:
    """The alert of the page."""
    fields: dict[str, Any] = json.loads(blocks(PAGE, "json")[0])
    fields["severity"] = Severity[fields["severity"].upper()]
    return Alert(
        tenant="default", integration="", event_id=bytes(16), dedup_key="k", fingerprint=bytes(16),
        action=Action.TRIGGER, **fields,
    )  # fmt: skip


def racks() -> Lookup:
    """The table of the page."""
    return lookups.table("racks", "default", "host", blocks(PAGE, "csv")[0].encode(), ".csv")


def rules() -> list[Rule]:
    declared = document.load(REST + blocks(PAGE, "yaml")[0])
    assert document.check(declared, {"lookup/default/racks": racks()}) == []
    return [record for record in declared.values() if isinstance(record, Rule)]


def test_check_would_print_the_sentences() -> None:
    """The rules are valid without a warning, and each sentence is that of its rule."""
    told = [line for line in blocks(PAGE, "text")[0].splitlines() if not line.startswith(" ")]
    assert told == [f"{rule.id}: {rule_sentence(rule)}" for rule in rules()]


def test_the_rules_decide_what_the_page_says() -> None:
    """Of the example: its rack is added, its urgency stays, and on-call is told."""
    decision = RuleSet(rules(), [racks()]).decide(example())
    assert decision.rules == ("where-hosts-are", "tell-on-call")
    assert decision.labels == {"rack": "r12", "team": "data"}
    assert decision.group_by == ("labels.rack",)
    assert decision.routes == ("on-call",)


@pytest.mark.stack
def test_check_counts_in_clickhouse(reader: Reader) -> None:
    """The example's rules, their sentences and how often they matched; nothing is written."""
    shown = reader.bash("stormweir check -f examples/stormweir.yaml").splitlines()
    assert shown[0] == 'quiet-info: If the severity is "info": suppress it.'
    assert all(re.fullmatch(r"    matched [0-9,]+ alerts in 30 days", line) for line in shown[1:6:2]), shown
    assert shown[-1].endswith("records are valid")


CONDITIONS = [
    (codes(row[0])[0].replace("\\|", "|"), row[1]) for row in table(section(PAGE, "Conditions").partition("Fields:")[0])
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_each_condition_of_the_table(condition: str, holds: str) -> None:
    """It holds for the example, or not, as the table says."""
    assert {"yes": True, "no": False}[holds] is compile_alert([condition])(example())


def test_the_fields_and_limits_are_those_of_the_language() -> None:
    """Names of fields, quotes, and limits."""
    text = section(PAGE, "Conditions")
    listed = text.partition("Fields: ")[2].partition("; any other")[0]
    assert codes(listed) == list(ALERT_FIELDS)
    assert f"at most {pattern.MAX_PATTERN} characters; `.`" in text
    assert f"at most {parser.MAX_TEXT:,} characters and {parser.MAX_TOKENS:,} words" in text
    assert f"nested {parser.MAX_DEPTH} deep" in text
    address = Alert(**{name: getattr(example(), name) for name in Alert.__struct_fields__} | {"source": "10.0.7.1"})
    for line in (r'source=~"10\.0\..*"', r'source=~"10\\.0\\..*"'):
        assert compile_alert([line])(address)
        assert not compile_alert([line])(example())
