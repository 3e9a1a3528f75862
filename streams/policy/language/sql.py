"""The back end for history: a condition over ClickHouse's table `alerts`, its values bound as parameters."""

from collections.abc import Mapping
from typing import NamedTuple

from streams.policy.language.fields import ALERT_COLUMNS, label
from streams.policy.language.number import NUMBER_PATTERN
from streams.policy.language.pattern import anchored
from streams.policy.language.predicate import Calendars
from streams.policy.language.tree import Compares, During, Every, Matches, Node, Not, OneOf, Some

_MINUTE_MS = 60_000
#: Python reads a number as the float that is nearest; ClickHouse does so with this setting only.
SETTINGS: Mapping[str, str] = {"precise_float_parsing": "1"}


class Span(NamedTuple):
    """The tenant whose calendars count, and the time of the rows, in milliseconds since 1970 UTC, `end` excluded."""

    tenant: str
    start: int
    end: int


class Sql:
    """Conditions of one query. `params` are the values of `{name:Type}` in them."""

    def __init__(self, calendars: Calendars, span: Span) -> None:
        self.params: dict[str, object] = {}
        self._calendars = calendars
        self._span = span

    def condition(self, node: Node) -> str:
        """An expression that is 1 for the rows that the condition holds for, else 0.

        Calendars are asked for each minute of the span: what they say has to hold for whole minutes.
        """
        match node:
            case OneOf(name, values):
                return f"has({self._bind('Array(String)', list(values))}, {self._column(name)})"
            case Matches(name, pattern):
                return f"match({self._column(name)}, {self._bind('String', anchored(pattern))})"
            case Compares(name, operator, text):
                value = f"toString({self._column(name)})"
                is_number = f"match({value}, {self._bind('String', anchored(NUMBER_PATTERN))})"
                limit = f"toFloat64({self._bind('String', text)})"
                return f"({is_number} AND ifNull(toFloat64OrNull({value}) {operator} {limit}, 0))"
            case During(calendar):
                return self._during(calendar)
            case Not(inner):
                return f"NOT {self.condition(inner)}"
            case Every(nodes):
                return self._joined("AND", nodes)
            case Some(nodes):
                return self._joined("OR", nodes)

    def _joined(self, word: str, nodes: tuple[Node, ...]) -> str:
        return f"({f' {word} '.join(map(self.condition, nodes))})" if nodes else "1"

    def _column(self, name: str) -> str:
        return ALERT_COLUMNS.get(name) or f"labels[{self._bind('String', label(name))}]"

    def _during(self, calendar: str) -> str:
        tenant, start, end = self._span
        starts: list[int] = []
        ends: list[int] = []
        inside = False
        for at in range(start - start % _MINUTE_MS, end, _MINUTE_MS):
            if self._calendars.inside(tenant, calendar, at) is not inside:
                (ends if inside else starts).append(at)
                inside = not inside
        if inside:
            ends.append(end)
        bound = (self._bind("Array(Int64)", each) for each in (starts, ends))
        at_ms = "toUnixTimestamp64Milli(received_at)"
        return f"arrayExists((start, stop) -> {at_ms} >= start AND {at_ms} < stop, {', '.join(bound)})"

    def _bind(self, kind: str, value: object) -> str:
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"
