"""Conditions and alerts to try them on, made by hypothesis, and a reader of the sentences that conditions become."""

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from schemas.wire.alert import Action, Alert, Severity
from streams.policy.language.tree import Compares, During, Every, Matches, Node, Not, OneOf, Some

HOUR_MS = 3_600_000
#: Alerts are received within the last whole hour: history deletes those of long ago.
START = int(time.time()) // 3600 * HOUR_MS - HOUR_MS
#: Few values, so that conditions often hold, and all that is written in a way of its own somewhere.
TEXTS = (
    "", "web", "webshop", "db", "critical", "warning", "trigger", "a\nb", "a|b", "it's", 'say "hi"', "back\\slash",
    "{p0:String}", "'; DROP TABLE alerts; --", "naïve ☃", "7", "07.50", "-3e2", "1e+06", "0.30000000000000004", "90 %",
    "\t", "\\N", "%", "$1", "null",
)  # fmt: skip
NUMBERS = ("7", "7.5", "-300", "0", "1000000", "0.3", "0.30000000000000004", ".5", "1e3")
PATTERNS = (
    "", "web", "web|db", "web.*", ".*shop", ".*e.*", "(web|db).*", "w.b", "a.b", r"a\|b", "[a-w]+", r"\d+(\.\d+)?",
    "(?i)WEB", r"a\nb", "^web$", "web|", ".*", ".+", r"back\\.*", "a|b", r"\Qa|b\E", "(?-s).*", "ï|☃|naïve.*",
    "(web|d(b|)).*", "(?:a|b).*(e|k)", "web.*|db", ".*a.*a.*", "say.*say.*", "(|w)e?b", "(web)*", "(web|db)+",
    "[^a]*", "say .*|7", ".*\n.*",
)  # fmt: skip
FIELDS = ("service", "severity", "action", "summary", "group", "class", "labels.env", "cpu", "labels.a b", "source")


class Half:
    """Calendars: `first-half` has the first 30 minutes of each hour; no other exists."""

    def inside(self, tenant: str, calendar: str, at: int, /) -> bool:
        return calendar == "first-half" and at % HOUR_MS < HOUR_MS // 2


_fields = st.sampled_from(FIELDS)
_texts = st.sampled_from(TEXTS)
_leaves: st.SearchStrategy[Node] = st.one_of(
    st.builds(OneOf, _fields, st.lists(_texts, max_size=3, unique=True).map(tuple)),
    st.builds(OneOf, _fields, st.tuples(_texts)),
    st.builds(Matches, _fields, st.sampled_from(PATTERNS)),
    st.builds(Compares, st.sampled_from(("cpu", "summary")), st.sampled_from((">", ">=", "<", "<=")),
              st.sampled_from(NUMBERS)),
    st.builds(During, st.sampled_from(("first-half", "unknown"))),
)  # fmt: skip
conditions: st.SearchStrategy[Node] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Every, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def _alert(chance: random.Random, number: int) -> Alert:
    service, summary, source, group, class_ = (chance.choice(TEXTS) for _ in range(5))
    labels = {name: chance.choice(TEXTS) for name in ("env", "cpu", "a b", "team") if chance.random() < 0.7}
    return Alert(
        tenant="default", service=service, integration="", provider="kafka", event_id=bytes(16), dedup_key="k",
        fingerprint=number.to_bytes(16, "big"), action=chance.choice(list(Action)),
        severity=chance.choice(list(Severity)), summary=summary, source=source, group=group, class_=class_,
        labels=labels, received_at=START + chance.randrange(HOUR_MS),
    )  # fmt: skip


#: The alerts that conditions are tried on.
ALERTS = tuple(_alert(random.Random(number), number) for number in range(150))


def written(node: Node) -> str:
    """The condition in the language."""
    match node:
        case OneOf(name, (value,)):
            return f"{_quoted(name)} = {_quoted(value)}"
        case OneOf(name, values):
            return f"{_quoted(name)} in ({', '.join(map(_quoted, values))})"
        case Matches(name, pattern):
            return f"{_quoted(name)}=~{_quoted(pattern)}"
        case Compares(name, operator, number):
            return f"{_quoted(name)} {operator} {number}"
        case During(calendar):
            return f"during {calendar}"
        case Not(inner):
            return f"not ({written(inner)})"
        case Every(nodes):
            return " and ".join(f"({written(each)})" for each in nodes)
        case Some(nodes):
            return " or ".join(f"({written(each)})" for each in nodes)


def _quoted(text: str) -> str:
    return '"' + re.sub(r'["\\]', r"\\\g<0>", text).replace("\n", "\\n") + '"'


_TEXT = r'"(?:[^"\\]|\\.)*"'
_WORDS = {"more than": ">", "at least": ">=", "less than": "<", "at most": "<="}


def understood(sentence: str, fields: Mapping[str, Any]) -> Node:
    """The condition that a reader understands, who reads word for word."""
    return _Reader(sentence, fields).all()


class _Reader:
    def __init__(self, text: str, fields: Mapping[str, Any]) -> None:
        self._text, self._fields, self._at = text, fields, 0

    def all(self) -> Node:
        node = self._several()
        assert self._at == len(self._text), self._text[self._at :]
        return node

    def _take(self, pattern: str) -> str | None:
        found = re.compile(pattern).match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _several(self) -> Node:
        nodes = [self._one()]
        word = self._take(" and | or ")
        if word is None:
            return nodes[0]
        nodes.append(self._one())
        while self._take(word):
            nodes.append(self._one())
        return (Every if word == " and " else Some)(tuple(nodes))

    def _one(self) -> Node:
        if self._take(r"it is not so that \("):
            return Not(self._bracketed())
        if self._take(r"\("):
            return self._bracketed()
        if self._take("it is during "):
            return During(self._string())
        if self._take("it is not during "):
            return Not(During(self._string()))
        return self._condition()

    def _bracketed(self) -> Node:
        node = self._several()
        assert self._take(r"\)")
        return node

    def _condition(self) -> Node:
        if self._take("the label "):
            name = "labels." + self._string()
        else:
            name = (self._take(r"the \w+") or "").removeprefix("the ")
            assert name in self._fields, self._text[self._at :]
        makers: Mapping[str, Callable[[], Node]] = {
            " is a number of ": lambda: self._number(name),
            " does not match ": lambda: Not(Matches(name, self._string())),
            " matches ": lambda: Matches(name, self._string()),
            " is none of ": lambda: Not(OneOf(name, self._list())),
            " is one of ": lambda: OneOf(name, self._list()),
            " is not ": lambda: Not(OneOf(name, (self._value(),))),
            " is ": lambda: OneOf(name, (self._value(),)),
        }
        return next(make for words, make in makers.items() if self._take(words))()

    def _number(self, name: str) -> Node:
        operator = _WORDS[self._take("|".join(_WORDS)) or ""]
        return Compares(name, operator, (self._take(r" \S+[^)\s]") or self._take(r" [0-9]") or "").strip())

    def _list(self) -> tuple[str, ...]:
        if self._take("nothing"):
            return ()
        values = [self._string()]
        while self._take(", "):
            values.append(self._string())
        return tuple(values)

    def _value(self) -> str:
        return "" if self._take("empty") else self._string()

    def _string(self) -> str:
        found = self._take(f"(?s:{_TEXT})")
        assert found is not None, self._text[self._at :]
        return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], found[1:-1])
