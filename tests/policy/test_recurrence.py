"""Occurrences over both changes of clocks. The instants are worked out by hand, in UTC, or counted minute by minute."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Recurrence, Silence
from streams.policy.recurrence import active_until, begin_of, end_of, local_of, occurrences

MINUTE = 60_000


def ms(text: str) -> int:
    """An instant in UTC as milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def recurrence(zone: str, start: str, hours: float, rrule: str = "FREQ=DAILY") -> Recurrence:
    """What repeats, with a duration in hours."""
    return Recurrence(rrule=rrule, zone=zone, start=start, duration=int(hours * 3600))


def spans(each: Recurrence, first: str, last: str = "", anchor: str = "") -> list[tuple[str, str]]:
    """The occurrences that begin on these dates, in UTC."""
    first_day = date.fromisoformat(first)
    found = occurrences(
        each, date.fromisoformat(anchor or first), first_day, date.fromisoformat(last) if last else first_day
    )
    return [(utc(span.begin), utc(span.end)) for span in found]


def utc(at: int) -> str:
    """An instant as text."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="minutes")[:16]


@pytest.mark.parametrize(
    ("zone", "local", "begin", "end"),
    [
        # Berlin leaves out 02:00-03:00, and shows it twice.
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30", "2026-10-25T01:30"),
        ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00", "2026-10-25T02:00"),
        # Lord Howe changes by half an hour.
        ("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30", "2026-10-03T15:30"),
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45", "2026-04-04T15:15"),
        # Santiago leaves out the first hour of a day, and shows the last one twice.
        ("America/Santiago", "2026-09-06T00:00", "2026-09-06T04:00", "2026-09-06T04:00"),
        ("America/Santiago", "2026-04-04T23:30", "2026-04-05T02:30", "2026-04-05T03:30"),
        # Apia left out a day.
        ("Pacific/Apia", "2011-12-30T15:00", "2011-12-30T10:00", "2011-12-30T10:00"),
        # A zone without changes.
        ("Asia/Kolkata", "2026-03-29T02:30", "2026-03-28T21:00", "2026-03-28T21:00"),
    ],
)
def test_a_local_time_as_an_instant(zone: str, local: str, begin: str, end: str) -> None:
    """A gap gives the first valid instant; a fold the earlier for a beginning, the later for an end."""
    at = datetime.fromisoformat(local)
    assert utc(begin_of(at, ZoneInfo(zone))) == begin
    assert utc(end_of(at, ZoneInfo(zone))) == end


@pytest.mark.parametrize(
    ("zone", "start", "hours", "day", "begin", "end", "length"),
    [
        ("Europe/Berlin", "22:00", 8, "2026-01-10", "2026-01-10T21:00", "2026-01-11T05:00", 8),
        ("Europe/Berlin", "22:00", 8, "2026-03-28", "2026-03-28T21:00", "2026-03-29T04:00", 7),
        ("Europe/Berlin", "22:00", 8, "2026-10-24", "2026-10-24T20:00", "2026-10-25T05:00", 9),
        ("Europe/Berlin", "02:30", 1, "2026-03-29", "2026-03-29T01:00", "2026-03-29T01:30", 0.5),
        ("Europe/Berlin", "02:15", 0.5, "2026-10-25", "2026-10-25T00:15", "2026-10-25T01:45", 1.5),
        ("Australia/Lord_Howe", "00:00", 4, "2026-10-04", "2026-10-03T13:30", "2026-10-03T17:00", 3.5),
        ("Australia/Lord_Howe", "00:00", 4, "2026-04-05", "2026-04-04T13:00", "2026-04-04T17:30", 4.5),
        ("America/Santiago", "00:00", 24, "2026-09-06", "2026-09-06T04:00", "2026-09-07T03:00", 23),
        ("America/Santiago", "00:00", 24, "2026-04-04", "2026-04-04T03:00", "2026-04-05T04:00", 25),
        ("Pacific/Apia", "22:00", 4, "2011-12-29", "2011-12-30T08:00", "2011-12-30T10:00", 2),
        ("Pacific/Apia", "22:00", 4, "2011-12-30", "2011-12-30T10:00", "2011-12-30T12:00", 2),
    ],
)
def test_an_occurrence_over_a_change_of_clocks(
    zone: str, start: str, hours: float, day: str, begin: str, end: str, length: float
) -> None:
    """It begins and ends by the clocks, so it is shorter or longer by what they change."""
    assert spans(recurrence(zone, start, hours), day) == [(begin, end)]
    assert (ms(end) - ms(begin)) / 3_600_000 == length


@pytest.mark.parametrize(
    ("zone", "start", "hours", "day"),
    [("Europe/Berlin", "02:10", 0.5, "2026-03-29"), ("Pacific/Apia", "09:00", 8, "2011-12-30")],
)
def test_what_clocks_leave_out_whole_does_not_occur(zone: str, start: str, hours: float, day: str) -> None:
    """No occurrence of no length."""
    assert spans(recurrence(zone, start, hours), day) == []


@settings(max_examples=150, deadline=None)
@given(
    place=st.sampled_from(
        [
            ("Europe/Berlin", "2026-03-28"),
            ("Europe/Berlin", "2026-10-24"),
            ("Australia/Lord_Howe", "2026-10-03"),
            ("Australia/Lord_Howe", "2026-04-04"),
            ("America/Santiago", "2026-09-05"),
            ("America/Santiago", "2026-04-04"),
            ("Pacific/Apia", "2011-12-29"),
            ("America/Havana", "2026-10-31"),
        ]
    ),
    start=st.integers(0, 95),
    length=st.integers(1, 96),
)
def test_coverage_is_the_sum_of_local_minutes(place: tuple[str, str], start: int, length: int) -> None:
    """Each minute that clocks show within the hours of an occurrence is covered each time they show it. The rest that
    is covered is shown twice that night: between the two showings of the beginning or of the end.
    """
    zone, day = ZoneInfo(place[0]), date.fromisoformat(place[1])
    each = recurrence(place[0], f"{start // 4:02}:{start % 4 * 15:02}", length / 4)
    begin = datetime.combine(day, each.at)
    end = begin + timedelta(hours=length / 4)
    covered = {at for span in occurrences(each, day, day, day) for at in range(span.begin, span.end, 15 * MINUTE)}
    moments = range(begin_of(begin - timedelta(days=1), zone), end_of(end + timedelta(days=1), zone), 15 * MINUTE)
    shown = {at for at in moments if begin <= local_of(at, zone) < end}
    assert shown <= covered
    doubled = begin_of(begin, zone) != end_of(begin, zone) or begin_of(end, zone) != end_of(end, zone)
    assert shown == covered or doubled


def test_rules_of_dates() -> None:
    """Every second Tuesday of a month, the last working day, every other week: counted from the beginning."""

    def days(rrule: str, first: str, last: str, anchor: str) -> list[str]:
        each = recurrence("UTC", "10:00", 1, rrule)
        return [begin[:10] for begin, _ in spans(each, first, last, anchor)]

    assert days("FREQ=MONTHLY;BYDAY=2TU", "2026-01-01", "2026-03-31", "2026-01-01") == [
        "2026-01-13", "2026-02-10", "2026-03-10",
    ]  # fmt: skip
    assert days("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-15", "2026-02-28", "2026-01-15") == [
        "2026-01-30", "2026-02-27",
    ]  # fmt: skip
    every_other = "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR"
    # 2026-01-07 is a Wednesday; its week counts, from Friday on.
    assert days(every_other, "2026-01-01", "2026-01-31", "2026-01-07") == ["2026-01-09", "2026-01-19", "2026-01-23"]
    assert days("FREQ=DAILY;INTERVAL=3", "2026-01-05", "2026-01-12", "2026-01-01") == ["2026-01-07", "2026-01-10"]
    assert days("FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=31", "2026-01-01", "2026-12-31", "2026-01-02") == [
        "2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31",
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    rrule=st.sampled_from(
        [
            "FREQ=DAILY;INTERVAL=3",
            "FREQ=DAILY;INTERVAL=2;BYDAY=MO,TU",
            "FREQ=WEEKLY;INTERVAL=3;BYDAY=SU,MO",
            "FREQ=MONTHLY;INTERVAL=5;BYDAY=-1FR",
            "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29",
            "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=1,-1",
        ]
    ),
    anchor=st.dates(date(2020, 1, 1), date(2021, 12, 31)),
    ahead=st.integers(0, 3000),
)
def test_dates_far_from_the_anchor_are_those_of_the_whole_rule(rrule: str, anchor: date, ahead: int) -> None:
    """Starting again at a near period gives the dates that counting from the anchor gives."""
    each = recurrence("UTC", "10:00", 1, rrule)
    first = anchor + timedelta(days=ahead)
    last = first + timedelta(days=40)
    assert list(each.dates(anchor, first, last)) == [day for day in each.dates(anchor, anchor, last) if day >= first]


NIGHT = {"rrule": "FREQ=WEEKLY;BYDAY=SA", "zone": "Europe/Berlin", "start": "22:00", "duration": 8 * 3600}


def silence(**fields: object) -> Silence:
    """A silence of 2026."""
    values: dict[str, object] = {
        "id": "s",
        "match": ['service="web"'],
        "author": "ada",
        "reason": "patches",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2026-12-31T00:00:00Z",
    }
    return Silence.model_validate(values | fields)


def test_active_until_the_end_of_the_present_occurrence() -> None:
    """Its beginning is inside, its end is not; between two occurrences nothing is active."""
    weekly = silence(recurrence=NIGHT)
    begin, end = ms("2026-10-24T20:00"), ms("2026-10-25T05:00")
    assert active_until(weekly, begin - 1) is None
    assert active_until(weekly, begin) == end
    assert active_until(weekly, end - 1) == end
    assert active_until(weekly, end) is None


def test_an_occurrence_of_several_days_is_active_on_each() -> None:
    """From Friday evening to Monday morning, and longer."""
    weekend = {"rrule": "FREQ=WEEKLY;BYDAY=FR", "zone": "Europe/Berlin", "start": "18:00", "duration": 60 * 3600}
    for hours in (62, 150):
        each = silence(recurrence=weekend | {"duration": hours * 3600})
        end = ms("2026-06-12T16:00") + hours * 3_600_000
        assert active_until(each, ms("2026-06-12T16:00") - 1) is None
        assert active_until(each, ms("2026-06-14T22:30")) == end
        assert active_until(each, end - 1) == end


def test_an_occurrence_begins_at_a_midnight_that_is_undone() -> None:
    """In St. John's clocks went back from 00:01 to 23:01 of the day before: the day after had begun."""
    early = {"rrule": "FREQ=DAILY", "zone": "America/St_Johns", "start": "00:00", "duration": 3600}
    each = silence(recurrence=early, starts_at="2006-01-01T00:00:00Z", ends_at="2007-01-01T00:00:00Z")
    begin, end = ms("2006-10-29T02:30"), ms("2006-10-29T04:30")
    assert active_until(each, begin - 1) is None
    assert active_until(each, begin) == active_until(each, begin + 15 * MINUTE) == active_until(each, end - 1) == end


