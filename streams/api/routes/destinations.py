"""How destinations do, and test messages; their settings are records of the kind `destination`."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from sinks.reasons import explain
from streams.api.caller import CallerOf
from streams.api.parts import PartsOf
from streams.api.problems import ProblemError
from streams.api.times import Time, moment_or_none
from streams.delivery.sample import send_sample
from streams.delivery.standing import Standing, read_statuses, standings

router = APIRouter()


class DestinationShown(BaseModel):
    """A destination: `active`, `inactive` (disabled) or in `error` since its last success, and why.

    `waiting` incidents wait to be told, since `waiting_since`; `rules` route to it, `alert_count` is their number.
    """

    id: str
    type: str
    title: str
    enabled: bool
    status: Literal["active", "inactive", "error"]
    reason: str
    means: str
    do: str
    waiting: int
    waiting_since: Time | None
    last_used_at: Time | None
    rules: list[str]
    alert_count: int


class DestinationsShown(BaseModel):
    """All of the tenant's, by id."""

    items: list[DestinationShown]


class SampleShown(BaseModel):
    """How a test message ended: `ok`, or why it was not taken, what that means and what to do."""

    ok: bool
    latency_ms: int | None
    http_status: int | None
    error: str | None
    means: str | None
    do: str | None


@router.get("/destinations")
async def list_destinations(parts: PartsOf, caller: CallerOf) -> DestinationsShown:
    """The tenant's destinations and how they do."""
    found = standings(parts.control, await read_statuses(parts.kafka))
    return DestinationsShown(items=[_shown(each) for each in found if each.destination.tenant == caller.tenant])


@router.post("/destinations/{destination_id}/test")
async def test_destination(parts: PartsOf, caller: CallerOf, destination_id: str) -> SampleShown:
    """Send one test message about a made-up incident, whether the destination is enabled or not."""
    destination = parts.control.destination(caller.tenant, destination_id)
    if destination is None:
        raise ProblemError(404, "there is no such destination")
    attempt = await send_sample(parts.settings, destination)
    outcome = str(attempt.reason or "done")
    await parts.audit.add(caller.tenant, caller.by, "tested", "destination", destination_id, outcome=outcome)
    meaning = explain(destination.type, attempt.reason) if attempt.reason else None
    return SampleShown(
        ok=not attempt.reason,
        latency_ms=attempt.finished_at - attempt.sent_at if attempt.sent_at else None,
        http_status=attempt.http_status or None,
        error=attempt.reason or None,
        means=meaning.means if meaning else None,
        do=meaning.do if meaning else None,
    )


def _shown(standing: Standing) -> DestinationShown:
    destination, meaning = standing.destination, standing.help
    return DestinationShown(
        id=destination.id,
        type=destination.type,
        title=destination.name,
        enabled=destination.enabled,
        status=standing.state,  # type: ignore[arg-type]  # one of these three, see Standing
        reason=standing.reason,
        means=meaning.means if meaning else "",
        do=meaning.do if meaning else "",
        waiting=standing.waiting,
        waiting_since=moment_or_none(standing.oldest),
        last_used_at=moment_or_none(standing.last_used),
        rules=list(standing.rules),
        alert_count=len(standing.rules),
    )
