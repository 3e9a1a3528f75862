"""Lookup tables made of files: CSV with a line of names first (RFC 4180), or JSON, a list of objects. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.control import Lookup, describe
from streams.control.state import Control
from streams.process.errors import OperatorError

FORMATS = (".csv", ".json")


def table(table_id: str, tenant: str, key: str, content: bytes, suffix: str) -> Lookup:
    """The table of a file: column `key` has the values of the alert's field `key`, the other columns become labels.

    For `labels.x` the column may be named `x`. Empty cells are left out. Raises OperatorError with the row's number.
    """
    entries = _csv(content) if suffix == ".csv" else _json(content)
    column = key.removeprefix("labels.")
    rows: dict[str, dict[str, str]] = {}
    for number, entry in enumerate(entries, 1):
        name = key if key in entry else column
        value = entry.get(name, "")
        if not value:
            raise OperatorError(f"row {number} has no {name!r}")
        if value in rows:
            raise OperatorError(f"row {number} has the same {name!r} as a row before it")
        rows[value] = {label: text for label, text in entry.items() if label != name and text}
    try:
        return Lookup(id=table_id, tenant=tenant, key=key, rows=rows)
    except ValidationError as error:
        raise OperatorError(describe(error)) from None


def users(control: Control, lookup: Lookup) -> list[str]:
    """The ids of the rules that use a table."""
    return sorted(
        rule.id for rule in control.rules.values() if rule.tenant == lookup.tenant and lookup.id in rule.enrich
    )


def _csv(content: bytes) -> Iterable[Mapping[str, str]]:
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise OperatorError(f"row {number} has more or fewer cells than the first line has names")
            yield row
    except UnicodeDecodeError:
        raise OperatorError("the file is not UTF-8 text") from None
    except csv.Error as error:
        raise OperatorError(f"the file is no CSV: {error}") from None


def _json(content: bytes) -> Iterable[Mapping[str, str]]:
    try:
        entries = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise OperatorError(f"the file is no JSON: {error.msg}") from None
    if not isinstance(entries, list):
        raise OperatorError("the JSON is no list of objects")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise OperatorError(f"row {number} is no object")
        yield {name: _text(value, number) for name, value in entry.items()}


def _text(value: Any, number: int) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | int() | float():
            return orjson.dumps(value).decode()
    raise OperatorError(f"row {number} has a value that is neither text nor a number")
