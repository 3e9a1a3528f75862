"""Times of ClickHouse and of callers, as numbers."""

from datetime import UTC, datetime


def milliseconds(at: datetime) -> int:
    """A time in milliseconds since 1970 UTC, the nearest; one without a zone is in UTC, as ClickHouse gives it.

    >>> milliseconds(datetime(2026, 11, 26, 9, 0, 0, 1000))
    1795683600001
    """
    return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
