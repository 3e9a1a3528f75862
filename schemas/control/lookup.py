"""Lookup tables: labels that alerts get by the value of one of their fields."""

from typing import Annotated

import orjson
from pydantic import Field, field_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name

MAX_ROWS = 10_000
#: A record on Kafka has at most 1 MB.
MAX_BYTES = 900_000

Label = Annotated[str, Field(min_length=1, max_length=200)]


class Lookup(AnyRecord):
    """`rows` has the labels of an alert by the value of its field `key`; the field is named as in conditions.

    A rule that names the table in `enrich` adds them. `stormweir lookups load` makes one of a file.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    key: Label
    rows: dict[Annotated[str, Field(min_length=1)], dict[Label, str]] = Field(default_factory=dict, max_length=MAX_ROWS)

    @field_validator("rows")
    @classmethod
    def _fits(cls, rows: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        if len(orjson.dumps(rows)) > MAX_BYTES:
            raise ValueError(f"the rows have more than {MAX_BYTES} bytes as JSON")
        return rows
