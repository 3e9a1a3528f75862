"""A rule in English: its condition, and what it does to the alerts that match."""

from collections.abc import Iterator

from schemas.control import Rule
from schemas.control.life import Life
from streams.policy.language import ALERT_FIELDS, parse, sentence
from streams.policy.language.sentence import quoted


def rule_sentence(rule: Rule) -> str:
    """`If <condition>: <effects>.`; the settings of `life` by their names. Raises ValueError for a wrong condition."""
    return f"If {sentence(parse(rule.conditions), ALERT_FIELDS)}: {', '.join(_effects(rule)) or 'do nothing'}."


def _effects(rule: Rule) -> Iterator[str]:
    if rule.drop:
        yield "drop it"
    if rule.suppress:
        yield "suppress it"
    if rule.severity is not None:
        yield f"make it {rule.severity}"
    if rule.urgency is not None:
        yield f"make its urgency {rule.urgency}"
    if rule.service is not None:
        yield f"move it to the service {rule.service}"
    if rule.group_by:
        yield f"group it by {', '.join(rule.group_by)}"
    if rule.enrich:
        yield f"add labels from {', '.join(rule.enrich)}"
    for name, value in rule.labels.items():
        yield f"add the label {quoted(name)} = {quoted(value)}"
    if rule.route:
        yield f"tell {', '.join(rule.route)}"
    if life := [name for name, value in rule.life if value != getattr(Life(), name)]:
        yield f"set {', '.join(life)}"
    if rule.stop:
        yield "try no later rule"
