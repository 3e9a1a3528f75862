"""Changes to who is on call: overrides, by hand or from a calendar. Pure; `now` is in milliseconds since 1970 UTC."""

import re
import secrets
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from schemas.control import AnyRecord, Override, Schedule, User, control_key
from schemas.control.period import ms_of
from schemas.fingerprint import digest
from streams.control.edits import FieldError
from streams.control.ical import Entry, read
from streams.control.state import Control
from streams.control.write import Change
from streams.policy.oncall import OnCall

R = TypeVar("R", bound=AnyRecord)

#: Days for which an override that is over is kept: who was on call can still be seen.
KEPT_DAYS = 90
_IMPORTED = "ical-"


def on_call(control: Control) -> OnCall:
    """Who is on call, by the present configuration."""
    return OnCall(control.every(Schedule).values(), control.every(Override).values(), control.every(User).values())


def find(control: Control, model: type[R], tenant: str, name: str) -> R:
    """The record of this kind and id. Raises FieldError."""
    found = control.every(model).get((tenant, name))
    if found is None:
        kind = model.__name__.lower()
        known = ", ".join(sorted(each for owner, each in control.every(model) if owner == tenant)) or "none"
        raise FieldError(kind, f"the tenant {tenant} has no {name!r}; there is {known}")
    return found


def overridden(
    control: Control, tenant: str, schedule: str, user: str, starts_at: datetime, ends_at: datetime, now: int
) -> tuple[Override, Change]:
    """A new override, and the change that writes it and deletes those of the schedule that were over long ago.

    Raises FieldError.
    """
    find(control, Schedule, tenant, schedule)
    find(control, User, tenant, user)
    if ms_of(ends_at) <= now:
        raise FieldError("ends_at", "is over: what was is not changed")
    try:
        made = Override(
            id=f"override-{secrets.token_hex(4)}",
            tenant=tenant,
            schedule=schedule,
            user=user,
            starts_at=starts_at,
            ends_at=ends_at,
        )
    except ValidationError as error:
        raise FieldError("ends_at", error.errors()[0]["msg"]) from None
    return made, Change([made], _forgotten(control, tenant, schedule, now))


def cancelled(control: Control, tenant: str, which: str, now: int) -> tuple[str, Change]:
    """What becomes of an override that ends now, and the change. Raises FieldError."""
    found = find(control, Override, tenant, which)
    if ms_of(found.ends_at) <= now:
        return "was over already", Change()
    if ms_of(found.starts_at) >= now:
        return "deleted, it had not begun", Change([], [control_key(found)])
    return "ended", Change([found.model_copy(update={"ends_at": datetime.fromtimestamp(now / 1000, UTC)})])


def imported(control: Control, tenant: str, schedule: str, text: str, now: int) -> tuple[list[Override], Change]:
    """The overrides that an iCalendar file makes, and the change. Events that are over are left out.

    What an earlier import made for times to come and the file does not have is deleted. Raises FieldError for a file
    that cannot be read, and for an event that names no user, or several.
    """
    zone = ZoneInfo(find(control, Schedule, tenant, schedule).zone)
    users = [each for (owner, _), each in control.every(User).items() if owner == tenant]
    try:
        made = [_override(entry, tenant, schedule, users) for entry in read(text, zone) if entry.end > now]
    except ValueError as error:
        raise FieldError("file", str(error)) from None
    keys = {control_key(each) for each in made}
    gone = [
        key
        for each in _of(control, tenant, schedule)
        if each.id.startswith(_IMPORTED) and ms_of(each.ends_at) > now and (key := control_key(each)) not in keys
    ]
    records = [each for each in made if control.records.get(control_key(each)) != each]
    return made, Change(records, [*gone, *_forgotten(control, tenant, schedule, now)])


def _override(entry: Entry, tenant: str, schedule: str, users: list[User]) -> Override:
    """Raises ValueError if no user, or more than one, is named."""
    found = next((named for text in entry.texts if (named := _named(text, users))), [])
    if len(found) != 1:
        many = "no user" if not found else f"the users {', '.join(each.id for each in found)}"
        raise ValueError(f"the event {entry.texts[0][:100]!r} names {many}; users are known by id and name")
    return Override(
        id=f"{_IMPORTED}{digest(schedule, entry.uid, str(entry.start)).hex()}",
        tenant=tenant,
        schedule=schedule,
        user=found[0].id,
        starts_at=datetime.fromtimestamp(entry.start / 1000, UTC),
        ends_at=datetime.fromtimestamp(entry.end / 1000, UTC),
    )


def _named(text: str, users: list[User]) -> list[User]:
    """The users whose id or name is the text, else those whose name is a part of it: `On Call - Ada Lovelace`."""
    text = text.strip().casefold()
    exact = [each for each in users if text and text in (each.id.casefold(), each.name.casefold())]
    return exact or [
        each for each in users if each.name and re.search(rf"(?<!\w){re.escape(each.name.casefold())}(?!\w)", text)
    ]


def _of(control: Control, tenant: str, schedule: str) -> list[Override]:
    return [each for each in control.every(Override).values() if (each.tenant, each.schedule) == (tenant, schedule)]


def _forgotten(control: Control, tenant: str, schedule: str, now: int) -> list[str]:
    old = now - KEPT_DAYS * 86_400_000
    return [control_key(each) for each in _of(control, tenant, schedule) if ms_of(each.ends_at) < old]
