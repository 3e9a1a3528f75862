"""Business time: over weekends, holidays and both changes of clocks."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Calendar
from schemas.control.quiet import DAYS
from streams.policy.calendars import HORIZON_DAYS, add_business, business_ms, inside

HOUR = 3_600_000
ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//holidays//EN
BEGIN:VEVENT
UID:1@example.com
DTSTAMP:20251101T000000Z
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:2@example.com
DTSTAMP:20251101T000000Z
DTSTART;VALUE=DATE:20260501
SUMMARY:Labour Day
END:VEVENT
END:VCALENDAR
"""


def ms(text: str, zone: str = "Europe/Berlin") -> int:
    """A local time as an instant."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def calendar(zone: str = "Europe/Berlin", days: str = "mon tue wed thu fri", *hours: str, **fields: object) -> Calendar:
    """Open from nine to five unless said."""
    week = dict.fromkeys(days.split(), hours or ("09:00-17:00",))
    return Calendar.model_validate({"id": "office", "zone": zone, "hours": week, **fields})


def always(zone: str) -> Calendar:
    """Open all the time."""
    return calendar(zone, " ".join(DAYS), "00:00-24:00")


OFFICE = calendar(holidays=["2026-01-01"])


def test_inside() -> None:
    """Nine o'clock is inside, five o'clock is not; not on weekends, not on holidays."""
    assert not inside(OFFICE, ms("2026-01-02T09:00") - 1)
    assert inside(OFFICE, ms("2026-01-02T09:00"))
    assert inside(OFFICE, ms("2026-01-02T17:00") - 1)
    assert not inside(OFFICE, ms("2026-01-02T17:00"))
    assert not inside(OFFICE, ms("2026-01-01T12:00"))
    assert not inside(OFFICE, ms("2026-01-03T12:00"))


def test_business_time_over_a_weekend_and_a_holiday() -> None:
    """From Wednesday at four to Monday at ten: an hour, no Thursday, eight hours, an hour."""
    begin, end = ms("2025-12-31T16:00"), ms("2026-01-05T10:00")
    assert business_ms(OFFICE, begin, end) == 10 * HOUR
    assert business_ms(OFFICE, end, begin) == 0
    assert business_ms(OFFICE, begin, begin) == 0
    assert add_business(OFFICE, begin, 10 * HOUR) == end
    assert add_business(OFFICE, begin, HOUR) == ms("2025-12-31T17:00")
    assert add_business(OFFICE, begin, HOUR + 1) == ms("2026-01-02T09:00") + 1
    assert add_business(OFFICE, ms("2026-01-03T12:00"), 1) == ms("2026-01-05T09:00") + 1
    assert add_business(OFFICE, ms("2026-01-03T12:00"), 0) == ms("2026-01-03T12:00")


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Santiago", "2026-09-06", 23),
        ("America/Santiago", "2026-04-04", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
    ],
)
def test_a_whole_day_has_the_hours_of_its_clocks(zone: str, day: str, hours: float) -> None:
    """Also where clocks change at midnight."""
    only = calendar(zone, DAYS[date.fromisoformat(day).weekday()], "00:00-24:00")
    noon = ms(f"{day}T12:00", zone)
    assert business_ms(only, noon - 30 * HOUR, noon + 30 * HOUR) == hours * HOUR


def test_a_day_that_was_left_out_has_no_hours() -> None:
    """Apia had no 30 December 2011, a Friday."""
    friday = calendar("Pacific/Apia", "fri", "00:00-24:00")
    assert business_ms(friday, ms("2011-12-27T00:00", "Pacific/Apia"), ms("2012-01-05T00:00", "Pacific/Apia")) == 0
    assert business_ms(always("Pacific/Apia"), 0, ms("2012-01-05T00:00", "UTC")) == ms("2012-01-05T00:00", "UTC")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Havana", "America/Santiago", "America/St_Johns"])
def test_hours_beside_a_time_that_is_shown_twice_count_once(zone: str) -> None:
    """Of a calendar that is always open every millisecond counts once, however its hours are cut."""
    begin, end = ms("2005-01-01T00:00", "UTC"), ms("2008-01-01T00:00", "UTC")
    cut = calendar(zone, " ".join(DAYS), "00:00-00:30", "00:30-02:30", "02:30-24:00")
    assert business_ms(cut, begin, end) == end - begin
    assert business_ms(always(zone), begin, end) == end - begin
    night = calendar("Europe/Berlin", "sun", "01:00-02:15", "02:45-04:00")
    # The first 02:45 is before the second 02:15, so the two meet.
    assert business_ms(night, ms("2026-10-25T00:00"), ms("2026-10-26T00:00")) == 4 * HOUR


def test_a_midnight_that_is_shown_twice_belongs_to_both_days() -> None:
    """In Havana Saturday ends at the second midnight; in St. John's Sunday begins before the second end of Saturday."""
    saturday, sunday = (
        calendar("America/Havana", "sat", "00:00-24:00"),
        calendar("America/St_Johns", "sun", "00:00-24:00"),
    )
    for each, begin, end in (
        (saturday, ms("2026-11-01T04:00", "UTC"), ms("2026-11-01T05:00", "UTC")),
        (sunday, ms("2006-10-29T02:30", "UTC"), ms("2006-10-29T03:30", "UTC")),
    ):
        assert inside(each, begin)
        assert inside(each, end - 1)
        assert business_ms(each, begin, end) == end - begin
        assert add_business(each, begin, HOUR) == begin + HOUR
    assert not inside(saturday, ms("2026-11-01T05:00", "UTC"))
    assert not inside(sunday, ms("2006-10-29T02:30", "UTC") - 1)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "UTC"]),
    start=st.integers(ms("2026-01-01T00:00"), ms("2026-12-31T00:00")),
    duration=st.integers(1, 200 * HOUR),
)
def test_add_business_is_the_inverse_of_business_ms(zone: str, start: int, duration: int) -> None:
    """At the due exactly so much open time has passed, and a millisecond before it less."""
    office = calendar(zone, "mon tue wed thu fri", "08:00-12:00", "13:00-18:30", holidays=["2026-05-01"])
    due = add_business(office, start, duration)
    assert business_ms(office, start, due) == duration
    assert business_ms(office, start, due - 1) == duration - 1
    assert inside(office, due - 1)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(ms("2026-03-20T00:00"), ms("2026-04-10T00:00")), min_size=3, max_size=3))
