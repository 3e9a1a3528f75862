"""Reads conditions: Alertmanager's matchers, and what Stormweir adds to them.

    line      = expression | matchers | "{" matchers "}"
    matchers  = condition {"," condition} [","]
    expression= term {"or" term}
    term      = factor {"and" factor}
    factor    = "not" factor | "(" expression ")" | "{" matchers "}" | "during" value | condition
    condition = name ("=" | "!=" | "=~" | "!~") value | name ("<" | "<=" | ">" | ">=") number
              | name ["not"] "in" "(" [value {"," value}] ")"

Names and values are words, or quoted: inside quotes `\\"` is a quote, `\\\\` a backslash, `\\n` a line break, and any
other backslash is itself (https://prometheus.io/docs/alerting/latest/configuration/#matcher).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from streams.policy.language.number import NUMBER
from streams.policy.language.pattern import check_pattern
from streams.policy.language.tree import Compares, During, Every, Matches, Node, Not, OneOf, Some

#: Characters of a line, nesting, and tokens of a line. Python's own stack is far deeper than the nesting.
MAX_TEXT = 10_000
MAX_DEPTH = 20
MAX_TOKENS = 2_000
MAX_NAME = 200

_TOKEN = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\.)*")
             | (?P<sign>=~|!~|!=|<=|>=|[=<>(){},])
             | (?P<word>[^\s(){},=!~<>"'`\\]+) )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r'\\(["\\n])')
_KEYWORDS = frozenset({"and", "or", "not", "in", "during"})


class _Token(NamedTuple):
    """`kind` is quoted, sign, word or end; `text` is without quotes."""

    kind: str
    text: str

    def says(self, *texts: str) -> bool:
        return self.kind in {"sign", "word"} and self.text in texts


_END = _Token("end", "")


def parse(lines: Sequence[str]) -> Node:
    """The tree of lines that must all hold. Raises ValueError that says what is wrong with a line."""
    nodes = [_Parser(line).line() for line in lines]
    return nodes[0] if len(nodes) == 1 else Every(tuple(nodes))


class _Parser:
    def __init__(self, text: str) -> None:
        self._shown = repr(text if len(text) <= 200 else text[:200] + "...")
        if len(text) > MAX_TEXT:
            raise self._error(f"is longer than {MAX_TEXT} characters")
        self._tokens = self._split(text)
        self._place = 0

    def line(self) -> Node:
        node = self._expression(0)
        if self._next.says(","):
            node = self._matchers(node)
        if self._next is not _END:
            raise self._error(f"has {self._next.text!r} where it should end, or `and` or `or` is missing")
        return node

    def _split(self, text: str) -> list[_Token]:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._error("is no UTF-8 text") from None
        tokens: list[_Token] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._error(f"cannot be read from {text[place : place + 20].strip()!r}: put values into quotes")
            kind = found.lastgroup or ""
            shown = found[kind]
            tokens.append(_Token(kind, _unquoted(shown) if kind == "quoted" else shown))
            place = found.end()
            if len(tokens) > MAX_TOKENS:
                raise self._error(f"has more than {MAX_TOKENS} words and signs")
        return tokens

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else _END

    def _take(self) -> _Token:
        token = self._next
        self._place += 1
        return token

    def _skip(self, *texts: str) -> bool:
        """Whether the next token was one of these, which is then passed."""
        if found := self._next.says(*texts):
            self._place += 1
        return found

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise self._error(f"needs {text!r} {self._where()}")

    def _where(self) -> str:
        return "at its end" if self._next is _END else f"before {self._next.text!r}"

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self._shown} {reason}")

    def _expression(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        nodes = [self._term(depth)]
        while self._skip("or"):
            nodes.append(self._term(depth))
        return nodes[0] if len(nodes) == 1 else Some(tuple(nodes))

    def _term(self, depth: int) -> Node:
        nodes = [self._factor(depth)]
        while self._skip("and"):
            nodes.append(self._factor(depth))
        return nodes[0] if len(nodes) == 1 else Every(tuple(nodes))

    def _factor(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        if self._skip("not"):
            return Not(self._factor(depth + 1))
        if self._skip("("):
            node = self._expression(depth + 1)
            self._expect(")")
            return node
        if self._skip("{"):
            node = self._matchers(self._condition())
            self._expect("}")
            return node
        if self._skip("during"):
            return During(self._value("a calendar's id"))
        return self._condition()

    def _matchers(self, first: Node) -> Node:
        """The conditions after the first one, separated by commas."""
        nodes = [first]
        while self._skip(",") and self._next is not _END and not self._next.says("}"):
            nodes.append(self._condition())
        if len(nodes) > 1 and isinstance(first, Every | Some):
            raise self._error("has commas beside `and` or `or`: use one of them")
        return nodes[0] if len(nodes) == 1 else Every(tuple(nodes))

    def _condition(self) -> Node:
        token = self._take()
        if token.kind not in {"quoted", "word"} or (token.kind == "word" and token.text in _KEYWORDS):
            self._place -= 1
            raise self._error(f'needs a condition such as service="web" {self._where()}')
        name = token.text
        if not 0 < len(name.removeprefix("labels.")) <= MAX_NAME:
            raise self._error(f"has a field whose name is empty or longer than {MAX_NAME} characters")
        if self._skip("in"):
            return OneOf(name, self._list())
        if self._skip("not"):
            self._expect("in")
            return Not(OneOf(name, self._list()))
        operator = self._take()
        match operator.text if operator.kind == "sign" else "":
            case "=":
                return OneOf(name, (self._value("a value"),))
            case "!=":
                return Not(OneOf(name, (self._value("a value"),)))
            case "=~":
                return self._pattern(name)
            case "!~":
                return Not(self._pattern(name))
            case ">" | ">=" | "<" | "<=":
                number = self._value("a number")
                if not NUMBER.fullmatch(number):
                    raise self._error(f"compares {name} with {number!r}, which is no number")
                return Compares(name, operator.text, number)
        self._place -= 1
        raise self._error(f"needs one of = != =~ !~ < <= > >= in {self._where()}, after {name!r}")

    def _pattern(self, name: str) -> Matches:
        pattern = self._value("a regular expression")
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise self._error(f"has a pattern for {name} that {error}") from None
        return Matches(name, pattern)

    def _list(self) -> tuple[str, ...]:
        self._expect("(")
        values: list[str] = []
        while not self._skip(")"):
            if values:
                self._expect(",")
            values.append(self._value("a value"))
        return tuple(dict.fromkeys(values))

    def _value(self, what: str) -> str:
        token = self._take()
        if token.kind not in {"quoted", "word"}:
            self._place -= 1
            raise self._error(f"needs {what} {self._where()}")
        return token.text


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text[1:-1])
