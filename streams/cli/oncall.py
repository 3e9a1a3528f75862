"""`stormweir oncall`: who is on call, now and later, and who stands in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.control.state import Control
    from streams.policy.oncall import OnCall

commands = typer.Typer(no_args_is_help=True, help="Who is on call; overrides; calendars as files, in and out.")

Schedule_ = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id.")]
Tenant = Annotated[str, typer.Option(help="Whose it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
From = Annotated[str | None, typer.Option("--from", help="2026-12-24T08:00+01:00.", show_default="now")]

#: How far `now` looks for the next hand-off, and `export` back for the beginning of a shift that has begun.
_AROUND_DAYS = 35
_DAY_MS = 86_400_000


@commands.command("now")
def now_(
    schedule: Annotated[str | None, typer.Argument(metavar="SCHEDULE", help="Only this one.")] = None,
    at: Annotated[str | None, typer.Option(help="Another time than now.")] = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """Who is on call in each schedule, until when, and who is next. Status 1 if nobody is in one of them."""
    from schemas.control import Schedule
    from streams.cli._console import print_json, print_table
    from streams.cli._when import shown
    from streams.control.oncall import find, on_call

    control, moment = _read(), _moment("--at", at)
    if schedule is not None:
        find(control, Schedule, tenant, schedule)
    oncall, rows = on_call(control), []
    for name in sorted(name for owner, name in control.every(Schedule) if owner == tenant and schedule in (None, name)):
        user = next(iter(oncall.at(tenant, name, moment)), None)
        end = moment + _AROUND_DAYS * _DAY_MS
        change = next((each for each in oncall.handoffs(tenant, moment, end) if each.schedule == name), None)
        following = next(iter(change.starts), "nobody") if change else None
        until = shown(change.at) if change else None
        rows.append({"schedule": name, "user": user or "nobody", "until": until, "next": following})
    if json:
        print_json(rows)
    else:
        print_table(("schedule", "user", "until", "next"), rows)
    raise typer.Exit(any(row["user"] == "nobody" for row in rows))


@commands.command()
def shifts(
    schedule: Schedule_,
    begin: From = None,
    end: Annotated[str | None, typer.Option("--to", show_default="14 days later")] = None,
    tenant: Tenant = "default",
    json: AsJson = False,
) -> None:
    """The shifts of a schedule in order, and the times in which nobody is on call."""
    from streams.cli._console import print_json, print_table
    from streams.cli._when import shown

    control, since = _read(), _moment("--from", begin)
    until = since + 14 * _DAY_MS if end is None else _moment("--to", end)
    oncall = _of(control, tenant, schedule, since, until)
    spans = [(start, stop, user) for user, start, stop in oncall.shifts(tenant, schedule, since, until)]
    spans += [(start, stop, "nobody") for start, stop in oncall.gaps(tenant, schedule, since, until)]
    rows = [{"from": shown(start), "to": shown(stop), "user": user} for start, stop, user in sorted(spans)]
    if json:
        print_json(rows)
    else:
        print_table(("from", "to", "user"), rows)


@commands.command()
def export(
    schedule: Schedule_,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far ahead.")] = 90,
    tenant: Tenant = "default",
) -> None:
    """Print the shifts as an iCalendar file: what calendars subscribe to or read."""
    from schemas.control import Schedule, User
    from streams.control import ical
    from streams.control.oncall import find

    control, now = _read(), _moment("--from", None)
    found = find(control, Schedule, tenant, schedule)
    since, until = now - _AROUND_DAYS * _DAY_MS, now + days * _DAY_MS
    ahead = [
        shift
        for shift in _of(control, tenant, schedule, since, until).shifts(tenant, schedule, since, until)
        if shift.end > now
    ]
    names = {name: user.name for (owner, name), user in control.every(User).items() if owner == tenant}
    print(ical.written(found.name or schedule, f"{tenant}/{schedule}", ahead, names, now), end="")


@commands.command("import")
def import_(
    schedule: Schedule_,
    file: Annotated[Path, typer.Argument(metavar="FILE.ics", help="Events that name a user by id or name.")],
    tenant: Tenant = "default",
) -> None:
    """Make the events of an iCalendar file overrides of the schedule, in place of those of an earlier import."""
    from streams.cli._control import transact
    from streams.control.oncall import imported
    from streams.process.errors import OperatorError

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file} cannot be read: {error}") from None
    now = _moment("--from", None)
    made = transact(lambda control: imported(control, tenant, schedule, text, now))
    print(f"{len(made)} overrides of {schedule}")


@commands.command()
def override(
    schedule: Schedule_,
    user: Annotated[str, typer.Argument(metavar="USER", help="Who stands in.")],
    end: Annotated[str, typer.Option("--to", help="When it ends: 2026-12-24T20:00+01:00; without a zone UTC.")],
    begin: From = None,
    tenant: Tenant = "default",
) -> None:
    """Have a user be on call for a time, whatever the schedule's layers say."""
    from datetime import UTC, datetime

    from streams.cli._console import printable
    from streams.cli._control import transact
    from streams.cli._when import instant
    from streams.control.oncall import overridden

    now = _moment("--from", None)
    starts_at = datetime.fromtimestamp(now // 1000, UTC) if begin is None else instant("--from", begin)
    ends_at = instant("--to", end)
    made = transact(lambda control: overridden(control, tenant, schedule, user, starts_at, ends_at, now))
    print(f"{made.id}  {printable(user)} until {ends_at.isoformat()}")


@commands.command()
def overrides(tenant: Tenant = "default", json: AsJson = False) -> None:
    """The overrides that are not over, by their beginning."""
    from schemas.control import Override
    from schemas.control.period import ms_of
    from streams.cli._console import print_json, print_table
    from streams.cli._when import shown

    now = _moment("--from", None)
    found = [each for (owner, _), each in _read().every(Override).items() if owner == tenant]
    rows = [
        {
            "id": each.id,
            "schedule": each.schedule,
            "user": each.user,
            "from": shown(ms_of(each.starts_at)),
            "to": shown(ms_of(each.ends_at)),
        }
        for each in sorted(found, key=lambda each: (each.starts_at, each.id))
        if ms_of(each.ends_at) > now
    ]
    if json:
        print_json(rows)
    else:
        print_table(("id", "schedule", "user", "from", "to"), rows)


@commands.command()
def cancel(
    which: Annotated[str, typer.Argument(metavar="ID", help="As `overrides` shows it.")], tenant: Tenant = "default"
) -> None:
    """End an override now, or delete it if it has not begun."""
    from streams.cli._console import printable
    from streams.cli._control import transact
    from streams.control.oncall import cancelled

    now = _moment("--from", None)
    print(f"{printable(which)}  {transact(lambda control: cancelled(control, tenant, which, now))}")


def _read() -> Control:
    from streams.cli._control import Change, transact

    return transact(lambda control: (control, Change()))


def _of(control: Control, tenant: str, schedule: str, begin: int, end: int) -> OnCall:
    """Who is on call, for a schedule that exists and a time that is no longer than two years."""
    from schemas.control import Schedule
    from streams.control.oncall import find, on_call
    from streams.process.errors import OperatorError

    find(control, Schedule, tenant, schedule)
    if not 0 < end - begin <= 2 * 366 * _DAY_MS:
        raise OperatorError("--to: a time after --from is needed, at most two years later")
    return on_call(control)


def _moment(option: str, text: str | None) -> int:
    import time

    from schemas.control.period import ms_of
    from streams.cli._when import instant

    return time.time_ns() // 1_000_000 if text is None else ms_of(instant(option, text))
