"""Times in answers: ISO 8601 in UTC with milliseconds and `Z`."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema


def iso(at: datetime) -> str:
    """The time as answers show it; one without a zone is in UTC, as ClickHouse gives it.

    >>> iso(datetime(2026, 11, 26, 9, 0))
    '2026-11-26T09:00:00.000Z'
    """
    utc = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo is not None else at
    return f"{utc.isoformat(timespec='milliseconds')}Z"


#: A field of an answer.
Time = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


def moment(at_ms: int) -> datetime:
    """The time of milliseconds since 1970 UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def moment_or_none(at_ms: int) -> datetime | None:
    """The same, None for 0: it has not come yet."""
    return moment(at_ms) if at_ms > 0 else None
