"""The base class of control records, and the field types that they share."""

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

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


class Reference(NamedTuple):
    """A record's reference to another one of its tenant: `path` is the field, `kind` and `id` are of the other."""

    path: str
    kind: str
    id: str


def references(path: str, kind: str, ids: Iterable[str]) -> Iterator[Reference]:
    """The references of a list of ids at `path`."""
    for index, name in enumerate(ids):
        yield Reference(f"{path}.{index}", kind, name)


class AnyRecord(Record):
    """A record of the topic `control`; the other Records are parts of one.

    `per_tenant` says that two tenants may have records with the same id, `declared` that a file of configuration may
    have such records.
    """

    per_tenant: ClassVar[bool] = True
    declared: ClassVar[bool] = True

    id: str

    @property
    def owner(self) -> str:
        """The tenant whose record this is."""
        return str(getattr(self, "tenant"))  # noqa: B009 - only a Tenant has none, and overrides this

    def references(self) -> Iterator[Reference]:
        """The records that must exist for this one to work."""
        yield from ()


def describe(error: ValidationError) -> str:
    """A validation error as `path: message; ...`, without the offending values (they may be secrets)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in issue['loc']) or 'record'}: {issue['msg']}" for issue in error.errors()
    )
