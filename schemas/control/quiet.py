"""Quiet hours: when destinations are left in peace."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from schemas.control.record import Name, Record, Reference, SeverityName, references

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
#: Names of the IANA database begin with a capital; other files beside them (`localtime`, `posix/...`) do not.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
DAY_MINUTES = 24 * 60


def minutes_of(hours: str) -> tuple[int, int]:
    """Beginning and end of `HH:MM-HH:MM` in minutes since midnight. Raises ValueError for other texts.

    >>> minutes_of("22:00-07:30")
    (1320, 450)
    """
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError("is not HH:MM-HH:MM, from 00:00 to 24:00")
    begin = int(found[1]) * 60 + int(found[2])
    return begin, DAY_MINUTES if found[3] is None else int(found[3]) * 60 + int(found[4])


def _some_hours(hours: str) -> str:
    begin, end = minutes_of(hours)
    if begin == end:
        raise ValueError("begins and ends at the same time; a whole day is 00:00-24:00")
    return hours


def _known_zone(zone: str) -> str:
    try:
        if _ZONE.fullmatch(zone):
            ZoneInfo(zone)
            return zone
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError("is no time zone of the IANA database, such as Europe/Berlin or UTC")


#: A time zone of the IANA database.
Zone = Annotated[str, Field(max_length=100), AfterValidator(_known_zone)]
Hours = Annotated[str, AfterValidator(_some_hours)]


class QuietHours(Record):
    """Hours by the clocks of `zone`, on `days`. Hours that pass midnight belong to the day on which they begin.

    In them nobody is notified of incidents of these `severities`; `destinations` limits that to some, none means all.
    """

    zone: Zone
    hours: Hours
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, max_length=7)
    severities: tuple[SeverityName, ...] = Field(default=("info", "warning", "error"), min_length=1, max_length=4)
    destinations: tuple[Name, ...] = Field(default=(), max_length=50)


def hours_references(quiet_hours: Iterable[QuietHours]) -> Iterator[Reference]:
    """The destinations that a record's quiet hours name."""
    for index, hours in enumerate(quiet_hours):
        yield from references(f"quiet_hours.{index}.destinations", "destination", hours.destinations)
