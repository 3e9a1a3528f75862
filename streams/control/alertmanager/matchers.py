"""Alertmanager's matchers as conditions of Stormweir.

Alertmanager matches labels, so each condition names a label: `service` is `labels.service`, not the service here.
https://prometheus.io/docs/alerting/latest/configuration/#matcher
"""

import re
from collections.abc import Iterator, Mapping, Sequence

#: One matcher: a name, perhaps in quotes, an operator, and a value up to the next comma that is not in quotes.
_MATCHER = re.compile(
    r"""\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*))\s*(?P<operator>=~|!~|!=|=)\s*"""
    r"""(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>(?:\\.|[^",\\])*?))\s*(?:,|$)""",
    re.DOTALL,
)
_ESCAPE = re.compile(r'\\(["\\n])')
#: What conditions would read as an escape or the end of a text, as RE2 writes it otherwise.
_OWN_ESCAPES = {"\\\\": r"\x5c", "\\n": r"\x0a", "\n": r"\x0a", '"': r"\x22", r"\"": r"\x22"}


def lines(match: Mapping[str, str], match_re: Mapping[str, str], matchers: Sequence[str] | str) -> list[str]:
    """The conditions of the old syntax (`match`, `match_re`) and of the new one. Raises ValueError for no matcher."""
    listed = [matchers] if isinstance(matchers, str) else matchers
    return [
        *(_line(name, "=", value) for name, value in match.items()),
        *(_line(name, "=~", value) for name, value in match_re.items()),
        *(_line(*each) for text in listed for each in _parsed(text)),
    ]


def _parsed(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, operator and value of each matcher in `a="b"`, or `{a="b", c=~d}`."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    place = 0
    while place < len(inner):
        found = _MATCHER.match(inner, place)
        if found is None:
            raise ValueError("is no matcher such as severity=critical")
        name = found["name"] or _unescaped(found["quoted"])
        value = found["text"] if found["text"] is not None else found["word"]
        yield name, found["operator"], _unescaped(value)
        place = found.end()


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _line(name: str, operator: str, value: str) -> str:
    if operator in {"=", "!="}:
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    else:
        # A backslash is the expression's own, so what conditions read as an escape is written in another way.
        quoted = re.sub(r'\\.|["\n]', lambda found: _OWN_ESCAPES.get(found[0], found[0]), value, flags=re.DOTALL)
    return f'labels.{name}{operator}"{quoted}"'
