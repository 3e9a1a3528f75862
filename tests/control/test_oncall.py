"""People in the configuration: what is refused and warned about, overrides, and calendars in and out."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from schemas.control import AnyRecord, Contact, Override, Route, User, control_key, dump
from streams.control import document, ical, oncall
from streams.control.checks import GAP_DAYS
from streams.control.destinations import find_destination, without
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.control.write import Change
from streams.policy.oncall import Shift
from tests.policy.test_recurrence import ms

FILE = """
destinations:
  - {id: ada-mail, url: "https://mail.example.com/ada"}
  - {id: bob-mail, url: "https://mail.example.com/bob"}
  - {id: chat, url: "https://chat.example.com/"}
users:
  - {id: ada, name: Ada Lovelace, destinations: [{destination: ada-mail}, {destination: chat, only: high}]}
  - {id: bob, name: Bob, destinations: [{destination: bob-mail}]}
schedules:
  - id: primary
    zone: Europe/Berlin
    layers: [{users: [ada, bob], start: 2026-01-05}]
escalations:
  - id: page
    steps: [{schedules: [primary]}, {destinations: [chat]}, {users: [ada], destinations: [chat]}]
    fallback: [chat, ada-mail]
services:
  - {id: shop, escalation: page}
"""
NOW = ms("2026-06-01T12:00:00Z")


def applied(*records: AnyRecord) -> Control:
    """The configuration with these records."""
    made = Control()
    for record in records:
        assert made.apply(control_key(record), dump(record)) is None
    return made


def control(*records: AnyRecord) -> Control:
    """The configuration of FILE with more records."""
    return applied(*document.load(FILE).values(), *records)


def override(name: str, starts_at: str, ends_at: str, **fields: Any) -> Override:
    """An override of `primary` by bob."""
    values = {"id": name, "schedule": "primary", "user": "bob", "starts_at": starts_at, "ends_at": ends_at}
    return Override.model_validate(values | fields)


def problems(changes: dict[str, Any]) -> list[str]:
    """What is refused if lists of FILE are replaced."""
    with pytest.raises(document.ConfigurationError) as caught:
        document.check(document.load(yaml.safe_dump(yaml.safe_load(FILE) | changes)), {})
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_every_name_must_exist() -> None:
    """Users, schedules, destinations and policies, each with its path."""
    found = problems(
        {
            "users": [{"id": "ada", "destinations": [{"destination": "gone-1"}]}],
            "schedules": [{"id": "primary", "zone": "UTC", "layers": [{"users": ["bob"], "start": "2026-01-05"}]}],
            "overrides": [override("o", "2026-06-01T12:00:00Z", "2026-06-02T12:00:00Z").model_dump(mode="json")],
            "escalations": [
                {
                    "id": "page",
                    "steps": [{"users": ["ada", "bob"], "schedules": ["gone-2"], "destinations": ["gone-3"]}],
                }
                | {"fallback": ["gone-4"]}
            ],
            "services": [
                {"id": "shop", "escalation": "gone-5"}
                | {"sla": [{"severities": ["error"], "resolve_within": 60, "calendar": "gone-6"}]}
            ],
        }
    )
    assert found == [
        "services.0.escalation: no escalation 'gone-5'",
        "services.0.sla.0.calendar: no calendar 'gone-6'",
        "users.0.destinations.0.destination: no destination 'gone-1'",
        "schedules.0.layers.0.users.0: no user 'bob'",
        "overrides.0.user: no user 'bob'",
        "escalations.0.steps.0.users.1: no user 'bob'",
        "escalations.0.steps.0.schedules.0: no schedule 'gone-2'",
        "escalations.0.steps.0.destinations.0: no destination 'gone-3'",
        "escalations.0.fallback.0: no destination 'gone-4'",
    ]


def test_an_account_belongs_to_one_user() -> None:
    """Else the wrong person is reminded."""
    place = [{"destination": "ada-mail"}]
    users = [{"id": name, "destinations": place, "accounts": ["cli:ops"]} for name in ("ada", "bob")]
    assert problems({"users": users}) == ["users.1.accounts.0: is the same as that of user/default/ada"]


def test_a_gap_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one of the next days, by the clocks of the schedule; an override may fill it."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)
    layer = {"users": ["ada"], "start": "2026-01-05", "hours": "18:00-15:00"}
    text = yaml.safe_dump(
        yaml.safe_load(FILE) | {"schedules": [{"id": "primary", "zone": "Europe/Berlin", "layers": [layer]}]}
    )
    declared = document.load(text)
    assert document.check(declared, {}) == [
        "schedules.0.layers: nobody is on call from 2026-06-01 15:00+02:00 to 2026-06-01 18:00+02:00"
    ]
    whole = override("o", "2026-06-01T12:00:00Z", "2026-06-20T00:00:00Z")
    assert document.check(declared, {control_key(whole): whole}) == []
    assert GAP_DAYS < 19


def test_a_deleted_destination_is_taken_out_of_routes() -> None:
    """At every depth of the tree."""
    tree = {"id": "main", "destinations": ["chat", "bob-mail"], "routes": [{"destinations": ["ada-mail", "chat"]}]}
    ada = {"id": "ada", "destinations": [{"destination": "chat"}, {"destination": "ada-mail"}]}
    known = control(User.model_validate(ada), Route.model_validate(tree))
    (route,) = [each for each in without(known, find_destination(known, "default", "ada-mail")).records
                if isinstance(each, Route)]  # fmt: skip
    assert route.destinations == ("chat", "bob-mail")
    assert route.routes[0].destinations == ("chat",)


def test_a_destination_that_somebody_needs_is_not_deleted() -> None:
    """Where it is not the last one it is taken out of users, steps and fallbacks."""
    known = control()
    for needed, told in (("bob-mail", "user/default/bob needs it"), ("chat", "escalation/default/page needs it")):
        with pytest.raises(FieldError, match=told):
            without(known, find_destination(known, "default", needed))
    second = {"id": "ada", "destinations": [{"destination": "chat"}, {"destination": "ada-mail"}]}
    known = control(User.model_validate(second))
    changed = {record.id: record for record in without(known, find_destination(known, "default", "ada-mail")).records}
    assert set(changed) == {"ada", "page"}
    assert getattr(changed["ada"], "destinations") == (Contact(destination="chat"),)  # noqa: B009
    assert getattr(changed["page"], "fallback") == ("chat",)  # noqa: B009


def test_an_override_is_written_and_old_ones_are_forgotten() -> None:
    """Of this schedule; what was over long ago is of no use."""
    old = override("old", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    recent = override("recent", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z")
    known = control(old, recent)
    begin, end = datetime(2026, 6, 2, tzinfo=UTC), datetime(2026, 6, 3, tzinfo=UTC)
    made, change = oncall.overridden(known, "default", "primary", "bob", begin, end, NOW)
    assert change == Change([made], [control_key(old)])
    assert (made.user, made.starts_at, made.ends_at) == ("bob", begin, end)
    assert document.check({control_key(made): made}, known.records) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule": "gone"}, "schedule: the tenant default has no 'gone'; there is primary"),
        ({"user": "gone"}, "user: the tenant default has no 'gone'; there is ada, bob"),
        ({"tenant": "other"}, "schedule: the tenant other has no 'primary'; there is none"),
        ({"starts_at": datetime(2026, 6, 3, tzinfo=UTC)}, "ends_at: Value error, ends_at is not after starts_at"),
        ({"ends_at": datetime(2026, 6, 1, tzinfo=UTC)}, "ends_at: is over"),
    ],
)
def test_a_wrong_override_is_refused(changes: dict[str, Any], told: str) -> None:
    """By its field."""
    values = {"tenant": "default", "schedule": "primary", "user": "bob"}
    values |= {"starts_at": datetime(2026, 6, 2, tzinfo=UTC), "ends_at": datetime(2026, 6, 3, tzinfo=UTC)} | changes
    with pytest.raises(FieldError, match=told):
        oncall.overridden(control(), **values, now=NOW)


def test_an_override_is_cancelled() -> None:
    """What has begun ends now, what has not is deleted, what is over stays."""
    over = override("over", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z")
    begun = override("begun", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z")
    ahead = override("ahead", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z")
    known = control(over, begun, ahead)
    assert oncall.cancelled(known, "default", "over", NOW) == ("was over already", Change())
    assert oncall.cancelled(known, "default", "ahead", NOW)[1] == Change([], [control_key(ahead)])
    told, change = oncall.cancelled(known, "default", "begun", NOW)
    assert told == "ended"
    assert [each.ends_at for each in change.records if isinstance(each, Override)] == [
        datetime(2026, 6, 1, 12, tzinfo=UTC)
    ]
    with pytest.raises(FieldError, match="there is ahead, begun, over"):
        oncall.cancelled(known, "default", "gone", NOW)


def export(known: Control, days: int = 21) -> str:
    """The shifts of `primary` from NOW on."""
    shifts = oncall.on_call(known).shifts("default", "primary", NOW, NOW + days * 86_400_000)
    names = {user.id: user.name for user in known.every(User).values()}
    return ical.written("Primary", "default/primary", shifts, names, NOW)


def test_what_is_exported_can_be_imported() -> None:
    """The overrides are the shifts; a second import changes nothing, one without an event deletes its override."""
    known = control()
    text = export(known)
    assert "SUMMARY:Ada Lovelace\r\n" in text
    made, change = oncall.imported(known, "default", "primary", text, NOW)
    shifts = oncall.on_call(known).shifts("default", "primary", NOW, NOW + 21 * 86_400_000)
    times = [
        Shift(each.user, int(each.starts_at.timestamp() * 1000), int(each.ends_at.timestamp() * 1000)) for each in made
    ]
    assert times == shifts
    assert change == Change(made, [])
    again = control(*made, override("by-hand", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"))
    assert oncall.imported(again, "default", "primary", text, NOW) == (made, Change([], []))
    _, fewer = oncall.imported(again, "default", "primary", export(known, days=6), NOW)
    assert fewer.deletes == [control_key(each) for each in made[1:]]


def event(*lines: str) -> str:
    """A calendar with one event of Bob on 2 June."""
    usual = {"UID": "UID:1", "SUMMARY": "SUMMARY:Bob", "DTSTART": "DTSTART:20260602T080000Z"}
    usual |= {"DTEND": "DTEND:20260602T200000Z"} | {line.partition(":")[0].partition(";")[0]: line for line in lines}
    inside = [line for line in usual.values() if not line.endswith(":")]
    return "\r\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *inside, "END:VEVENT", "END:VCALENDAR", ""])


@pytest.mark.parametrize(
    ("lines", "user", "start", "end"),
    [
        ((), "bob", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z"),
        (("SUMMARY:On Call - Ada Lovelace - Primary",), "ada", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z"),
        (("SUMMARY:ADA",), "ada", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z"),
        (
            ("SUMMARY:On call", "ATTENDEE;CN=Ada Lovelace:mailto:a@example.com"),
            "ada", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z",
        ),
        (
            ("DTSTART;VALUE=DATE:20260602", "DTEND;VALUE=DATE:20260603"),
            "bob", "2026-06-01T22:00:00Z", "2026-06-02T22:00:00Z",
        ),
        (("DTSTART:20260602T100000", "DTEND:20260602T220000"), "bob", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z"),
        (
            ("DTSTART;TZID=America/New_York:20260602T040000", "DTEND:", "DURATION:PT12H"),
            "bob", "2026-06-02T08:00:00Z", "2026-06-02T20:00:00Z",
        ),
    ],
)  # fmt: skip
def test_events_of_other_tools(lines: tuple[str, ...], user: str, start: str, end: str) -> None:
    """PagerDuty's texts, attendees, whole days, times without a zone or in another one."""
    (made,), _ = oncall.imported(control(), "default", "primary", event(*lines), NOW)
    assert (made.user, made.starts_at, made.ends_at) == (
        user, datetime.fromisoformat(start), datetime.fromisoformat(end),
    )  # fmt: skip


