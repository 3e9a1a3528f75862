"""Regular expressions of conditions: RE2, from the beginning to the end of the text, `.` also matches a line break.

RE2 needs time in proportion to the text, so no pattern can stop a worker. Its Python binding takes microseconds a call,
so the patterns that most conditions have are run without it: literals (`mysql|cassandra`), and literals with `.*`
between or around them (`(mysql|cassandra)-.*`).
"""

import re
from collections.abc import Callable
from functools import lru_cache

import re2

MAX_PATTERN = 1000
_SPECIAL = frozenset("\\.+*?()|[]{}^$")
#: Before these a backslash stands for the character itself; before others it may begin a class or an assertion.
_ESCAPED = frozenset("\\.+*?()|[]{}^$-/ :#@&=_,;<>!%'\"~`") - {"_"}
_PART = re.compile(r"\.\*|\(\?:|\\.|[^\\]", re.DOTALL)
_MAX_GLOBS = 100
_MAX_DEPTH = 10
#: RE2 would write a pattern that is none to the standard error output, as it is.
_SILENT = re2.Options()
_SILENT.log_errors = False

#: The literals of an alternative, between which anything may be: `a.*b` is ("a", "b"), `a` is ("a",).
Glob = tuple[str, ...]


class _NoGlobError(Exception):
    """The pattern has parts that are none of a glob."""


def anchored(pattern: str) -> str:
    """The pattern as RE2 and ClickHouse's `match` run it."""
    return rf"\A(?s:{pattern})\z"


def check_pattern(pattern: str) -> None:
    """Raise ValueError if this is no regular expression of RE2, or too long."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} characters")
    try:
        re2.compile(pattern, _SILENT)  # `a)(b` would only be valid inside of the parentheses of `anchored`
        re2.compile(anchored(pattern), _SILENT)  # and an open `\Q` only outside
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"is no regular expression of RE2: {reason}") from None


def literals(pattern: str) -> frozenset[str] | None:
    """The only texts that it matches, if they are few and known."""
    globs = _globs(pattern)
    if globs is None or any(len(glob) > 1 for glob in globs):
        return None
    return frozenset(glob[0] for glob in globs)


def prefixes(pattern: str) -> tuple[str, ...] | None:
    """The beginnings of which each text that it matches has one; None if that is not known, or one is empty."""
    globs = _globs(pattern)
    if globs is None or any(not glob[0] for glob in globs):
        return None
    return tuple(glob[0] for glob in globs)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether the pattern, which `check_pattern` accepts, matches a text."""
    globs = _globs(pattern)
    if globs is None:
        matches = re2.compile(anchored(pattern), _SILENT).fullmatch
        return lambda text: matches(text) is not None
    if all(len(glob) == 1 for glob in globs):
        return frozenset(glob[0] for glob in globs).__contains__
    if all(len(glob) == 2 and not glob[1] for glob in globs):
        beginnings = tuple(glob[0] for glob in globs)
        return lambda text: text.startswith(beginnings)
    each = [_glob_matcher(glob) for glob in globs]
    return each[0] if len(each) == 1 else lambda text: any(matches(text) for matches in each)


def _glob_matcher(glob: Glob) -> Callable[[str], bool]:
    if len(glob) == 1:
        return glob[0].__eq__
    first, *between, last = glob
    if len(between) == 1 and not first and not last:
        (middle,) = between
        return lambda text: middle in text

    def holds(text: str) -> bool:
        at, end = len(first), len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last):
            return False
        for middle in between:
            at = text.find(middle, at, end)
            if at < 0:
                return False
            at += len(middle)
        return at <= end

    return holds


@lru_cache(maxsize=1000)
def _globs(pattern: str) -> list[Glob] | None:
    """The alternatives; None if the pattern has anything but literals, `.*`, `|` and groups, or has too many."""
    try:
        return _alternatives(_PART.findall(pattern)[::-1])
    except _NoGlobError:
        return None


def _alternatives(rest: list[str], depth: int = 0) -> list[Glob]:
    """The alternatives up to the end of a group, or of the pattern; `rest` are its parts, the next one last."""
    if depth > _MAX_DEPTH:
        raise _NoGlobError
    done: list[Glob] = []
    globs: list[Glob] = [("",)]
    while rest and rest[-1] != ")":
        part = rest.pop()
        if part == "|":
            done, globs = done + globs, [("",)]
            continue
        if part in {"(", "(?:"}:
            inner = _alternatives(rest, depth + 1)
            if not rest:
                raise _NoGlobError
            rest.pop()
        elif part == ".*":
            inner = [("", "")]
        elif len(part) == 2 and part[1] in _ESCAPED:
            inner = [(part[1],)]
        elif len(part) == 1 and part not in _SPECIAL:
            inner = [(part,)]
        else:
            raise _NoGlobError
        globs = [(*one[:-1], one[-1] + two[0], *two[1:]) for one in globs for two in inner]
        if len(done) + len(globs) > _MAX_GLOBS:
            raise _NoGlobError
    return done + globs
