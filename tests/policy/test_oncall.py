"""Who is on call: turns, layers, overrides, and nights on which clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.control import Layer, Override, Schedule, User
from streams.policy.oncall import Gap, Handoff, OnCall, Shift
from streams.policy.recurrence import begin_of, end_of

#: A night on which clocks change, in UTC.
CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "America/Santiago": ("2026-09-06T04:00", "2026-04-05T03:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
    "Pacific/Apia": ("2011-12-30T10:00", "2011-04-02T14:00"),
    "Asia/Kolkata": ("2026-03-29T01:00", "2026-10-25T01:00"),
}


def ms(text: str) -> int:
    """An instant in UTC as milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def layer(users: str, start: str, **fields: Any) -> Layer:
    """A layer of users, separated by spaces."""
    return Layer.model_validate({"users": users.split(), "start": start, **fields})


def rota(zone: str, *layers: Layer, overrides: tuple[Override, ...] = ()) -> OnCall:
    """The one schedule `s`."""
    return OnCall([Schedule(id="s", zone=zone, layers=layers)], overrides)


def override(id_: str, user: str, starts_at: str, ends_at: str) -> Override:
    """An override of `s`, in UTC."""
    times = {"starts_at": f"{starts_at}Z", "ends_at": f"{ends_at}Z"}
    return Override.model_validate({"id": id_, "schedule": "s", "user": user, **times})


def told(oncall: OnCall, begin: str, end: str) -> list[tuple[str, str]]:
    """The shifts as users and beginnings in UTC."""
    shifts = oncall.shifts("default", "s", ms(begin), ms(end))
    return [(shift.user, datetime.fromtimestamp(shift.start / 1000, UTC).strftime("%m-%dT%H:%M")) for shift in shifts]


