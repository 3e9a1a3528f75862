"""Quiet hours: zones, both changes of the clocks, midnight, weekdays. The instants are worked out by hand, in UTC."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import QuietHours
from schemas.control.quiet import Day
from schemas.wire.alert import Severity
from streams.policy.quiet import compile_hours, is_inside, is_quiet

#: A change of the clocks of each zone: spring, autumn; and one zone that has none.
CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Asia/Kolkata": ("2026-03-29T01:00", "2026-10-25T01:00"),
}


def ms(text: str) -> int:
    """An instant in UTC as milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def inside(hours: str, zone: str, text: str, *, before: int = 0, **fields: object) -> bool:
    """Whether the instant, or `before` milliseconds earlier, is inside."""
    window = compile_hours(QuietHours.model_validate({"zone": zone, "hours": hours, **fields}))
    return is_inside(window, ms(text) - before)


@pytest.mark.parametrize(
    ("zone", "begin", "end", "length"),
    [
        ("Europe/Berlin", "2026-01-10T21:00", "2026-01-11T06:00", 9.0),
        ("Europe/Berlin", "2026-03-28T21:00", "2026-03-29T05:00", 8.0),
        ("Europe/Berlin", "2026-10-24T20:00", "2026-10-25T06:00", 10.0),
        ("America/New_York", "2026-03-08T03:00", "2026-03-08T11:00", 8.0),
        ("America/New_York", "2026-11-01T02:00", "2026-11-01T12:00", 10.0),
        ("Australia/Lord_Howe", "2026-10-03T11:30", "2026-10-03T20:00", 8.5),
        ("Australia/Lord_Howe", "2026-04-04T11:00", "2026-04-04T20:30", 9.5),
        ("Asia/Kolkata", "2026-03-28T16:30", "2026-03-29T01:30", 9.0),
    ],
)
def test_a_night_of_a_zone(zone: str, begin: str, end: str, length: float) -> None:
    """Contract A12: 22:00-07:00 is one stretch, and shorter or longer by what the clocks change on that night."""
    assert (ms(end) - ms(begin)) / 3_600_000 == length
    assert not inside("22:00-07:00", zone, begin, before=1)
    assert inside("22:00-07:00", zone, begin)
    assert all(
        inside("22:00-07:00", zone, begin, before=-60_000 * minute) for minute in range(int(length * 60))
    )  # fmt: skip
    assert inside("22:00-07:00", zone, end, before=1)
    assert not inside("22:00-07:00", zone, end)


def test_an_hour_that_is_left_out_is_not_quiet() -> None:
    """In spring Berlin's clocks go from 02:00 to 03:00: no moment is between them."""
    assert inside("02:00-03:00", "Europe/Berlin", "2026-03-28T01:30")
    assert not any(
        inside("02:00-03:00", "Europe/Berlin", "2026-03-29T00:00", before=-60_000 * minute) for minute in range(180)
    )


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    """In autumn Berlin's clocks show 02:00-03:00 from 00:00 to 02:00 UTC; hours that end at half past end twice."""
    for text in ("2026-10-25T00:00", "2026-10-25T00:59", "2026-10-25T01:00", "2026-10-25T01:59"):
        assert inside("02:00-03:00", "Europe/Berlin", text)
    assert not inside("02:00-03:00", "Europe/Berlin", "2026-10-25T02:00")
    shown = [
        inside("01:30-02:30", "Europe/Berlin", "2026-10-24T23:15", before=-900_000 * quarter) for quarter in range(10)
    ]
    assert shown == [False, True, True, True, True, False, False, True, True, False]


def test_hours_past_midnight_belong_to_the_day_on_which_they_begin() -> None:
    """Friday's night ends on Saturday morning; 2026-06-05 is a Friday."""
    for text, quiet in (
        ("2026-06-05T06:59", False), ("2026-06-05T22:00", True), ("2026-06-06T00:00", True),
        ("2026-06-06T06:59", True), ("2026-06-06T07:00", False), ("2026-06-06T22:00", False),
    ):  # fmt: skip
        assert inside("22:00-07:00", "UTC", text, days=["fri"]) is quiet, text
    assert inside("22:00-07:00", "UTC", "2026-06-08T03:00", days=["sun"]), "Monday's morning is Sunday's night"


