"""The back end that the stream runs: a condition as a Python function, its constants prepared once."""

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any, Protocol

from streams.policy.language.fields import Getters, field
from streams.policy.language.number import number
from streams.policy.language.pattern import matcher
from streams.policy.language.tree import Compares, During, Every, Matches, Node, Not, OneOf, Some

Predicate = Callable[[Any], bool]
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}


class Calendars(Protocol):
    """The named calendars of every tenant."""

    def inside(self, tenant: str, calendar: str, at: int, /) -> bool:
        """Whether a time, in milliseconds since 1970 UTC, is inside; False for a calendar that does not exist."""


class NoCalendars:
    """No time is inside of any calendar."""

    def inside(self, tenant: str, calendar: str, at: int, /) -> bool:
        """See Calendars."""
        return False


NO_CALENDARS = NoCalendars()


def predicate(node: Node, fields: Getters, calendars: Calendars, time: Callable[[Any], int]) -> Predicate:
    """Whether the condition holds; `fields` read a subject's fields, `time` its time for calendars."""

    def build(node: Node) -> Predicate:
        match node:
            case OneOf(name, values):
                return _one_of(field(name, fields), values)
            case Matches(name, pattern):
                get, matches = field(name, fields), matcher(pattern)
                return lambda subject: matches(get(subject))
            case Compares(name, operator, text):
                return _compares(field(name, fields), operator, float(text))
            case During(calendar):
                inside = calendars.inside
                return lambda subject: inside(subject.tenant, calendar, time(subject))
            case Not(inner):
                holds = build(inner)
                return lambda subject: not holds(subject)
            case Every(nodes):
                return _every([build(each) for each in nodes])
            case Some(nodes):
                return _some([build(each) for each in nodes])

    return build(node)


def _one_of(get: Callable[[Any], str], values: tuple[str, ...]) -> Predicate:
    if len(values) == 1:
        (value,) = values
        return lambda subject: get(subject) == value
    known = frozenset(values)
    return lambda subject: get(subject) in known


def _compares(get: Callable[[Any], str], operator: str, limit: float) -> Predicate:
    compare = OPERATORS[operator]

    def holds(subject: Any) -> bool:
        value = number(get(subject))
        return value is not None and compare(value, limit)

    return holds


def _every(predicates: list[Predicate]) -> Predicate:
    if not predicates:
        return lambda subject: True
    if len(predicates) == 2:
        first, second = predicates
        return lambda subject: first(subject) and second(subject)

    def holds(subject: Any) -> bool:
        for each in predicates:  # noqa: SIM110 - all() with a generator takes twice as long
            if not each(subject):
                return False
        return True

    return holds


def _some(predicates: list[Predicate]) -> Predicate:
    def holds(subject: Any) -> bool:
        for each in predicates:  # noqa: SIM110 - see _every
            if each(subject):
                return True
        return False

    return holds
