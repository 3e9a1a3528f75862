"""Text within vendors' limits."""

import regex

_GRAPHEME = regex.compile(r"\X")
_MORE = "…"


def cut(text: str, most: int) -> str:
    """`text`, or its beginning with an ellipsis: at most `most` (>= 1) code points, cut between two characters as read.

    A letter and its accents, or the parts of a flag or emoji, stay together (UAX #29).

    >>> cut("disk full on db-1", 10)
    'disk full…'
    >>> cut("👩🏽‍🚒👩🏽‍🚒", 6)
    '👩🏽‍🚒…'
    """
    if len(text) <= most:
        return text
    end = 0
    for found in _GRAPHEME.finditer(text):
        if found.end() > most - 1:
            break
        end = found.end()
    # One character may be longer than the limit: then it is cut like any text.
    return text[: end or most - 1].rstrip() + _MORE