def test_a_period_cuts_its_occurrences() -> None:
    """One that began before the period does not count; one that outlasts it ends with it."""
    cut = silence(recurrence=NIGHT, starts_at="2026-10-24T23:00:00Z", ends_at="2026-10-31T22:00:00Z")
    assert active_until(cut, ms("2026-10-25T00:00")) is None
    assert active_until(cut, ms("2026-10-31T21:30")) == ms("2026-10-31T22:00")
    same_evening = silence(recurrence=NIGHT, starts_at="2026-10-24T21:00:00Z")
    assert active_until(same_evening, ms("2026-10-24T21:30")) is None
    once = silence()
    assert active_until(once, ms("2026-01-01T00:00")) == ms("2026-12-31T00:00") == once.ends_ms
    assert active_until(once, once.ends_ms) is None
    assert active_until(once, once.starts_ms - 1) is None


@pytest.mark.parametrize(
    ("rrule", "told"),
    [
        ("", "needs FREQ"),
        ("FREQ=YEARLY", "needs FREQ"),
        ("FREQ=SECONDLY", "needs FREQ"),
        ("FREQ=WEEKLY", "needs BYDAY"),
        ("FREQ=MONTHLY", "needs BYDAY or BYMONTHDAY"),
        ("FREQ=DAILY;COUNT=3", "'COUNT' is not possible"),
        ("FREQ=DAILY;UNTIL=20270101T000000Z", "'UNTIL' is not possible"),
        ("FREQ=DAILY;BYHOUR=3", "'BYHOUR' is not possible"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL='0' is not"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY='2MO' is not"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY='32' is not"),
        ("DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY", "needs FREQ"),
        ("freq=daily", "needs FREQ"),
    ],
)
def test_other_rules_are_refused(rrule: str, told: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValidationError, match=told):
        recurrence("UTC", "10:00", 1, rrule)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"starts_at": "2026-01-01T00:00:00"}, "no date and time with a zone"),
        ({"starts_at": "2026-01-01"}, "no date and time with a zone"),
        ({"starts_at": 1_767_225_600}, "no date and time with a zone"),
        ({"starts_at": "soon"}, "no date and time with a zone"),
        ({"ends_at": "9999-12-31T00:00:00Z"}, "no date and time with a zone"),
        ({"ends_at": "2026-01-01T00:00:00Z"}, "ends_at is not after starts_at"),
        ({"ends_at": "2032-01-01T00:00:00Z"}, "longer than 1830 days"),
        ({"recurrence": NIGHT | {"zone": "Mars/Olympus"}}, "no time zone"),
        ({"recurrence": NIGHT | {"start": "24:00"}}, "pattern"),
        ({"recurrence": NIGHT | {"rrule": "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=31"}}, "has no date between"),
        ({"recurrence": NIGHT | {"rrule": "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29"}}, "has no date between"),
        ({"author": " "}, "pattern"),
        ({"reason": ""}, "at least 1 character"),
        ({"match": []}, "at least 1 item"),
    ],
)
def test_a_silence_without_end_author_reason_or_match_is_refused(fields: dict[str, object], told: str) -> None:
    """And one whose times are none."""
    with pytest.raises(ValidationError, match=told):
        silence(**fields)


@pytest.mark.parametrize("field", ["ends_at", "author", "reason", "match", "starts_at"])
def test_each_of_them_is_required(field: str) -> None:
    """There is no silence for ever, and none that nobody answers for."""
    values = silence().model_dump()
    del values[field]
    with pytest.raises(ValidationError, match=f"{field}\n  Field required"):
        Silence.model_validate(values)


def test_an_occurrence_longer_than_its_period() -> None:
    """Saturdays and Sundays may last a day, not more."""
    weekend = "FREQ=WEEKLY;BYDAY=SA,SU"
    assert not recurrence("UTC", "10:00", 24, weekend).overlaps(date(2026, 1, 1))
    assert recurrence("UTC", "10:00", 24.5, weekend).overlaps(date(2026, 1, 1))
    assert not recurrence("UTC", "10:00", 28 * 24, "FREQ=MONTHLY;BYMONTHDAY=1").overlaps(date(2026, 1, 1))
    assert recurrence("UTC", "10:00", 29 * 24, "FREQ=MONTHLY;BYMONTHDAY=1").overlaps(date(2026, 1, 1))
