"""Bodies whose types vary: fields are read by name, types are converted, and a missing field is ""."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from streams.providers._contract import BadBody, Context
from streams.providers._forms import form
from streams.providers._json import decode_with_text, encode

#: A template variable that its tool did not replace: Datadog, Nagios, New Relic, Kibana, AppDynamics, Dynatrace and
#: Zabbix, UptimeRobot; and Datadog's word for no value.
_UNEXPANDED = re.compile(
    r"\s*(?:\$[A-Z][A-Z0-9_]*\$?|\$\{[^{}]*\}|\{\{.*\}\}|\{[A-Za-z][\w.:\[\]]*\}|\*[A-Za-z]\w*\*|null)\s*", re.DOTALL
)

_any = msgspec.json.Decoder(Any)
_NOTHING: dict[str, Any] = {}


def text(value: object) -> str:
    """A scalar as trimmed text, so 991 and "991" are equal; "" for anything else and for a template variable."""
    if isinstance(value, str):
        return "" if _UNEXPANDED.fullmatch(value) else value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) else ""


class Fields:
    """A JSON object (or form) by name. Names are dotted paths into objects; a name is never an index."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def get(self, path: str) -> Any:
        """The value as it is, None if there is none. A name that contains the dots itself has priority."""
        if path in self.values:
            return self.values[path]
        value: Any = self.values
        for name in path.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    def text(self, *paths: str) -> str:
        """The first of these with a value, as text, else ""."""
        return next((found for path in paths if (found := text(self.get(path)))), "")

    def require(self, *paths: str) -> str:
        """The first of these with a value, as text. Raises BadBody with the first path if none has one."""
        found = self.text(*paths)
        if not found:
            raise BadBody(paths[0], "is required")
        return found

    def object(self, path: str) -> "Fields":
        """The object at this path; an empty one if there is none."""
        value = self.get(path)
        return Fields(value if isinstance(value, dict) else _NOTHING)

    def objects(self, path: str) -> "list[Fields]":
        """The objects in the list at this path."""
        value = self.get(path)
        return [Fields(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    def items(self) -> Iterator[tuple[str, str]]:
        """Names and texts of the scalars that have a value."""
        return ((name, found) for name, value in self.values.items() if (found := text(value)))


def labels_of(tags: object) -> dict[str, str]:
    """Labels of tags in any of their forms.

    These are: `a:1,b`; a list of `a:1`, `a=1`, `["a", "1"]`, `{"tag": "a", "value": "1"}` (or `key`, or `name`); or an
    object. A tag without a value is `true`.
    """
    if isinstance(tags, dict):
        return dict(Fields(tags).items())
    labels = {}
    for tag in tags.split(",") if isinstance(tags, str) else tags if isinstance(tags, list) else ():
        if isinstance(tag, list) and len(tag) == 2:
            name, value = text(tag[0]), text(tag[1])
        elif isinstance(tag, dict):
            name, value = Fields(tag).text("tag", "key", "name"), Fields(tag).text("value") or "true"
        else:
            name, sign, value = (found := text(tag)).partition("=" if ":" not in found else ":")
            value = value.strip() if sign else "true"
        if name.strip():
            labels[name.strip()] = value
    return labels


def link(url: str, title: str) -> list[dict[str, str]]:
    """A link if the URL is an HTTP URL, else none."""
    return [{"href": url, "text": title}] if url.startswith(("https://", "http://")) else []


def nested_json(value: object) -> Any:
    """A value that a template may have turned into JSON text; None for a text that is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return read_json(value.encode())[0]
    except BadBody:
        return None


def read_json(body: bytes) -> tuple[Any, bytes]:
    """The value of a JSON body, and its text, repaired if it is nearly JSON. Raises BadBody."""
    return decode_with_text(_any, body)


def read(body: bytes, context: Context) -> tuple[Fields, bytes]:
    """The fields of a body, and their JSON text: a form if the content type says so, else a JSON object.

    JSON is accepted under any content type. Raises BadBody.
    """
    values: Any = form(body, context.content_type)
    if values is not None:
        return Fields(values), encode(values)
    values, details = read_json(body)
    return as_object(values), details


def as_object(value: object, path: str = "body") -> Fields:
    """The fields of a JSON object. Raises BadBody for any other value."""
    if not isinstance(value, dict):
        raise BadBody(path, "is not an object")
    return Fields(value)
