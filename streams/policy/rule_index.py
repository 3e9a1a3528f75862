"""Finds the rules that may match an alert, so that its cost grows with these and not with all rules.

Most conditions demand that a field has one of some values, or begins with one of some texts. A rule is found by one
such demand; of several by the one that it shares with the fewest rules. A rule without any is always tried.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.wire.alert import Alert
from streams.policy.language import ALERT_FIELDS
from streams.policy.language.fields import label
from streams.policy.language.pattern import literals, prefixes
from streams.policy.language.tree import Every, Matches, Node, OneOf, Some

#: Beginnings are cut to this many characters: an alert is looked up once for each length that rules have.
_MAX_BEGINNING = 24


class Key(NamedTuple):
    """The field (`labels.x` for a label) is `text`, or begins with it if `length`, that of the text, is not 0."""

    field: str
    length: int
    text: str


#: An alert that matches has at least one of the keys.
Demand = frozenset[Key]


#: For each length: the places of rules by the beginning of a field of that length; None is the whole value.
_Probes = Sequence[tuple[int | None, Mapping[str, list[int]]]]


class RuleIndex:
    """Rules by their place in the order in which they are tried; `choices` are the demands of each."""

    def __init__(self, choices: Sequence[Sequence[Demand]]) -> None:
        shared = Counter(key for each in choices for demand in each for key in demand)
        self._always: list[int] = []
        places: dict[str, dict[Key, list[int]]] = {}
        for place, each in enumerate(choices):
            if not each:
                self._always.append(place)
                continue
            chosen = min(each, key=lambda demand: max((shared[key] for key in demand), default=0))
            for key in chosen:
                places.setdefault(key.field, {}).setdefault(key, []).append(place)
        self._fields: list[tuple[Callable[[Alert], str], _Probes]] = []
        self._labels: dict[str, _Probes] = {}
        for name, keys in places.items():
            if name in ALERT_FIELDS:
                self._fields.append((ALERT_FIELDS[name], _probes(keys)))
            else:
                self._labels[label(name)] = _probes(keys)

    def find(self, alert: Alert) -> Sequence[int]:
        """The places of the rules that may match, ascending: every one that matches is among them."""
        found = self._always.copy()
        for get, probes in self._fields:
            text = get(alert)
            for length, places in probes:
                rules = places.get(text[:length])
                if rules is not None:
                    found += rules
        labels, indexed = alert.labels, self._labels
        # An alert has few labels, while rules may name many, or none.
        for name in indexed if len(indexed) < len(labels) else labels:
            if name in labels and name in indexed:
                text = labels[name]
                for length, places in indexed[name]:
                    rules = places.get(text[:length])
                    if rules is not None:
                        found += rules
        return sorted(set(found)) if len(found) > 1 else found


def _probes(found: Mapping[Key, list[int]]) -> _Probes:
    by_length: dict[int | None, dict[str, list[int]]] = {}
    for key, places in found.items():
        by_length.setdefault(key.length or None, {})[key.text] = places
    return tuple(by_length.items())


def demands(node: Node) -> list[Demand]:
    """What an alert must have for the condition to hold: one key of each of these."""
    match node:
        case OneOf(name, values):
            return _demand(Key(_field(name), 0, value) for value in values)
        case Matches(name, pattern):
            whole, beginnings = literals(pattern), prefixes(pattern)
            if whole is not None:
                return _demand(Key(_field(name), 0, text) for text in whole)
            if beginnings is not None:
                return _demand(_beginning(_field(name), text) for text in beginnings)
        case Every(nodes):
            return [demand for each in nodes for demand in demands(each)]
        case Some(nodes):
            choices = [demands(each) for each in nodes]
            return [frozenset[Key]().union(*(min(each, key=len) for each in choices))] if all(choices) else []
    return []


def _demand(keys: Iterable[Key]) -> list[Demand]:
    demand = frozenset(keys)
    # An alert without the label has "" too, and is not found by its labels.
    return [] if any(not key.text and key.field not in ALERT_FIELDS for key in demand) else [demand]


def _beginning(name: str, text: str) -> Key:
    cut = text[:_MAX_BEGINNING]
    return Key(name, len(cut), cut)


def _field(name: str) -> str:
    return name if name in ALERT_FIELDS else f"labels.{label(name)}"