def test_business_time_adds_up(cuts: list[int]) -> None:
    """What lies between two instants is the sum of its parts, and `inside` says the same at each minute."""
    first, second, third = sorted(cuts)
    whole = business_ms(OFFICE, first, third)
    assert whole == business_ms(OFFICE, first, second) + business_ms(OFFICE, second, third)
    assert inside(OFFICE, second) == (business_ms(OFFICE, second, second + 1) == 1)


def test_a_due_is_never_centuries_away() -> None:
    """A calendar that opens a minute a week answers within its horizon."""
    minute = calendar("UTC", "mon", "09:00-09:01")
    start = ms("2026-01-01T00:00", "UTC")
    assert add_business(minute, start, 10_000 * HOUR) == start + HORIZON_DAYS * 24 * HOUR


def test_holidays_of_a_file() -> None:
    """Whole days; the end of an event is not part of it. They add up with the dates that are listed."""
    office = calendar(ics=ICS, holidays=["2026-01-01"])
    assert office.closed == {
        date(2026, 1, 1), date(2026, 5, 1), date(2026, 12, 24), date(2026, 12, 25), date(2026, 12, 26),
    }  # fmt: skip
    assert not inside(office, ms("2026-12-24T12:00"))
    assert inside(office, ms("2026-12-23T12:00"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hours": {}}, "no day has hours"),
        ({"hours": {"mon": ["17:00-09:00"]}}, "past midnight are two entries"),
        ({"hours": {"mon": ["9-17"]}}, "is not HH:MM-HH:MM"),
        ({"hours": {"monday": ["09:00-17:00"]}}, "not permitted"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"holidays": ["2026-13-01"]}, "holidays.0"),
        ({"ics": "nonsense"}, "is no iCalendar file"),
        ({"ics": "BEGIN:VCALENDAR\nEND:VCALENDAR\n"}, "has no event"),
        ({"ics": ICS.replace("DTSTART;VALUE=DATE:20260501", "DTSTART:20260501T090000Z")}, "not of whole days"),
        ({"ics": ICS.replace("SUMMARY:Labour", "RRULE:FREQ=YEARLY\nSUMMARY:Labour")}, "an event that repeats"),
        ({"ics": ICS.replace("20261227", "99991227")}, "more than 2000 days"),
        ({"ics": "x" * 200_001}, "at most 200000"),
    ],
)
def test_bad_calendars_are_refused(fields: dict[str, object], told: str) -> None:
    """With what is wrong."""
    values: dict[str, object] = {"id": "c", "zone": "UTC", "hours": {"mon": ["09:00-17:00"]}}
    with pytest.raises(ValidationError, match=told):
        Calendar.model_validate(values | fields)


def test_a_calendar_is_written_and_read_alike() -> None:
    """Also by way of the topic, as JSON."""
    office = calendar(ics=ICS, holidays=["2026-01-01"])
    assert Calendar.model_validate_json(office.model_dump_json()) == office
    assert datetime.fromtimestamp(add_business(office, ms("2026-04-30T16:30"), HOUR) / 1000, UTC) == datetime(
        2026, 5, 4, 7, 30, tzinfo=UTC
    )