@pytest.mark.parametrize(
    ("zone", "fields", "begin", "end", "expected"),
    [
        (  # clocks go forward on 29 March: 09:00 is an hour earlier in UTC
            "Europe/Berlin", {"start": "2026-03-23"}, "2026-03-23T08:00", "2026-04-06T07:00",
            [("ada", "03-23T08:00"), ("bob", "03-30T07:00")],
        ),
        (  # and back on 25 October
            "Europe/Berlin", {"start": "2026-10-19"}, "2026-10-19T07:00", "2026-11-09T08:00",
            [("ada", "10-19T07:00"), ("bob", "10-26T08:00"), ("ada", "11-02T08:00")],
        ),
        (  # a leap day is a day
            "UTC", {"start": "2028-02-27", "rotation": "daily"}, "2028-02-27T09:00", "2028-03-02T09:00",
            [("ada", "02-27T09:00"), ("bob", "02-28T09:00"), ("ada", "02-29T09:00"), ("bob", "03-01T09:00")],
        ),
        (  # the year's end is in the middle of a week
            "America/New_York", {"start": "2026-12-21", "handover": "00:00"}, "2026-12-21T05:00", "2027-01-11T05:00",
            [("ada", "12-21T05:00"), ("bob", "12-28T05:00"), ("ada", "01-04T05:00")],
        ),
        (  # half days by the clocks: the night of 29 March has 11 hours
            "Europe/Berlin", {"start": "2026-03-28", "rotation": "hourly", "every": 12, "handover": "08:00"},
            "2026-03-28T07:00", "2026-03-29T18:00",
            [("ada", "03-28T07:00"), ("bob", "03-28T19:00"), ("ada", "03-29T06:00")],
        ),
        (  # two weeks each
            "Asia/Kolkata", {"start": "2026-01-05", "every": 2}, "2026-01-05T03:30", "2026-02-02T03:30",
            [("ada", "01-05T03:30"), ("bob", "01-19T03:30")],
        ),
        (  # 02:30 is left out on 29 March: the hand-over is when clocks show 03:00
            "Europe/Berlin", {"start": "2026-03-28", "rotation": "daily", "handover": "02:30"},
            "2026-03-28T01:30", "2026-03-31T00:30",
            [("ada", "03-28T01:30"), ("bob", "03-29T01:00"), ("ada", "03-30T00:30")],
        ),
        (  # 02:30 comes twice on 25 October: the first one counts, once
            "Europe/Berlin", {"start": "2026-10-24", "rotation": "daily", "handover": "02:30"},
            "2026-10-24T00:30", "2026-10-27T01:30",
            [("ada", "10-24T00:30"), ("bob", "10-25T00:30"), ("ada", "10-26T01:30")],
        ),
        (  # midnight is left out in Santiago
            "America/Santiago", {"start": "2026-09-05", "rotation": "daily", "handover": "00:00"},
            "2026-09-05T04:00", "2026-09-08T03:00",
            [("ada", "09-05T04:00"), ("bob", "09-06T04:00"), ("ada", "09-07T03:00")],
        ),
        (  # Lord Howe's clocks change by half an hour
            "Australia/Lord_Howe", {"start": "2026-10-03", "rotation": "daily"}, "2026-10-02T22:30", "2026-10-04T22:00",
            [("ada", "10-02T22:30"), ("bob", "10-03T22:00")],
        ),
        (  # Apia had no 30 December 2011: its turn is from midnight to the hand-over of the 31st
            "Pacific/Apia", {"start": "2011-12-29", "rotation": "daily"}, "2011-12-29T19:00", "2012-01-01T19:00",
            [("ada", "12-29T19:00"), ("bob", "12-30T10:00"), ("ada", "12-30T19:00"), ("bob", "12-31T19:00")],
        ),
    ],
)  # fmt: skip
def test_turns_begin_by_the_clocks_of_the_zone(
    zone: str, fields: dict[str, Any], begin: str, end: str, expected: list[tuple[str, str]]
) -> None:
    """Golden cases: weeks over both changes of the clocks, a leap day, the end of a year, times that are left out."""
    oncall = rota(zone, layer("ada bob", **fields))
    assert told(oncall, begin, end) == expected
    assert oncall.gaps("default", "s", ms(begin), ms(end)) == []
    (first, _), *_ = expected
    assert (oncall.at("default", "s", ms(begin) - 1), oncall.at("default", "s", ms(begin))) == ((), (first,))


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(sorted(CHANGES)),
    autumn=st.booleans(),
    rotation=st.sampled_from(["hourly", "daily"]),
    every=st.integers(1, 30),
    handover=st.integers(0, 47),
    users=st.integers(1, 4),
)
def test_it_is_what_counting_minutes_says(
    zone: str, autumn: bool, rotation: str, every: int, handover: int, users: int
) -> None:
    """Around a change of the clocks: a turn begins in the first minute in which clocks show its time or a later one."""
    change, places = ms(CHANGES[zone][autumn]), ZoneInfo(zone)
    first = datetime.fromtimestamp(change / 1000, places).date() - timedelta(days=2)
    clock = f"{handover // 2:02}:{handover % 2 * 30:02}"
    start = datetime.fromisoformat(f"{first}T{clock}")
    fields = {"rotation": rotation, "every": every, "handover": clock}
    names = [f"u{index}" for index in range(users)]
    oncall = rota(zone, layer(" ".join(names), str(first), **fields))
    turn = timedelta(hours=every) if rotation == "hourly" else timedelta(days=every)
    latest = datetime.min
    for minute in range(-4 * 1440, 3 * 1440, 15):
        at = change + minute * 60_000
        latest = max(latest, datetime.fromtimestamp(at / 1000, places).replace(tzinfo=None))
        wanted = (names[(latest - start) // turn % users],) if latest >= start else ()
        assert oncall.at("default", "s", at) == wanted


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(sorted(CHANGES)),
    autumn=st.booleans(),
    morning=st.integers(0, 95),
    evening=st.integers(0, 95),
    begin=st.integers(-200_000, 0),
    length=st.integers(1, 400_000),
)
def test_day_and_night_leave_no_gap(
    zone: str, autumn: bool, morning: int, evening: int, begin: int, length: int
) -> None:
    """Layers for the hours of the day and of the night cover every moment, also where clocks change; shifts and gaps
    follow one another without a hole, and each is what `at` says.
    """
    if morning == evening:
        return
    day, night = (f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in (morning, evening))
    hours = [{"hours": f"{day}-{night}"}, {"hours": f"{night}-{day}"}]
    layers = [layer(name, "2000-01-01", **each) for name, each in zip(("day", "night"), hours, strict=True)]
    both, one = rota(zone, *layers), rota(zone, layers[1])
    since = ms(CHANGES[zone][autumn]) + begin * 1000
    until = since + length * 1000
    assert both.gaps("default", "s", since, until) == []
    spans = sorted([*one.shifts("default", "s", since, until), *one.gaps("default", "s", since, until)], key=_times)
    assert [_times(span)[0] for span in spans] == [since, *(_times(span)[1] for span in spans[:-1])]
    assert _times(spans[-1])[1] == until
    for span in spans:
        wanted = (span.user,) if isinstance(span, Shift) else ()
        for at in (_times(span)[0], _times(span)[1] - 1):
            assert one.at("default", "s", at) == wanted


def _times(span: Shift | Gap) -> tuple[int, int]:
    return span.start, span.end


def test_hours_cover_the_minutes_that_clocks_show() -> None:
    """Nights of 22:00-07:00 have 9 hours, 8 when clocks go forward and 10 when they go back."""
    oncall = rota("Europe/Berlin", layer("ada", "2026-01-01", hours="22:00-07:00"))
    for day, hours in (("2026-01-10", 9), ("2026-03-28", 8), ("2026-10-24", 10)):
        (night,) = oncall.shifts("default", "s", ms(f"{day}T12:00"), ms(f"{day}T12:00") + 86_400_000)
        assert (night.end - night.start) / 3_600_000 == hours


def test_hours_that_end_at_a_time_shown_twice_end_late() -> None:
    """A night until 02:30 on 25 October is one stretch that ends at the second 02:30."""
    oncall = rota("Europe/Berlin", layer("ada", "2026-01-01", hours="22:00-02:30"))
    shifts = oncall.shifts("default", "s", ms("2026-10-24T12:00"), ms("2026-10-25T12:00"))
    assert shifts == [Shift("ada", ms("2026-10-24T20:00"), ms("2026-10-25T01:30"))]


def test_days_are_those_on_which_hours_begin() -> None:
    """Friday's night ends on Saturday morning; 2026-06-05 is a Friday."""
    oncall = rota("UTC", layer("ada", "2026-01-01", hours="22:00-06:00", days=["fri"]))
    shifts = oncall.shifts("default", "s", ms("2026-06-01T00:00"), ms("2026-06-12T00:00"))
    assert shifts == [Shift("ada", ms("2026-06-05T22:00"), ms("2026-06-06T06:00"))]


def test_the_last_layer_that_has_somebody_decides() -> None:
    """Office hours override the rotation below; outside of them the rotation holds."""
    office = layer("cleo", "2026-06-01", hours="09:00-17:00", days=["mon"], handover="00:00")
    oncall = rota("UTC", layer("ada bob", "2026-06-01", handover="00:00", rotation="daily"), office)
    assert told(oncall, "2026-06-01T00:00", "2026-06-03T00:00") == [
        ("ada", "06-01T00:00"), ("cleo", "06-01T09:00"), ("ada", "06-01T17:00"), ("bob", "06-02T00:00"),
    ]  # fmt: skip


def test_an_override_decides_before_all_layers() -> None:
    """Also where no layer has anybody; of two the one that began last, then the greater id."""
    overrides = (
        override("1", "cleo", "2026-05-31T12:00", "2026-06-02T00:00"),
        override("2", "dan", "2026-06-01T06:00", "2026-06-01T08:00"),
        override("3", "eve", "2026-06-01T06:00", "2026-06-01T07:00"),
    )
    oncall = rota("UTC", layer("ada", "2026-06-01", handover="00:00"), overrides=overrides)
    assert told(oncall, "2026-05-31T00:00", "2026-06-03T00:00") == [
        ("cleo", "05-31T12:00"), ("eve", "06-01T06:00"), ("dan", "06-01T07:00"), ("cleo", "06-01T08:00"),
        ("ada", "06-02T00:00"),
    ]  # fmt: skip
    gaps = oncall.gaps("default", "s", ms("2026-05-31T00:00"), ms("2026-06-03T00:00"))
    assert gaps == [Gap(ms("2026-05-31T00:00"), ms("2026-05-31T12:00"))]


def test_hand_offs_are_told_once() -> None:
    """A hand-off belongs to the one span of time in which it is; turns of one and the same user are none."""
    oncall = OnCall(
        [
            Schedule(id="a", zone="UTC", layers=(layer("ada bob", "2026-06-01", rotation="daily"),)),
            Schedule(id="b", zone="UTC", layers=(layer("ada", "2026-06-01", rotation="daily"),)),
            Schedule(id="c", tenant="other", zone="UTC", layers=(layer("ada bob", "2026-06-01", rotation="daily"),)),
        ]
    )
    at = ms("2026-06-02T09:00")
    expected = [Handoff(at, "a", ("ada",), ("bob",))]
    assert oncall.handoffs("default", at - 1, at) == expected
    assert oncall.handoffs("default", at - 3_600_000, at + 3_600_000) == expected
    assert oncall.handoffs("default", at, at + 1000) == []
    begin = ms("2026-06-01T09:00")
    assert oncall.handoffs("default", begin - 1, begin) == [
        Handoff(begin, "a", (), ("ada",)),
        Handoff(begin, "b", (), ("ada",)),
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40 * 86_400), min_size=2, max_size=12, unique=True).map(sorted))
def test_however_time_is_cut_the_hand_offs_are_the_same(cuts: list[int]) -> None:
    """One call for a month gives what many calls give."""
    oncall = rota("Europe/Berlin", layer("ada bob cleo", "2026-10-01"), layer("dan", "2026-10-01", days=["sun"]))
    base = ms("2026-10-01T00:00")
    times = [base + cut * 1000 for cut in cuts]
    parts = [each for after, until in pairwise(times) for each in oncall.handoffs("default", after, until)]
    assert parts == oncall.handoffs("default", times[0], times[-1])


