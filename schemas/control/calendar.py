"""Calendars: the hours of a week that count as business time, and the days that do not."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from schemas.control.quiet import DAYS, Zone, minutes_of
from schemas.control.record import DEFAULT_TENANT, AnyRecord, Name, Record

#: The most characters of an imported file, and the most days off of a calendar.
MAX_ICS = 200_000
MAX_HOLIDAYS = 2_000


def _within_a_day(hours: str) -> str:
    begin, end = minutes_of(hours)
    if begin >= end:
        raise ValueError("ends before it begins: hours past midnight are two entries, 22:00-24:00 and 00:00-06:00")
    return hours


Hours = Annotated[str, AfterValidator(_within_a_day)]
Day = Annotated[tuple[Hours, ...], Field(max_length=10)]


class Week(Record):
    """The open hours of each day, as HH:MM-HH:MM; a day without hours is closed."""

    mon: Day = ()
    tue: Day = ()
    wed: Day = ()
    thu: Day = ()
    fri: Day = ()
    sat: Day = ()
    sun: Day = ()

    @model_validator(mode="after")
    def _open(self) -> "Week":
        if not any(getattr(self, day) for day in DAYS):
            raise ValueError("no day has hours")
        return self


def holidays_of(text: str) -> frozenset[date]:
    """The days of an iCalendar file's events (RFC 5545). Raises ValueError for a file with other than whole days.

    Such files list the days of some years. An event that repeats for ever is refused, because nobody would notice when
    a law changes it.
    """
    # Every process and command imports this module, few have such a file, and the library takes long to import.
    from icalendar import Calendar as Ical

    try:
        events = Ical.from_ical(text).walk("VEVENT")
    except (ValueError, KeyError, IndexError, TypeError):
        raise ValueError("is no iCalendar file") from None
    days: set[date] = set()
    for event in events:
        if "RRULE" in event or "RDATE" in event:
            raise ValueError("has an event that repeats: list its days")
        begin = _day(event.get("DTSTART"))
        length = (_day(event["DTEND"]) - begin).days if "DTEND" in event else 1
        if length > MAX_HOLIDAYS:
            raise ValueError(f"has an event of more than {MAX_HOLIDAYS} days")
        # RFC 5545, section 3.6.1: the end is not part of the event; some tools write the same day.
        days.update(begin + timedelta(days=number) for number in range(max(1, length)))
    if not days:
        raise ValueError("has no event")
    return frozenset(days)


def _day(field: object) -> date:
    found = getattr(field, "dt", None)
    if not isinstance(found, date) or isinstance(found, datetime):
        raise ValueError("has an event that is not of whole days (DTSTART;VALUE=DATE)")
    return found


def _merged(hours: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """The hours as minutes since midnight, in order, with those joined that touch or overlap."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(map(minutes_of, hours)):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return tuple(merged)


def _readable(text: str) -> str:
    if text:
        holidays_of(text)
    return text


class Calendar(AnyRecord):
    """The open hours of a week by the clocks of `zone`, and whole days off: `holidays`, and those of the file `ics`."""

    id: Name
    tenant: Name = DEFAULT_TENANT
    zone: Zone
    hours: Week
    holidays: tuple[date, ...] = Field(default=(), max_length=MAX_HOLIDAYS)
    ics: Annotated[str, Field(max_length=MAX_ICS), AfterValidator(_readable)] = ""

    @cached_property
    def week(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The open hours from Monday on, in minutes since midnight, in order and apart from each other."""
        return tuple(_merged(getattr(self.hours, day)) for day in DAYS)

    @cached_property
    def closed(self) -> frozenset[date]:
        """All days off."""
        return frozenset(self.holidays) | (holidays_of(self.ics) if self.ics else frozenset())
