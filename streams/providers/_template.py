"""JSON of templates into which a tool puts texts unescaped, so that quotation marks and line breaks in them break it.

Dynatrace documents this
(https://docs.dynatrace.com/docs/analyze-explore-automate/notifications-and-alerting/problem-notifications/webhook-integration):
a placeholder that is JSON itself must not stand in quotation marks, and texts are escaped under the content type of
JSON only. The field names of the template are known, so a value ends where the next name begins.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from streams.providers._contract import BadBody

T = TypeVar("T")

#: The characters between a value and the next name, or the end.
_TAIL = b" \t\r\n,}]"
#: A quotation mark or line break that is not escaped, and a backslash that escapes nothing.
_BARE = re.compile(rb'\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|["\\\x00-\x1f]')


def read_template(read: Callable[[bytes], T], body: bytes, names: Iterable[str]) -> T:
    """The result of `read` for a body; if that fails, for the body with the values of these names escaped.

    Raises the BadBody of the body as it is.
    """
    try:
        return read(body)
    except BadBody as error:
        try:
            return read(_mended(body, names))
        except BadBody:
            raise error from None


def _mended(body: bytes, names: Iterable[str]) -> bytes:
    listed = b"|".join(re.escape(name.encode()) for name in names)
    found = list(re.finditer(rb'"(?:%b)"\s*:\s*' % listed, body))
    if not found:
        return body
    ends = [*(match.start() for match in found[1:]), len(body)]
    pieces = (
        body[match.start() : match.end()] + _escaped(body[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    )
    return body[: found[0].start()] + b"".join(pieces)


def _escaped(piece: bytes) -> bytes:
    """A value and what follows it; the value is escaped if it is a text."""
    value = piece.rstrip(_TAIL)
    text = value[1:-1]
    backslashes = len(text) - len(text.rstrip(b"\\"))
    # A quotation mark after a backslash does not end a text: such a value was cut.
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"' or backslashes % 2:
        return piece
    return b'"' + _BARE.sub(_escape, text) + b'"' + piece[len(value) :]


def _escape(found: re.Match[bytes]) -> bytes:
    text = found[0]
    return text if len(text) > 1 else b"\\u%04x" % text[0]
