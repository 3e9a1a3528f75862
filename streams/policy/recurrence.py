"""Local times as instants, and the occurrences of what repeats.

What people write is a local time and a zone; instants are computed when they are asked for, so a new time zone database
corrects them. A time that clocks leave out becomes the first instant after it. Of a time that clocks show twice, a
beginning is the first and an end is the second, so that nothing is cut off.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.control.period import Period, ms_of
from schemas.control.recurrence import Recurrence

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class Span(NamedTuple):
    """From `begin` to `end`, which is not part of it, in milliseconds since 1970 UTC."""

    begin: int
    end: int


def begin_of(local: datetime, zone: ZoneInfo) -> int:
    """The instant at which a time without a zone is first shown, or the first one after it."""
    return _instant(local.replace(fold=0), zone)


def end_of(local: datetime, zone: ZoneInfo) -> int:
    """The instant at which a time without a zone is last shown, or the first one after it."""
    return _instant(local.replace(fold=1), zone)


def local_of(at: int, zone: ZoneInfo) -> datetime:
    """What clocks in the zone show at an instant, to the second, without the zone."""
    return datetime.fromtimestamp(at // 1000, zone).replace(tzinfo=None, fold=0)


def _instant(local: datetime, zone: ZoneInfo) -> int:
    at = local.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None, fold=0) == local.replace(fold=0):
        return ms_of(at)
    # Clocks leave this time out. PEP 495: with fold=1 its instant is before the change, with fold=0 after it.
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    new = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return ms_of(after.replace(microsecond=0))


def active_until(period: Period, now: int) -> int | None:
    """When what is active at `now` ends: the present occurrence, or the period. None if it is not active."""
    if not period.starts_ms <= now < period.ends_ms:
        return None
    if period.recurrence is None:
        return period.ends_ms
    day = local_of(now, ZoneInfo(period.recurrence.zone)).date()
    ends = [
        span.end
        for span in _around(period.recurrence, period.anchor, day)
        if period.starts_ms <= span.begin <= now < span.end
    ]
    return min(max(ends), period.ends_ms) if ends else None


def occurrences(recurrence: Recurrence, anchor: date, first: date, last: date) -> tuple[Span, ...]:
    """The occurrences that begin on the local dates from `first` to `last`, in order; an empty one does not occur."""
    zone, duration = ZoneInfo(recurrence.zone), timedelta(seconds=recurrence.duration)
    found = []
    for day in recurrence.dates(anchor, first, last):
        local = datetime.combine(day, recurrence.at)
        span = Span(begin_of(local, zone), end_of(local + duration, zone))
        if span.begin < span.end:
            found.append(span)
    return tuple(found)


@lru_cache(maxsize=4096)
def _around(recurrence: Recurrence, anchor: date, day: date) -> tuple[Span, ...]:
    """The occurrences that may hold an instant of this local date.

    Two days more: a change of clocks may show the day before once more, or leave a day out.
    """
    back = timedelta(seconds=recurrence.duration) + 2 * _DAY
    return occurrences(recurrence, anchor, day - back, day + _DAY)


def midnight(day: date) -> datetime:
    """The local time at which a date begins."""
    return datetime.combine(day, time())
