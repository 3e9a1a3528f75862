"""On-call shifts as iCalendar files (RFC 5545), out and in. Pure; times are milliseconds since 1970 UTC."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from schemas.control.period import ms_of
from schemas.fingerprint import digest
from streams.policy.oncall import Shift
from streams.policy.recurrence import begin_of

#: The most characters of a file, and events in it.
MAX_ICS = 1_000_000
MAX_EVENTS = 1_000


class Entry(NamedTuple):
    """An event: its `uid`, and the texts by which it may name a person, the summary first."""

    uid: str
    texts: tuple[str, ...]
    start: int
    end: int


def written(name: str, schedule: str, shifts: Iterable[Shift], names: Mapping[str, str], now: int) -> str:
    """A calendar called `name` with an event for each shift; `names` are those of users by id.

    A shift has the same UID in every export of its `schedule`, so that a calendar that is read again stays the same.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//Stormweir//On-call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", name)
    for shift in shifts:
        event = Event()
        event.add("uid", f"{digest(schedule, shift.user, str(shift.start)).hex()}@stormweir")
        event.add("dtstamp", _utc(now))
        event.add("summary", names.get(shift.user) or shift.user)
        event.add("dtstart", _utc(shift.start))
        event.add("dtend", _utc(shift.end))
        calendar.add_component(event)
    return str(calendar.to_ical(), "utf-8")


def read(text: str, zone: ZoneInfo) -> list[Entry]:
    """The events of a calendar but for cancelled ones; dates and times without a zone are by the clocks of `zone`.

    Raises ValueError for what is no calendar, for an event that repeats, and for one that has no time.
    """
    if len(text) > MAX_ICS:
        raise ValueError(f"has more than {MAX_ICS} characters")
    try:
        events = [event for event in Calendar.from_ical(text).walk("VEVENT") if isinstance(event, Event)]
    except (ValueError, KeyError, IndexError, TypeError):
        raise ValueError("is no iCalendar file") from None
    if len(events) > MAX_EVENTS:
        raise ValueError(f"has more than {MAX_EVENTS} events")
    return [_entry(event, zone) for event in events if str(event.get("status", "")).upper() != "CANCELLED"]


def _entry(event: Event, zone: ZoneInfo) -> Entry:
    summary = str(event.get("summary", ""))
    if "RRULE" in event or "RDATE" in event:
        raise ValueError(f"the event {summary[:100]!r} repeats: turns that repeat are a layer of the schedule")
    try:
        start, end = _ms(event.start, zone), _ms(event.end, zone)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError(f"the event {summary[:100]!r} has no beginning or no end") from None
    if start >= end:
        raise ValueError(f"the event {summary[:100]!r} ends before it begins")
    attendees = event.get("attendee", [])
    attendees = attendees if isinstance(attendees, list) else [attendees]
    return Entry(
        str(event.get("uid", "")), (summary, *(str(each.params.get("CN", "")) for each in attendees)), start, end
    )


def _ms(at: date, zone: ZoneInfo) -> int:
    if not isinstance(at, datetime):
        return begin_of(datetime.combine(at, time()), zone)
    return begin_of(at, zone) if at.tzinfo is None else ms_of(at)


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
