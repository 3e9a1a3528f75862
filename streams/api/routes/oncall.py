"""Who is on call, now and later."""

import time
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from schemas.control import Schedule, User
from streams.api.caller import Caller, CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.times import Time, moment
from streams.control import ical
from streams.control.accounts import held_token
from streams.control.oncall import on_call
from streams.control.state import Control
from streams.history.times import milliseconds
from streams.policy.oncall import Shift

router = APIRouter()

#: How far a hand-off is looked for, the beginning of a present shift, and what a calendar has ahead.
_AROUND = timedelta(days=35)
_AHEAD = timedelta(days=90)
_LONGEST = timedelta(days=2 * 366)
_DAYS_SHOWN = timedelta(days=14)
_CALENDAR: dict[int | str, dict[str, Any]] = {200: {"content": {"text/calendar": {"schema": {"type": "string"}}}}}


class Person(BaseModel):
    """A user, with the name for people."""

    id: str
    name: str


class Turn(BaseModel):
    """A time in which a person, or nobody, is on call."""

    user: Person | None
    starts_at: Time
    ends_at: Time


class ScheduleNow(BaseModel):
    """Who is on call in a schedule, until when, and whose turn is next; nobody is None."""

    schedule: str
    name: str
    zone: str
    users: list[Person]
    until: Time | None
    next: Turn | None


class OnCallNow(BaseModel):
    """Every schedule of the tenant, by id."""

    at: Time
    items: list[ScheduleNow]


class Turns(BaseModel):
    """In order; times in which nobody is on call are turns without a user."""

    items: list[Turn]


@router.get("/oncall")
async def show_oncall(
    parts: PartsOf, caller: CallerOf, at: Annotated[datetime | None, Query(description="Another time than now.")] = None
) -> OnCallNow:
    """Who is on call in each schedule."""
    control, now = parts.control, moment(parts.now()) if at is None else at
    return OnCallNow(
        at=now,
        items=[
            _schedule(control, schedule, milliseconds(now))
            for (tenant, _), schedule in sorted(control.every(Schedule).items())
            if tenant == caller.tenant
        ],
    )


@router.get("/schedules/{schedule_id}/shifts")
async def list_shifts(
    parts: PartsOf,
    caller: CallerOf,
    schedule_id: str,
    begin: Annotated[datetime | None, Query(alias="from", description="Now, if it is left out.")] = None,
    end: Annotated[datetime | None, Query(alias="to", description="Two weeks later, if it is left out.")] = None,
) -> Turns:
    """The shifts of a schedule, and the times in which nobody is on call; at most two years."""
    schedule = _found(parts.control, caller, schedule_id)
    since = moment(parts.now()) if begin is None else begin
    until = since + _DAYS_SHOWN if end is None else end
    length = milliseconds(until) - milliseconds(since)
    if not 0 < length <= _LONGEST.total_seconds() * 1000:
        raise ProblemError(422, "the request is not valid", [Wrong("to", "is not within two years after `from`")])
    return Turns(items=_turns(parts.control, schedule, milliseconds(since), milliseconds(until)))


@router.get("/schedules/{schedule_id}.ics", response_class=Response, responses=_CALENDAR)
async def export_schedule(parts: PartsOf, caller: CallerOf, schedule_id: str) -> Response:
    """The shifts of three months as an iCalendar file."""
    return _calendar(parts, _found(parts.control, caller, schedule_id))


@router.get("/calendars/{token}.ics", response_class=Response, responses=_CALENDAR)
async def follow_calendar(parts: PartsOf, token: str) -> Response:
    """The same for calendar programs, which send nothing but an address: the token of one schedule's feed is in it."""
    held = held_token(parts.control, token, moment(parts.now()))
    schedule = parts.control.every(Schedule).get((held[0].tenant, held[0].feed)) if held else None
    if held is None or schedule is None:
        raise ProblemError(404, "there is no such calendar")
    if wait := parts.limit.take(held[0].id, time.monotonic()):
        raise ProblemError(429, "too many requests", headers={"Retry-After": str(wait)})
    parts.sessions.see(held[0].id)
    return _calendar(parts, schedule)


def _calendar(parts: Parts, schedule: Schedule) -> Response:
    control, now = parts.control, parts.now()
    ahead = [shift for shift in _shifts(control, schedule, now) if shift.end > now]
    names = {name: user.name for (owner, name), user in control.every(User).items() if owner == schedule.tenant}
    text = ical.written(schedule.name or schedule.id, f"{schedule.tenant}/{schedule.id}", ahead, names, now)
    return Response(text, media_type="text/calendar; charset=utf-8")


def _shifts(control: Control, schedule: Schedule, now: int) -> list[Shift]:
    around, ahead = (int(each.total_seconds() * 1000) for each in (_AROUND, _AHEAD))
    return on_call(control).shifts(schedule.tenant, schedule.id, now - around, now + ahead)


def _schedule(control: Control, schedule: Schedule, now: int) -> ScheduleNow:
    ahead = int(_AROUND.total_seconds() * 1000)
    turns = _turns(control, schedule, now - ahead, now + ahead)
    users = on_call(control).at(schedule.tenant, schedule.id, now)
    current = [turn for turn in turns if milliseconds(turn.starts_at) <= now < milliseconds(turn.ends_at)]
    later = [turn for turn in turns if milliseconds(turn.starts_at) > now]
    return ScheduleNow(
        schedule=schedule.id,
        name=schedule.name,
        zone=schedule.zone,
        users=[_person(control, schedule.tenant, user) for user in users],
        until=current[0].ends_at if current else None,
        next=later[0] if later else None,
    )


def _turns(control: Control, schedule: Schedule, since: int, until: int) -> list[Turn]:
    oncall = on_call(control)
    place = schedule.tenant, schedule.id, since, until
    spans = [(start, stop, _person(control, schedule.tenant, user)) for user, start, stop in oncall.shifts(*place)]
    empty = [(start, stop, None) for start, stop in oncall.gaps(*place)]
    return [
        Turn(user=user, starts_at=moment(start), ends_at=moment(stop))
        for start, stop, user in sorted([*spans, *empty], key=lambda span: span[:2])
    ]


def _person(control: Control, tenant: str, user: str) -> Person:
    found = control.every(User).get((tenant, user))
    return Person(id=user, name=found.name if found is not None else "")


def _found(control: Control, caller: Caller, name: str) -> Schedule:
    found = control.every(Schedule).get((caller.tenant, name))
    if found is None:
        raise ProblemError(404, "there is no such schedule")
    return found
