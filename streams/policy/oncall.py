"""Who is on call at an instant: a pure function of schedules and overrides.

Turns of a layer begin at its hand-over time by the clocks of the schedule's zone, so a turn in which clocks change is
an hour shorter or longer (streams.policy.recurrence says what a time means that clocks leave out or show twice).
Hours of a layer that end at a time that clocks show twice end at the later one: no hour of the night is without
anybody. The last layer that has somebody decides. An override decides before all layers; of several that hold at
once, the one that began last, then the one with the greatest id. All times are milliseconds since 1970 UTC; a
beginning is inside, an end is not.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.control import Layer, Override, Schedule, Urgency, User
from schemas.control.period import ms_of
from schemas.control.quiet import DAYS, minutes_of
from streams.policy.recurrence import begin_of, end_of, local_of

_UNITS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}
_ALWAYS = (timedelta(0), timedelta(days=1))


class Shift(NamedTuple):
    """A user on call, without interruption."""

    user: str
    start: int
    end: int


class Gap(NamedTuple):
    """A time in which nobody is on call."""

    start: int
    end: int


class Handoff(NamedTuple):
    """A change of who is on call in a schedule: `ends` and `starts` are users, () for nobody."""

    at: int
    schedule: str
    ends: tuple[str, ...]
    starts: tuple[str, ...]


class OnCall:
    """The schedules of every tenant, compiled once; an OnCall never changes."""

    def __init__(
        self, schedules: Iterable[Schedule] = (), overrides: Iterable[Override] = (), users: Iterable[User] = ()
    ) -> None:
        self._schedules = {(each.tenant, each.id): _Schedule(each) for each in schedules}
        for override in sorted(overrides, key=lambda override: (override.starts_at, override.id)):
            found = self._schedules.get((override.tenant, override.schedule))
            if found is not None:
                found.overrides.append(Shift(override.user, ms_of(override.starts_at), ms_of(override.ends_at)))
        self._contacts: dict[tuple[str, str], User] = {}
        self._accounts: dict[tuple[str, str], str] = {}
        for user in users:
            self._contacts[user.tenant, user.id] = user
            self._accounts.update({(user.tenant, account): user.id for account in user.accounts})

    def at(self, tenant: str, schedule: str, at: int) -> tuple[str, ...]:
        """The ids of the users on call; () for nobody, and for a schedule that does not exist."""
        found = self._schedules.get((tenant, schedule))
        user = None if found is None else found.at(at)
        return () if user is None else (user,)

    def shifts(self, tenant: str, schedule: str, begin: int, end: int) -> list[Shift]:
        """Who is on call between two instants, in order; the first and last shift are cut there."""
        return [Shift(user, *times) for user, *times in self._spans(tenant, schedule, begin, end) if user is not None]

    def gaps(self, tenant: str, schedule: str, begin: int, end: int) -> list[Gap]:
        """The times between two instants in which nobody is on call."""
        return [Gap(*times) for user, *times in self._spans(tenant, schedule, begin, end) if user is None]

    def handoffs(self, tenant: str, after: int, until: int) -> list[Handoff]:
        """The changes in all schedules of a tenant later than `after`, up to and including `until`, by time."""
        found = [
            Handoff(at, name, self.at(tenant, name, at - 1), self.at(tenant, name, at))
            for (owner, name), schedule in self._schedules.items()
            if owner == tenant
            for at in schedule.changes(after, until)
        ]
        return sorted(each for each in found if each.ends != each.starts)

    def contacts(self, tenant: str, user: str, urgency: Urgency) -> tuple[str, ...]:
        """The destinations that reach a user, in the user's order; () for a user that does not exist."""
        found = self._contacts.get((tenant, user))
        if found is None:
            return ()
        return tuple(each.destination for each in found.destinations if each.only in (None, urgency))

    def user_of(self, tenant: str, actor: str) -> str | None:
        """The user who acted, by the actor of a command: `slack:U0123 (Ada)` is who has the account `slack:U0123`."""
        return self._accounts.get((tenant, actor.partition(" (")[0]))

    def find(self, tenant: str, name: str) -> str | None:
        """The user with this id, or with this account: who wrote a record; None if it is nobody we know."""
        return name if (tenant, name) in self._contacts else self.user_of(tenant, name)

    def _spans(self, tenant: str, schedule: str, begin: int, end: int) -> Iterator[tuple[str | None, int, int]]:
        found = self._schedules.get((tenant, schedule))
        if found is None or begin >= end:
            return
        since, who = begin, found.at(begin)
        for at in found.changes(begin, end - 1):
            if (now := found.at(at)) != who:
                yield who, since, at
                since, who = at, now
        yield who, since, end


