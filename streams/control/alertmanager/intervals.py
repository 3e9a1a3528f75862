"""Alertmanager's time intervals as calendars: those of weekdays and hours, in one time zone."""

from typing import Any

from schemas.control.quiet import DAYS
from streams.control.alertmanager.model import NamedIntervals, TimeInterval

_NAMES = {
    name: index
    for index, name in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
}
_WHOLE_DAY = "00:00-24:00"


def week_of(named: NamedIntervals) -> tuple[str, dict[str, list[str]]]:
    """Time zone, and the hours of each day. Raises ValueError that says what a calendar has not."""
    zones = {each.location for each in named.time_intervals}
    if not zones:
        raise ValueError("has no time")
    if len(zones) > 1:
        raise ValueError("has several time zones")
    (zone,) = zones
    if zone == "Local":
        raise ValueError("is in the time zone of Alertmanager's machine")
    week: dict[str, list[str]] = {day: [] for day in DAYS}
    for interval in named.time_intervals:
        hours = _hours(interval)
        for day in _days(interval):
            week[day] += [each for each in hours if each not in week[day]]
    return zone, {day: hours for day, hours in week.items() if hours}


def _hours(interval: TimeInterval) -> list[str]:
    for name in ("days_of_month", "months", "years"):
        if getattr(interval, name):
            raise ValueError(f"has {name}")
    if not interval.times:
        return [_WHOLE_DAY]
    return [f"{each.start_time}-{each.end_time}" for each in interval.times]


def _days(interval: TimeInterval) -> list[Any]:
    if not interval.weekdays:
        return list(DAYS)
    found: set[int] = set()
    for text in interval.weekdays:
        first, _, last = text.lower().partition(":")
        try:
            begin, end = _NAMES[first], _NAMES[last or first]
        except KeyError:
            raise ValueError("has a weekday that is none") from None
        found.update(range(begin, end + 1))
    return [DAYS[index] for index in sorted(found)]