def test_what_is_over_or_cancelled_is_not_imported() -> None:
    """The past is not changed."""
    known = control()
    later = ms("2026-06-02T20:00:00Z")
    assert oncall.imported(known, "default", "primary", event(), later) == ([], Change([], []))
    assert oncall.imported(known, "default", "primary", event("STATUS:CANCELLED"), NOW) == ([], Change([], []))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "is no iCalendar file"),
        ("BEGIN:VCALENDAR", "is no iCalendar file"),
        (event("SUMMARY:Carl"), "'Carl' names no user"),
        (event("SUMMARY:"), "'' names no user"),
        (event("SUMMARY:Bob and Ada Lovelace"), "names the users ada, bob"),
        (event("RRULE:FREQ=DAILY"), "repeats: turns that repeat are a layer"),
        (event("DTSTART:"), "has no beginning"),
        (event("DTEND:20260602T070000Z"), "ends before it begins"),
        ("x" * (ical.MAX_ICS + 1), "more than 1000000 characters"),
    ],
)
def test_a_file_that_would_be_guessed_is_refused(text: str, told: str) -> None:
    """Nothing is imported of a file with one bad event."""
    with pytest.raises(FieldError, match=told):
        oncall.imported(control(), "default", "primary", text, NOW)


def test_too_many_events_are_refused() -> None:
    """A file is not a way to fill the configuration."""
    many = event().replace("END:VCALENDAR", "").replace("BEGIN:VCALENDAR\r\n", "") * (ical.MAX_EVENTS + 1)
    with pytest.raises(ValueError, match="more than 1000 events"):
        ical.read(f"BEGIN:VCALENDAR\r\n{many}END:VCALENDAR\r\n".replace("\r\n\r\n", "\r\n"), ZoneInfo("UTC"))


def test_another_tenants_users_are_not_named() -> None:
    """Names are per tenant."""
    carl = User.model_validate({"id": "carl", "tenant": "other", "destinations": [{"destination": "m"}]})
    with pytest.raises(FieldError, match="names no user"):
        oncall.imported(control(carl), "default", "primary", event("SUMMARY:carl"), NOW)
