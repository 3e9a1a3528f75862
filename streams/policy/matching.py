"""Which of many conditions hold for an incident, without asking each of them.

Conditions are kept by a field and value that an incident must have. So an incident asks those of its own service or
labels, and those that name nothing; 200 silences of other services cost nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from schemas.wire.incident import Incident
from streams.policy.language import INCIDENT_FIELDS, compile_incident, equalities, field

T = TypeVar("T")
_Entry = tuple[Callable[[Incident], bool], T]

#: Fields with so few values that they tell little apart: conditions are not kept by them if they name another.
BROAD = frozenset({"tenant", "severity", "status", "urgency"})


class Matching(Generic[T]):
    """Things with conditions, of one tenant; a Matching never changes.

    Lines that do not compile match nothing: `stormweir apply` refuses them, and in doubt people are told.
    """

    def __init__(self, things: Iterable[tuple[Sequence[str], T]]) -> None:
        self._by_value: dict[str, dict[str, list[_Entry[T]]]] = {}
        self._rest: list[_Entry[T]] = []
        for lines, thing in things:
            try:
                entry = compile_incident(lines), thing
            except ValueError:
                continue
            named = equalities(lines)
            name = min(named, key=lambda name: (name in BROAD, len(named[name]), name), default=None)
            if name is None:
                self._rest.append(entry)
                continue
            for value in named[name]:
                self._by_value.setdefault(name, {}).setdefault(value, []).append(entry)
        self._getters = [(field(name, INCIDENT_FIELDS), values) for name, values in self._by_value.items()]

    def find(self, incident: Incident) -> Iterator[T]:
        """The things whose conditions hold."""
        for get, values in self._getters:
            for matches, thing in values.get(get(incident), ()):
                if matches(incident):
                    yield thing
        for matches, thing in self._rest:
            if matches(incident):
                yield thing


def is_broad(lines: Sequence[str]) -> bool:
    """Whether conditions may hold for every incident, because they name no service, label or other narrow field."""
    return all(name in BROAD or "" in values for name, values in equalities(lines).items())
