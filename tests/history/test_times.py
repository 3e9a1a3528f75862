"""Times as numbers."""

from datetime import UTC, datetime, timedelta, timezone

from streams.history.times import milliseconds

AT = datetime(2026, 11, 26, 9, tzinfo=UTC)
AT_MS = 1_795_683_600_000


def test_each_millisecond_is_itself() -> None:
    """None is counted as the one before it."""
    found = [milliseconds(AT + timedelta(milliseconds=number)) for number in range(1000)]
    assert found == list(range(AT_MS, AT_MS + 1000))


def test_a_time_is_the_nearest_millisecond_in_any_zone() -> None:
    """Microseconds are rounded; a time without a zone is in UTC."""
    assert [milliseconds(AT + timedelta(microseconds=number)) for number in (499, 501, 1499)] == [
        AT_MS,
        AT_MS + 1,
        AT_MS + 1,
    ]
    assert milliseconds(AT.astimezone(timezone(timedelta(hours=5, minutes=30)))) == AT_MS
    assert milliseconds(AT.replace(tzinfo=None)) == AT_MS
