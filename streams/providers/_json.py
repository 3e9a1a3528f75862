"""Bodies in JSON: typed decoding in which every failure is a BadBody that names the field."""

import re
from typing import Any, TypeVar

import msgspec
import orjson

from streams.providers._contract import BadBody

T = TypeVar("T")

_PATH = re.compile(r"^(?P<reason>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`$")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as the decoder's type. Raises BadBody for anything else, whatever is wrong with it."""
    try:
        if not body.isascii():
            body.decode()  # msgspec skips over fields it does not need without checking their encoding
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _located(str(error)) from None
    except msgspec.DecodeError as error:
        raise BadBody("body", str(error)) from None
    except UnicodeDecodeError:
        raise BadBody("body", "is not UTF-8") from None
    except RecursionError:
        raise BadBody("body", "is nested too deeply") from None
    except (ValueError, OverflowError):
        raise BadBody("body", "holds a number that is too large") from None


def raw_text(raw: msgspec.Raw, path: str) -> bytes:
    """The JSON text of a field that was not decoded, empty for null. Raises BadBody for a lone surrogate."""
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