class _Schedule:
    """A compiled schedule; `overrides` are by their beginning."""

    def __init__(self, schedule: Schedule) -> None:
        zone = ZoneInfo(schedule.zone)
        self._layers = [_Layer(layer, zone) for layer in schedule.layers]
        self.overrides: list[Shift] = []

    def at(self, at: int) -> str | None:
        for override in reversed(self.overrides):
            if override.start <= at < override.end:
                return override.user
        return next((user for layer in reversed(self._layers) if (user := layer.at(at)) is not None), None)

    def changes(self, after: int, until: int) -> list[int]:
        """The instants later than `after`, up to `until`, at which somebody else may be on call."""
        found = {at for layer in self._layers for at in layer.changes(after, until)}
        found |= {at for override in self.overrides for at in (override.start, override.end)}
        return sorted(at for at in found if after < at <= until)


class _Layer:
    def __init__(self, layer: Layer, zone: ZoneInfo) -> None:
        self._users = layer.users
        self._zone = zone
        self._start = datetime.combine(layer.start, time.fromisoformat(layer.handover))
        self._turn = _UNITS[layer.rotation] * layer.every
        begin, end = (timedelta(minutes=minute) for minute in minutes_of(layer.hours))
        self._hours = begin, end if begin < end else end + timedelta(days=1)
        self._days = frozenset(DAYS.index(day) for day in layer.days)
        self._always = self._hours == _ALWAYS and len(self._days) == len(DAYS)

    def at(self, at: int) -> str | None:
        turn = self._turn_at(at)
        if turn < 0 or not (self._always or self._is_inside(at)):
            return None
        return self._users[turn % len(self._users)]

    def changes(self, after: int, until: int) -> Iterator[int]:
        for turn in range(max(0, self._turn_at(after)), self._turn_at(until) + 1):
            yield self._begin(turn)
        if not self._always:
            days = (local_of(until, self._zone).date() - local_of(after, self._zone).date()).days
            for day in self._around(after, days):
                yield from self._span(day)

    def _begin(self, turn: int) -> int:
        return begin_of(self._start + turn * self._turn, self._zone)

    def _turn_at(self, at: int) -> int:
        """The number of the turn, less than 0 before the first one."""
        turn = (local_of(at, self._zone) - self._start) // self._turn
        # Where clocks change, what they show is not in the order of instants.
        while self._begin(turn + 1) <= at:
            turn += 1
        while self._begin(turn) > at:
            turn -= 1
        return turn

    def _is_inside(self, at: int) -> bool:
        spans = (self._span(day) for day in self._around(at) if day.weekday() in self._days)
        return any(begin <= at < end for begin, end in spans)

    def _around(self, at: int, days: int = 0) -> Iterator[date]:
        """The days whose hours may contain an instant, or one of the next `days`."""
        today = local_of(at, self._zone).date()
        return (today + timedelta(days=offset) for offset in range(-2, days + 2))

    def _span(self, day: date) -> tuple[int, int]:
        midnight = datetime.combine(day, time())
        begin, end = self._hours
        return begin_of(midnight + begin, self._zone), end_of(midnight + end, self._zone)
