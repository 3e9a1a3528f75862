"""Business time: whether a calendar is open, how much open time lies between two instants, and when so much has passed.

All times are milliseconds, instants since 1970 UTC. A day's hours become instants as in streams.policy.recurrence: on
nights when clocks change, open time is an hour shorter or longer too.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.control import Calendar
from streams.policy.recurrence import Span, begin_of, end_of, local_of, midnight

_DAY = timedelta(days=1)
#: A due that is further away is this far away: a calendar that opens a minute a week must not count for centuries.
HORIZON_DAYS = 10 * 366


def inside(calendar: Calendar, at_ms: int) -> bool:
    """Whether the calendar is open at an instant; the beginning of open hours is inside, their end is not."""
    return any(span.begin <= at_ms for span in _open(calendar, at_ms, at_ms + 1))


def business_ms(calendar: Calendar, start_ms: int, end_ms: int) -> int:
    """The open time between two instants; 0 if the end is not after the start."""
    return sum(span.end - span.begin for span in _open(calendar, start_ms, end_ms))


def add_business(calendar: Calendar, start_ms: int, duration_ms: int) -> int:
    """The first instant by which so much open time has passed since the start; without a duration the start itself."""
    if duration_ms <= 0:
        return start_ms
    horizon, left = start_ms + HORIZON_DAYS * 86_400_000, duration_ms
    for span in _open(calendar, start_ms, horizon):
        if span.end - span.begin >= left:
            return span.begin + left
        left -= span.end - span.begin
    return horizon


class Named(NamedTuple):
    """The calendars of every tenant, by tenant and id, for conditions (`during office`)."""

    calendars: Mapping[tuple[str, str], Calendar]

    def inside(self, tenant: str, calendar: str, at: int) -> bool:
        """Whether a time is inside; False for a calendar that does not exist."""
        found = self.calendars.get((tenant, calendar))
        return found is not None and inside(found, at)


class Hours(NamedTuple):
    """A calendar's open hours; the methods are the functions of the same names."""

    calendar: Calendar

    def business_ms(self, start_ms: int, end_ms: int) -> int:
        """See `business_ms`."""
        return business_ms(self.calendar, start_ms, end_ms)

    def add_business(self, start_ms: int, duration_ms: int) -> int:
        """See `add_business`."""
        return add_business(self.calendar, start_ms, duration_ms)


def _open(calendar: Calendar, start_ms: int, end_ms: int) -> Iterator[Span]:
    """The open spans between two instants, cut at both, in order and apart from each other."""
    if end_ms <= start_ms:
        return
    zone = ZoneInfo(calendar.zone)
    # A day more at both ends: a change of clocks at midnight may show the end of a day twice.
    day, last = local_of(start_ms, zone).date() - _DAY, local_of(end_ms, zone).date() + _DAY
    covered = start_ms
    while day <= last:
        for span in _hours(calendar, day, zone):
            begin, end = max(span.begin, covered), min(span.end, end_ms)
            if begin < end:
                yield Span(begin, end)
                # Hours on both sides of a time that is shown twice would count it twice.
                covered = end
        day += _DAY


def _hours(calendar: Calendar, day: date, zone: ZoneInfo) -> Iterator[Span]:
    if day not in calendar.closed:
        for begin, end in calendar.week[day.weekday()]:
            start = midnight(day)
            yield Span(begin_of(start + timedelta(minutes=begin), zone), end_of(start + timedelta(minutes=end), zone))
