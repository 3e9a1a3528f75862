"""Escalation: who is paged, step by step, until somebody acknowledges or the incident is resolved.

A Ladder is the state of one incident. The first step fires at once, each later one `delay` seconds after the one
before; after the last step the first one follows, `repeat` times. A step that reaches nobody, because nobody is on
call or a user is gone, pages the policy's `fallback`; without a fallback the next step fires at once.

An acknowledgement stops the steps. It lapses `acknowledge_timeout` seconds later: the steps then begin anew at the
first one, since others may be on call by now. Who acknowledged is reminded every `remind_after` seconds.

Every transition carries the version of the incident that made it. A version that is not newer than the ladder's does
nothing, so a command that comes twice or late has no effect. With a resolve the ladder is forgotten; an incident that
is opened again has a new one. A Ladder has one due time, so there are no timers that could be stale. Times are
milliseconds since 1970 UTC, 0 means never.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec

from schemas.control import Escalation, Step, Urgency
from schemas.wire.command import MAX_ACTOR
from streams.policy.oncall import OnCall


class State(IntEnum):
    """Steps fire; somebody has acknowledged; all steps and repeats are over."""

    RUNNING = 1
    ACKNOWLEDGED = 2
    EXHAUSTED = 3


class Ladder(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`version` is the incident's at the last transition, `step` and `round` those that fire next, from 0.

    `next_at` is when the next step or reminder is due, `lapse_at` when the acknowledgement of `actor` ends.
    """

    state: State
    version: int
    step: int = 0
    round: int = 0
    next_at: int = 0
    lapse_at: int = 0
    actor: str = ""


class Why(StrEnum):
    """Why a destination is paged."""

    STEP = "step"
    FALLBACK = "fallback"
    REMINDER = "reminder"


class Page(NamedTuple):
    """One destination to page for a step; `user` is whom it reaches, "" for a destination that the policy names."""

    destination: str
    step: int
    user: str
    why: Why = Why.STEP


class Fired(NamedTuple):
    """What to do: `pages`, in this order. `lapsed`: the incident's acknowledgement has ended, and it must be told so.

    `nobody`: a step was due, neither it nor those after it reach anybody, and there is no fallback: tell somebody else.
    """

    ladder: Ladder
    pages: list[Page]
    lapsed: bool = False
    nobody: bool = False


def start(version: int, now: int) -> Ladder:
    """The ladder of an incident that opens, or reopens; its first step is due now."""
    return Ladder(State.RUNNING, version, next_at=now)


def first(policy: Escalation, oncall: OnCall, urgency: Urgency, now: int) -> list[str]:
    """The destinations that the first step pages."""
    return [page.destination for page in _pages(policy, 0, oncall, urgency, now)]


def acknowledged(policy: Escalation, ladder: Ladder, version: int, actor: str, now: int) -> Ladder:
    """Somebody takes the incident; `actor` as in the command."""
    if not _is_news(ladder, version):
        return ladder
    remind, timeout = policy.remind_after, policy.acknowledge_timeout
    return Ladder(
        State.ACKNOWLEDGED,
        version,
        ladder.step,
        ladder.round,
        next_at=now + remind * 1000 if remind is not None else 0,
        lapse_at=now + timeout * 1000 if timeout is not None else 0,
        actor=actor[:MAX_ACTOR],
    )


def unacknowledged(ladder: Ladder, version: int, now: int) -> Ladder:
    """Nobody has the incident any more: by command, or as the ladder itself told after a lapse, which it knows."""
    if not _is_news(ladder, version):
        return ladder
    if ladder.state == State.ACKNOWLEDGED:
        return start(version, now)
    return msgspec.structs.replace(ladder, version=version)


def due(ladder: Ladder) -> int:
    """When `fire` must be called, 0 for never."""
    return min(filter(None, (ladder.next_at, ladder.lapse_at)), default=0)


