"""The back end for people: a condition as an English sentence that has one meaning only."""

from streams.policy.language.fields import Getters, label
from streams.policy.language.tree import Compares, During, Every, Matches, Node, Not, OneOf, Some

_COMPARISONS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}


def sentence(node: Node, fields: Getters) -> str:
    """The condition in words. Texts are in quotes, as the language writes them; nested parts are in parentheses."""
    return _Writer(fields).write(node)


def quoted(text: str) -> str:
    """A text in the quotes of the language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class _Writer:
    def __init__(self, fields: Getters) -> None:
        self._fields = fields

    def write(self, node: Node) -> str:
        match node:
            case OneOf(name, values):
                return f"{self._name(name)} {_among(values, 'is', 'is one of')}"
            case Not(OneOf(name, values)):
                return f"{self._name(name)} {_among(values, 'is not', 'is none of')}"
            case Matches(name, pattern):
                return f"{self._name(name)} matches {quoted(pattern)}"
            case Not(Matches(name, pattern)):
                return f"{self._name(name)} does not match {quoted(pattern)}"
            case Compares(name, operator, number):
                return f"{self._name(name)} is a number of {_COMPARISONS[operator]} {number}"
            case During(calendar):
                return f"it is during {quoted(calendar)}"
            case Not(During(calendar)):
                return f"it is not during {quoted(calendar)}"
            case Not(inner):
                return f"it is not so that ({self.write(inner)})"
            case Every(nodes):
                return " and ".join(map(self._part, nodes)) or "always"
            case Some(nodes):
                return " or ".join(map(self._part, nodes)) or "always"

    def _part(self, node: Node) -> str:
        return f"({self.write(node)})" if isinstance(node, Every | Some) else self.write(node)

    def _name(self, name: str) -> str:
        return f"the {name}" if name in self._fields else f"the label {quoted(label(name))}"


def _among(values: tuple[str, ...], one: str, several: str) -> str:
    if len(values) == 1:
        return f"{one} {quoted(values[0])}" if values[0] else f"{one} empty"
    return f"{several} {', '.join(map(quoted, values)) or 'nothing'}"
