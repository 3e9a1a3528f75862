"""What was sent to people and how that ended, and what could not be used: seen, and put back after a fix."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from streams.api.caller import Caller, CallerOf
from streams.api.parts import Parts, PartsOf
from streams.api.problems import ProblemError, Wrong
from streams.api.rows import shown
from streams.api.tables import AttemptShown
from streams.api.times import Time, moment, moment_or_none
from streams.control.destinations import find_destination
from streams.delivery import letters
from streams.delivery.letters import Found
from streams.delivery.replay import Plan, plan, redeliver, replay
from streams.history.queries import ATTEMPTS
from streams.history.times import milliseconds

router = APIRouter()

_DAY_MS = 86_400_000
Limit = Annotated[int, Query(ge=1, le=1000)]


class DeliveriesShown(BaseModel):
    """Attempts, the latest first."""

    items: list[AttemptShown]


class Again(BaseModel):
    """Whose notifications are sent again, since when they were queued; `failed_only`: those that were given up."""

    destination: str
    since: datetime | None = Field(default=None, description="Seven days ago, if it is left out.")
    failed_only: bool = False
    dry_run: bool = False


class LetterShown(BaseModel):
    """A record that could not be used. `replay` is the topic that it can be put back on, or None, and `stays` why."""

    id: str
    at: Time
    stage: str
    reason: str
    error: str
    topic: str
    size: int
    replayed_at: Time | None
    replay: str | None
    stays: str


class LettersShown(BaseModel):
    """Dead letters of the last seven days, the newest first."""

    items: list[LetterShown]


class ChosenLetters(BaseModel):
    """The dead letters to put back: by their ids, or by stage and reason. `again`: also those put back already."""

    ids: list[str] = Field(default_factory=list, max_length=1000)
    stage: str = ""
    reason: str = ""
    again: bool = False
    dry_run: bool = False


class PutBack(BaseModel):
    """How many records went, or with `dry_run` would go, to which topic, and why others stayed."""

    dry_run: bool
    count: int
    topics: dict[str, int]
    stayed: dict[str, int]


@router.get("/deliveries")
async def list_deliveries(
    parts: PartsOf,
    caller: CallerOf,
    destination: Annotated[str, Query(max_length=100)] = "",
    failed: bool = False,
    begin: Annotated[datetime | None, Query(alias="from", description="A day ago, if it is left out.")] = None,
    limit: Limit = 100,
) -> DeliveriesShown:
    """The attempts to tell somebody; of `failed` ones only those."""
    since = milliseconds(begin) if begin is not None else parts.now() - _DAY_MS
    params = {"tenant": caller.tenant, "destination": destination, "failed": int(failed), "since": since}
    rows = await parts.query(ATTEMPTS, {**params, "limit": limit})
    return DeliveriesShown(items=[AttemptShown(**shown(row)) for row in rows])


@router.post("/deliveries/redeliver")
async def redeliver_notifications(parts: PartsOf, caller: CallerOf, wanted: Again) -> PutBack:
    """Send a destination's notifications again, under their ids; what waits for one incident becomes one message."""
    found = find_destination(parts.control, caller.tenant, wanted.destination)
    since = milliseconds(wanted.since) if wanted.since is not None else 0
    if wanted.failed_only:
        matching = letters.matching(since=since, destination=(found.tenant, found.id))
        done = await _put_back(parts, await letters.collect(parts.kafka, matching), wanted.dry_run, again=False)
        if not wanted.dry_run:
            await _note(parts, caller, found.id, done.count, failed_only=True)
        return done
    if wanted.dry_run:
        raise ProblemError(422, "the request is not valid", [Wrong("dry_run", "is possible with failed_only")])
    count = await redeliver(parts.kafka, found.tenant, found.id, since)
    await _note(parts, caller, found.id, count, failed_only=False)
    return PutBack(dry_run=False, count=count, topics={"notifications": count} if count else {}, stayed={})


@router.get("/deadletters")
async def list_dead_letters(
    parts: PartsOf,
    caller: CallerOf,
    stage: Annotated[str, Query(max_length=50)] = "",
    reason: Annotated[str, Query(max_length=500)] = "",
    limit: Limit = 100,
) -> LettersShown:
    """The records that could not be used, and why."""
    matching = letters.matching(stage=stage, reason=reason)
    found = await letters.collect(parts.kafka, _mine(caller.tenant, matching), most=limit)
    return LettersShown(items=[_shown(parts, each) for each in found])


@router.post("/deadletters/replay")
async def replay_dead_letters(parts: PartsOf, caller: CallerOf, chosen: ChosenLetters) -> PutBack:
    """Put records back on the topics that they came from, once each."""
    if bool(chosen.ids) == bool(chosen.stage or chosen.reason):
        wrong = [Wrong("ids", "name the dead letters, or choose them by stage or reason")]
        raise ProblemError(422, "the request is not valid", wrong)
    places = {letters.place_of(name) for name in chosen.ids}
    by_reason = letters.matching(stage=chosen.stage, reason=chosen.reason)
    wanted = (lambda each: each.place in places) if places else by_reason
    found = await letters.collect(parts.kafka, _mine(caller.tenant, wanted))
    if places and len(found) < len(places):
        raise ProblemError(404, "one of these dead letters is not there; they stay for seven days")
    done = await _put_back(parts, found, chosen.dry_run, again=chosen.again)
    if not chosen.dry_run:
        await parts.audit.add(caller.tenant, caller.by, "replayed", "deadletters", f"{done.count}")
    return done


async def _note(parts: Parts, caller: Caller, name: str, count: int, *, failed_only: bool) -> None:
    after = {"count": count, "failed_only": failed_only}
    await parts.audit.add(caller.tenant, caller.by, "redelivered", "destination", name, after=after)


def _mine(tenant: str, wanted: letters.Wanted) -> letters.Wanted:
    return lambda each: wanted(each) and letters.tenant_of(each.letter) == tenant


async def _put_back(parts: PartsOf, found: list[Found], dry_run: bool, *, again: bool) -> PutBack:
    planned: Plan = plan(parts.kafka, found, again=again)
    if not dry_run:
        await replay(parts.kafka, planned)
    return PutBack(
        dry_run=dry_run, count=len(planned.letters), topics=dict(planned.by_topic), stayed=dict(planned.stay)
    )


def _shown(parts: PartsOf, found: Found) -> LetterShown:
    letter, to = found.letter, letters.target(found.letter, parts.kafka.ours)
    return LetterShown(
        id=str(found.place),
        at=moment(found.at),
        stage=letter.stage,
        reason=letter.reason,
        error=letter.error,
        topic=letter.topic,
        size=len(letter.body),
        replayed_at=moment_or_none(found.replayed_at),
        replay=None if isinstance(to, str) else to.name,
        stays=to if isinstance(to, str) else "",
    )
