"""Repairs of text and JSON that are nearly right.

Callers use them only after a body was found to be unreadable, so good bodies cost nothing. Every repair is
deterministic: a replay reads what the gateway read.
"""

import codecs
import json
import re
from functools import lru_cache
from itertools import islice

#: An error handler for decoding UTF-8: bytes that are not UTF-8 are read as Latin-1, one by one; the beginning of a
#: character that was cut off becomes U+FFFD.
LENIENT = "stormweir.lenient"

#: Charsets that senders use. Python has more codecs, some of which are not charsets (`unicode_escape`, `punycode`).
_CHARSETS = re.compile(
    r"utf-?(?:8|16|32)(?:-?[lb]e)?|(?:us-)?ascii|iso-?8859-?\d{1,2}|latin-?\d|(?:windows|cp|ibm)-?\d{3,4}|koi8-[ru]"
    r"|shift[-_]jis|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5|macintosh"
)
_DECLARED = re.compile(r';\s*charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: A string, closed or not, or one of the errors that occur between strings.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[+-]?\b(?:NaN|nan|Infinity|inf)\b|,(?=\s*[}\]])', re.DOTALL)
#: In a string: a valid escape (no group), half of a surrogate pair (group 1), a backslash before a letter that cannot
#: be escaped (group 2), or a control character (group 3).
_ESCAPE = re.compile(
    r'\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(\\)|([\x00-\x1f])"
)
#: A quotation mark at the beginning of a value, followed by a list or object.
_QUOTED_JSON = re.compile(r':\s*"(?=(?:\{\s*["}]|\[\s*[\[{"\]\d]))')
#: The limit of quoted lists and objects: reading each takes time in proportion to the length of the text.
_MAX_QUOTED = 20
_MARK = re.compile(r'\s*"')
#: The beginning of a string, and a quotation mark that may end one: it is followed by text that may follow a string.
_OPENING = re.compile(r'[{\[,:]\s*"')
_CLOSING = re.compile(r'(?<!\\)(?:\\\\)*"(?=\s*(?:[:}\]]|,\s*(?:["{\[\d-]|true|false|null)|$))')
_BARE = re.compile(r'(?<!\\)((?:\\\\)*)"')
_raw_json = json.JSONDecoder(strict=False)


def _lenient(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return (wrong.decode("latin-1") if len(wrong) == 1 else "\ufffd"), error.end


codecs.register_error(LENIENT, _lenient)


def charset(name: str) -> str | None:
    """Python's name of the charset with this name, None if there is none.

    >>> charset("UTF8"), charset("Latin-1"), charset("gzip")
    ('utf-8', 'iso8859-1', None)
    """
    name = name.strip().lower()
    if _CHARSETS.fullmatch(name) is None:
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


@lru_cache(maxsize=256)
def foreign_charset(content_type: str) -> str | None:
    """The charset that a content type declares; None if it is UTF-8 or ASCII, not declared, or not known.

    >>> foreign_charset("application/json; charset=ISO-8859-1"), foreign_charset("application/json; charset=utf-8")
    ('iso8859-1', None)
    """
    declared = _DECLARED.search(content_type)
    found = None if declared is None else charset(declared[1])
    return None if found in ("utf-8", "ascii") else found


def in_utf8(body: bytes, declared: str | None = None) -> bytes:
    """The text in UTF-8. Its charset follows from a byte order mark, else `declared`, else zero bytes, else LENIENT.

    >>> in_utf8(b"Ger\\xe4t and Ger\\xc3\\xa4t").decode()
    'Gerät and Gerät'
    """
    return _text(body, declared).encode("utf-8", "replace")


def repaired(body: bytes, *, quotes: bool = False) -> bytes:
    """The JSON text of `body` with common errors repaired; it may be readable where `body` is not.

    The charset is detected. Half a surrogate pair becomes U+FFFD, NaN and Infinity become null, control characters and
    backslashes inside strings are escaped, a comma before a closing bracket is removed. `quotes` also repairs quotation
    marks that a template left unescaped: a quoted list or object becomes that value, any other mark is escaped.
    """
    text = _text(body, None)
    if quotes:
        text = _requoted(_unquoted(text))
    return _TOKEN.sub(_mended, text).encode("utf-8", "replace")


def _text(body: bytes, declared: str | None) -> str:
    encoding = next((name for bom, name in _BOMS if body.startswith(bom)), declared)
    if encoding is None and b"\0" in body[:2]:  # RFC 4627, section 3: JSON begins with two ASCII characters
        encoding = "utf-16-be" if body[:1] == b"\0" else "utf-16-le"
    if encoding is None or encoding == "utf-8-sig":
        return body.decode("utf-8", LENIENT).removeprefix("\ufeff")
    return body.decode(encoding, "replace").removeprefix("\ufeff")


def _mended(token: re.Match[str]) -> str:
    text = token[0]
    if text[0] == '"':
        return _ESCAPE.sub(_escaped, text)
    return "" if text[0] == "," else "null"


def _escaped(found: re.Match[str]) -> str:
    half, backslash, control = found.groups()
    if control is not None:
        return f"\\u{ord(control):04x}"
    if half is not None:
        return "\\ufffd"
    return "\\\\" if backslash is not None else found[0]


def _unquoted(text: str) -> str:
    """The text in which lists and objects inside quotation marks, if unescaped, have lost these marks."""
    pieces, start = [], 0
    for found in islice(_QUOTED_JSON.finditer(text), _MAX_QUOTED):
        if found.start() < start:
            continue
        try:
            _, end = _raw_json.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        closing = _MARK.match(text, end)
        if closing is not None:
            pieces += [text[start : found.end() - 1], text[found.end() : end]]
            start = closing.end()
    return "".join([*pieces, text[start:]])


def _requoted(text: str) -> str:
    """The text with the quotation marks inside strings escaped; a mark that text after a string may follow ends one."""
    pieces, start = [], 0
    while (opening := _OPENING.search(text, start)) is not None:
        closing = _CLOSING.search(text, opening.end())
        if closing is None:
            break
        inside = text[opening.end() : closing.end() - 1]
        pieces += [text[start : opening.end()], _BARE.sub(r'\1\\"', inside), '"']
        start = closing.end()
    return "".join([*pieces, text[start:]])
