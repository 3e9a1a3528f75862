"""Bodies of requests that were refused: seen, and taken after a fix."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from schemas.fingerprint import uuid_text
from schemas.wire.rejection import RejectedBody
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError
from streams.api.times import Time, moment
from streams.gateway.kept_replay import kept, replay

router = APIRouter()

#: Characters of a body that are shown.
_SHOWN = 20_000


class RejectionShown(BaseModel):
    """A request that could not be read, for `error` in `field`; credentials are masked. `body` is its beginning."""

    id: str
    at: Time
    integration: str
    provider: str
    service: str
    field: str
    error: str
    size: int
    body: str


class RejectionsShown(BaseModel):
    """The newest first."""

    items: list[RejectionShown]


class ChosenRejections(BaseModel):
    """The bodies to take, by their ids."""

    ids: list[str] = Field(min_length=1, max_length=1000)


class Taken(BaseModel):
    """What became of a body: `accepted`, `ignored` or `refused`, and why."""

    id: str
    result: str
    reason: str


class TakenAll(BaseModel):
    """As they were sent."""

    items: list[Taken]


@router.get("/rejections")
async def list_rejections(
    parts: PartsOf, caller: CallerOf, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> RejectionsShown:
    """The bodies that are kept, of seven days."""
    mine = [body for body in await kept(parts.kafka) if body.tenant == caller.tenant]
    return RejectionsShown(items=[_shown(body) for body in mine[: -limit - 1 : -1]])


@router.post("/rejections/replay")
async def replay_rejections(parts: PartsOf, caller: CallerOf, chosen: ChosenRejections) -> TakenAll:
    """Take bodies as if they came now, by today's formats and mappings."""
    mine = {uuid_text(body.event_id): body for body in await kept(parts.kafka) if body.tenant == caller.tenant}
    if any(name not in mine for name in chosen.ids):
        raise ProblemError(404, "one of these bodies is not there; they stay for seven days")
    outcomes = await replay(parts.kafka, parts.control, [mine[name] for name in dict.fromkeys(chosen.ids)])
    await parts.audit.add(caller.tenant, caller.by, "replayed", "rejections", f"{len(outcomes)}")
    return TakenAll(items=[Taken(**outcome._asdict()) for outcome in outcomes])


def _shown(body: RejectedBody) -> RejectionShown:
    return RejectionShown(
        id=uuid_text(body.event_id),
        at=moment(int.from_bytes(body.event_id[:6], "big")),
        integration=body.integration,
        provider=body.provider,
        service=body.service,
        field=body.field,
        error=body.error,
        size=body.size,
        body=body.body[:_SHOWN].decode("utf-8", "replace"),
    )