def test_what_does_not_exist_has_nobody() -> None:
    """Schedules and users of other tenants, too."""
    oncall = rota("UTC", layer("ada", "2026-01-01"))
    assert oncall.at("default", "gone", 0) == ()
    assert oncall.at("other", "s", ms("2026-06-01T00:00")) == ()
    assert oncall.shifts("default", "gone", 0, 1000) == oncall.gaps("default", "gone", 0, 1000) == []
    assert oncall.contacts("default", "ada", "high") == ()


def test_a_person_is_reached_in_the_order_of_preference() -> None:
    """Contract C95, C120: push, Slack, SMS for high urgency, e-mail always."""
    places = [
        {"destination": "push"}, {"destination": "slack"}, {"destination": "sms", "only": "high"},
        {"destination": "mail"},
    ]  # fmt: skip
    ada = User.model_validate({"id": "ada", "destinations": places, "accounts": ["slack:U0123", "cli:ada"]})
    oncall = OnCall(users=[ada])
    assert oncall.contacts("default", "ada", "high") == ("push", "slack", "sms", "mail")
    assert oncall.contacts("default", "ada", "low") == ("push", "slack", "mail")
    actors = ("slack:U0123 (Ada L.)", "slack:U0123", "cli:ada", "slack:U012 (Ada)", "ada")
    assert [oncall.user_of("default", actor) for actor in actors] == ["ada", "ada", "ada", None, None]
    assert oncall.user_of("other", "cli:ada") is None


