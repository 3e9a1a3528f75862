"""Conditions that can never hold, as far as their values alone show it."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from types import SimpleNamespace

from streams.policy.language.fields import INCIDENT_FIELDS, label
from streams.policy.language.number import number
from streams.policy.language.parser import parse
from streams.policy.language.pattern import literals
from streams.policy.language.predicate import NO_CALENDARS, predicate
from streams.policy.language.tree import Compares, During, Every, Matches, Node, OneOf, Some, leaves

Domains = Mapping[str, frozenset[str]]


def can_hold(node: Node, domains: Domains) -> bool:
    """False only if no alert (or incident) fulfils the condition; `domains` are the possible values of some fields."""
    match node:
        case Some(nodes):
            return not nodes or any(can_hold(each, domains) for each in nodes)
        case Every():
            nodes = tuple(_flat(node))
            return all(can_hold(each, domains) for each in nodes if isinstance(each, Some)) and _together(
                nodes, domains
            )
        case _:
            return _together((node,), domains)


def values_of(node: Node) -> frozenset[str] | None:
    """The only values of its field with which a single condition holds; None if that is not known."""
    match node:
        case OneOf(_, values):
            return frozenset(values)
        case Matches(_, pattern):
            return literals(pattern)
    return None


def equalities(lines: Sequence[str]) -> dict[str, frozenset[str]]:
    """The fields of an incident that must have one of these values for all lines to hold; a label is `labels.<name>`.

    Other conditions may hold besides. Raises ValueError for a line that is no condition.
    """
    found: dict[str, frozenset[str]] = {}
    for node in _flat(parse(lines)):
        values = values_of(node)
        if values is not None and isinstance(node, OneOf | Matches):
            name = node.field if node.field in INCIDENT_FIELDS else f"labels.{label(node.field)}"
            found[name] = found.get(name, values) & values
    return found


def _flat(node: Node) -> Iterable[Node]:
    if isinstance(node, Every):
        for each in node.nodes:
            yield from _flat(each)
    else:
        yield node


def _together(nodes: Iterable[Node], domains: Domains) -> bool:
    """Whether the conditions over each single field leave it a value."""
    by_field: dict[str, list[Node]] = {}
    for node in nodes:
        names = {"" if isinstance(leaf, During) else leaf.field for leaf in leaves(node)}
        if len(names) == 1 and "" not in names:
            by_field.setdefault(names.pop(), []).append(node)
    return all(_possible(name, parts, domains) for name, parts in by_field.items())


def _possible(name: str, parts: list[Node], domains: Domains) -> bool:
    known = [values for part in parts if (values := values_of(part)) is not None]
    if name in domains:
        known.append(domains[name])
    if not known:
        return _numbers(parts)
    holds = predicate(Every(tuple(parts)), {name: lambda subject: str(subject.value)}, NO_CALENDARS, lambda subject: 0)
    return any(holds(SimpleNamespace(value=value)) for value in frozenset.intersection(*known))


def _numbers(parts: list[Node]) -> bool:
    """Whether a number is between all the limits."""
    low, high, low_open, high_open = -inf, inf, False, False
    for part in parts:
        if isinstance(part, Compares):
            limit = number(part.number)
            assert limit is not None
            is_open = part.operator in {">", "<"}
            if part.operator in {">", ">="}:
                low, low_open = max((low, low_open), (limit, is_open))
            else:
                high, high_open = min((high, not high_open), (limit, not is_open))
                high_open = not high_open
    return low < high or (low == high and not low_open and not high_open)