def fire(policy: Escalation, ladder: Ladder, oncall: OnCall, urgency: Urgency, now: int) -> Fired:
    """What is due at `now`: one step, one reminder, or the lapse of an acknowledgement and the first step.

    A policy that has changed since holds from now on; a step that it no longer has is the end of the round.
    """
    if not 0 < due(ladder) <= now:
        return Fired(ladder, [])
    if ladder.state == State.RUNNING:
        return _climb(policy, ladder, oncall, urgency, now)
    if 0 < ladder.lapse_at <= now:
        again = start(ladder.version, ladder.lapse_at)
        return _climb(policy, again, oncall, urgency, now)._replace(lapsed=True)
    again_at = _after(ladder.next_at, policy.remind_after, now) if policy.remind_after is not None else 0
    pages = _remind(policy, ladder.actor, oncall, urgency, now)
    return Fired(msgspec.structs.replace(ladder, next_at=again_at), pages)


def _climb(policy: Escalation, ladder: Ladder, oncall: OnCall, urgency: Urgency, now: int) -> Fired:
    """The next step that reaches somebody; each step is tried once."""
    step, turn, nobody = ladder.step, ladder.round, False
    for _ in policy.steps:
        if step >= len(policy.steps):
            step, turn = 0, turn + 1
        if turn > policy.repeat:
            return Fired(_over(ladder, step, turn), [], nobody=nobody)
        pages = _pages(policy, step, oncall, urgency, now)
        if pages:
            return Fired(_next(policy, ladder, step, turn, now), pages)
        step, nobody = step + 1, True
    return Fired(_next(policy, ladder, step - 1, turn, now), [], nobody=True)


def _next(policy: Escalation, ladder: Ladder, fired: int, turn: int, now: int) -> Ladder:
    """The ladder after the step `fired`."""
    last = fired + 1 >= len(policy.steps)
    if last and turn >= policy.repeat:
        return _over(ladder, fired + 1, turn)
    step, turn = (0, turn + 1) if last else (fired + 1, turn)
    return msgspec.structs.replace(
        ladder, step=step, round=turn, next_at=_after(ladder.next_at, policy.steps[fired].delay, now)
    )


def _over(ladder: Ladder, step: int, turn: int) -> Ladder:
    return msgspec.structs.replace(ladder, state=State.EXHAUSTED, step=step, round=turn, next_at=0)


def _pages(policy: Escalation, index: int, oncall: OnCall, urgency: Urgency, now: int) -> list[Page]:
    step = policy.steps[index]
    places = [
        (destination, user)
        for user in _users(policy.tenant, step, oncall, now)
        for destination in oncall.contacts(policy.tenant, user, urgency)
    ]
    places += [(destination, "") for destination in step.destinations]
    if not places:
        return [Page(destination, index, "", Why.FALLBACK) for destination in policy.fallback]
    first: dict[str, str] = {}
    for destination, user in places:
        first.setdefault(destination, user)
    return [Page(destination, index, user) for destination, user in first.items()]


def _users(tenant: str, step: Step, oncall: OnCall, now: int) -> list[str]:
    on_call = [user for schedule in step.schedules for user in oncall.at(tenant, schedule, now)]
    return list(dict.fromkeys([*step.users, *on_call]))


def _remind(policy: Escalation, actor: str, oncall: OnCall, urgency: Urgency, now: int) -> list[Page]:
    """To who acknowledged; the first step hears of it if that is no user we know."""
    user = oncall.user_of(policy.tenant, actor)
    places = oncall.contacts(policy.tenant, user, urgency) if user is not None else ()
    pages = [Page(destination, 0, user or "") for destination in places] or _pages(policy, 0, oncall, urgency, now)
    return [page._replace(why=Why.REMINDER) for page in pages]


def _is_news(ladder: Ladder, version: int) -> bool:
    return version > ladder.version


def _after(since: int, seconds: int, now: int) -> int:
    """`seconds` after `since`. When that is over, as after an outage, after `now`: people get the time to react."""
    planned = since + seconds * 1000
    return planned if planned > now else now + seconds * 1000