def test_times_that_clocks_leave_out_or_show_twice() -> None:
    """The first instant after a gap; of two the first to begin, the last to end."""
    berlin, apia = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")
    gap, fold = datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)
    assert begin_of(gap, berlin) == end_of(gap, berlin) == ms("2026-03-29T01:00")
    assert (begin_of(fold, berlin), end_of(fold, berlin)) == (ms("2026-10-25T00:30"), ms("2026-10-25T01:30"))
    assert begin_of(datetime(2011, 12, 30, 17), apia) == ms("2011-12-30T10:00")


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"users": []}, "users"),
        ({"start": "2026-06-01T10:00:00"}, "start"),
        ({"start": "0001-01-01"}, "start"),
        ({"rotation": "monthly"}, "rotation"),
        ({"every": 0}, "every"),
        ({"handover": "24:00"}, "handover"),
        ({"hours": "09:00-09:00"}, "hours"),
        ({"days": []}, "days"),
    ],
)
def test_a_wrong_layer_is_refused_by_field(wrong: dict[str, Any], path: str) -> None:
    """A rotation without users, too."""
    with pytest.raises(ValidationError) as caught:
        Layer.model_validate({"users": ["ada"], "start": "2026-06-01"} | wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == {path}


def test_an_override_without_a_zone_or_without_a_time_is_refused() -> None:
    """A time without a zone would be a guess."""
    for wrong in ({"starts_at": "2026-06-01T00:00:00"}, {"ends_at": "2026-06-01T00:00:00Z"}):
        fields = {"starts_at": "2026-06-01T00:00:00Z", "ends_at": "2026-06-02T00:00:00Z"} | wrong
        with pytest.raises(ValidationError):
            Override.model_validate({"id": "o", "schedule": "s", "user": "ada", **fields})


def test_a_user_who_cannot_be_reached_is_refused() -> None:
    """Without a destination, and without one for both urgencies."""
    for places in ([], [{"destination": "sms", "only": "high"}], [{"destination": "a", "only": "never"}]):
        with pytest.raises(ValidationError):
            User.model_validate({"id": "ada", "destinations": places})
