"""The base class of control records, and the field types that they share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
SeverityName = Literal["info", "warning", "error", "critical"]
#: Requests a minute.
RateLimit = Annotated[int, Field(ge=1, le=10_000_000)] | Literal["unlimited"]
DEFAULT_RATE_LIMIT = 120
DEFAULT_TENANT = "default"


class Record(BaseModel):
    """A control record: unknown fields are errors, and a record is immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def describe(error: ValidationError) -> str:
    """A validation error as `path: message; ...`, without the offending values (they may be secrets)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in issue['loc']) or 'record'}: {issue['msg']}" for issue in error.errors()
    )
