"""Conditions over alerts and incidents: Alertmanager's matchers with `and`, `or`, `not`, `in`, numbers and calendars.

A condition is read once (`parse`) into a tree; a missing label is "". Three back ends read the tree and agree:
`compile_alert` and `compile_incident` make Python functions, `Sql` conditions of ClickHouse, `sentence` English.
docs/rules.md is the page for people who write conditions.
"""

from collections.abc import Callable, Sequence

from schemas.wire.alert import Alert
from schemas.wire.incident import Incident
from streams.policy.language.contradiction import can_hold, equalities
from streams.policy.language.fields import ALERT_FIELDS, DOMAINS, INCIDENT_DOMAINS, INCIDENT_FIELDS, field
from streams.policy.language.parser import parse
from streams.policy.language.predicate import NO_CALENDARS, Calendars, predicate
from streams.policy.language.sentence import sentence
from streams.policy.language.sql import SETTINGS, Span, Sql
from streams.policy.language.tree import Node, calendars

__all__ = [
    "ALERT_FIELDS",
    "DOMAINS",
    "INCIDENT_DOMAINS",
    "INCIDENT_FIELDS",
    "NO_CALENDARS",
    "SETTINGS",
    "Calendars",
    "Node",
    "Span",
    "Sql",
    "calendars",
    "can_hold",
    "check",
    "compile_alert",
    "compile_incident",
    "compile_node",
    "equalities",
    "field",
    "parse",
    "sentence",
]


def compile_alert(lines: Sequence[str], calendars: Calendars = NO_CALENDARS) -> Callable[[Alert], bool]:
    """Whether all lines hold for an alert, calendars at the time when it was received.

    Raises ValueError that says what is wrong with a line.
    """
    return compile_node(parse(lines), calendars)


def compile_node(node: Node, calendars: Calendars = NO_CALENDARS) -> Callable[[Alert], bool]:
    """Whether a condition that was read before holds for an alert, see `compile_alert`."""
    return predicate(node, ALERT_FIELDS, calendars, lambda alert: alert.received_at)


def compile_incident(lines: Sequence[str], calendars: Calendars = NO_CALENDARS) -> Callable[[Incident], bool]:
    """Whether all lines hold for an incident, calendars at the time when it opened.

    Raises ValueError that says what is wrong with a line.
    """
    return predicate(parse(lines), INCIDENT_FIELDS, calendars, lambda incident: incident.opened_at)


def check(lines: Sequence[str]) -> None:
    """Raise ValueError for the first line that is no condition."""
    parse(lines)
