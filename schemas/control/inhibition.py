"""Inhibitions: while one incident is open, others are not told."""

import re

from pydantic import Field, field_validator

from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name

#: The fields of an incident that both sides may share; any other is a label.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,200}")


class Inhibition(AnyRecord):
    """An open incident that all `source` lines match inhibits those that all `target` lines match.

    Both must have equal values in the `equal` fields. A target is told only after `hold` seconds, because its source
    may be seen a little later.
    """

    id: Name
    tenant: Name = DEFAULT_TENANT
    source: tuple[str, ...] = Field(min_length=1, max_length=20)
    target: tuple[str, ...] = Field(min_length=1, max_length=20)
    equal: tuple[str, ...] = Field(default=(), max_length=10)
    hold: int = Field(default=10, ge=0, le=300)

    @field_validator("equal")
    @classmethod
    def _fields(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _FIELD.fullmatch(name):
                raise ValueError(f"{name[:100]!r} is no field of an incident, and no label")
        return names
