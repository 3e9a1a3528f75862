"""Bodies that are forms (URL-encoded or multipart), as the texts of their fields."""

import re
from email.message import Message
from urllib.parse import parse_qsl

from schemas.text import LENIENT, foreign_charset, in_utf8
from streams.providers._contract import MAX_FIELDS, BadBody

_KINDS = {"application/x-www-form-urlencoded", "multipart/form-data"}
MAX_FORM = 1_048_576
_HEAD_LIMIT = 4096
_NAME = re.compile(rb';\s*name="((?:[^"\\\r\n]|\\.)*)"|;\s*name=([^;\s"]+)', re.IGNORECASE)


def is_form(content_type: str) -> bool:
    """Whether this content type is that of a form."""
    return content_type.partition(";")[0].strip().lower() in _KINDS


def form(body: bytes, content_type: str) -> dict[str, str] | None:
    """The fields of a form; of equal names the last wins; None if the content type is not a form's. Raises BadBody.

    JSON is never a form, whatever its content type: curl and Python's urllib declare every body as a form. A form has
    at most 1 MiB and 100 fields. Names and values are in the declared charset, else UTF-8, else Latin-1.
    """
    if not is_form(content_type) or body.lstrip()[:1] in (b"{", b"["):
        return None
    if len(body) > MAX_FORM:
        raise BadBody("body", f"is a form of more than {MAX_FORM} bytes")
    declared = foreign_charset(content_type)
    if content_type.lstrip()[:9].lower() == "multipart":
        return _multipart(body, content_type, declared)
    return pairs(in_utf8(body, declared).decode(), "body", declared) if b"=" in body else None


def pairs(text: str, path: str, declared: str | None = None) -> dict[str, str]:
    """The decoded pairs of a form or a query; of equal names the last wins; `declared` is the charset of escapes.

    Raises BadBody at `path` for more than 100 pairs.
    """
    errors = LENIENT if declared is None else "replace"
    try:
        found = parse_qsl(
            text, keep_blank_values=True, encoding=declared or "utf-8", errors=errors, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise BadBody(path, f"has more than {MAX_FIELDS} fields") from None
    return dict(found)


def _multipart(body: bytes, content_type: str, declared: str | None) -> dict[str, str]:
    """RFC 7578, as far as senders of alerts use it: no nesting, no transfer encodings."""
    header = Message()
    header["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise BadBody("body", "is multipart without a usable boundary")
    line = b"\r\n--" + boundary.encode()
    pieces = (b"\r\n" + body).split(line, MAX_FIELDS + 2)
    if len(pieces) > MAX_FIELDS + 2:
        raise BadBody("body", f"has more than {MAX_FIELDS} fields")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise BadBody("body", "is not multipart, or is cut")
    fields = {}
    for piece in pieces[1:-1]:
        head, found, value = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head) if found and len(head) <= _HEAD_LIMIT else None
        if name is None:
            raise BadBody("body", "has a part without a name")
        title = name[1] if name[1] is not None else name[2]
        fields[in_utf8(title, declared).decode()] = in_utf8(value, declared).decode()
    return fields
