"""Rules: Alertmanager matchers over an alert, compiled once, and what they decide.

A matcher is `field op "value"` with op `=`, `!=`, `=~`, `!~`; a field is one of the alert's or a label; a missing
label is "". Regular expressions are anchored and run by RE2, so no pattern can stop a worker.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import re2

from schemas.control import Rule
from schemas.wire.alert import Alert, Severity

Predicate = Callable[[Alert], bool]

_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_.\-]{0,200})\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
_FIELDS: Mapping[str, Callable[[Alert], str]] = {
    "tenant": lambda alert: alert.tenant,
    "service": lambda alert: alert.service,
    "integration": lambda alert: alert.integration,
    "provider": lambda alert: alert.provider,
    "dedup_key": lambda alert: alert.dedup_key,
    "severity": lambda alert: alert.severity.name.lower(),
    "action": lambda alert: alert.action.name.lower(),
    "summary": lambda alert: alert.summary,
    "source": lambda alert: alert.source,
    "component": lambda alert: alert.component,
    "group": lambda alert: alert.group,
    "class": lambda alert: alert.class_,
}
MAX_REGEX = 1000


class Decision(NamedTuple):
    """The decision of the rules on an alert; `rules` are the ids of those that matched, in order."""

    severity: Severity
    suppress: bool
    labels: dict[str, str]
    routes: tuple[str, ...]
    rules: tuple[str, ...]


def field(name: str) -> Callable[[Alert], str]:
    """The getter of a field of the alert; `labels.x` or any other name reads a label."""
    getter = _FIELDS.get(name)
    if getter is not None:
        return getter
    label = name.removeprefix("labels.")
    return lambda alert: alert.labels.get(label, "")


def compile_matcher(text: str) -> Predicate:
    """The predicate of one matcher. Raises ValueError that says what is wrong with it."""
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is no matcher: field="value", with = != =~ or !~')
    name, operator, quoted = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted) if operator in {"=", "!="} else quoted.replace('\\"', '"')
    get = field(name)
    if operator == "=":
        return lambda alert: get(alert) == value
    if operator == "!=":
        return lambda alert: get(alert) != value
    if len(value) > MAX_REGEX:
        raise ValueError(f"the regular expression of {name} is longer than {MAX_REGEX} characters")
    try:
        fullmatch = re2.compile(value).fullmatch
    except re2.error as error:
        raise ValueError(f"{value!r} is no RE2 regular expression: {error}") from None
    if operator == "=~":
        return lambda alert: fullmatch(get(alert)) is not None
    return lambda alert: fullmatch(get(alert)) is None


def check(matchers: Iterable[str]) -> None:
    """Raise ValueError for the first matcher that cannot be compiled."""
    for text in matchers:
        compile_matcher(text)


class RuleSet:
    """The rules of every tenant, compiled once; a RuleSet never changes."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_tenant: dict[str, list[tuple[Rule, list[Predicate]]]] = {}
        for rule in sorted(rules, key=lambda rule: (rule.order, rule.id)):
            try:
                predicates = [compile_matcher(text) for text in rule.match]
            except ValueError:
                # `stormweir apply` rejects such a rule; a rule written by hand may come here, and matches nothing.
                continue
            self._by_tenant.setdefault(rule.tenant, []).append((rule, predicates))

    def decide(self, alert: Alert) -> Decision:
        """Apply every rule that matches, in order: the last severity wins, labels and routes add up."""
        rules = self._by_tenant.get(alert.tenant)
        if rules is None:
            return Decision(alert.severity, False, {}, (), ())
        severity, suppress = alert.severity, False
        labels: dict[str, str] = {}
        routes: list[str] = []
        matched: list[str] = []
        for rule, predicates in rules:
            if not all(predicate(alert) for predicate in predicates):
                continue
            matched.append(rule.id)
            if rule.severity is not None:
                severity = Severity[rule.severity.upper()]
            suppress = suppress or rule.suppress
            labels.update(rule.labels)
            routes += [route for route in rule.route if route not in routes]
        return Decision(severity, suppress, labels, tuple(routes), tuple(matched))
