"""The syntax tree of a condition, which every back end reads. What a node means stands at the node, once.

A field's value is text; a field that is missing is "". Conditions are true or false, never unknown.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias


class OneOf(NamedTuple):
    """The field is one of the values: `=` has one, `in` any number."""

    field: str
    values: tuple[str, ...]


class Matches(NamedTuple):
    """The pattern, a regular expression of RE2, matches the field from its beginning to its end."""

    field: str
    pattern: str


class Compares(NamedTuple):
    """The field is a number (streams.policy.language.number) that compares so; `operator` is one of > >= < <=."""

    field: str
    operator: str
    number: str


class During(NamedTuple):
    """The time of the alert or incident is inside a calendar of its tenant."""

    calendar: str


class Not(NamedTuple):
    """The node does not hold."""

    node: "Node"


class Every(NamedTuple):
    """All nodes hold; none always does."""

    nodes: tuple["Node", ...]


class Some(NamedTuple):
    """At least one of the nodes holds."""

    nodes: tuple["Node", ...]


Node: TypeAlias = OneOf | Matches | Compares | During | Not | Every | Some


def leaves(node: Node) -> Iterator[OneOf | Matches | Compares | During]:
    """The conditions of the tree, from left to right."""
    match node:
        case Not(inner):
            yield from leaves(inner)
        case Every(nodes) | Some(nodes):
            for each in nodes:
                yield from leaves(each)
        case _:
            yield node


def calendars(node: Node) -> frozenset[str]:
    """The ids of the calendars that it names."""
    return frozenset(leaf.calendar for leaf in leaves(node) if isinstance(leaf, During))
