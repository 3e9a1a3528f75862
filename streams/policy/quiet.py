"""Quiet hours: whether a moment is inside of them.

What counts is what a clock on a wall in the zone shows, so a change to or from summer time needs no rule of its own: an
hour that is left out cannot be quiet, and an hour that comes twice is quiet both times.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.control import QuietHours
from schemas.control.quiet import DAYS, minutes_of
from schemas.wire.alert import Severity


class Window(NamedTuple):
    """Quiet hours, compiled: minutes since midnight, weekdays from 0 for Monday. No `destinations` means all."""

    zone: ZoneInfo
    begin: int
    end: int
    days: frozenset[int]
    severities: frozenset[Severity]
    destinations: frozenset[str]


def compile_hours(hours: QuietHours) -> Window:
    """The window of these quiet hours."""
    begin, end = minutes_of(hours.hours)
    return Window(
        zone=ZoneInfo(hours.zone),
        begin=begin,
        end=end,
        days=frozenset(DAYS.index(day) for day in hours.days),
        severities=frozenset(Severity[name.upper()] for name in hours.severities),
        destinations=frozenset(hours.destinations),
    )


def is_inside(window: Window, at: int) -> bool:
    """Whether `at`, in milliseconds since 1970 UTC, is inside; the beginning is, the end is not."""
    shown = datetime.fromtimestamp(at // 1000, window.zone)
    minute, day = shown.hour * 60 + shown.minute, shown.weekday()
    if window.begin < window.end:
        return window.begin <= minute < window.end and day in window.days
    return (minute >= window.begin and day in window.days) or (minute < window.end and (day - 1) % 7 in window.days)


def is_quiet(windows: Iterable[Window], severity: Severity, destination: str, at: int) -> bool:
    """Whether one of the windows keeps an incident of this severity from this destination."""
    return any(
        severity in window.severities
        and (not window.destinations or destination in window.destinations)
        and is_inside(window, at)
        for window in windows
    )