def test_a_whole_day() -> None:
    """00:00-24:00 is the day from its first to its last moment."""
    assert inside("00:00-24:00", "UTC", "2026-06-06T00:00", days=["sat"])
    assert inside("00:00-24:00", "UTC", "2026-06-07T00:00", before=1, days=["sat"])
    assert not inside("00:00-24:00", "UTC", "2026-06-07T00:00", days=["sat"])


@settings(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from(sorted(CHANGES)),
    autumn=st.booleans(),
    begin=st.integers(0, 1439),
    end=st.integers(0, 1440),
    days=st.sets(st.sampled_from(get_args(Day)), min_size=1),
    minute=st.integers(-2880, 2880),
)
def test_it_is_what_a_list_of_all_minutes_says(
    zone: str, autumn: bool, begin: int, end: int, days: set[str], minute: int
) -> None:
    """Around a change of the clocks: inside is what a clock shows that is in the list of the window's minutes."""
    if begin == end:
        return
    at = ms(CHANGES[zone][autumn]) + minute * 60_000
    listed = set()
    for day in range(-5, 6):
        first = date.fromisoformat(CHANGES[zone][autumn][:10]) + timedelta(days=day)
        if get_args(Day)[first.weekday()] in days:
            midnight = datetime.combine(first, datetime.min.time())
            last = end if begin < end else end + 1440
            listed |= {midnight + timedelta(minutes=each) for each in range(begin, last)}
    shown = datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).replace(tzinfo=None, second=0, microsecond=0)
    text = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    window = compile_hours(QuietHours.model_validate({"zone": zone, "hours": text, "days": tuple(days)}))
    assert is_inside(window, at) is (shown in listed)


def test_critical_is_told_unless_it_is_named() -> None:
    """By default quiet hours are for severities below critical; `destinations` limits them to some."""
    night = {"zone": "UTC", "hours": "00:00-24:00"}
    usual, every, some = (
        compile_hours(QuietHours.model_validate(night | more))
        for more in ({}, {"severities": ["critical"]}, {"destinations": ["chat"]})
    )
    assert [is_quiet([usual], severity, "chat", 0) for severity in Severity] == [True, True, True, False]
    assert is_quiet([every], Severity.CRITICAL, "chat", 0)
    assert is_quiet([some], Severity.INFO, "chat", 0)
    assert not is_quiet([some], Severity.INFO, "mail", 0)
    assert not is_quiet([], Severity.INFO, "chat", 0)


def test_zones_are_known_on_a_system_without_them() -> None:
    """Minimal images have no time zones of their own; the package tzdata has them."""
    code = "from schemas.control import QuietHours as Q; print(Q(zone='Australia/Lord_Howe', hours='22:00-07:00').zone)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONTZPATH": ""}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Australia/Lord_Howe\n"


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"hours": "22:00-22:00"}, "hours"),
        ({"hours": "7:00-22:00"}, "hours"),
        ({"hours": "24:00-07:00"}, "hours"),
        ({"hours": "22:00-07:00\n"}, "hours"),
        ({"hours": 1320}, "hours"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "Europe"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"zone": "posix/UTC"}, "zone"),
        ({"zone": ""}, "zone"),
        ({"days": []}, "days"),
        ({"days": ["someday"]}, "days"),
        ({"severities": ["fatal"]}, "severities"),
        ({"from": "22:00"}, "from"),
    ],
)
def test_wrong_quiet_hours_are_refused_by_field(wrong: dict[str, object], path: str) -> None:
    """The error names the field."""
    with pytest.raises(ValidationError) as caught:
        QuietHours.model_validate({"zone": "UTC", "hours": "22:00-07:00"} | wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == {path}
