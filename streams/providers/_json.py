"""Bodies in JSON: typed decoding in which every failure is a BadBody that names the field."""

import re
from array import array
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
import orjson

from schemas.text import repaired
from streams.providers._contract import BadBody

T = TypeVar("T")

#: Levels of lists and objects. Vendors use ten; every later reader of the body must accept what we accepted.
MAX_DEPTH = 100
#: Size in bytes up to which unescaped quotation marks are repaired: that takes several passes over the text.
MAX_REQUOTED = 262_144

_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_BRACKETS = bytes.maketrans(b"[]", b"{}")
_STEPS = bytes.maketrans(b"{}", b"\x01\xff")
#: This many levels are removed one at a time, from the innermost; that costs next to nothing once none is left.
_USUAL_DEPTH = 12
_TEXT = bytes(set(range(256)) - set(b'[]{}"'))
_PATH = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`$")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as the decoder's type, repaired if it is nearly JSON. Raises BadBody for any failure."""
    return decode_with_text(decoder, body)[0]


def decode_with_text(decoder: msgspec.json.Decoder[T], body: bytes) -> tuple[T, bytes]:
    """The result of `decode`, and the JSON text it was read from: the body, or the repaired text."""
    if _too_deep(body):
        raise BadBody("body", _TOO_DEEP)
    return _decoded(decoder, body, measured=True)


def decode_flat(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """`decode` for a type without fields of any depth (`Any`, `Raw`), so that the depth is not measured.

    The other parts of such a body are skipped, and may be as deep as the decoder can go.
    """
    return _decoded(decoder, body, measured=False)[0]


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes, *, measured: bool) -> tuple[T, bytes]:
    """The value and its text. A body that is not JSON is repaired: first its grammar, then its quotation marks."""
    try:
        if not body.isascii():
            body.decode()  # msgspec skips over fields it does not need without checking their encoding
        return decoder.decode(body), body
    except msgspec.ValidationError as error:
        raise _located(str(error)) from None
    except msgspec.DecodeError as error:
        wrong = BadBody("body", str(error))
    except UnicodeDecodeError:
        wrong = BadBody("body", "is not UTF-8")
    except RecursionError:
        raise BadBody("body", _TOO_DEEP) from None
    except (ValueError, OverflowError):
        raise BadBody("body", "holds a number that is too large") from None
    for quotes in (False, True) if len(body) <= MAX_REQUOTED else (False,):
        text = repaired(body, quotes=quotes)
        if measured and _too_deep(text):
            raise BadBody("body", _TOO_DEEP)
        try:
            return decoder.decode(text), text
        except msgspec.ValidationError as error:
            raise _located(str(error)) from None
        except (ValueError, RecursionError, OverflowError):
            continue
    raise wrong


def raw_text(raw: msgspec.Raw, path: str) -> bytes:
    """The JSON text of a field that was not decoded, empty for null. Raises BadBody if other readers cannot read it."""
    text = bytes(raw)
    if b"\\u" in text:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadBody(path, f"is not usable JSON: {error.msg}") from None
    return b"" if text == b"null" else text


def encode(value: Any) -> bytes:
    """JSON text of a value of plain types."""
    return msgspec.json.encode(value)


def _located(message: str) -> BadBody:
    found = _PATH.match(message)
    assert found is not None
    reason, path = found["reason"], (found["path"] or "$").removeprefix("$")
    path = path.replace("[...]", ".*").replace("[", ".").replace("]", "").removeprefix(".")
    missing = _MISSING.match(reason)
    if missing is not None:
        path, reason = f"{path}.{missing['name']}".removeprefix("."), "is required"
    return BadBody(path or "body", reason)


def _too_deep(body: bytes) -> bool:
    """Whether a JSON text is nested deeper than MAX_DEPTH; for any other text the result means nothing.

    A few passes over the bytes: the decoders have no limit but the rest of Python's stack, which differs between
    gateway and worker. One alert has too few brackets to be measured; for a list, measuring costs a third of decoding.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_BRACKETS, _TEXT)
    if marks.count(b"{") <= MAX_DEPTH:
        return False
    # A string without brackets is two quotes by now; anything else between quotes is text.
    marks = marks.replace(b'""', b"")
    if b'"' in marks:
        marks = b"".join(marks.split(b'"')[::2])
    for _ in range(_USUAL_DEPTH):
        marks = marks.replace(b"{}", b"")
    levels = accumulate(array("b", marks.translate(_STEPS)))
    return max(levels, default=0) > MAX_DEPTH - _USUAL_DEPTH
