"""Rows of ClickHouse as answers show them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from streams.api.times import iso

_NONE = UUID(int=0)


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with values that JSON has. A time of 1970 and an id of zeros mean none."""
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    match value:
        case datetime():
            return iso(value) if value.year > 1970 else None
        case UUID():
            return str(value) if value != _NONE else None
        case float():
            return value if value == value else None
        case bool() | int() | str() | None:
            return value
        case Mapping():
            return {str(name): _value(each) for name, each in value.items()}
        case list() | tuple():
            return [_value(each) for each in value]
    return str(value)
